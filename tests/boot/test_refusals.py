# SPDX-License-Identifier: BSD-2-Clause
"""When something is wrong: one clear line, no half-started guest, ERROR.

What no emulator here can show is SVM or VMX disabled or locked by firmware: QEMU's TCG and Bochs have
no VM_CR, and Bochs' IA32_FEATURE_CONTROL is always 5. tests/unit/test_vmx_controls.c tries the rule
for the latter.
"""

import importlib.util
import os

import pytest

from conftest import BUILD, ERROR, MACHINES, ROOT

SPEC = importlib.util.spec_from_file_location("images", ROOT / "tests/guest/bad/images.py")
images = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(images)

QEMU = ["--machine", "qemu-amd"]
# A refusal before the configuration is read knows no way to end the machine, and halts it.
EARLY = [*QEMU, "--timeout", "10"]
MODES = ["--guest", BUILD / "guest/modes.elf"]


@pytest.fixture
def guest(tmp_path):
    """Writes a guest image; the arguments that boot it."""

    def write(content):
        file = tmp_path / "guest"
        file.write_bytes(content)
        return [*QEMU, "--guest", file]

    return write


@pytest.fixture(scope="module")
def vmlinuz():
    return (BUILD / "debian/vmlinuz").read_bytes()


# --- the machine

CPUS = {
    "no-long-mode": ("qemu-amd", "max,-lm", r"no long mode: wanted .*, found 0; use"),
    "no-svm": ("qemu-amd", "max,-svm", r"SVM: wanted 1.*found 0.*nest"),
    "no-npt": ("qemu-amd", "max,-npt", r"nested paging: wanted 1.*found 0"),
    "no-vmx": ("bochs-intel", "p4_prescott_celeron_336", r"VMX: wanted 1.*found 0"),
    "no-ept": ("bochs-intel", "core2_penryn_t9600", r"(EPT|secondary controls).*wanted"),
    "no-unrestricted-guest": ("bochs-intel", "corei5_lynnfield_750", r"unrestricted guest: wanted"),
    "no-svm-bochs": ("bochs-amd", "athlon64_clawhammer", r"SVM: wanted 1.*found 0"),
}


@pytest.mark.parametrize("name", CPUS)
def test_cpu(refused, name):
    machine, cpu, reason = CPUS[name]
    refused(reason, "--machine", machine, "--cpu", cpu, *MODES)


def test_more_vcpus_than_cpus(refused):
    refused(r"vcpus=3: .*found 2 CPUs", *QEMU, "--vcpus", 3, "--machine-cpus", 2, *MODES)


# Bochs takes half a minute to come to it.
@pytest.mark.parametrize("machine", MACHINES if "LATCH_TEST_ALL" in os.environ else MACHINES[:1])
def test_no_guest_module(refused, machine):
    refused(r"guest", "--machine", machine, "--guest", "none")


def test_not_enough_memory(refused):
    refused(r"memory|RAM|MiB", *QEMU, "--mem", 64, "--conf", "pool=1024", *MODES)


# --- the configuration

CONFIGURATIONS = {
    "unknown": ("colour=blue", r'"colour=blue"'),
    "repeated": ("pool=8 pool=8", r'"pool=8"'),
    "out-of-range": ("pool=1", r'"pool=1".*2\.\.1024'),
    "beyond-range": ("vcpus=65", r'"vcpus=65".*0\.\.64'),
    "no-number": ("pool=eight", r'"pool=eight".*2\.\.1024'),
    "no-value": ("pool", r'"pool"'),
    "no-choice": ("paging=maybe", r'"paging=maybe".*auto\|direct\|shadow'),
    "of-a-later-version": ("base=16M", r'"base=" is not in this version'),
    "model-of-no-vcpu": ("cpu2=host", r"cpu2=host: wanted a vCPU of this number, found vcpus=2"),
    "model-twice": ("cpu1=host cpu1=host", r'"cpu1=host": given twice'),
    "too-few-shadow-tables": ("shadow=1", r'"shadow=1".*2\.\.1024'),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configuration(refused, name):
    conf, reason = CONFIGURATIONS[name]
    refused(reason, *EARLY, "--conf", conf, *MODES)


def test_pool_that_would_run_dry(refused):
    """All that is to be made finds room, and too little is left for one instruction's tables."""
    refused(r"pool=2: wanted 216 pages left for the nested page tables, found \d+; set it higher",
            "--machine", "qemu-amd", "--vcpus", 10, "--conf", "pool=2 paging=direct", *MODES)


# --- the model

MODELS = {
    "larger-maxphyaddr": ("host,maxphyaddr=52", r"maxphyaddr=52: the host has 40 bits"),
    "c-bit-beyond-the-width": ("host,cbit=47", r"cbit=47: wanted .* below maxphyaddr=40"),
    "reduction-without-c-bit": ("host,addr-reduction=4", r"addr-reduction=4: wanted a C-bit"),
    "sev": ("host,+sev", r"wanted sev, but guests cannot have it: memory keys"),
    "unknown-feature": ("host,-teleport", r"teleport"),
    "unknown-base": ("pentium9", r"pentium9"),
}


@pytest.mark.parametrize("name", MODELS)
def test_model(refused, name):
    spec, reason = MODELS[name]
    refused(reason, *QEMU, "--model", spec, *MODES)


def test_model_without_its_memory(refused):
    """The guest's memory ends above 4 GiB, the model's addresses at 4 GiB."""
    refused(r"maxphyaddr=32: the guest's memory has addresses of 33 bits", *QEMU, "--mem", 6144,
            "--model", "host,maxphyaddr=32", *MODES)


def test_model_of_one_vcpu(refused):
    refused(r"model of vcpu 1: .*maxphyaddr=52", *QEMU, "--conf", "cpu1=host,maxphyaddr=52",
            *MODES)


def test_model_file_with_a_bad_line(refused, tmp_path):
    file = tmp_path / "bad.model"
    file.write_text("CPU 0:\n"
                    "   0x00000000 0x00: eax=0x00000001 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65\n"
                    "   0x00000001 0x00: eax=0x0000006b ebx=nonsense\n")
    refused(r"line 3|:3", *QEMU, "--model", file, *MODES)


# --- the guest's images

def test_elf_outside_ram(refused, guest):
    refused(r"0xe0000000.*RAM|RAM.*0xe0000000", *guest(images.outside_ram()))


def test_elf_beyond_4_gib(refused, guest):
    refused(r"segment|ELF", *guest(images.beyond_4_gib()))


def test_elf_inside_latch(refused, guest):
    """Latch lies at the top of the 512 MiB."""
    refused(r"Latch", *guest(images.inside(0x1FC00000)))


def test_elf_segment_beyond_file(refused, guest):
    refused(r"ELF|segment|file", *guest(images.segment_beyond_file()))


def test_elf_entry_outside(refused, guest):
    refused(r"entry", *guest(images.entry_outside()))


def test_truncated_linux(refused, guest, vmlinuz):
    refused(r"bzImage", *guest(images.truncated_linux(vmlinuz)))


def test_linux_cut_in_its_setup(refused, guest, vmlinuz):
    refused(r"bzImage", *guest(images.without_setup(vmlinuz)))


def test_old_linux(refused, guest, vmlinuz):
    refused(r"protocol", *guest(images.old_linux(vmlinuz)))


def test_initramfs_does_not_fit(refused, tmp_path):
    file = tmp_path / "initrd"
    file.write_bytes(bytes(60 << 20))
    refused(r"initr|initramfs", *QEMU, "--mem", 176, "--initrd", file)


# --- the launcher's own

def test_launcher_names_a_missing_file(boot):
    machine = boot(*QEMU, "--guest", "/nowhere/guest")
    assert machine.finish() == ERROR
    assert "/nowhere/guest: no such file" in machine.text


def test_launcher_ends_a_silent_guest(boot, guest):
    """A guest that says nothing: status 124, a line about it, and one of where each CPU stands."""
    machine = boot(*guest(images.elf32(0x200000)), "--timeout", "5")
    assert machine.finish() == 124, machine.tail()
    assert "nothing more came for 5 s" in machine.text
    standing = machine.lines(r"iso/run: CPU \d: [ER]IP=\w+ .*HLT=\d .*; LVTT .*IRR .*")
    assert len(standing) == 2, machine.tail()
