; SPDX-License-Identifier: BSD-2-Clause
; The multiboot2 header (Multiboot2 Specification 2.0 §3.1): where the loader finds Latch.

section .multiboot2 progbits alloc noexec nowrite align=8

MAGIC equ 0xe85250d6
ARCHITECTURE_I386 equ 0
TAG_FRAMEBUFFER equ 5
TAG_MODULE_ALIGN equ 6
TAG_OPTIONAL equ 1

header:
    dd MAGIC
    dd ARCHITECTURE_I386
    dd header_end - header
    dd -(MAGIC + ARCHITECTURE_I386 + (header_end - header)) & 0xffffffff

    dw TAG_MODULE_ALIGN, 0
    dd 8

    dw 0, 0                     ; end
    dd 8
header_end:

section .note.GNU-stack noalloc noexec nowrite progbits
