; SPDX-License-Identifier: BSD-2-Clause
;
; A hypercall or a WRMSR in compatibility mode, as 32-bit code makes it.

%define SELECTOR_USER_DATA 0x2b

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
    mov eax, ds                 ; at CPL 3 it may be null
    push rax
    mov eax, SELECTOR_USER_DATA
    mov ds, eax
    mov eax, [rbx + 24]
    push rax
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
    push dword [ebx + 28]
    push dword .back
    retf

bits 64
.back:
    pop rax
    mov ds, eax
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

section .note.GNU-stack noalloc noexec nowrite progbits
