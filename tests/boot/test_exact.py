# SPDX-License-Identifier: BSD-2-Clause
"""The guest's CPU against the manuals: page tables of every kind, under each model and paging.

The payloads compare each outcome with tests/reference/walk.c, not with Latch's own walker.
"""

import os
import re

import pytest

from conftest import BUILD, ERROR, MACHINES, SUCCESS

# Every model on every machine, and a million rounds: hours, so only if asked for.
ALL = "LATCH_TEST_ALL" in os.environ
ROUNDS = 1_000_000 if ALL else 20_000

# name: the model, and which rules of paging it has ("" the host's, "other" the other vendor's)
MODELS = {
    "host": ("host", ""),
    "width-36": ("host,maxphyaddr=36", ""),
    "no-gbpages": ("host,gbpages=off", ""),
    "other-vendor": ("host,vendor={other}", "other"),
    "cbit-35": ("host,cbit=35", ""),
    "cbit-47": ("host,cbit=47", ""),
    "everything": ("host,maxphyaddr=36,gbpages=off,vendor={other}", "other"),
}
HOST_VENDOR = {"qemu-amd": "amd", "bochs-intel": "intel", "bochs-amd": "amd"}
OTHER_VENDOR = {"qemu-amd": "intel", "bochs-intel": "amd", "bochs-amd": "intel"}

# (machine, paging, model): direct where that is exact, and shadow.
RUNS = [(machine, "direct", "host") for machine in MACHINES]
RUNS += [("qemu-amd", "shadow", "host"), ("bochs-intel", "direct", "width-36"), ("bochs-intel", "shadow", "everything"),
         ("bochs-amd", "shadow", "cbit-35"), ("qemu-amd", "shadow", "everything"),
         ("qemu-amd", "shadow", "cbit-47")]
if ALL:
    RUNS += [(machine, "shadow", model) for machine in MACHINES for model in MODELS
             if (machine == "qemu-amd" or model != "cbit-47")
             and (machine, "shadow", model) not in RUNS]

# What vCPU 1 has that vCPU 0 has not, and what its payload must know of it.
UNLIKE = {
    "width": ("maxphyaddr=36", ""),
    "gbpages": ("gbpages=off", ""),
    "vendor": ("vendor={other}", "vendor1={other}"),
    "cbit": ("cbit=35", ""),
}

# The emulators' own faults, which show in direct mode only: word, and what may be met.
FAULTS = {
    "qemu-amd": ("tcg-faults sample=7", {
        "reserved-without-present", "pml4e-bit-8-ignored", "pdpte-as-other-tables",
        "1g-accessed-early", "cr3-unchecked"}),
    "bochs-amd": ("bochs-faults", {"pml4e-bit-8-ignored"}),
    "bochs-intel": ("", set()),
}
NARROW_FAULTS = {"leaf-marked-early"}  # a smaller MAXPHYADDR, direct: Bochs marks, then refuses
SHADOW_FAULTS = {"unchecked-after-wp0"}

# Mode switches cost much on shadow tables: of the 32-bit modes' trials one in so many, and of the
# others' one in an eighth of that.
SAMPLE = {"qemu-amd": 7, "bochs-intel": 31, "bochs-amd": 31}


def marked(runs):
    return [pytest.param(*run, marks=pytest.mark.long, id="-".join(map(str, run))) for run in runs]


def arguments(machine, paging, model):
    """For iso/run: the model, and the CPU that is wide enough for it."""
    spec, rules = MODELS[model]
    words = ["--paging", paging, "--model", spec.format(other=OTHER_VENDOR[machine])]
    if model == "cbit-47":
        words += ["--cpu", "max,phys-bits=52"]
    vendor = (OTHER_VENDOR if rules == "other" else HOST_VENDOR)[machine]
    faults = "narrow-faults" if (paging, model) == ("direct", "width-36") else ""
    return words, f"vendor={vendor} {faults} {payload_words(machine, paging)}"


def payload_words(machine, paging):
    """Whose faults may be met, and what a table reads as where there is no memory."""
    if paging == "direct":
        return FAULTS[machine][0]
    nothing = "" if machine == "qemu-amd" else "nothing=ones"
    return f"shadow-faults {nothing} sample={SAMPLE[machine]}"


def run(boot, payload, machine, words, append, inexact=False):
    """To its verdict; what it prints without being wrong may be looked at by the caller."""
    booted = boot("--machine", machine, *words, "--guest", BUILD / f"guest/{payload}.elf",
                  "--append", append)
    status = booted.finish()
    wrong = booted.lines("FAIL .*") + booted.lines("broken: .*") + booted.lines("difference: .*")
    assert not wrong, "\n".join(wrong)
    assert status == SUCCESS, booted.tail()
    assert booted.verdicts == ["SUCCESS"], booted.tail()
    assert inexact or not booted.lines("Test result: SUCCESS, inexact"), booted.tail()
    absent = {line.split()[1].rstrip(":") for line in booted.lines("absent .*")}
    levels = set() if machine == "qemu-amd" else {f"{payload}.5level"}
    assert absent <= levels, f"absent on {machine}: {absent}"
    return booted


def total(booted, payload):
    """The cases of its last line, which must have no difference."""
    found = booted.lines(payload + r": total \d+ cases \d+ differences")
    assert len(found) == 1, booted.tail()
    cases, differences = map(int, re.findall(r"\d+", found[0]))
    assert differences == 0, found[0]
    return cases


@pytest.mark.parametrize("machine,paging,model", marked(RUNS))
def test_exact(boot, machine, paging, model):
    words, append = arguments(machine, paging, model)
    inexact = paging == "shadow" or model == "width-36"
    booted = run(boot, "exact", machine, words, append, inexact)
    assert booted.lines("payload: .*under Latch"), "the payload did not see Latch"
    assert total(booted, "exact") > (150_000 if paging == "direct" else 30_000), booted.tail()
    known = set(re.findall(r"known (\S+) \d+", booted.text))
    if paging == "shadow":
        assert known <= SHADOW_FAULTS, f"met {sorted(known)}"
    elif model == "width-36":
        assert known == NARROW_FAULTS, f"met {sorted(known)}"
    else:
        assert known == FAULTS[machine][1], f"met {sorted(known)}"


def test_exact_bare(boot):
    """The reference walker is right where no Latch is: on the emulator that has no known fault."""
    booted = run(boot, "exact", "bochs-intel", ["--bare"], "vendor=intel")
    assert total(booted, "exact") > 150_000
    assert "known" not in booted.text


def unlike(boot, machine, paging, vcpus, conf, append):
    words = ["--vcpus", vcpus, "--conf", f"paging={paging} {conf}".strip()]
    faults = payload_words(machine, paging)
    return run(boot, "unlike", machine, words, f"rounds={ROUNDS} {append} {faults}", inexact=True)


@pytest.mark.parametrize("machine", MACHINES)
def test_like_vcpus(boot, machine):
    """Models that are the same, direct: what the payload finds by itself."""
    assert total(unlike(boot, machine, "direct", 2, "", ""), "unlike") > ROUNDS / 2


UNLIKE_RUNS = [("qemu-amd", difference, 2) for difference in UNLIKE]
UNLIKE_RUNS += [("qemu-amd", "width", 4), ("bochs-intel", "width", 2), ("bochs-intel", "vendor", 2),
                ("bochs-amd", "gbpages", 2)]
if ALL:
    UNLIKE_RUNS = [(machine, difference, vcpus) for machine in MACHINES for difference in UNLIKE
                   for vcpus in (2, 4)]


@pytest.mark.parametrize("machine,difference,vcpus", marked(UNLIKE_RUNS))
def test_unlike_vcpus(boot, machine, difference, vcpus):
    """Each vCPU faults as its own model says, and the models do say unlike things."""
    other = OTHER_VENDOR[machine]
    model, word = (text.format(other=other) for text in UNLIKE[difference])
    booted = unlike(boot, machine, "shadow", vcpus, f"cpu1=host,{model}", word)
    assert total(booted, "unlike") > ROUNDS / 2
    differ = [int(n) for n in re.findall(r"(\d+) differ by model", booted.text)]
    assert len(differ) == 2 and min(differ) > 0, booted.tail()


@pytest.mark.parametrize("machine,paging", marked(
    [(machine, paging) for machine in MACHINES for paging in ("direct", "shadow")
     if ALL or machine == "qemu-amd" or (machine, paging) in (("bochs-intel", "shadow"),
                                                              ("bochs-amd", "direct"))]))
def test_hostile(boot, machine, paging):
    append = f"rounds={ROUNDS} {payload_words(machine, paging)}"
    booted = run(boot, "hostile", machine, ["--paging", paging], append, inexact=True)
    refused = booted.lines(r"hostile: \d+ accesses to Latch's memory were refused")
    assert len(refused) == 1, booted.tail()


@pytest.mark.parametrize("root", ["latch", "0x8d540000", "0xa0000"])
@pytest.mark.parametrize("paging", ["direct", "shadow"])
def test_root_of_nothing(boot, paging, root):
    """CR3 with Latch's memory, none, or a device's: the guest ends, and Latch tells how."""
    booted = boot("--machine", "qemu-amd", "--paging", paging, "--guest",
                  BUILD / "guest/hostile.elf", "--append",
                  f"rounds=1000 crash={root} {payload_words('qemu-amd', paging)}")
    assert booted.finish() == ERROR, booted.tail()
    assert booted.verdicts == ["ERROR"], booted.tail()
    assert booted.lines("guest: vcpu 0 stopped: triple fault"), booted.tail(40)
