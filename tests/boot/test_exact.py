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
    "no-nx": ("host,nx=off", ""),
    "no-pse36": ("host,pse36=off", ""),
    "no-pat": ("host,pat=off", ""),
    "cbit-35": ("host,cbit=35", ""),
    "cbit-47": ("host,cbit=47", ""),
    "reduction": ("host,cbit=39,addr-reduction=3", ""),
    "everything": ("host,maxphyaddr=36,gbpages=off,vendor={other}", "other"),
}
# What the payload is to see of that, besides the host's.
SEEN = {
    "width-36": {"MAXPHYADDR": 36}, "no-gbpages": {"gbpages": 0}, "no-nx": {"nx": 0},
    "no-pse36": {"pse36": 0}, "no-pat": {"pat": 0}, "cbit-35": {"C-bit": 35},
    "cbit-47": {"C-bit": 47, "MAXPHYADDR": 52}, "reduction": {"C-bit": 39, "reduction": 3},
    "everything": {"MAXPHYADDR": 36, "gbpages": 0},
}
HOST_VENDOR = {"qemu-amd": "amd", "bochs-intel": "intel", "bochs-amd": "amd"}
OTHER_VENDOR = {"qemu-amd": "intel", "bochs-intel": "amd", "bochs-amd": "intel"}

# The CPU of Bochs' with a monitor trap flag, without which Latch checks no width.
MONITOR_TRAP = ["--cpu", "corei7_icelake_u"]

# Models that one mode alone shows, and the suite tries in that.
ONLY = {} if ALL else {"no-nx": "pae", "no-pse36": "32bit-pse", "no-pat": "pae",
                       "reduction": "pae"}

# (machine, paging, model): direct where that is exact, and shadow.
RUNS = [(machine, "direct", "host") for machine in MACHINES]
RUNS += [("qemu-amd", "shadow", "host"), ("bochs-intel", "direct", "width-36"),
         ("bochs-intel", "shadow", "everything"),
         ("bochs-amd", "shadow", "cbit-35"), ("qemu-amd", "shadow", "everything"),
         ("qemu-amd", "shadow", "cbit-47"), ("qemu-amd", "shadow", "reduction"),
         ("qemu-amd", "direct", "no-nx"), ("qemu-amd", "shadow", "no-pat"),
         ("qemu-amd", "shadow", "no-pse36")]
if ALL:
    RUNS += [(machine, "direct", "no-nx") for machine in ("bochs-intel", "bochs-amd")]
    RUNS += [(machine, "shadow", model) for machine in MACHINES for model in MODELS
             if (machine == "qemu-amd" or model != "cbit-47")
             and (machine, "shadow", model) not in RUNS]

# What vCPU 1 has that vCPU 0 has not; and, with four vCPUs, what vCPU 3 has.
UNLIKE = {"width": "maxphyaddr=36", "gbpages": "gbpages=off", "vendor": "vendor={other}",
          "cbit": "cbit=35"}
OF_VCPU_3 = {"width": "gbpages", "gbpages": "vendor", "vendor": "cbit", "cbit": "width"}

# The emulators' own faults, which show in direct mode only: word, and what may be met.
FAULTS = {
    "qemu-amd": ("tcg-faults" if ALL else "tcg-faults sample=7", {
        "reserved-without-present", "pml4e-bit-8-ignored", "pdpte-as-other-tables",
        "1g-accessed-early"}),
    "bochs-amd": ("bochs-faults" if ALL else "bochs-faults sample=15", {"pml4e-bit-8-ignored"}),
    "bochs-intel": ("cr0-loads" if ALL else "cr0-loads sample=15", set()),
}
NARROW_FAULTS = {"leaf-marked-early"}  # a smaller MAXPHYADDR, direct: Bochs marks, then refuses

# Mode switches cost much on shadow tables: of the 32-bit modes' trials one in so many (more where
# that mode alone is tried), and of the others' one in an eighth of that. All of them if all is
# asked for.
SAMPLE = 1 if ALL else 31


def marked(runs):
    return [pytest.param(*run, marks=pytest.mark.long, id="-".join(map(str, run))) for run in runs]


def arguments(machine, paging, model):
    """For iso/run: the model, and the CPU that is wide enough for it."""
    spec, rules = MODELS[model]
    words = ["--paging", paging, "--model", spec.format(other=OTHER_VENDOR[machine])]
    if model == "cbit-47":
        words += ["--cpu", "max,phys-bits=52"]
    if (paging, model) == ("direct", "width-36"):
        words += MONITOR_TRAP
    vendor = (OTHER_VENDOR if rules == "other" else HOST_VENDOR)[machine]
    faults = "narrow-faults" if (paging, model) == ("direct", "width-36") else ""
    only = f"only={ONLY[model]}" if model in ONLY else ""
    sample = 7 if model in ONLY else SAMPLE
    return words, f"vendor={vendor} {faults} {only} {payload_words(machine, paging, sample)}"


def payload_words(machine, paging, sample=SAMPLE):
    """Whose faults may be met, and what a table reads as where there is no memory."""
    if paging == "direct":
        return FAULTS[machine][0]
    nothing = "" if machine == "qemu-amd" else "nothing=ones"
    return f"walks=latch {nothing} sample={sample}"


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


def check_all_was_tried(booted, machine, model):
    """The payload saw this model, and had each combination of WP, SMEP, SMAP, NXE and PKE."""
    seen = {"MAXPHYADDR": 40, "C-bit": 0, "reduction": 0, "gbpages": 1, "nx": 1, "pse36": 1,
            "pat": 1, **SEEN.get(model, {})}
    vendor = (OTHER_VENDOR if MODELS[model][1] == "other" else HOST_VENDOR)[machine]
    rules = {"intel": "Intel", "amd": "AMD"}[vendor]
    line = booted.lines("info exact: rules .*, smep 1, smap 1, .*")[0]
    assert f"rules {rules}, " in line, line
    assert {name: int(value) for name, value in re.findall(r"([-\w]+) (\d+)", line)
            if name in seen} == seen, line
    modes = [re.search(r"exact: (\S+) cr0", text).group(1)
             for text in booted.lines("info exact: .* cases so far")]
    keys = 2 if machine == "qemu-amd" else 1
    combinations = {"32bit": 16, "32bit-pse": 16, "pae": 16, "4level": 16 * keys}
    if machine == "qemu-amd":
        combinations["5level"] = 16 * keys
    if model in ONLY:
        combinations = {ONLY[model]: 16}
    if model == "no-nx":
        combinations = {mode: count // 2 for mode, count in combinations.items()}
    assert {mode: modes.count(mode) for mode in set(modes)} == combinations, booted.tail(40)
    sampled = booted.lines("info exact: .* were tried")
    assert len(sampled) == len(combinations), booted.tail(40)
    for text in sampled:
        met, tried = map(int, re.findall(r" (\d+) ", text))
        assert met == tried > 500, text
    ends = booted.lines(r"exact: \S+ \d+ cases \d+ differences, \d+ skipped")
    assert len(ends) == len(combinations), booted.tail(40)
    for text in ends:
        cases, _, skipped = map(int, re.findall(r" (\d+) (?:cases|diff|skip)", text))
        assert skipped * 10 < cases, text


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
    inexact = model == "width-36" and paging == "direct"
    booted = run(boot, "exact", machine, words, append, inexact)
    assert booted.lines("payload: .*under Latch"), "the payload did not see Latch"
    check_all_was_tried(booted, machine, model)
    least = (1_000 if model in ONLY else 30_000 if paging == "shadow" else
             90_000 if "sample=15" in append else 150_000)
    assert total(booted, "exact") > least, booted.tail()
    known = set(re.findall(r"known (\S+) \d+", booted.text))
    if paging == "shadow":
        assert not known, f"met {sorted(known)}"
    elif model == "width-36":
        assert known == NARROW_FAULTS, f"met {sorted(known)}"
    else:
        assert known <= FAULTS[machine][1], f"met {sorted(known)}"
        assert model in ONLY or known == FAULTS[machine][1], f"met {sorted(known)}"


@pytest.mark.parametrize("machine,mode,sample", [
    ("qemu-amd", "5level", 8003), ("bochs-intel", "pae", 503), ("bochs-intel", "4level", 2003),
    ("bochs-amd", "32bit-pse", 53), ("bochs-amd", "4level", 2003)])
def test_exact_prints_each_outcome(boot, machine, mode, sample):
    """On request: what was wanted and found, and the entries, so that a run can be read."""
    append = f"vendor={HOST_VENDOR[machine]} {payload_words(machine, 'shadow', sample)}"
    booted = run(boot, "exact", machine, ["--paging", "shadow"],
                 f"{append} print=all only={mode}")
    outcomes = booted.lines("outcome: .*")
    assert len(outcomes) == total(booted, "exact"), booted.tail()
    loads = [line for line in outcomes if " load of CR3 " in line]
    assert (len(loads) > 40) == mode.endswith("level"), booted.tail()
    assert all("; entries:" in line for line in outcomes if line not in loads), booted.tail()
    for line in outcomes:
        wanted, found = re.search(": wanted (.*?) found (.*?)(, PDPTE .*)?(; entries:.*)?$",
                                  line).group(1, 2)
        assert wanted == found, line


def test_exact_bare(boot):
    """The reference walker is right where no Latch is: on the emulator that has no known fault."""
    words = "vendor=intel cr0-loads" if ALL else "vendor=intel cr0-loads sample=3"
    booted = run(boot, "exact", "bochs-intel", ["--bare"], words)
    assert total(booted, "exact") > (150_000 if ALL else 90_000)
    assert "known" not in booted.text


def test_exact_keys(boot):
    """Protection keys on VMX: Bochs takes them for supervisors' pages and not for supervisors, bare
    too. On shadow tables nothing is left of that."""
    words = ["--paging", "shadow", "--cpu", "tigerlake", "--latch", BUILD / "test/latch-states.elf"]
    booted = run(boot, "exact", "bochs-intel", words,
                 f"vendor=intel nothing=ones only=4level sample={31 if ALL else 311}")
    assert total(booted, "exact") > 9_000
    assert booted.lines("info exact: .*, pku 1"), booted.tail(60)


def unlike(boot, machine, paging, vcpus, conf, append, words=()):
    """All rounds were made, in the end; a round is one access by each vCPU."""
    words = ["--vcpus", vcpus, "--conf", f"paging={paging} {conf}".strip(), *words]
    booted = run(boot, "unlike", machine, words, f"rounds={ROUNDS} {append}", inexact=True)
    made = booted.lines(r"unlike: \d+ rounds")
    assert len(made) == 1 and int(made[0].split()[1]) >= ROUNDS, booted.tail()
    assert total(booted, "unlike") >= vcpus * ROUNDS
    return booted


@pytest.mark.parametrize("machine", MACHINES)
def test_like_vcpus(boot, machine):
    """Models that are the same, direct: what the payload finds by itself."""
    unlike(boot, machine, "direct", 2, "", FAULTS[machine][0])


# (machine, paging, difference, vCPUs). By `auto` the even vCPUs, the host, are not shadowed and the
# others are; a smaller width is direct on VMX alone.
UNLIKE_RUNS = [("qemu-amd", "shadow", difference, 2) for difference in UNLIKE]
UNLIKE_RUNS += [("qemu-amd", "auto", difference, 2) for difference in ("width", "vendor")]
UNLIKE_RUNS += [("qemu-amd", "auto", "cbit", 4), ("bochs-intel", "auto", "gbpages", 2),
                ("bochs-intel", "direct", "width", 2), ("bochs-intel", "shadow", "vendor", 2),
                ("bochs-amd", "auto", "gbpages", 2)]
if ALL:
    UNLIKE_RUNS = [(machine, paging, difference, vcpus) for machine in MACHINES
                   for paging in ("shadow", "auto") for difference in UNLIKE for vcpus in (2, 4)]
    UNLIKE_RUNS += [("bochs-intel", "direct", "width", vcpus) for vcpus in (2, 4)]


def unlike_models(machine, paging, difference, vcpus):
    """The configuration of the odd vCPUs, and what their payload must know of it."""
    conf, words = [], []
    for vcpu, what in ((1, difference), (3, OF_VCPU_3[difference]))[:vcpus // 2]:
        model = f"maxphyaddr={35 + vcpu}" if paging == "direct" else UNLIKE[what]
        conf.append(f"cpu{vcpu}=host,{model}".format(other=OTHER_VENDOR[machine]))
        if what == "vendor":
            words.append(f"vendor{vcpu}={OTHER_VENDOR[machine]}")
    return " ".join(conf), " ".join(words)


def unlike_words(machine, paging, vcpus):
    """The faults of each vCPU's kind of paging, and what tables that Latch walks read of nothing."""
    if paging == "direct":
        return " ".join(f"narrow-faults{vcpu}" for vcpu in range(1, vcpus, 2))
    emulators = FAULTS[machine][0].split()[:1] if paging == "auto" else []
    words = [f"{word}{vcpu}" for word in emulators for vcpu in range(0, vcpus, 2)]
    return " ".join(words + ([] if machine == "qemu-amd" else ["nothing=ones"]))


@pytest.mark.parametrize("machine,paging,difference,vcpus", marked(UNLIKE_RUNS))
def test_unlike_vcpus(boot, machine, paging, difference, vcpus):
    """Each vCPU faults as its own model says, and the models do say unlike things."""
    conf, words = unlike_models(machine, paging, difference, vcpus)
    booted = unlike(boot, machine, paging, vcpus, conf,
                    f"{words} {unlike_words(machine, paging, vcpus)}",
                    MONITOR_TRAP if paging == "direct" else ())
    kind = {"shadow": "shadow", "auto": "shadow", "direct": "direct .EPT., with #PFs"}[paging]
    for vcpu in range(1, vcpus, 2):
        assert booted.lines(f"paging: vcpu {vcpu}: {kind}"), booted.tail(40)
    kind = "shadow" if paging == "shadow" else "direct .[EN]PT., the hardware enforces"
    assert booted.lines(f"paging: vcpu 0[-,0-9]*: {kind}"), booted.tail(40)
    differ = [int(n) for n in re.findall(r"(\d+) differ by model", booted.text)]
    # Bochs' own AMD CPU ignores the one bit in which the two vendors' rules differ at four levels.
    alike = (machine, paging, difference, vcpus) == ("bochs-amd", "auto", "vendor", 2)
    assert len(differ) == 2 and (max(differ) == 0 if alike else min(differ) > 0), booted.tail()
    for kind in ("[EN]PT", "shadow") if paging == "shadow" else ("[EN]PT",):
        pages, shared, models = booted.tables(kind)
        assert set(models) == {0, *range(1, vcpus, 2)}, booted.tail(60)
        assert max(models.values()) <= pages, booted.tail(60)
        # A width or a C-bit has a say at each level of the guest's tables.
        apart = kind == "shadow" and difference in ("width", "cbit")
        assert (shared == 0) == apart or (apart and vcpus == 4), booted.tail(60)


HOSTILE_RUNS = [(machine, paging) for machine in MACHINES for paging in ("direct", "shadow")
                if ALL or machine == "qemu-amd"
                or (machine, paging) in (("bochs-intel", "shadow"), ("bochs-amd", "direct"))]
HOSTILE_RUNS += [("bochs-intel", "narrow")]


@pytest.mark.parametrize("machine,paging", marked(HOSTILE_RUNS))
def test_hostile(boot, machine, paging):
    """Narrow: direct, and Latch finds by a walk of its own what is beyond the model's limit."""
    words, append = ["--paging", paging], payload_words(machine, paging)
    rounds = ROUNDS if ALL or paging != "narrow" else ROUNDS // 4
    if paging == "narrow":
        words = ["--paging", "direct", "--model", "host,maxphyaddr=36", *MONITOR_TRAP]
        append = "narrow-faults"
    booted = run(boot, "hostile", machine, words, f"rounds={rounds} {append}", inexact=True)
    refused = booted.lines(r"hostile: \d+ accesses to Latch's memory were refused")
    assert len(refused) == 1 and int(refused[0].split()[1]) > 0, booted.tail()
    tables = booted.lines(r"hostile: \d+ random tables")
    assert len(tables) == 1 and int(tables[0].split()[1]) >= rounds, booted.tail()


# Not on bochs-amd, which never takes the shutdown intercept. The local APIC's page is held read-only.
NOTHINGS = [("qemu-amd", root) for root in ("latch", "0x8d540000", "0xa0000", "0xfee00000")]
NOTHINGS += [("bochs-intel", root) for root in ("latch", "0x8d540000") if ALL or root == "latch"]


@pytest.mark.parametrize("machine,root", NOTHINGS)
@pytest.mark.parametrize("paging", ["direct", "shadow"])
def test_root_of_nothing(boot, machine, paging, root):
    """CR3 with Latch's memory, none, or a device's: the guest ends, and Latch tells how."""
    booted = boot("--machine", machine, "--paging", paging, "--guest",
                  BUILD / "guest/hostile.elf", "--conf", "icr-trap=keep", "--append",
                  f"rounds=1000 crash={root} {payload_words(machine, paging)}")
    assert booted.finish() == ERROR, booted.tail()
    assert booted.verdicts == ["ERROR"], booted.tail()
    assert booted.lines("guest: vcpu 0 stopped: triple fault"), booted.tail(40)
