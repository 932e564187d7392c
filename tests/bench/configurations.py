# SPDX-License-Identifier: BSD-2-Clause
"""What is compared: the columns of the table, and how each is booted on a machine."""

import dataclasses
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
BENCH = BUILD / "bench"
MACHINES = ["qemu-amd", "bochs-intel", "bochs-amd"]

PAYLOAD = BENCH / "payload.elf"
NULL = BENCH / "null.elf"
LINUX_INITRD = BENCH / "whole.gz"
KVM_KERNEL = BUILD / "debian/vmlinuz"
KVM_INITRD = BENCH / "kvm.gz"
XEN = BUILD / "debian/xen.elf"
XEN_DOM0 = BENCH / "dom0.elf"

# Without these Debian's kernel spends most of its time in self-tests on Bochs.
KVM_KERNEL_WORDS = ("console=ttyS0 quiet panic=-1 cryptomgr.notests nokaslr mitigations=off"
                    " no_timer_check tsc=reliable random.trust_cpu=on 8250.nr_uarts=1 nowatchdog"
                    " clearcpuid=mwaitx")

# Xen's own words before the dashes, the guest's behind them. What the guest writes to Xen's debug
# port comes out, mitigations are off as KVM's, and the emulators end with the reset.
XEN_WORDS = ("console=com1 com1=115200 guest_loglvl=all no-real-mode spec-ctrl=no dom0_mem=32M"
             " reboot=triple -- console=0xe9")

# Bochs' Intel CPUs claim another frequency than they have, which Latch hides: told to all alike.
# KVM's host would else have its guest's timers tick far too slowly.
BOCHS_CLOCK = "tsc_early_khz=4000 lpj=16000"
# Latch's guest has no memory at its top, where Latch lies: none uses it.
# What Latch hides, or adds: none uses it. The kernel takes up to 127 characters.
UNUSED = ("fsrm,mwaitx,vmx,svm,hypervisor,tsc_deadline_timer,aperfmperf,arch_perfmon,bts,pebs,pdcm,"
          "est,acpi,tm,tm2,dts,dtes64,art")
# Bochs' Intel CPU contradicts itself about XSAVE, and bare Linux does without; so does each.
# Each letter on the console costs KVM two exits to user space, which is not what is compared.
LINUX_WORDS = f"quiet {BOCHS_CLOCK} mem=480M report.mem=256 noxsave clearcpuid={UNUSED}"
BOCHS_WORDS = {LINUX_INITRD: LINUX_WORDS, KVM_INITRD: BOCHS_CLOCK}


@dataclasses.dataclass(frozen=True)
class Column:
    """One configuration. `boots` are the further arguments of iso/run, one tuple for each boot;
    `slow` are those of boots of a Linux beside them."""

    name: str
    about: str
    boots: tuple
    quick: bool = True
    needs: tuple = ()
    slow: tuple = ()


def payload(*arguments):
    """The bench's guest on one CPU; and on two, for what needs a second one."""
    one = ("--guest", PAYLOAD, "--vcpus", "1", *arguments)
    two = ("--guest", PAYLOAD, "--vcpus", "2", "--append", "processors", *arguments)
    return (one, two)


def linux(*arguments):
    """Debian, with the bench's rows about processes."""
    return (("--initrd", LINUX_INITRD, "--vcpus", "1", "--append", "bench.rows", *arguments),)


def null(flavour):
    return (("--bare", "--guest", NULL, "--vcpus", "1", "--append", f"flavour={flavour}"),)


def kvm(words):
    """On one CPU: two do not come up in QEMU's counting mode, nor soon in Bochs."""
    arguments = f"{KVM_KERNEL_WORDS} {words}"
    return (("--bare", "--guest", KVM_KERNEL, "--initrd", KVM_INITRD, "--vcpus", "1",
             "--mem", "1024", "--append", arguments),)


def xen():
    """On one CPU, as KVM. GRUB crashes in Bochs over the framebuffer that Xen's multiboot 2 header
    asks for."""
    return (("--bare", "--multiboot1", "--guest", XEN, "--vcpus", "1", "--module", XEN_DOM0,
             "--module", PAYLOAD, "--append", XEN_WORDS),)


MODEL = ("--conf", "test-hypercalls=on")
COLUMNS = [
    Column("bare", "no hypervisor", payload("--bare"), slow=linux("--bare")),
    Column("floor", "stub that keeps nothing of the guest's", null("floor")),
    Column("gpr", "stub that keeps the general registers", null("gpr")),
    Column("full", "stub that keeps all that a guest could see change", null("full")),
    Column("latch", "Latch, direct paging", payload("--paging", "direct", *MODEL),
           slow=linux("--paging", "direct")),
    Column("latch-sh", "Latch, shadow paging",
           payload("--paging", "shadow", *MODEL),
           slow=linux("--paging", "shadow")),
    Column("latch-fl", "Latch, direct paging, all flushed that the CPU can",
           payload("--paging", "direct", "--conf", "test-hypercalls=on mitigations=all")),
    Column("kvm", "KVM of Debian's kernel on one CPU, nested paging", kvm("bench.nested=1"),
           quick=False, needs=(KVM_KERNEL, KVM_INITRD)),
    Column("kvm-sh", "the same, shadow paging", kvm("bench.nested=0"), quick=False,
           needs=(KVM_KERNEL, KVM_INITRD)),
    # Debian builds Xen without shadow paging.
    Column("xen", "Xen of Debian, a PVH guest, nested paging", xen(), quick=False,
           needs=(XEN, XEN_DOM0)),
]
# The columns that Latch's two are compared with.
LIMIT = "full"
PEERS = {"latch": ["kvm", "xen"], "latch-sh": ["kvm-sh"]}


def boot(machine, arguments, log, counted=True):
    """Boot once; the console's text, and iso/run's exit status."""
    words = [ROOT / "iso/run", "--batch", "--machine", machine, "--timeout", "600", *arguments]
    if machine == "qemu-amd" and counted:
        words.append("--icount")
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    with open(log, "a", encoding="utf-8") as file:
        file.write(text)
    return text, done.returncode


# Xen puts the guest's name before its lines.
ROW = re.compile(r"^(?:\(d\d+\) )?bench: (\S+)"
                 r" (?:median (-?\d+) min (-?\d+) rounds (\d+)(?: exits (\d+))?|absent (.*))$", re.M)
REFUSED = re.compile(r"[Ll]atch: refused: (.*)|^iso/run: (.*)$", re.M)


def read(text):
    """The rows in a console's text, in its order: {name: figures}, or {"absent": why} for some."""
    rows = {}
    for name, median, least, rounds, exits, why in ROW.findall(text):
        if why:
            rows[name] = {"absent": why}
        elif name != "empty":
            rows[name] = {"median": int(median), "min": int(least), "rounds": int(rounds)}
            if exits:
                rows[name]["exits"] = int(exits)
    return rows


def measure(machine, column, rounds, logs, quick=True):
    """All boots of a column on a machine: {"rows", and "missing" with the reason if one failed}."""
    result = {"rows": {}}
    for file in column.needs:
        if not file.exists():
            result["missing"] = f"{file.name} is not built"
            return result
    log = logs / f"{machine}-{column.name}.log"
    log.unlink(missing_ok=True)
    for arguments in column.boots + (() if quick else column.slow):
        arguments = list(arguments)
        if "--append" not in arguments:
            arguments += ["--append", ""]
        at = arguments.index("--append") + 1
        words = " ".join(words for initrd, words in BOCHS_WORDS.items()
                         if initrd in arguments and machine.startswith("bochs"))
        arguments[at] = f"{arguments[at]} rounds={rounds} {words}".strip()
        text, status = boot(machine, arguments, log)
        result["rows"].update(read(text))
        if status != 0:
            found = [first or second for first, second in REFUSED.findall(text)
                     if first or not second.startswith(machine)]
            result["missing"] = found[0] if found else f"iso/run ended with status {status}"
            break
    return result
