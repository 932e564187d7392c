# SPDX-License-Identifier: BSD-2-Clause
"""What a boot loader or firmware could do wrong, done to it at Latch's first instruction."""

import struct

import pytest

from conftest import BUILD, SUCCESS
from gdbstub import EAX, EBX, Stub

MULTIBOOT2_MAGIC = 0x36D76289
HIGH_HALF = 0xFFFFFFFF80000000
MODULE_TAG = 3


def entry_address():
    """The physical address of the ELF's entry point."""
    header = (BUILD / "latch.elf").read_bytes()[:64]
    return struct.unpack_from("<Q", header, 24)[0] - HIGH_HALF


@pytest.fixture
def changed(boot, tmp_path):
    """Boots up to Latch's first instruction, lets `change` do its work, and goes on."""

    def start(change, guest, words, *arguments):
        path = tmp_path / "gdb"
        booted = boot("--machine", "qemu-amd", "--guest", BUILD / f"guest/{guest}.elf", *words,
                      "--", "-S", "-gdb", f"unix:{path},server=on,wait=off", *arguments)
        stub = Stub(path)
        stub.run_to(entry_address(), lambda: stub.register(EAX) == MULTIBOOT2_MAGIC)
        change(stub)
        stub.go()
        return booted

    return start


@pytest.fixture
def tampered(changed):
    def start(change, *arguments):
        booted = changed(change, "modes", [], *arguments)
        booted.expect("Test result: ERROR")  # it knows no way to end the machine so early
        assert not booted.lines("launch:"), "a guest was started"
        return booted

    return start


def refusal(booted):
    refusals = booted.lines(r"[Ll]atch: refused: .*")
    assert len(refusals) == 1, booted.tail()
    return refusals[0]


def module_tag(stub):
    """The address of the first module's tag (Multiboot2 §3.6.6)."""
    information = stub.register(EBX)
    size = struct.unpack("<I", stub.read(information, 4))[0]
    content = stub.read(information, size)
    at = 8
    while at < size:
        kind, length = struct.unpack_from("<II", content, at)
        if kind == MODULE_TAG:
            return information + at
        at += (length + 7) & ~7
    raise AssertionError("GRUB told of no module")


def set_module(start, end):
    def change(stub):
        stub.write(module_tag(stub) + 8, struct.pack("<II", start, end))

    return change


def test_other_boot_loader(tampered):
    assert "multiboot2" in refusal(tampered(lambda stub: stub.set_register(EAX, 0x2BADB002)))


MODULES = {
    "overlaps-latch": (0x200000, 0x300000),
    "ends-before-it-begins": (0x1000000, 0x900000),
    "oversized": (0x1000000, 0xF0000000),
    "outside-ram": (0xE0000000, 0xE0001000),
    "empty": (0x1000000, 0x1000000),
}


@pytest.mark.parametrize("name", MODULES)
def test_module(tampered, name):
    start, _ = MODULES[name]
    assert f"0x{start:x}" in refusal(tampered(set_module(*MODULES[name])))


def test_no_module_tag(tampered):
    def drop(stub):
        stub.write(module_tag(stub), struct.pack("<I", 0x7777))

    assert "guest" in refusal(tampered(drop))


def read_table(stub, signature):
    """An ACPI table, which SeaBIOS has put at the end of memory, and its address."""
    base = 0x1FFE0000
    memory = stub.read(base, 0x20000)
    at = memory.index(signature)
    length = struct.unpack_from("<I", memory, at + 4)[0]
    table = bytearray(memory[at:at + length])
    assert sum(table) & 0xFF == 0, f"that is not {signature}"
    return base + at, table


def write_table(stub, address, table):
    table[9] = (table[9] - sum(table)) & 0xFF
    stub.write(address, bytes(table))


def enable_absent_cpu(stub):
    """In the MADT the one CPU that is possible but absent becomes present."""
    address, table = read_table(stub, b"APIC")
    entry = 44
    while table[entry] != 0 or table[entry + 4] & 1:
        entry += table[entry + 1]
    table[entry + 4] |= 1
    write_table(stub, address, table)


def test_cpu_that_does_not_answer(tampered):
    booted = tampered(enable_absent_cpu, "-smp", "2,maxcpus=3")
    text = refusal(booted)
    assert "2" in text and "answer" in text, text
    assert booted.lines("cpu 1: APIC id 1 online"), booted.tail(40)


FADT_FLAGS, FADT_RESET, FADT_RESET_VALUE = 112, 116, 128
RESET_SUPPORTED = 1 << 10
RESET_VALUE = 0x5A
# By ACPI's address spaces. In PCI configuration space Latch does not see it, and says so.
RESET_REGISTERS = {"memory": (0, 0xFED41008), "port": (1, 0xAE00), "pci": (2, 0x1F0040)}


@pytest.mark.parametrize("name", RESET_REGISTERS)
def test_reset_register(changed, name):
    """ACPI's reset register, which the tables may put anywhere, relaunches the guest as other ways."""
    space, address = RESET_REGISTERS[name]

    def move(stub):
        at, table = read_table(stub, b"FACP")
        flags = struct.unpack_from("<I", table, FADT_FLAGS)[0] | RESET_SUPPORTED
        struct.pack_into("<I", table, FADT_FLAGS, flags)
        struct.pack_into("<BBBBQB", table, FADT_RESET, space, 8, 0, 1, address, RESET_VALUE)
        write_table(stub, at, table)

    way = "p" if name == "pci" else "r"
    booted = changed(move, "relaunch", [
        "--append", f"rounds=2 ways={way} at={address:x}",
        "--conf", "on-reset=relaunch test-hypercalls=on"], "-machine", "q35")
    assert booted.finish() == SUCCESS, booted.tail()
    reason = "port 92H" if name == "pci" else "ACPI reset register"
    assert booted.lines(f"guest: {reason}: generation 1 ends"), booted.tail()
    said = booted.lines("reset: ACPI's reset register is not watched: space 2, 0x1f0040")
    assert bool(said) == (name == "pci"), booted.tail(60)
