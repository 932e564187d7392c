# SPDX-License-Identifier: BSD-2-Clause
"""The bench measures what it says: its guest, the least stub, the table and the comparison."""

import json
import sys

import pytest

from conftest import BUILD, MACHINES, ROOT, SUCCESS

sys.path.insert(0, str(ROOT / "tests/bench"))

import bounds  # noqa: E402
import chart  # noqa: E402
import configurations  # noqa: E402
import debugger  # noqa: E402
import kvm_linux  # noqa: E402
import memory  # noqa: E402
import relaunch  # noqa: E402
import results  # noqa: E402
import steady  # noqa: E402
import whole  # noqa: E402

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
    """The same guest under Latch: what Latch passes costs nothing, what it answers is counted, and
    costs no more than it may; least and median are one, for each round takes the same."""
    booted = boot("--machine", machine, "--vcpus", 1, "--append", ROUNDS, *COUNTED[machine],
                  "--guest", BUILD / "bench/payload.elf")
    rows = rows_of(booted)
    found = configurations.read(booted.text.replace("\r", ""))
    for name in ("wrmsr-lstar", "cr3-twice", "invlpg", "apic-eoi", "timer-arm"):
        assert (found[name]["exits"], rows[name]) == (0, found[name]["min"]), name
    for name in ("cpuid-0", "rdmsr-8b", "hypercall"):
        assert found[name]["exits"] == 20 and rows[name] > 30, name
    assert not bounds.broken(machine, rows)
    if machine != "qemu-amd":
        assert [row for row in bounds.GENERAL if found[row]["min"] != found[row]["median"]] == []


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
    booted = boot("--machine", "qemu-amd", "--vcpus", 1, "--append", "bench.rows rounds=20",
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
    """The vCPUs' exits are added up; those that the guest did not ask for are told apart, and so are
    writes to the APIC before all vCPUs had come up, which are no load's."""
    base = "[ 1.0] exits: vcpu 0: cpuid 5 memory 90\n[ 1.0] exits: vcpu 1: cpuid 1\n" + (
        "[ 1.0] ipi: vcpu 0: 0 writes to the APIC by WRMSR and 90 by MMIO exited, 0 of them when "
        "all vCPUs had come up\n")
    console = base.replace("cpuid 5", "cpuid 45").replace("90", "71").replace(
        " 0 of", " 4 of").replace("memory 71", "memory 73")
    assert steady.exits_of(base) == {"cpuid": 6}
    assert steady.exits_of(console) == {"cpuid": 46, "memory": 2, "apic-late": 4}
    found = steady.difference((steady.exits_of(base), 0, 0.0),
                              (steady.exits_of(console), 20, 2.0))
    assert steady.lines("bochs-amd", {"latch": {"idle": found}}).splitlines()[1] == (
        "  latch idle: 10 rounds; 3.0 of Latch's making; apic-late 2.0, cpuid 20.0, memory 1.0")


def sample(latch, peer, **more):
    def column(**medians):
        return {"rows": {name: {"median": value, "min": value - 1, "rounds": 1}
                         for name, value in medians.items()}}

    return {"machines": {"bochs-amd": {
        "bare": column(cpuid=3, invlpg=1), "full": column(cpuid=50, hypercall=40),
        "latch": column(cpuid=latch, hypercall=80, **more),
        "kvm": column(cpuid=peer, hypercall=1000),
        "latch-sh": {"rows": {"ipi": {"absent": "no second one"}}, "missing": "refused"}}},
        "steady": {"bochs-amd": {"latch": {"idle": {
            "rounds": 9, "making": 0, "exits": {"cpuid": 10}}}}}}


def test_table():
    found = sample(100, 1000)
    results.add_repeat(found["machines"]["bochs-amd"], sample(101, 1000)["machines"]["bochs-amd"])
    text = results.table("bochs-amd", found["machines"]["bochs-amd"]).splitlines()
    assert text[1].split() == ["row", "bare", "full", "latch", "latch-sh", "kvm", "latch/full",
                               "latch/peer", "latch-sh/full", "latch-sh/peer"]
    assert text[2].split() == ["cpuid", "3/2", "50/49", "~100/99", "-", "1000/999", "2.00", "0.10",
                               "-", "-"]
    assert text[-2:] == ["latch-sh: refused", "latch-sh: no ipi: no second one"]
    assert results.varying(found["machines"]["bochs-amd"]) == [("latch", "cpuid", 100, 101)]


def test_files(tmp_path):
    """The ratios are in the files too, and what is no row."""
    found = sample(100, 1000)
    results.add_ratios(found)
    results.write_csv(tmp_path / "a.csv", found)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "machine,column,row,median,min,rounds,exits,again,of limit,of peer,absent"
    assert "bochs-amd,latch,cpuid,100,99,1,,,2.0,0.1," in lines
    assert "bochs-amd,latch,steady idle exits cpuid,10" in lines
    chart.write(tmp_path / "a.svg", found)
    assert "latch cpuid: 100" in (tmp_path / "a.svg").read_text()


def test_check(tmp_path, make):
    """Growth by more than 2 % is listed, and less is not; so is what is gone, or new to exit."""
    old, new = sample(1000, 1000, boot=7), sample(1021, 1015)
    idle = new["steady"]["bochs-amd"]["latch"]["idle"]
    idle["rounds"], idle["exits"] = 99, {"io": 2}
    new["machines"]["bochs-amd"]["bare"]["rows"]["cpuid"]["min"] = 3
    for name, found in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    said = make("make", "-s", "bench-check", f"A={tmp_path}/old.json", f"B={tmp_path}/new.json")
    assert said.splitlines() == [
        "steady bochs-amd latch idle exits io: 0 -> 2 (+100.0%)",
        "bochs-amd bare cpuid min: 2 -> 3 (+50.0%)",
        "bochs-amd latch cpuid min: 999 -> 1020 (+2.1%)",
        "bochs-amd latch cpuid: 1000 -> 1021 (+2.1%)",
        "bochs-amd latch boot: gone", "bochs-amd latch boot min: gone",
        "bench-check: 4 of 17 figures grew by more than 2%, 2 are gone"]


def stopped(times):
    return "".join(f"Next at t={time}\n" for time in [0, *times])


def test_relaunch_parts(monkeypatch):
    """Times of the functions' beginnings become the parts of the median generation."""
    one = [0, 10, 1010, 1110, 1130, 2130, 2135]
    times = [start + at + (at > 0) * extra for start, extra in ((0, 0), (9000, 5), (99000, 7))
             for at in one]
    monkeypatch.setattr(debugger, "run", lambda script, arguments: (stopped(times), "no more"))
    monkeypatch.setattr(relaunch, "entry_of", lambda elf: "0x100000")
    found = relaunch.measure("bochs-intel", "latch")
    assert found == {"rest": 40, "clearing": 1000, "digest": 100, "copying": 1000,
                     "samples": [35, 40, 42]}
    monkeypatch.setattr(debugger, "run", lambda script, arguments: ("", "refused"))
    assert relaunch.measure("bochs-intel", "latch") == {"missing": "refused"}


def test_no_debugger_where_the_boot_is_refused():
    said, console = debugger.run(["q"], ["--machine", "qemu-amd"])
    assert said == "" and "qemu-amd is not Bochs" in console


def test_trace(monkeypatch):
    """Steps from the operation's third round to its end, by the function that they are in."""
    guest = dict((name, address) for address, name in debugger.symbols(configurations.PAYLOAD))
    start = guest["op_cpuid"]
    steps = [(start, "mov"), (start + 4, "cpuid"), (debugger.LATCH_BASE + (1 << 62), "vmread"),
             (start + 6, "ret"), (start + 7, "nop")]
    text = "".join(f"(0).[1] [0x00000000] 0008:{address:016x} (unk. ctxt): {name} x\n"
                   for address, name in steps)
    monkeypatch.setattr(debugger, "run", lambda script, arguments: (text, ""))
    found = debugger.trace("bochs-intel", "op_cpuid")
    assert [name for _, name in found] == ["mov", "cpuid", "vmread"]
    functions, dear = debugger.profile(found)
    assert functions[0] == ("op_cpuid", 2) and dear == {"cpuid": 1, "vmread": 1}
    assert debugger.trace("bochs-intel", "op_nothing") == []


VERDICT = "bench: verdict at 5000, idle for 250000 ns\nbench: flags fpu sse\n"


def test_whole(monkeypatch):
    """From the kernel's entry, by the debugger, to the verdict, by the TSC, without idle time."""
    monkeypatch.setattr(debugger, "run", lambda script, arguments: (
        stopped([100, 1000]), "exits: vcpu 0: cpuid 7\n" + VERDICT))
    found = whole.measure("bochs-amd", "latch")
    assert found == {"boot": 3000, "idle": 1000, "flags": ["fpu", "sse"], "exits": {"cpuid": 7},
                     "entry": 900}
    assert "0.7500 of bare" in whole.lines("bochs-amd", {"bare": {**found, "boot": 4000},
                                                         "latch": found})
    monkeypatch.setattr(debugger, "run", lambda script, arguments: ("", "latch: refused: it"))
    assert whole.measure("bochs-amd", "latch") == {"missing": "it"}


def test_kvm_linux(monkeypatch, tmp_path):
    """The guests of one boot are told apart by what the host's init says before each."""
    load = "bench: load x on CPU 0: 30 rounds in 2.0 s\nexits: vcpu 0: exits {}\n"
    texts = {"whole": "bench: entry at 1000\n" + VERDICT,
             "rows": "bench: linux-fork median 9 min 8 rounds 1000\n",
             "base": load.format(10), "idle": load.format(14)}
    said = "host\n" + "".join(f"bench: guest {name}\n{text}" for name, text in texts.items())
    monkeypatch.setattr(configurations, "boot", lambda *_: (said, 0))
    found = kvm_linux.measure("bochs-amd", "kvm", 1000, tmp_path)
    assert found["whole"]["boot"] + found["whole"]["idle"] == 4000
    assert found["whole"]["idle"] == 250 * kvm_linux.TICKS_PER_US
    assert found["rows"]["linux-fork"]["min"] == 8
    assert found["steady"]["idle"]["seconds"] == 2.0 * kvm_linux.SLOWER
    assert found["steady"]["idle"]["exits"] == {"exits": 4}
    assert "missing" in found["steady"]["timer"]


def test_kvm_linux_has_bare_linux_words():
    """What iso/run passes bare Debian is what KVM's guest gets."""
    text = (ROOT / "iso/run").read_text()
    words = [word for word in kvm_linux.BARE_WORDS.split() if "_cpus=" not in word
             and "expect" not in word]
    assert [word for word in words if word not in text] == []


def test_memory(monkeypatch, tmp_path):
    said = ("memory: Latch at 0x1000-0x401000, 9 mappings\nmemory: pool of 100 pages, 12 in use\n"
            "tables: EPT: 5 pages in all\nstats: boot ACPI: 10 ticks, 1.0 %\n"
            "stats: boot guest images: 500 ticks, 1.0 %\nstats: boot launch: 7 ticks, 1.0 %\n")
    monkeypatch.setattr(configurations, "boot", lambda *_, **__: (said, 0))
    found = memory.measure(256, "eight CPUs", tmp_path)
    assert (found["tables"], found["range"]) == (5, 0x400000)
    assert found["own"] == memory.image() + 7 * 4096
    assert memory.entry("qemu-amd", "latch", 1024, tmp_path) == 17
