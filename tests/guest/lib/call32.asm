; SPDX-License-Identifier: BSD-2-Clause
;
; A hypercall or a WRMSR in compatibility mode at CPL 0, as 32-bit code makes it.

%define SELECTOR_CODE64 0x08
%define SELECTOR_CODE32 0x18

global call32

section .text
bits 64

; void call32(struct call32 *c): see payload.h
call32:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rbx, rdi
    push SELECTOR_CODE32
    lea rax, [rel .compatibility]
    push rax
    o64 retf

bits 32
.compatibility:
    mov eax, [ebx]
    mov edi, [ebx + 4]
    mov esi, [ebx + 8]
    mov edx, [ebx + 12]
    mov ecx, [ebx + 16]
    cmp dword [ebx + 20], 1
    je .vmmcall
    ja .wrmsr
    vmcall
    jmp .answer
.vmmcall:
    vmmcall
    jmp .answer
.wrmsr:
    wrmsr
.answer:
    mov [ebx], eax
    jmp SELECTOR_CODE64:.back

bits 64
.back:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

section .note.GNU-stack noalloc noexec nowrite progbits
