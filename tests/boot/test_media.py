# SPDX-License-Identifier: BSD-2-Clause
"""The ways to boot: UEFI, CD, disk, USB stick, PXE; and the image that `make iso` builds."""

import pytest

from conftest import BUILD, MACHINES
from test_payloads import run_payload


@pytest.mark.parametrize("arguments", [
    ["--uefi"], ["--boot", "usb"], ["--boot", "usb", "--uefi"], ["--boot", "disk"],
    ["--boot", "pxe"], ["--boot", "pxe", "--uefi"],
], ids=lambda a: "-".join(word.strip("-") for word in a))
def test_medium(boot, arguments):
    booted = run_payload(boot, "qemu-amd", "memory", arguments=arguments)
    if "pxe" not in arguments and "--uefi" not in arguments:
        assert booted.lines("boot: by GRUB"), booted.tail(40)


@pytest.mark.parametrize("machine", [m for m in MACHINES if m.startswith("bochs")])
def test_bochs_disk(boot, machine):
    run_payload(boot, machine, "modes", arguments=["--boot", "disk"])


# What `make iso` and `make pxe` build, booted as it stands: the menu's first entry is a shell. The
# launcher adds the emulator only, so its own medium comes second.

def check_menu(boot, *devices):
    booted = boot("--machine", "qemu-amd", "--guest", "none", "--", *devices)
    booted.expect("launch: 2 vCPUs")
    booted.expect("A shell in the guest")


def test_image_on_a_usb_stick(make, boot):
    make("make", "iso")
    stick = ["-drive", f"if=none,id=stick,format=raw,snapshot=on,file={BUILD}/latch.iso",
             "-device", "qemu-xhci", "-device", "usb-storage,drive=stick,bootindex=0"]
    check_menu(boot, *stick)


def test_pxe_tree(make, boot):
    make("make", "pxe")
    check_menu(boot, "-netdev", f"user,id=lan,tftp={BUILD}/pxe,bootfile=boot/grub/i386-pc/core.0",
               "-device", "e1000,netdev=lan,bootindex=0")
