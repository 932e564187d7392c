# SPDX-License-Identifier: BSD-2-Clause
"""What INIT and RESET leave of each register, from each mode that they may find a vCPU in."""

import os

import pytest

from conftest import BUILD, FAILURE, MACHINES
from test_payloads import run_payload

FROM = {
    "long", "halted", "halted-interruptible", "interrupt-pending", "nmi-pending",
    "nmi-pending-own-init", "sti", "mov-ss-debug-pending", "compatibility", "paging-32",
    "paging-pae", "virtual-8086", "virtual-8086-pae", "long-5-level", "protected",
    "protected-halted", "real", "real-halted",
}

# The emulators' own: TCG has no segment limits in real mode, bare too; Bochs' SVM blocks the NMIs by
# which Latch calls a CPU, in the handler of one that was injected, and Bochs ends ("VM is set in long
# mode") at any exit of SVM's from virtual-8086 mode; and no CPU of Bochs' has LA57. Its
# IA32_TSC_DEADLINE still reads as it was written when it has passed.
WORDS = {"qemu-amd": "unchecked-limits", "bochs-intel": "keeps-deadlines",
         "bochs-amd": "no-call-in-nmi no-exit-in-virtual-8086"}
LEFT_OUT = {
    "bochs-intel": {"long-5-level"},
    "bochs-amd": {"nmi-pending", "long-5-level", "virtual-8086", "virtual-8086-pae"},
}


def run_init(boot, machine, word="", conf=""):
    words = f"{word} {WORDS[machine]}"
    return run_payload(boot, machine, "init", append=words, conf=f"icr-trap=keep {conf}")


def check_all(booted, machine):
    wanted = FROM - LEFT_OUT.get(machine, set())
    found = {line.split(".")[-1] for line in booted.lines(r"ok init\.vcpu1\..*")}
    assert found == wanted


@pytest.mark.parametrize("paging", ["direct", "shadow"])
@pytest.mark.parametrize("machine", MACHINES)
def test_init(boot, machine, paging):
    check_all(run_init(boot, machine, conf=f"paging={paging}"), machine)


@pytest.mark.parametrize("paging", ["direct", "shadow"])
def test_init_x2apic(boot, paging):
    check_all(run_init(boot, "bochs-intel", "x2apic", f"paging={paging}"), "bochs-intel")


RESET_FROM = ["halted", "paging-pae", "protected", "real", "real-halted", "mov-ss-debug-pending"]


def others_at_reset(machine):
    """Where the second vCPU is meanwhile; in two of them it is the one that resets the machine."""
    left_out = LEFT_OUT.get(machine, set())
    places = [("halted", ""), ("interrupt-pending", ""), ("nmi-pending", "halted-interruptible"),
              ("virtual-8086", "paging-32"), ("real-halted", ""),
              ("long-5-level", "compatibility")]
    return [otherwise if place in left_out else place for place, otherwise in places]


# By IA32_TSC_ADJUST, or by an offset of the TSC: VMX's on an older CPU.
RESETS = {machine: (machine, []) for machine in MACHINES}
if "LATCH_TEST_ALL" in os.environ:
    RESETS["bochs-intel-offset"] = ("bochs-intel", ["--cpu", "corei7_sandy_bridge_2600k"])


@pytest.mark.parametrize("name", RESETS)
def test_reset(boot, name):
    """Clearing memory is most of a reset, so the machine has little."""
    machine, arguments = RESETS[name]
    booted = run_payload(boot, machine, "reset", WORDS[machine],
                         "icr-trap=keep on-reset=relaunch pool=4 shadow=2",
                         ["--mem", "40", *arguments])
    for vcpu in (0, 1):
        lines = booted.lines(rf"ok reset\.vcpu{vcpu}\.(?!msrs|tsc|deadline).*")
        found = [line.split(".")[-1] for line in lines]
        assert found == (RESET_FROM, others_at_reset(machine))[vcpu], booted.tail()
        assert len(booted.lines(rf"ok reset\.vcpu{vcpu}\.msrs")) == len(RESET_FROM) + 1
    assert len(booted.lines(r"ok reset\.vcpu1\.tsc")) == len(RESET_FROM) + 1, booted.tail()
    for vcpu in (0, 1):
        deadlines = booted.lines(rf"ok reset\.vcpu{vcpu}\.deadline")
        wanted = len(RESET_FROM) + 1 if machine == "bochs-intel" else 0
        assert len(deadlines) == 13 * wanted, booted.tail()
    moved = booted.lines(r"ok reset\.tsc-moved")
    assert len(moved) == (len(RESET_FROM) + 1 if name == "bochs-intel" else 0), booted.tail()


# What the emulators' own INIT does otherwise than the manuals say.
BARE = {
    "qemu-amd": {"cr0", "mtrr-base7"},
    "bochs-intel": {"cr0", "edx", "star", "sfmask", "kernel-gs-base"},
}


@pytest.mark.parametrize("machine", BARE)
def test_init_bare(boot, machine):
    """The payload against other CPUs than Latch's: they differ in what is known of them, no more."""
    booted = boot("--machine", machine, "--bare", "--guest", BUILD / "guest/init.elf", "--append",
                  WORDS[machine])
    assert booted.finish() == FAILURE, booted.tail()
    for case in FROM - LEFT_OUT.get(machine, set()):
        found = booted.lines(rf"FAIL init\.vcpu1\.{case}\.[a-z0-9.-]+: wanted")
        assert {line.split(".")[-1].split(":")[0] for line in found} == BARE[machine], case
