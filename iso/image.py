# SPDX-License-Identifier: BSD-2-Clause
"""What GRUB loads, and the medium that it loads it from."""

import os
import pathlib
import shutil
import subprocess


class Refused(Exception):
    """What was asked for cannot be done; the text says why."""


class Entry:
    """GRUB commands, and the files that they name under /boot."""

    def __init__(self):
        self.files = {}
        self.commands = []
        self.to_strip = None

    def add(self, command, file, arguments="", options=""):
        if not os.path.isfile(file):
            raise Refused(f"{file}: no such file (of ours: `make` builds them)")
        name = pathlib.Path(file).name
        while self.files.get(name, file) != file:
            name = "_" + name
        self.files[name] = file
        words = [command, options, f"/boot/{name}"]
        words += [quoted(word) for word in arguments.split()]
        self.commands.append(" ".join(filter(None, words)))
        return name


def quoted(word):
    """A word as GRUB's script language passes it on unchanged."""
    if "'" in word:
        raise Refused(f"{word}: GRUB cannot pass a quote on")
    plain = word.replace("_", "").replace("-", "").replace(".", "").replace("=", "")
    return word if plain.isalnum() else f"'{word}'"


def kind_of(file):
    """linux, multiboot, multiboot2 or flat, by what the file begins with."""
    with open(file, "rb") as opened:
        head = opened.read(32768)
    if head[0x202:0x206] == b"HdrS":
        return "linux"
    if head[:4] == b"\x7fELF":
        return "multiboot2" if b"\xd6\x50\x52\xe8" in head else "multiboot"
    return "flat"


def latch_entry(latch, conf, guest, arguments, initrd, modules, model_files):
    """Latch, and the guest's files as modules whose first word is their role."""
    entry = Entry()
    entry.to_strip = entry.add("multiboot2", latch, conf)

    def module(file, role):
        entry.add("module2", file, role, options="--nounzip")

    is_elf = False
    if guest != "none":
        module(guest, f"guest {arguments}")
        is_elf = kind_of(guest).startswith("multiboot")
    if initrd:
        module(initrd, f"module {os.path.basename(initrd)}" if is_elf else "initrd")
    for text in modules:
        module(text.split()[0], f"module {text}")
    for name, file in model_files.items():
        module(file, f"model {name}")
    return entry


def bare_entry(guest, arguments, initrd, modules, multiboot1=False):
    """The guest alone, as GRUB itself boots it."""
    entry = Entry()
    kind = kind_of(guest)
    if multiboot1 and kind == "multiboot2":
        kind = "multiboot"
    if kind == "flat":
        raise Refused(f"{guest}: GRUB cannot boot a flat image, so there is no --bare for it")
    entry.add(kind, guest, arguments)
    if kind == "linux":
        if initrd:
            entry.add("initrd", initrd)
        return entry
    module = "module2" if kind == "multiboot2" else "module"
    for text in ([initrd] if initrd else []) + modules:
        entry.add(module, text.split()[0], text, options="--nounzip")
    return entry


def command(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Refused(f"{words[0]} failed:\n{done.stdout.decode(errors='replace')}")


def build(entry, directory, boot, uefi):
    """Build the medium in a directory: the path of an image, or of a TFTP tree for PXE."""
    tree = pathlib.Path(directory) / "tree"
    (tree / "boot/grub").mkdir(parents=True)
    platform = "x86_64-efi" if uefi else "i386-pc"
    modules = "/usr/lib/grub/" + platform
    if boot == "pxe":
        command("grub-mknetdir", f"--net-directory={tree}", "--subdir=boot/grub", "-d", modules)
    for name, file in entry.files.items():
        shutil.copyfile(file, tree / "boot" / name)
    if entry.to_strip:  # GRUB would load what debuggers want, too
        command("strip", str(tree / "boot" / entry.to_strip))
    # The guest's RAM disk is not GRUB's to unpack, nor is there a menu to wait for.
    (tree / "boot/grub/grub.cfg").write_text("\n".join(entry.commands + ["boot", ""]))
    if boot == "pxe":
        return tree
    medium = pathlib.Path(directory) / "medium.iso"
    command("grub-mkrescue", "-d", modules, "--locales=", "--fonts=", "--themes=", "-o",
            str(medium), str(tree))
    # Bochs wants a disk of whole cylinders.
    cylinder = 16 * 63 * 512
    os.truncate(medium, -(-medium.stat().st_size // cylinder) * cylinder)
    return medium
