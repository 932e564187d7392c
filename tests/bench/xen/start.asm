; SPDX-License-Identifier: BSD-2-Clause
;
; What Xen must know to load dom0, and where it begins. Xen has mapped the image at its virtual
; addresses, its own tables and information and a stack behind it.

%define ELFNOTE_ENTRY       1   ; xen/elfnote.h
%define ELFNOTE_VIRT_BASE   3
%define ELFNOTE_PADDR_OFFSET 4
%define ELFNOTE_XEN_VERSION 5
%define ELFNOTE_GUEST_OS    6
%define ELFNOTE_LOADER      8

extern dom0_main
global dom0_entry

%macro number_note 2
    dd 4, 8, %1
    db "Xen", 0
    dq %2
%endmacro

%macro text_note 2
    dd 4, %%end - %%text, %1
    db "Xen", 0
%%text:
    db %2, 0
%%end:
    align 4, db 0
%endmacro

section .note.xen alloc noexec nowrite align=4
    text_note ELFNOTE_GUEST_OS, "Latch's bench"
    text_note ELFNOTE_XEN_VERSION, "xen-3.0"
    text_note ELFNOTE_LOADER, "generic"
    number_note ELFNOTE_VIRT_BASE, 0
    number_note ELFNOTE_PADDR_OFFSET, 0
    number_note ELFNOTE_ENTRY, dom0_entry

section .text
bits 64
dom0_entry:
    cld
    mov rdi, rsi                ; start_info
    xor ebp, ebp
    and rsp, -16
    call dom0_main

section .note.GNU-stack noalloc noexec nowrite progbits
