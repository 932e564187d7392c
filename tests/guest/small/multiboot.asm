; SPDX-License-Identifier: BSD-2-Clause
;
; A 32-bit multiboot 1 ELF, as one that does not know Latch: prints on COM1 its command line and
; the command line and content of each of its modules, and powers off through ACPI's port of QEMU's
; and Bochs' chipset.
%include "legacy32.inc"

main:
    mov ebp, ebx
    mov esi, command_line
    call print
    mov esi, [ebp + 16]
    call print
    mov esi, line_end
    call print
    mov edi, [ebp + 20]         ; how many modules
    mov ebx, [ebp + 24]
.module:
    test edi, edi
    jz .success
    mov esi, module
    call print
    mov esi, [ebx + 8]
    call print
    mov esi, contains
    call print
    mov esi, [ebx]
    mov ecx, [ebx + 4]
    sub ecx, esi
.byte:
    lodsb
    call put
    loop .byte
    mov esi, line_end
    call print
    add ebx, 16
    dec edi
    jmp .module
.success:
    mov esi, success
    jmp finish

section .data
command_line: db "multiboot: command line ", 0
module: db "multiboot: module ", 0
contains: db " contains ", 0
success: db "multiboot: done", 13, 10, 0
