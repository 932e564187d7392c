; SPDX-License-Identifier: BSD-2-Clause
;
; A 32-bit multiboot 1 ELF that does without the features which the other payloads run on: what
; CPUID shows of them, and which of the bits that follow from them can be set. A line on COM1 each.
%include "legacy32.inc"

VECTOR_GP equ 13

main:
    call load_idt
    mov edi, leaves
.leaf:
    mov eax, [edi]
    xor ecx, ecx
    cpuid
    mov ebp, edx
    mov ebx, ecx
    lea esi, [edi + 4]
    call print
    mov ecx, ebp
    call print_hex
    mov al, ' '
    call put
    mov ecx, ebx
    call print_hex
    call print_end
    add edi, LEAF_SIZE
    cmp edi, leaves_end
    jne .leaf
    mov edi, controls
.bit:
    mov eax, cr4
    mov ecx, [edi]
    bts eax, ecx
    mov dword [resume], .cr4_done
    mov byte [faulted], 0
    mov cr4, eax
.cr4_done:
    lea esi, [edi + 4]
    call print_outcome
    add edi, CONTROL_SIZE
    cmp edi, controls_end
    jne .bit
    mov dword [resume], .efer_done
    mov byte [faulted], 0
    mov ecx, 0xc0000080
    rdmsr
    bts eax, 8                  ; LME
    wrmsr
.efer_done:
    mov esi, efer_lme
    call print_outcome
    mov esi, success
    jmp finish

; ESI: what was tried.
print_outcome:
    call print
    mov esi, works
    cmp byte [faulted], 0
    je print
    mov esi, faults
    jmp print

print_end:
    mov esi, line_end
    jmp print

; ECX in hexadecimal.
print_hex:
    mov edx, 8
.digit:
    push edx
    rol ecx, 4
    mov eax, ecx
    and eax, 15
    mov al, [digits + eax]
    call put
    pop edx
    dec edx
    jnz .digit
    ret

load_idt:
    mov eax, fault
    mov [idt + 8 * VECTOR_GP], ax
    mov [idt + 8 * VECTOR_GP + 2], cs
    mov word [idt + 8 * VECTOR_GP + 4], 0x8e00
    shr eax, 16
    mov [idt + 8 * VECTOR_GP + 6], ax
    lidt [idt_register]
    ret

; #GP: goes on behind what faulted.
fault:
    add esp, 4
    mov byte [faulted], 1
    push dword [resume]
    pop dword [esp]
    iret

section .data
%macro leaf 2
    dd %1
    db %2, 0
    align 4
%endmacro
leaves:
    leaf 1, "legacy: leaf 00000001 edx, ecx: "
LEAF_SIZE equ $ - leaves
    leaf 0x80000001, "legacy: leaf 80000001 edx, ecx: "
leaves_end:

%macro control 2
    dd %1
    db %2, 0
    align 4
%endmacro
controls:
    control 4, "legacy: cr4 04"
CONTROL_SIZE equ $ - controls
    control 5, "legacy: cr4 05"
    control 7, "legacy: cr4 07"
    control 9, "legacy: cr4 09"
    control 10, "legacy: cr4 10"
controls_end:
efer_lme: db "legacy: efer 08", 0
digits: db "0123456789ABCDEF"
works: db " works", 13, 10, 0
faults: db " faults", 13, 10, 0
success: db "Test result: SUCCESS", 13, 10, 0
idt_register:
    dw 8 * 32 - 1
    dd idt

section .bss
alignb 16
idt: resb 8 * 32
resume: resd 1
faulted: resb 1
