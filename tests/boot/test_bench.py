# SPDX-License-Identifier: BSD-2-Clause
"""The bench measures what it says: its guest, the least stub, the table and the comparison."""

import json
import sys

import pytest

from conftest import BUILD, MACHINES, ROOT, SUCCESS

sys.path.insert(0, str(ROOT / "tests/bench"))

import chart  # noqa: E402
import configurations  # noqa: E402
import results  # noqa: E402
import steady  # noqa: E402

ROUNDS = "rounds=20"
COUNTED = {"qemu-amd": ["--icount"], "bochs-intel": [], "bochs-amd": []}
# Without a hypervisor an operation costs the instructions that ops.asm has for it.
BARE = {"cpuid-0": 3, "rdmsr-8b": 2, "wrmsr-efer": 4, "in-denied": 2, "cr0-wp-twice": 5,
        "first-touch-read": 1, "cr3-twice": 2, "invlpg": 1, "remap": 5, "apic-eoi": 2}


def rows_of(machine):
    assert machine.finish() == SUCCESS, machine.tail()
    return {name: figures["median"] for name, figures
            in configurations.read(machine.text.replace("\r", "")).items() if "median" in figures}


@pytest.mark.parametrize("machine", ["bochs-intel", "bochs-amd"])
def test_bare(boot, machine):
    """A tick is an instruction, and what measuring costs is taken off."""
    rows = rows_of(boot("--machine", machine, "--bare", "--vcpus", 1, "--append", ROUNDS,
                        "--guest", BUILD / "bench/payload.elf"))
    assert {name: rows[name] for name in BARE} == BARE
    assert rows["self-ipi"] < 50 and rows["halt-to-timer"] < 50


@pytest.mark.parametrize("machine", MACHINES)
def test_latch(boot, machine):
    """The same guest under Latch: what Latch passes costs nothing, what it answers is counted."""
    booted = boot("--machine", machine, "--vcpus", 1, "--append", ROUNDS, *COUNTED[machine],
                  "--guest", BUILD / "bench/payload.elf")
    rows = rows_of(booted)
    found = configurations.read(booted.text.replace("\r", ""))
    for name in ("wrmsr-lstar", "cr3-twice", "invlpg", "apic-eoi", "timer-arm"):
        assert (found[name]["exits"], rows[name]) == (0, found[name]["min"]), name
    for name in ("cpuid-0", "rdmsr-8b", "hypercall"):
        assert found[name]["exits"] == 20 and rows[name] > 30, name


@pytest.mark.parametrize("flavour", ["floor", "gpr", "full"])
@pytest.mark.parametrize("machine", ["bochs-intel", "bochs-amd"])
def test_null(boot, machine, flavour):
    """The stub answers, by no more than a few dozen instructions."""
    rows = rows_of(boot("--machine", machine, "--bare", "--vcpus", 1, "--guest",
                        BUILD / "bench/null.elf", "--append", f"flavour={flavour} {ROUNDS}"))
    assert BARE["cpuid-0"] < rows["cpuid-0"] <= {"floor": 12, "gpr": 50, "full": 60}[flavour]
    assert ("hypercall" in rows) == (flavour != "floor")


def test_xen(boot):
    """Debian's Xen starts the same guest by a dom0 of ours, and its console has the rows."""
    column, = [column for column in configurations.COLUMNS if column.name == "xen"]
    *arguments, words = column.boots[0]
    rows = rows_of(boot("--machine", "qemu-amd", *arguments, f"{words} {ROUNDS}"))
    assert {"cpuid-0", "hypercall", "halt-to-timer", "x2apic-self-ipi"} <= rows.keys()


def test_linux_rows(boot):
    """Debian's guest tells what a process costs, in rows like the payload's."""
    booted = boot("--machine", "qemu-amd", "--vcpus", 1, "--append", "bench.rows",
                  "--initrd", BUILD / "bench/whole.gz")
    rows = rows_of(booted)
    assert 0 < rows["linux-fork"] < rows["linux-fork-exec"]


def test_load(boot):
    """A load goes round on each CPU, and what it executes is all that exits meanwhile."""
    booted = boot("--machine", "qemu-amd", "--append", "bench.load=exec____ bench.seconds=001",
                  "--initrd", BUILD / "bench/whole.gz")
    assert booted.finish() == SUCCESS, booted.tail()
    text = booted.text.replace("\r", "")
    assert [int(count) > 0 for count, _ in steady.ROUNDS.findall(text)] == [True, True]
    assert steady.exits_of(text)["cpuid"] > 1000


def test_exits_of_a_load():
    """The vCPUs' exits are added up, and those that the guest did not ask for are told apart."""
    console = "[ 1.0] exits: vcpu 0: cpuid 30 memory 2\n[ 1.0] exits: vcpu 1: cpuid 10\n"
    assert steady.exits_of(console) == {"cpuid": 40, "memory": 2}
    found = {"rounds": 20, "seconds": 2.0, "exits": {"cpuid": 40, "memory": 2}}
    assert steady.lines("bochs-amd", {"latch": {"idle": found}}).splitlines()[1] == (
        "  latch idle: 10 rounds; 1.0 of Latch's making; cpuid 20.0, memory 1.0")


def sample(latch, peer):
    def column(**medians):
        return {"rows": {name: {"median": value, "min": value, "rounds": 1}
                         for name, value in medians.items()}}

    return {"machines": {"bochs-amd": {
        "bare": column(cpuid=3, invlpg=1), "full": column(cpuid=50, hypercall=40),
        "latch": column(cpuid=latch, hypercall=80), "kvm": column(cpuid=peer, hypercall=1000),
        "latch-sh": {"rows": {}, "missing": "refused"}}}}


def test_table():
    text = results.table("bochs-amd", sample(100, 1000)["machines"]["bochs-amd"]).splitlines()
    assert text[1].split() == ["row", "bare", "full", "latch", "kvm", "latch/full", "latch/peer"]
    assert text[2].split() == ["cpuid", "3", "50", "100", "1000", "2.00", "0.10"]
    assert text[3].split() == ["hypercall", "-", "40", "80", "1000", "2.00", "0.08"]
    assert text[-1] == "latch-sh: refused"


def test_files(tmp_path):
    results.write_csv(tmp_path / "a.csv", sample(100, 1000))
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "machine,column,row,median,min,rounds,exits,absent"
    assert "bochs-amd,latch,cpuid,100,100,1,," in lines
    chart.write(tmp_path / "a.svg", sample(100, 1000))
    assert "latch cpuid: 100" in (tmp_path / "a.svg").read_text()


def test_check(tmp_path, make):
    """Growth by more than 2 % is listed, and less is not."""
    for name, latch, peer in (("old", 1000, 1000), ("new", 1021, 1020)):
        (tmp_path / f"{name}.json").write_text(json.dumps(sample(latch, peer)))
    said = make("make", "-s", "bench-check", f"A={tmp_path}/old.json", f"B={tmp_path}/new.json")
    assert said.splitlines() == ["bochs-amd latch cpuid: 1000 -> 1021 (+2.1%)",
                                 "bench-check: 1 of 8 medians grew by more than 2%"]
