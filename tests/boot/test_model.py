# SPDX-License-Identifier: BSD-2-Clause
"""The sealed model in front of the guest: printed, given on, hidden feature by feature."""

import os
import re

import pytest

from conftest import BUILD, ERROR, MACHINES, ROOT, SUCCESS
from test_payloads import run_payload

MODEL_LINE = r"(?:CPU \d+:(?: vendor=\w+)?|   0x[0-9a-f]{8} 0x[0-9a-f]{2}: eax=.*)"


def digest(booted):
    lines = booted.lines("model: digest [0-9a-f]{64}")
    assert len(lines) == 1, booted.tail(60)
    return lines[0].split()[-1]


@pytest.mark.parametrize("machine", MACHINES)
def test_print_model(boot, machine, tmp_path):
    """What one machine's console shows is a model file, and gives the next machine the same model.

    Each vCPU gets its own part of the file.
    """
    conf = "latch.model=print test-hypercalls=on"
    changes = ["--model", "host,-popcnt", "--conf", "cpu1=host,-cx16"]
    first = run_payload(boot, machine, "seal", conf=conf, arguments=changes)
    lines = first.lines(MODEL_LINE)
    assert [line for line in lines if line.startswith("CPU")] == ["CPU 0:", "CPU 1:"]
    file = tmp_path / "printed.model"
    file.write_text("\n".join(lines) + "\n")
    second = run_payload(boot, machine, "seal", conf=conf, arguments=["--model", file])
    assert second.lines(MODEL_LINE) == lines
    assert digest(second) == digest(first)
    assert not second.lines("model of vcpu .: .*"), "the file did not fit where it came from"


def test_print_what_no_leaf_says(boot, tmp_path):
    """Whose page-table rules hold stands in the file; that Latch's leaves are hidden cannot."""
    conf = "latch.model=print test-hypercalls=on"
    one = ["--vcpus", "1"]
    first = run_payload(boot, "qemu-amd", "seal", conf=conf,
                        arguments=["--model", "host,vendor=intel", *one])
    lines = first.lines(MODEL_LINE)
    assert lines[0] == "CPU 0: vendor=intel", first.tail(60)
    assert not first.lines("model: vcpu 0: with this file give .*"), first.tail(60)
    file = tmp_path / "printed.model"
    file.write_text("\n".join(lines) + "\n")
    second = run_payload(boot, "qemu-amd", "seal", conf=conf, arguments=["--model", file, *one])
    assert second.lines(MODEL_LINE) == lines
    assert digest(second) == digest(first)
    assert second.lines("model: vcpu 0: .* rules Intel"), second.tail(60)


def test_file_with_sev(boot, tmp_path):
    """A C-bit alone may be had without the hardware; with SEV beside it neither may."""
    first = run_payload(boot, "qemu-amd", "seal", conf="latch.model=print test-hypercalls=on",
                        arguments=["--model", "host,cbit=35", "--vcpus", "1"])
    text = "\n".join(first.lines(MODEL_LINE)) + "\n"
    with_sev = text.replace("0x8000001f 0x00: eax=0x00000001", "0x8000001f 0x00: eax=0x00000003")
    assert with_sev != text, first.tail(60)
    file = tmp_path / "sev.model"
    file.write_text(with_sev)
    booted = boot("--machine", "qemu-amd", "--vcpus", "1", "--guest", BUILD / "guest/modes.elf",
                  "--model", file)
    assert booted.finish() == ERROR, booted.tail()
    refusal = "latch: refused: model of vcpu 0: .* sme is not to be had: memory keys"
    assert booted.lines(refusal), booted.tail()


POPCNT, CX16, MOVBE = 23, 13, 22


def test_files_for_vcpus_and_generations(boot, tmp_path):
    """Each vCPU has a file of its own, in each of two generations; their names may be the same."""
    first = run_payload(boot, "qemu-amd", "cpuid", conf="latch.model=print",
                        arguments=["--vcpus", "1"])
    files = []
    for i, bits in enumerate([[], [POPCNT], [CX16], [MOVBE]]):
        file = tmp_path / str(i) / "a.model"
        file.parent.mkdir()
        file.write_text(hide(first.lines(MODEL_LINE), [(1, 0, 2, bit) for bit in bits]))
        files.append(file)
    conf = ("on-reset=relaunch latch.model=print test-hypercalls=on"
            f" cpu1={files[1]} generation2={files[2]} generation2.cpu1={files[3]}")
    booted = run_payload(boot, "qemu-amd", "relaunch", "rounds=3 ways=c", conf,
                         ["--model", files[0], "--mem", "96"])
    leaves = [int(line.split("ecx=")[1].split()[0], 16)
              for line in booted.lines("   0x00000001 0x00: .*")]
    absent = [{bit for bit in (POPCNT, CX16, MOVBE) if not leaf >> bit & 1} for leaf in leaves]
    assert absent == [set(), {POPCNT}, {CX16}, {MOVBE}, set(), {POPCNT}], booted.tail(60)


def test_equal_models_have_equal_digests(boot, make):
    """One file gives the same digest on VMX, on SVM, and in the unit tests on the host.

    On both machines topology, which is theirs to say, is that of the file.
    """
    said = make(BUILD / "unit/test_cpuid_digest")
    digests = {re.search("# small.cpuid, 2 vCPUs: ([0-9a-f]{64})", said).group(1)}
    for machine in ("bochs-intel", "bochs-amd"):
        booted = boot("--machine", machine, "--guest", BUILD / "guest/modes.elf", "--model",
                      ROOT / "tests/unit/data/small.cpuid")
        booted.expect("launch: 2 vCPUs")
        digests.add(digest(booted))
        booted.stop()
    assert len(digests) == 1, digests


# What the payloads themselves run on: 64-bit code with SSE on direct page tables.
KEPT = set("fpu pse pae tsc msr cx8 apic cmov pat pse36 fxsr sse sse2 hypervisor"
           " nx pdpe1gb lm".split())
# What the emulator runs although its CPUID does not have it, or the other way round.
EMULATOR = {"qemu-amd": {"rdseed", "waitpkg"}, "bochs-intel": set(), "bochs-amd": set()}
# EFER.LMSLE is on no emulator, and TCE not on Bochs, though CPUID says that they are.
WORDS = {"qemu-amd": "unchecked-xcr0 unsettable-efer=0x2000", "bochs-intel": "",
         "bochs-amd": "unsettable-efer=0xa000"}


def features(booted):
    """Name to (leaf, subleaf, register, bit) of what the guest sees."""
    rows = [line.split()[1:] for line in booted.lines("has .*")]
    return {name: (int(leaf, 16), int(subleaf, 16), int(register), int(bit))
            for name, leaf, subleaf, register, bit in rows}


def hide(lines, places):
    """A model file without the bits at those places."""
    hidden = []
    for line in lines:
        words = line.split()
        for leaf, subleaf, register, bit in places:
            if words[:2] == [f"0x{leaf:08x}", f"0x{subleaf:02x}:"]:
                name, value = words[2 + register].split("=")
                words[2 + register] = f"{name}=0x{int(value, 16) & ~(1 << bit):08x}"
        hidden.append(" ".join(words))
    return "\n".join(hidden) + "\n"


def numbers(text):
    """The numbers that "0,2-4" names."""
    spans = [part.split("-") for part in text.split(",")]
    return {n for span in spans for n in range(int(span[0]), int(span[-1]) + 1)}


def listed(booted, vcpu=0):
    """What Latch said at launch that a vCPU's model hides and nothing makes fault."""
    names = set()
    for line in booted.lines("model: vcpu .*: hidden, but nothing makes it fault:.*"):
        vcpus, said = re.search("vcpu ([0-9,-]+): .*fault: (.*)", line).groups()
        names |= set(said.split()) if vcpu in numbers(vcpus) else set()
    return names


# What the payload's runtime runs on, on each vCPU: its way to long mode, which a 32-bit guest does
# without; Latch's own leaves, without which Debian runs; and the last two only follow CR4.
LEGACY = "fpu msr pae fxsr sse lm".split()
RUNTIME = set(LEGACY) | set("hypervisor osxsave ospke".split())
# What is no instruction and works though hidden: the interrupt controller's own page.
STAYS = {"apic", "extapic"}
VCPUS = {"qemu-amd": 15, "bochs-intel": 8, "bochs-amd": 8}


def walk(boot, machine, names):
    """One boot: each vCPU from the second on lacks one feature, and what needs that."""
    conf = " ".join(f"cpu{i}=host,-{name},trim" for i, name in enumerate(names, 1))
    booted = run_payload(boot, machine, "features", f"{WORDS[machine]} hides={','.join(names)}",
                         conf, ["--vcpus", len(names) + 1])
    parts = re.split(r"^walk (\w+)$", booted.text.replace("\r", ""), flags=re.MULTILINE)[1:]
    assert parts[::2] == names, booted.tail()
    for vcpu, part in enumerate(parts[1::2], 1):
        works = set(re.findall(r"^works (\w+)", part, re.MULTILINE))
        assert works - EMULATOR[machine] <= listed(booted, vcpu), f"vCPU {vcpu}: not said"
        assert {names[vcpu - 1]} & STAYS <= listed(booted, vcpu), f"vCPU {vcpu}: not said"


# What a control of the hardware's hides, all that is tried on Bochs if not asked for more.
CONTROLLED = set("rdtscp rdpid invpcid xsaves waitpkg rdrand rdseed monitor umip xsave apic".split())


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
def test_each_feature(boot, machine):
    """Each feature hidden alone, on a vCPU of its own: it goes with what follows, and nothing else.

    All of the vCPU's CPUID is compared, its control bits, MSRs and instructions.
    """
    first = run_payload(boot, machine, "features", append=WORDS[machine])
    names = [name for name in features(first) if name not in RUNTIME]
    assert len(names) > 40, first.tail()
    if machine != "qemu-amd" and "LATCH_TEST_ALL" not in os.environ:
        names = [name for name in names if name in CONTROLLED]
    at_once = VCPUS[machine] - 1
    for i in range(0, len(names), at_once):
        walk(boot, machine, names[i:i + at_once])


# The control bits of that guest, and what they belong to.
CONTROLS = {"cr4 04": "pse", "cr4 05": "pae", "cr4 07": "pge", "cr4 09": "fxsr", "cr4 10": "sse",
            "efer 08": "lm"}
AMD_COPY = 0x0183F3FF  # of leaf 1's EDX in leaf 8000_0001H's


def legacy(boot, machine, guest, model):
    """What the 32-bit guest sees: {(leaf, register): value}, {control: works}, what Latch dropped."""
    booted = boot("--machine", machine, "--vcpus", "1", "--guest", guest, "--model", model)
    assert booted.finish() == SUCCESS, booted.tail()
    leaves, controls = {}, {}
    for line in booted.lines("legacy: leaf .*"):
        leaf, edx, ecx = re.fullmatch("legacy: leaf (.{8}) edx, ecx: (.{8}) (.{8})", line).groups()
        leaves |= {(int(leaf, 16), 3): int(edx, 16), (int(leaf, 16), 2): int(ecx, 16)}
    for line in booted.lines("legacy: (cr4|efer) .*"):
        controls[line[8:].rsplit(" ", 1)[0]] = line.endswith(" works")
    dropped = booted.lines(".* dropped: feature .* needs .*")
    return leaves, controls, {line.split(" feature ")[1].split()[0] for line in dropped}


@pytest.mark.parametrize("machine", MACHINES if "LATCH_TEST_ALL" in os.environ else ["qemu-amd"])
def test_features_of_long_mode(boot, small_elf32, machine):
    """What no 64-bit payload can do without, hidden: gone with what needs it, and nothing else is."""
    places = features(run_payload(boot, machine, "features", append=WORDS[machine]))
    guest = small_elf32("legacy")
    shown, controls, dropped = legacy(boot, machine, guest, "host")
    assert not dropped and set(controls) == set(CONTROLS) and all(controls.values())
    for name in LEGACY:
        left, controls, dropped = legacy(boot, machine, guest, f"host,-{name},trim")
        gone = dropped | {name}
        wanted = dict(shown)
        for leaf, subleaf, register, bit in (places[other] for other in gone & set(places)):
            if (leaf, register) in wanted and subleaf == 0:
                wanted[leaf, register] &= ~(1 << bit)
        if machine != "bochs-intel":
            wanted[0x80000001, 3] &= wanted[1, 3] | ~AMD_COPY
        assert left == wanted, f"{name}: {left} where {wanted} should be"
        assert controls == {bit: CONTROLS[bit] not in gone for bit in CONTROLS}, name


@pytest.mark.parametrize("machine", MACHINES)
def test_syscall_outside_64_bit_mode(boot, small_elf32, machine):
    """Intel's CPUs show it in 64-bit mode alone, where they have it."""
    shown, _, _ = legacy(boot, machine, small_elf32("legacy"), "host")
    assert bool(shown[0x80000001, 3] & 1 << 11) == (machine != "bochs-intel")


@pytest.mark.parametrize("machine", MACHINES)
def test_features(boot, machine, tmp_path):
    """Each feature that can be hidden, hidden: gone with all that follows, and nothing else is.

    What still works of it is what Latch has said.
    """
    first = run_payload(boot, machine, "features", append=WORDS[machine], conf="latch.model=print")
    shown = features(first)
    places = {place for name, place in shown.items() if name not in KEPT}
    assert len(places) > 40, first.tail()
    works = {line.split()[1] for line in first.lines("works .*")}
    assert works == EMULATOR[machine], "works though the host does not have it"

    file = tmp_path / "least.model"
    file.write_text(hide(first.lines(MODEL_LINE), places))
    second = run_payload(boot, machine, "features", append=WORDS[machine],
                         arguments=["--model", file])
    assert set(features(second)) == set(shown) & KEPT
    works = {line.split()[1] for line in second.lines("works .*")} - EMULATOR[machine]
    instructions = {line.split(".")[-1] for line in second.lines(r"ok features\.instruction\..*")}
    assert works <= listed(second), "works, and Latch has not said so"
    assert not instructions & listed(second), "faults, though Latch has said that it works"
    run_payload(boot, machine, "msr_port", arguments=["--model", file])


def test_rdpid_beside_rdtscp(boot):
    """VMX has one control for both, so a hidden RDPID beside a shown RDTSCP works, and is listed."""
    booted = run_payload(boot, "bochs-intel", "features",
                         arguments=["--cpu", "corei7_icelake_u", "--model", "host,-rdpid"])
    assert booted.lines("works rdpid"), booted.tail(60)
    assert "rdpid" in listed(booted), booted.tail(60)


def test_answer_that_is_not_sealed(boot):
    """What Latch keeps at hand of a model is compared with the sealed one at the end."""
    booted = boot("--machine", "qemu-amd", "--guest", BUILD / "guest/modes.elf", "--latch",
                  BUILD / "test/latch-answer.elf")
    assert booted.finish() == ERROR, booted.tail()
    assert booted.lines("model: vcpu 1: its CPUID does not answer what is sealed"), booted.tail()


SGX_LATCH = BUILD / "test/latch-sgx.elf"
STATES_LATCH = BUILD / "test/latch-states.elf"

# On Bochs an APIC that was turned off stays dead until RESET, and with it the vCPU's neighbours
# cannot be called: it is turned off only where the vCPU is alone. So is MONITOR shown only there.
# No emulator has protection keys beside VMX, nor a state that XSS can turn on, but for what Bochs'
# CPUID leaves out (tests/fake/states.c). All causes at once: tests/unit/test_cpuid_seal.c.
DYNAMIC = {
    "qemu-amd": ("qemu-amd", [], "osxsave ospke xcr0 apic", [0, 1]),
    "qemu-amd-sgx-tsx": ("qemu-amd", ["--latch", SGX_LATCH], "tsx-ctrl", [0, 1]),
    "bochs-intel": ("bochs-intel", [], "osxsave xcr0", [0, 1]),
    "bochs-intel-alone": ("bochs-intel", ["--vcpus", "1"], "osxsave monitor xcr0 apic", [0]),
    "bochs-intel-states": ("bochs-intel", ["--cpu", "tigerlake", "--latch", STATES_LATCH],
                           "osxsave ospke xcr0 xss", [0, 1]),
    "bochs-amd": ("bochs-amd", [], "osxsave xcr0", [0, 1]),
    "bochs-amd-alone": ("bochs-amd", ["--vcpus", "1"], "osxsave xcr0 apic", [0]),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic(boot, name):
    """Each cause of a dynamic bit, on each vCPU alone: that bit follows, and no other."""
    machine, arguments, causes, vcpus = DYNAMIC[name]
    append = "tsx-ctrl" if causes == "tsx-ctrl" else "cet-states" if "xss" in causes else ""
    if machine != "qemu-amd":
        append += " one-way-apic" if len(vcpus) > 1 else " apic-once"
    booted = run_payload(boot, machine, "dynamic", append, "test-hypercalls=on", arguments)
    for cause in causes.split() + ["all"]:
        for vcpu in vcpus:
            for what in ("follows", "identical", "not-another"):
                assert booted.lines(f"ok dynamic.{cause}.vcpu{vcpu}.{what}"), booted.tail(60)


def test_sgx_off_until_reset(boot):
    """Machine-check state turns SGX off until the next reset: with SGX faked, as no emulator has it.

    Of the emulators only QEMU has machine-check banks; machine checks themselves the image fakes too.
    """
    booted = run_payload(boot, "qemu-amd", "sgx", conf="on-reset=relaunch",
                         arguments=["--latch", SGX_LATCH])
    assert booted.lines("ok sgx.until-reset"), booted.tail(60)
    assert booted.lines("ok sgx.a-machine-check-turns-it-off"), booted.tail(60)
    assert len(booted.lines("ok sgx.back-after-reset")) == 1, booted.tail(60)
    assert booted.lines(".*generation 2 ends"), booted.tail(60)


def test_no_fake_in_latch(make):
    """What fakes SGX or CET's states is in a test image and cannot be in Latch itself."""
    for fake in (SGX_LATCH, STATES_LATCH):
        assert "__wrap_spec_apply" in make("nm", fake)
    assert "__wrap_" not in make("nm", BUILD / "latch.elf")
