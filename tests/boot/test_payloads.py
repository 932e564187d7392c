# SPDX-License-Identifier: BSD-2-Clause
"""The guest payloads of tests/guest, each to its verdict under Latch on each machine."""

import os
import re

import pexpect
import pytest

from conftest import BUILD, ERROR, FAILURE, MACHINES, SKIP, SUCCESS

BEGIN = "Latch: a microhypervisor"

# name: payload, its command line, Latch's configuration, further arguments of iso/run
PAYLOADS = {
    "cpuid": ("cpuid", "", "", []),
    "cpuid-model": ("cpuid", "", "", ["--model", "host,-avx2,-rdseed"]),
    "seal": ("seal", "", "test-hypercalls=on", []),
    "seal-vendor-intel": ("seal", "", "test-hypercalls=on", ["--model", "host,vendor=intel"]),
    "seal-vendor-amd": ("seal", "", "test-hypercalls=on", ["--model", "host,vendor=amd"]),
    "seal-closed": ("seal", "closed", "", []),
    "msr_port": ("msr_port", "", "", []),
    "modes": ("modes", "", "", []),
    "memory": ("memory", "", "", []),
    "mtrr": ("mtrr", "", "", []),
    "mtrr-shadow": ("mtrr", "", "paging=shadow", []),
    "mtrr-narrow": ("mtrr", "", "", ["--model", "host,maxphyaddr=36"]),
    "refused": ("refused", "", "", []),
    "length": ("length", "", "", []),
    "smp": ("smp", "", "icr-trap=keep", []),
    "smp-startup": ("smp", "once", "icr-trap=startup", []),
    "exits": ("exits", "", "icr-trap=startup", []),
    "areas": ("areas", "", "icr-trap=keep", []),
    "tlb": ("tlb", "", "", []),
    "tlb-shadow": ("tlb", "", "paging=shadow", []),
}

# What the emulator's CPU itself does wrong, and the payload is told to leave out: TCG takes any
# value for CR0, bare too, and so does Bochs in an SVM guest.
FAULTS = {
    ("qemu-amd", "refused"): "unchecked-cr0",
    ("bochs-amd", "refused"): "unchecked-cr0",
}

# What the areas payload has Latch say, and no refused call does: each once by 64 and by 32 bits.
CONSOLE_LINES = [f"guest: vcpu 0: {text}" for bits in (64, 32)
                 for text in (f"hello from {bits} bits??%s?!", 200 * "x", "",
                              f"looped from {bits} bits")]

# What a machine does not have, and so may be absent there. Nothing else may.
ABSENT = {
    "qemu-amd": {"refused.cr0", "dynamic.monitor", "dynamic.xss", "dynamic.tsx-ctrl",
                 "tlb.pcid", "tlb.invpcid", "reset.tsc-msr", "areas.moved-tsc",
                 "areas.update-bit-seen"},  # its CPUs are threads: it may never be met
    "bochs-intel": {"long-5-level", "dynamic.ospke", "dynamic.monitor", "dynamic.xss",
                    "dynamic.tsx-ctrl", "dynamic.apic"},
    "bochs-amd": {"long-5-level", "refused.cr0", "dynamic.ospke", "dynamic.monitor",
                  "dynamic.xss", "dynamic.tsx-ctrl", "dynamic.apic", "tlb.pcid", "tlb.invpcid"},
}


def check_digest(booted):
    """With the verdict comes the digest that was printed when the models were sealed last, and so
    does a hypercall have it."""
    sealed = [line.split()[-1] for line in booted.lines("model: digest [0-9a-f]{64}")]
    end = booted.lines("model: at the end: generation [0-9]+, digest [0-9a-f]{64}")
    assert len(end) == 1, booted.tail(20)
    assert end[0].endswith(f"generation {len(sealed)}, digest {sealed[-1]}"), (sealed, end)
    asked = {line.split()[-1] for line in booted.lines("info digest: .*")}
    assert asked <= {sealed[-1]}, "the hypercall has another digest than the console"


def run_payload(boot, machine, payload, append="", conf="", arguments=()):
    words = f"{append} {FAULTS.get((machine, payload), '')}".strip()
    booted = boot("--machine", machine, "--guest", BUILD / f"guest/{payload}.elf", "--append",
                  words, "--conf", conf, *arguments)
    status = booted.finish()
    failed = booted.lines("FAIL .*") + booted.lines("broken: .*")
    assert not failed, "\n".join(failed)
    assert status == SUCCESS, booted.tail()
    assert booted.verdicts == ["SUCCESS"], booted.tail()
    assert booted.lines("payload: .*under Latch"), "the payload did not see Latch"
    assert booted.lines("ok "), "no check was made"
    check_digest(booted)
    absent = {line.split()[1].rstrip(":") for line in booted.lines("absent .*")}
    assert absent <= ABSENT[machine], f"absent on {machine}: {absent}"
    return booted


def check_one_line(booted):
    """A hundred refused sets in a row, the first ones of the run, are worth one line."""
    many = re.search("many sets begin(.*)many sets end", booted.text, re.DOTALL)
    assert many.group(1).count("model: vcpu 0: refused to set another model") == 1, many.group(1)


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("machine", MACHINES)
def test_payload(boot, machine, name):
    booted = run_payload(boot, machine, *PAYLOADS[name])
    if name == "areas":
        assert booted.lines("info digest: [0-9a-f]{64}"), booted.tail()
        said = [line.split("] ", 1)[1] for line in booted.lines("guest: vcpu .*")]
        assert said == CONSOLE_LINES, said
    if name == "seal":
        check_one_line(booted)


# The payload's letters for the ways to reset a machine, and what Latch says of each.
WAYS = {"f": "triple fault", "c": "port CF9H", "p": "port 92H", "k": "keyboard controller",
        "d": "keyboard controller's output port", "w": "keyboard controller's output port",
        "a": "triple fault"}
# Without a triple fault on bochs-amd: that CPU never takes the shutdown intercept.
RESETS = {"qemu-amd": (301, "fcpkdwa"), "bochs-intel": (7, "fcpkda"), "bochs-amd": (6, "cpkd")}
if "LATCH_TEST_ALL" in os.environ:
    RESETS = {machine: (1001, ways) for machine, (_, ways) in RESETS.items()}


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
def test_relaunch(boot, machine):
    """Generation after generation with two models in turn, on SVM direct and shadow in turn.

    Clearing memory is most of a relaunch, so the machine has little.
    """
    rounds, ways = RESETS[machine]
    resets = rounds - 1
    booted = run_payload(boot, machine, "relaunch", f"rounds={rounds} alternating ways={ways}",
                         "on-reset=relaunch test-hypercalls=on generation2=host,-popcnt,"
                         "maxphyaddr=36 pool=4 shadow=2", ["--mem", "40"])
    wanted = [f"guest: {WAYS[ways[n % len(ways)]]}: generation {n} ends"
              for n in range(1, rounds)]
    ends = booted.lines("guest: .*: generation [0-9]+ ends")
    assert [line.split("] ")[-1] for line in ends] == wanted, booted.tail()
    dates = re.findall(r"^\[ *(\d+\.\d+)\] ", booted.text, re.MULTILINE)
    assert dates == sorted(dates, key=float), "the guest moved the TSC, and Latch's dates with it"
    digests = [line.split()[-1] for line in booted.lines("model: digest .*")]
    assert len(digests) == resets + 1 and len(set(digests)) == 2
    assert all(digests[i] == digests[i % 2] for i in range(len(digests)))


# Behind another host bridge, at bus 40H, and behind a bridge of the first: a card each.
MANY_BUSES = ["-machine", "q35", "-device", "pxb-pcie,id=far,bus_nr=64",
              "-device", "pcie-root-port,id=there,bus=far,chassis=1",
              "-device", "virtio-rng-pci,bus=there",
              "-device", "pcie-root-port,id=here,bus=pcie.0,chassis=2",
              "-device", "pcie-pci-bridge,id=old,bus=here", "-device", "e1000,bus=old,addr=1"]


def test_relaunch_on_many_buses(boot):
    """Functions behind another host bridge, and on buses that the guest has numbered anew."""
    booted = run_payload(boot, "qemu-amd", "relaunch", "rounds=3 ways=p all-buses",
                         "on-reset=relaunch test-hypercalls=on", ["--mem", "40", "--", *MANY_BUSES])
    # The card behind the old bridge; and the machine's own disk, SMBus and display.
    without = booted.lines("relaunch: 4 PCI functions have no reset, .*:.* 02:01.0")
    assert len(without) == 1, booted.tail(60)
    seen = booted.lines("info pci: .*")
    assert len(seen) == 3 and set(line.strip() for line in seen) == {
        "info pci: 11 functions on 5 buses to 65, 1 virtio devices without a driver"}, seen


@pytest.mark.parametrize("machine, words", [("qemu-amd", "ways=oo"),
                                            ("bochs-intel", "x2apic ways=pp")])
def test_relaunch_with_apic_that_stays_off(boot, machine, words):
    """Neither emulator's APIC comes back from "off", through which also the way out of x2APIC leads."""
    booted = boot("--machine", machine, "--guest", BUILD / "guest/relaunch.elf", "--append", words,
                  "--conf", "on-reset=relaunch generation2=host")
    assert booted.finish() == ERROR, booted.tail()
    assert booted.lines("latch: refused: relaunch: wanted vcpu 0's local APIC"), booted.tail()


def test_relaunch_of_changed_image(boot):
    """Images that are not what they were at launch start no generation."""
    booted = boot("--machine", "qemu-amd", "--guest", BUILD / "guest/relaunch.elf", "--append",
                  "ways=pp", "--conf", "on-reset=relaunch", "--latch",
                  BUILD / "test/latch-image.elf")
    assert booted.finish() == ERROR, booted.tail()
    assert booted.lines("latch: refused: relaunch: the guest's images have changed"), booted.tail()
    assert len(booted.lines("payload: ")) == 1, "a changed image was started"


# QEMU is to reset its machine, instead of ending.
DOES_RESET = ["--", "-action", "reboot=reset"]
ENDS = {
    "poweroff": ("iso/run: the machine ended without a verdict", []),
    "halt": (None, []),
    "reset": ("iso/run: the machine was reset", DOES_RESET),
}


@pytest.mark.parametrize("action", ENDS)
def test_reset_ends_the_run(boot, action):
    words, arguments = ENDS[action]
    booted = boot("--machine", "qemu-amd", "--guest", BUILD / "guest/relaunch.elf", "--append",
                  "ways=pp", "--conf", f"on-reset={action}", *arguments)
    booted.expect("guest: resets the machine: port 92H")
    if action == "halt":
        booted.expect("tables: .*")
        assert booted.child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=5) == 1, "it ended"
        return
    assert booted.finish() == ERROR, booted.tail()
    assert words in booted.text, booted.tail()
    assert not booted.verdicts, booted.tail()


def test_reset_left_to_the_hardware(boot):
    """Port CF9H is not trapped with on-reset=reset, the default: it does reset."""
    booted = boot("--machine", "qemu-amd", "--guest", BUILD / "guest/relaunch.elf", "--append",
                  "ways=cc", *DOES_RESET)
    assert booted.finish() == ERROR, booted.tail()
    assert "iso/run: the machine was reset" in booted.text, booted.tail()
    assert not booted.lines("guest: resets"), booted.tail()


@pytest.mark.parametrize("name, trap", [("smp", "keep"), ("exits", "startup")])
def test_x2apic(boot, name, trap):
    """Bochs' Intel CPUs are the only ones here that have it: a trapped ICR, and one that is no
    longer trapped once all have started."""
    run_payload(boot, "bochs-intel", name, "x2apic", f"icr-trap={trap}")


@pytest.mark.parametrize("vcpus", [1, 4])
def test_other_numbers_of_vcpus(boot, vcpus):
    run_payload(boot, "qemu-amd", "cpuid", arguments=["--vcpus", vcpus])


def test_fewer_vcpus_than_cpus(boot):
    """The other CPUs are parked: the guest's ACPI does not name them."""
    booted = run_payload(boot, "qemu-amd", "smp", conf="icr-trap=keep",
                         arguments=["--vcpus", "2", "--machine-cpus", "4"])
    assert booted.lines("payload: multiboot 2, 2 processors"), booted.tail(40)


def test_memory_above_4_gib(boot):
    booted = run_payload(boot, "qemu-amd", "memory", arguments=["--mem", "6144"])
    mib = int(re.search(r"info memory: (\d+) MiB", booted.text).group(1))
    assert mib > 6000


MODEL_LINE = r"(?:CPU 0:|   0x[0-9a-f]{8} 0x[0-9a-f]{2}: eax=.*)"


@pytest.mark.parametrize("machine", MACHINES)
def test_model_file(boot, machine, tmp_path):
    """A model read from one guest, given to another as a file with a change, is what that one has.

    The file's format is that of `cpuid -r`.
    """
    first = run_payload(boot, machine, "cpuid", append="print")
    lines = first.lines(MODEL_LINE)
    assert len(lines) > 20, first.tail()
    file = tmp_path / "guest.model"
    file.write_text("\n".join(lines) + "\n")
    second = run_payload(boot, machine, "cpuid", append="print",
                         arguments=["--model", f"{file},-popcnt"])
    changed = set(lines) ^ set(second.lines(MODEL_LINE))
    assert {line.split()[0] for line in changed} == {"0x00000001"}, sorted(changed)


def crash(boot, machine, append, reason, conf="", arguments=()):
    booted = boot("--machine", machine, "--guest", BUILD / "guest/triple.elf", "--append", append,
                  "--conf", f"icr-trap=keep {conf}", *arguments)
    assert booted.finish() == ERROR, booted.tail()
    assert booted.verdicts == ["ERROR"], booted.tail()
    assert booted.lines(f"guest: vcpu 0 stopped: {reason}"), booted.tail(60)
    for part in (r"dump: exit \S+, reason 0x", r"dump: rip [0-9a-f]{16} rflags", "dump: rax ",
                 "dump: cr0 ", "dump: cs   0008 ", "dump: code at rip: [0-9a-f]{2} ",
                 "dump: walk: "):
        assert booted.lines(part), f"the dump has no {part!r}:\n{booted.tail(60)}"
    return booted


# QEMU must not end by its debug-exit port here, so that port is another one's.
AFTER_TRIPLE = {
    "bochs-intel": [("poweroff", "", [])],
    "qemu-amd": [("halt", "iso/run: the machine did not end by itself", []),
                 ("reset", BEGIN, DOES_RESET)],
}


@pytest.mark.parametrize("machine, action, words, arguments", [
    (machine, *row) for machine, rows in AFTER_TRIPLE.items() for row in rows])
def test_triple_fault(boot, machine, action, words, arguments):
    """Dumped, with the verdict ERROR, and then what on-reset= says; without it the machine is reset.

    Not on bochs-amd: that CPU never takes the shutdown intercept, Bochs itself stops there.
    """
    conf = "exit-port=0x80" if machine == "qemu-amd" else ""
    conf += f" on-reset={action}" if action != "reset" else ""
    booted = crash(boot, machine, "", "triple fault", conf, arguments)
    assert booted.lines("dump: rax 0000000000007e57"), booted.tail(60)
    assert booted.lines("dump: code at rip: 0f 0b"), booted.tail(60)
    assert words in booted.text.split("Test result: ERROR")[1], booted.tail()


@pytest.mark.parametrize("machine", MACHINES)
def test_exit_that_cannot_be_handled(boot, machine):
    crash(boot, machine, "apic", ".*local APIC")


def test_failure(boot):
    """A check that fails is a FAILURE: here one that wants hypercalls which are off."""
    booted = boot("--machine", "qemu-amd", "--guest", BUILD / "guest/seal.elf")
    assert booted.finish() == FAILURE, booted.tail()
    assert booted.verdicts == ["FAILURE"], booted.tail()
    assert booted.lines("FAIL seal.identical-accepted: wanted 0x0, found 0x"), booted.tail()


def test_bare(boot):
    """The same payload without Latch: what is not about Latch succeeds, the rest says so."""
    booted = boot("--machine", "qemu-amd", "--bare", "--guest", BUILD / "guest/modes.elf")
    assert booted.finish() == SUCCESS, booted.tail()
    booted = boot("--machine", "qemu-amd", "--bare", "--guest", BUILD / "guest/seal.elf")
    assert booted.finish() == SKIP, booted.tail()
    assert booted.lines("skip seal: no Latch"), booted.tail()
