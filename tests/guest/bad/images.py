# SPDX-License-Identifier: BSD-2-Clause
"""Guest images that Latch must refuse, written byte by byte."""

import struct

MULTIBOOT1 = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF)
HALT = b"\xf4\xeb\xfd"


def elf32(address, memory_size=4096, file_offset=0x1000, file_size=None, entry=None):
    """A multiboot 1 ELF of one segment at a physical address."""
    content = MULTIBOOT1 + HALT
    file_size = len(content) if file_size is None else file_size
    header = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, address + 12 if entry is None else entry,
        52, 0, 0, 52, 32, 1, 40, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, file_offset, address, address, file_size, memory_size, 7,
                          0x1000)
    return (header + segment).ljust(0x1000, b"\0") + content


def outside_ram():
    return elf32(0xE0000000)


def beyond_4_gib():
    return elf32(0xFFFFF000, memory_size=0x2000)


def inside(address):
    return elf32(address)


def segment_beyond_file():
    return elf32(0x200000, file_size=0x100000, memory_size=0x100000)


def entry_outside():
    return elf32(0x200000, entry=0x900000)


def truncated_linux(vmlinuz):
    return vmlinuz[: len(vmlinuz) // 3]


def without_setup(vmlinuz):
    """Cut off in the middle of the real-mode setup code."""
    return vmlinuz[:0x300]


def old_linux(vmlinuz, version=0x0201):
    return vmlinuz[:0x206] + struct.pack("<H", version) + vmlinuz[0x208:]
