; SPDX-License-Identifier: BSD-2-Clause
;
; Accesses that are expected to fault, in 64-bit mode and in the 32-bit ones. The code that accesses
; has the same bytes in both. The 32-bit part is copied to LEGACY_BASE and mapped to itself there;
; it begins with what attempt.c hands over (struct area there).

%include "tests/guest/lib/layout.inc"

%define LEGACY_BASE 0x30000
%define AT(label) (LEGACY_BASE + (label) - legacy_blob)
%define USER_CODE 0x23
%define USER_DATA 0x2b
%define TASK      0x30
%define STUB_DATA 0x800
%define STUB_PORT 0x80

global attempt_enter, legacy_blob, legacy_entry, legacy_stub, legacy_blob_end

section .text
bits 64
; attempt_enter(frame for IRETQ, RDI, RSI, saved): comes back through INT 80H and ring3_leave(saved).
align 16
attempt_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rcx], rsp
    mov rsp, rdi
    mov rdi, rsi
    mov rsi, rdx
    xor eax, eax
    iretq

align 16
legacy_blob:
v_switch: dd 0                  ; only to the registers below, and back
v_first_cr3: dd 0
v_cr0: dd 0
v_cr3: dd 0
v_cr4: dd 0
v_efer: dd 0
v_frame: times 5 dd 0           ; for IRETD: EIP, CS, EFLAGS, ESP, SS
v_edi: dd 0
v_esi: dd 0
v_pdpte_place: dd 0            ; of one that is written after CR3 was loaded; 0: none
v_pdpte: dd 0, 0
v_change_cr4: dd 0             ; then CR0 or CR4 gets these values, in turn
v_change: dd 0, 0
v_invalidate: dd 0
v_vector: dd 0
v_error: dd 0
v_cr2: dd 0
v_eax: dd 0
v_seen_cr0: dd 0
v_seen_cr4: dd 0
v_back_cr0: dd 0                ; of the long mode to return to
v_back_cr3: dd 0
v_back_cr4: dd 0
v_back_efer: dd 0
align 8
v_saved_rsp: dq 0

align 8
legacy_gdt:
    dq 0
    dq 0x00af9b000000ffff       ; SELECTOR_CODE64
    dq 0x00cf93000000ffff       ; SELECTOR_DATA
    dq 0x00cf9b000000ffff       ; SELECTOR_CODE32
    dq 0x00cffb000000ffff       ; USER_CODE
    dq 0x00cff3000000ffff       ; USER_DATA
legacy_tss_descriptor:
    dw 103
    dw AT(legacy_tss) & 0xffff
    db AT(legacy_tss) >> 16 & 0xff, 0x89, 0, AT(legacy_tss) >> 24
legacy_gdt_pointer:
    dw legacy_gdt_pointer - legacy_gdt - 1
    dq AT(legacy_gdt)
legacy_idt_pointer:
    dw legacy_idt_end - legacy_idt - 1
    dd AT(legacy_idt)

align 8
legacy_tss:
    dd 0, AT(legacy_stack_end), SELECTOR_DATA
    times 22 dd 0
    dd 104 << 16

bits 64
align 16
legacy_entry:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    mov [AT(v_saved_rsp)], rsp
    mov byte [AT(legacy_tss_descriptor) + 5], 0x89 ; not busy
    lgdt [AT(legacy_gdt_pointer)]
    mov rsp, AT(legacy_stack_end)
    push SELECTOR_CODE32
    push AT(legacy_compatibility)
    o64 retf

bits 32
legacy_compatibility:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    cmp dword [AT(v_switch)], 0
    jne legacy_back
    mov ecx, MSR_EFER
    xor edx, edx
    mov eax, [AT(v_efer)]
    wrmsr
    mov eax, [AT(v_cr4)]
    mov cr4, eax
    mov eax, [AT(v_first_cr3)]
    mov cr3, eax
    lidt [AT(legacy_idt_pointer)]
    mov eax, TASK
    ltr ax
    mov eax, [AT(v_cr0)]
    mov cr0, eax
    jmp .paged
.paged:
    mov eax, USER_DATA          ; survives the way to CPL 3
    mov ds, eax
    mov es, eax
    mov eax, [AT(v_cr3)]
    mov cr3, eax
    mov esp, AT(legacy_stack_end)
    cmp dword [AT(v_pdpte_place)], 0
    je .changed
    call legacy_change
.changed:
%assign offset 16
%rep 5
    push dword [AT(v_frame) + offset]
%assign offset offset - 4
%endrep
    mov edi, [AT(v_edi)]
    mov esi, [AT(v_esi)]
    xor eax, eax
    iretd

legacy_change:
    mov edi, [AT(v_pdpte_place)]
    mov eax, [AT(v_pdpte)]
    mov [edi], eax
    mov eax, [AT(v_pdpte) + 4]
    mov [edi + 4], eax
    mov eax, [AT(v_change)]
    mov ecx, [AT(v_change) + 4]
    cmp dword [AT(v_change_cr4)], 0
    jne .cr4
    mov cr0, eax
    mov cr0, ecx
    jmp .invalidate
.cr4:
    mov cr4, eax
    mov cr4, ecx
.invalidate:
    cmp dword [AT(v_invalidate)], 0
    je .done
    mov edi, [AT(v_edi)]
    invlpg [edi]
.done:
    ret

%assign vector 0
%rep 32
legacy_vector_%+vector:
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
    push 0
%endif
    push vector
    jmp legacy_event
%assign vector vector + 1
%endrep
legacy_vector_128:
    push 0
    push 128
legacy_event:
    mov [AT(v_eax)], eax
    pop dword [AT(v_vector)]
    pop dword [AT(v_error)]
    mov eax, cr2
    mov [AT(v_cr2)], eax
    mov eax, cr0
    mov [AT(v_seen_cr0)], eax
    mov eax, cr4
    mov [AT(v_seen_cr4)], eax
legacy_back:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, AT(legacy_stack_end)
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, [AT(v_back_cr4)]
    mov cr4, eax
    mov eax, [AT(v_back_cr3)]
    mov cr3, eax
    mov ecx, MSR_EFER
    xor edx, edx
    mov eax, [AT(v_back_efer)]
    wrmsr
    mov eax, [AT(v_back_cr0)]
    mov cr0, eax
    jmp SELECTOR_CODE64:AT(legacy_long)

bits 64
legacy_long:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov rsp, [AT(v_saved_rsp)]
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

%macro GATE 2
    dw AT(%1) & 0xffff, SELECTOR_CODE32
    db 0, %2
    dw AT(%1) >> 16
%endmacro

align 8
legacy_idt:
%assign vector 0
%rep 32
    GATE legacy_vector_%+vector, 0x8e
%assign vector vector + 1
%endrep
    times 96 dq 0
    GATE legacy_vector_128, 0xee
legacy_idt_end:
align 16
    times 256 db 0
legacy_stack_end:

; On a page of its own, as it is mapped for users too.
    times 4096 - ($ - legacy_blob) db 0
legacy_stub:
    mov eax, [rdi]
    int 0x80
align 16
    mov [rdi], esi
    int 0x80

; In 64-bit mode only, in the order of enum form (paging.h).
bits 64
align 16
    push rsi
    int 0x80
align 16
    call .pushed
.pushed:
    int 0x80
align 16
    mov eax, esi
    stosd
    int 0x80
align 16
    lea rsi, [rel legacy_stub + STUB_DATA]
    movsd
    int 0x80
align 16
    movd xmm0, esi
    movd [rdi], xmm0
    int 0x80
align 16
    mov edx, STUB_PORT
    insd
    int 0x80
align 16
    mov eax, 7                  ; the LDT's first descriptor, RPL 3
    lar eax, ax
    int 0x80
align 16
    mov eax, 7
    mov ds, eax
    mov eax, USER_DATA
    mov ds, eax
    int 0x80
    times 4096 - ($ - legacy_stub) db 0xcc
legacy_blob_end:

section .note.GNU-stack noalloc noexec nowrite progbits
