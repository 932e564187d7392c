# SPDX-License-Identifier: BSD-2-Clause
"""How the guest's paging is enforced: chosen by the model, said at launch, and said where it is not.

What the guest then sees, bit by bit, is for the payloads to tell.
"""

import re

import pytest

from conftest import BUILD, ERROR, MACHINES, SUCCESS
from test_debian import check_report

MODES = BUILD / "guest/modes.elf"
SMP = BUILD / "guest/smp.elf"
AREAS = BUILD / "guest/areas.elf"
RELAUNCH = BUILD / "guest/relaunch.elf"
PRESSURE = BUILD / "guest/pressure.elf"
QEMU = ["--machine", "qemu-amd"]


# The CPU of Bochs' with a monitor trap flag, without which Latch checks no width.
MONITOR_TRAP = ["--cpu", "corei7_icelake_u"]


def run(boot, guest, conf, machine="qemu-amd", verdict="Test result: SUCCESS", words=()):
    # Payloads send INITs to vCPUs that are up, and emulators let one that comes while Latch runs
    # reset the CPU, past Latch.
    booted = boot("--machine", machine, *words, "--guest", guest,
                  "--conf", f"icr-trap=keep {conf}")
    assert booted.finish() == SUCCESS, booted.tail()
    assert booted.lines(verdict + r"\r?$"), booted.tail()
    return booted


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
def test_debian_on_shadow_tables(boot, machine):
    booted = boot("--machine", machine, "--paging", "shadow", "--mem", 256)
    check_report(booted)
    assert booted.lines("paging: vcpu 0-1: shadow, as configured"), booted.tail(40)
    assert not booted.lines("paging: inexact"), booted.tail(40)


# What a model asks for, on SVM and on VMX; the models are smaller than the emulators' CPUs.
CHOICES = {
    "the-host": ("host", "direct .NPT., the hardware enforces the model$",
                 "direct .EPT., the hardware enforces the model$"),
    "no-nx": ("host,nx=off", "direct .NPT., the hardware enforces the model: NX hidden",
              "direct .EPT., the hardware enforces the model: NX hidden"),
    "width": ("host,maxphyaddr=36", "shadow, .*: MAXPHYADDR 36 of 40",
              "shadow, .*: MAXPHYADDR 36 of 40 .A and D bits are set before the fault"),
    "gbpages": ("host,gbpages=off", "shadow, .*: 1 GiB pages hidden",
                "shadow, .*: 1 GiB pages hidden"),
    "vendor": ("host,vendor={other}", "shadow, .*: Intel's rules on AMD",
               "shadow, .*: AMD's rules on Intel"),
    "cbit": ("host,cbit=35", "shadow, .*: C-bit 35, an address bit to the hardware",
             "shadow, .*: C-bit 35, an address bit to the hardware"),
    "pse36": ("host,pse36=off", "shadow, .*: PSE36 hidden", "shadow, .*: PSE36 hidden"),
    "pat": ("host,pat=off", "shadow, .*: PAT hidden", "shadow, .*: PAT hidden"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choice_on_svm(boot, name):
    spec, line, _ = CHOICES[name]
    booted = run(boot, MODES, f"model={spec.format(other='intel')}")
    assert booted.lines(f"paging: vcpu 0-1: {line}"), booted.tail(40)


@pytest.mark.parametrize("name", CHOICES)
def test_choice_on_vmx(boot, name):
    spec, _, line = CHOICES[name]
    booted = run(boot, MODES, f"model={spec.format(other='amd')}", "bochs-intel",
                 words=MONITOR_TRAP)
    assert booted.lines(f"paging: vcpu 0-1: {line}"), booted.tail(40)


def test_a_checked_width_on_bochs(boot):
    """It sets A and D bits before it finds the address beyond the limit."""
    booted = run(boot, MODES, "paging=direct model=host,maxphyaddr=36", "bochs-intel",
                 verdict="Test result: SUCCESS, inexact", words=MONITOR_TRAP)
    line = "direct .EPT., with #PFs and CR3 loads checked, inexact, not enforced: MAXPHYADDR 36"
    assert booted.lines(f"paging: vcpu 0-1: {line}"), booted.tail(40)


def test_direct_where_it_is_not_exact(boot):
    """What is not enforced is named at launch, and again by the verdict."""
    booted = run(boot, MODES, "paging=direct model=host,gbpages=off,maxphyaddr=36",
                 verdict="Test result: SUCCESS, inexact")
    what = "MAXPHYADDR 36 of 40, 1 GiB pages hidden"
    assert booted.lines(rf"paging: vcpu 0-1: direct \(NPT\), inexact, not enforced: {what}")
    assert booted.lines(f"paging: inexact: vcpu 0-1: not enforced: {what}"), booted.tail()
    assert booted.verdicts == ["SUCCESS"]


# What a narrow vCPU cannot enforce, in which mode, and what the payload then finds, besides. CR3 with a
# C-bit, beyond all limits to the hardware, ends the guest.
BESIDE_A_WIDTH = {
    "cbit": ("host,cbit=39,addr-reduction=3", "vendor=intel", "4level", "difference: .* bit 39"),
    "vendor": ("host,maxphyaddr=36,vendor=amd", "vendor=amd", "pae",
               "difference: pae level 3 table .* wanted vector 14 .* found vector 13"),
}


@pytest.mark.parametrize("what", BESIDE_A_WIDTH)
def test_a_narrow_vcpu_goes_on(boot, what):
    """Where model and hardware read a table unlike each other, each access ends all the same."""
    model, word, mode, difference = BESIDE_A_WIDTH[what]
    booted = boot("--machine", "bochs-intel", "--paging", "direct", *MONITOR_TRAP, "--guest",
                  BUILD / "guest/exact.elf", "--model", model,
                  "--append", f"{word} narrow-faults only={mode} sample=3111")
    assert booted.finish() != SUCCESS, booted.tail()
    assert booted.lines(difference), booted.tail()
    assert len(booted.lines(f"info exact: {mode} .* cases so far")) == 16, booted.tail()
    assert booted.lines("Test result: .*, inexact"), booted.tail()


# What the second generation's conf says, and the verdict behind it.
GENERATIONS = {
    "paging=direct generation2=host,gbpages=off": "SUCCESS, inexact",
    "generation2=host,cpuid-vendor=HygonGenuine": "SUCCESS, inexact",
    "generation2.cpu1=host,gbpages=off": "SUCCESS",
}


@pytest.mark.parametrize("conf", GENERATIONS)
def test_paging_of_another_generation(boot, conf):
    """It is chosen anew: shadow tables are kept for it, and the verdict is of all generations."""
    booted = run(boot, RELAUNCH, f"on-reset=relaunch test-hypercalls=on {conf}",
                 verdict=f"Test result: {GENERATIONS[conf]}",
                 words=["--mem", 96, "--append", "rounds=3 ways=c"])
    assert len(booted.lines("paging: vcpu 0.*: direct .NPT., the hardware enforces")) >= 2


def test_all_that_is_not_enforced(boot):
    """However much it is, and at launch as at the end."""
    booted = run(boot, MODES, "paging=direct model=host,maxphyaddr=36,gbpages=off,vendor=amd,"
                 "cbit=35,pse36=off,pat=off", "bochs-intel", "Test result: SUCCESS, inexact",
                 MONITOR_TRAP)
    for words in (r"paging: vcpu 0-1: direct \(EPT\), .*not enforced", "paging: inexact: vcpu 0-1"):
        said = " ".join(booted.lines(words + ": .*"))
        for what in ("MAXPHYADDR 36", "1 GiB pages", "AMD's rules", "C-bit 35", "PSE36", "PAT"):
            assert what in said, booted.tail(60)


def test_what_a_model_is_said_to_be(boot):
    """Two lines on one width agree."""
    booted = run(boot, MODES, "model=host,cbit=39,addr-reduction=3,pat=off")
    said = "MAXPHYADDR 40 reduced to 37, .* PSE36 yes, PAT no, C-bit 39, rules AMD"
    assert booted.lines(f"model: vcpu 0-1: {said}"), booted.tail(40)
    assert booted.lines("paging: vcpu 0-1: shadow, .*: MAXPHYADDR 37 of 40, "), booted.tail(40)


def test_another_vendors_name(boot):
    """The guest gives the verdict here, with what Latch told it of that; and Latch says why."""
    booted = boot(*QEMU, "--model", "host,cpuid-vendor=HygonGenuine")
    check_report(booted)
    assert booted.lines("Test result: SUCCESS, inexact\r?$"), booted.tail()
    assert booted.lines("model: inexact: vcpu 0-1: the instructions are another vendor's")


def test_another_vendors_instructions(boot):
    """The payload takes the hypercall instruction of its CPU's name: one of the differences."""
    booted = boot(*QEMU, "--guest", MODES, "--model", "host,cpuid-vendor=GenuineIntel")
    assert booted.finish() == ERROR, booted.tail()
    assert booted.lines("model: vcpu 0-1: inexact: VMCALL and VMMCALL"), booted.tail(40)
    assert booted.lines("paging: vcpu 0-1: shadow, .*: Intel's rules on AMD"), booted.tail(40)
    assert booted.lines("Test result: ERROR, inexact"), booted.tail(40)


def test_what_hides_late(boot):
    """An intercept of SVM's comes after the instruction's own checks."""
    booted = boot("--machine", "bochs-amd", "--guest", MODES, "--model", "host,-rdtscp,trim")
    assert booted.finish() == SUCCESS, booted.tail()
    late = "hidden, but its own #GP or #PF comes before the #UD:.* rdtscp"
    assert booted.lines(f"model: vcpu 0-1: {late}"), booted.tail(40)


def table_pages(booted):
    line = booted.lines("tables: NPT: .*")[0]
    pages, shared = re.search(r"(\d+) pages in all, (\d+) shared", line).groups()
    return int(pages), int(shared)


@pytest.mark.parametrize("mem, width, cost", [(512, 40, 2), (6144, 40, 2), (512, 52, 3)])
def test_another_model_costs_two_table_pages(boot, mem, width, cost):
    """In direct mode, whatever the guest's size; where tables have five levels, three."""
    wide = ["--cpu", f"max,phys-bits={width}", "--mem", mem, "--guest", MODES]
    alike = boot(*QEMU, *wide)
    unlike = boot(*QEMU, *wide, "--conf", "paging=direct cpu1=host,maxphyaddr=36")
    for booted in (alike, unlike):
        assert booted.finish() == SUCCESS, booted.tail()
    one, none_shared = table_pages(alike)
    two, shared = table_pages(unlike)
    assert (two - one, none_shared, shared) == (cost, 0, one - cost)


def test_unlike_vcpus(boot):
    """One walks the guest's tables in hardware, the other walks Latch's."""
    booted = run(boot, SMP, "cpu1=host,gbpages=off")
    assert booted.lines(r"paging: vcpu 0: direct \(NPT\), the hardware enforces"), booted.tail(40)
    assert booted.lines("paging: vcpu 1: shadow, .*1 GiB pages hidden"), booted.tail(40)
    assert booted.lines("model: .*2 distinct"), booted.tail(40)


def test_latchs_own_writes(boot):
    """Shadow tables follow what Latch writes into a page table of the guest's."""
    assert run(boot, AREAS, "paging=shadow").lines("ok areas.written-table-followed")


@pytest.mark.parametrize("machine", MACHINES)
def test_few_tables(boot, machine):
    """The least that can be configured, and a guest that needs more, of shadow and of nested tables:
    what does not fit is dropped and made again, and the guest sees nothing of it. Then the figures,
    where two models differ above directories only."""
    booted = boot("--machine", machine, "--guest", PRESSURE, "--mem", 1344, "--conf",
                  "icr-trap=startup paging=shadow shadow=2 pool=2 cpu1=host,gbpages=off")
    assert booted.finish() == SUCCESS, booted.tail()
    assert len(booted.lines(r"ok pressure\.round\d\.vcpu\d")) == 6, booted.tail()
    rest = booted.lines("tables: shadow: .* evictions")[-1]
    most, evictions = re.search(r"(\d+) pages at most, .* (\d+) evictions", rest).groups()
    assert int(most) <= 512 and int(evictions) > 100, rest
    nested = "EPT" if machine == "bochs-intel" else "NPT"
    assert booted.lines(rf"tables: {nested}: dropped \d+ times"), booted.tail()
    for kind in ("shadow", nested):
        pages, shared, models = booted.tables(kind)
        assert pages <= 512 and set(models) == {0, 1}, booted.tail()
        assert 0 < shared <= min(models.values()), booted.tail()
        assert sum(models.values()) - shared <= pages, booted.tail()


def test_shadow_tables_memory_is_the_guests_if_none_are_needed(boot):
    """The range that Latch keeps is the same with and without."""
    starts = set()
    for size in (2, 64):
        booted = run(boot, MODES, f"shadow={size}")
        starts.add(booted.lines(r"memory: Latch at 0x\w+")[0].split("0x")[1])
    assert len(starts) == 1
