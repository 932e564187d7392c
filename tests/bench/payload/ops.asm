; SPDX-License-Identifier: BSD-2-Clause
;
; What is measured, instruction by instruction, so that no compiler comes between. Each operation
; has its arguments in RDI and RSI, and may use all registers but R12 to R15 and RSP.

%include "tests/guest/lib/layout.inc"

%define XAPIC_EOI 0xfee000b0
%define XAPIC_ICR 0xfee00300
%define X2APIC_EOI 0x80b
%define X2APIC_ICR 0x830

%macro operation 1
global %1
align 64
%1:
%endmacro

bits 64
section .text

; uint32_t time_operation(operation *, uint64_t first, uint64_t second): ticks of the TSC
global time_operation
align 64
time_operation:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    mov r12, rdi
    mov rdi, rsi
    mov rsi, rdx
    rdtsc
    mov r13d, eax
    call r12
    rdtsc
    sub eax, r13d
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

operation op_empty
    ret

operation op_cpuid              ; leaf, subleaf
    mov eax, edi
    mov ecx, esi
    cpuid
    ret

operation op_vmcall
    xor eax, eax
    vmcall
    ret

operation op_vmmcall
    xor eax, eax
    vmmcall
    ret

operation op_rdmsr              ; MSR
    mov ecx, edi
    rdmsr
    ret

operation op_wrmsr              ; MSR, value
    mov ecx, edi
    mov eax, esi
    xor edx, edx
    wrmsr
    ret

operation op_in                 ; port
    mov edx, edi
    in al, dx
    ret

operation op_out                ; port
    mov edx, edi
    mov eax, -1
    out dx, al
    ret

operation op_xsetbv             ; value
    xor ecx, ecx
    mov eax, edi
    xor edx, edx
    xsetbv
    ret

; The bits in RDI are changed and changed back.
operation op_cr0
    mov rax, cr0
    mov rcx, rax
    xor rcx, rdi
    mov cr0, rcx
    mov cr0, rax
    ret

operation op_cr4
    mov rax, cr4
    mov rcx, rax
    xor rcx, rdi
    mov cr4, rcx
    mov cr4, rax
    ret

operation op_read_memory        ; address
    mov eax, [rdi]
    ret

operation op_write_memory       ; address, value
    mov [rdi], esi
    ret

operation op_cr3                ; other root, this root
    mov cr3, rdi
    mov cr3, rsi
    ret

operation op_invlpg             ; address
    invlpg [rdi]
    ret

operation op_page_fault         ; address that is not mapped; see skip_fault
    mov eax, [rdi]
    ret

operation op_remap              ; address, its page-table entry
    mov rax, [rsi]
    mov qword [rsi], 0
    invlpg [rdi]
    mov [rsi], rax
    mov ecx, [rdi]
    ret

operation op_copy_on_write      ; address, its page-table entry; see give_page
    mov rax, [rsi]
    and rax, ~2
    mov [rsi], rax
    invlpg [rdi]
    mov [rdi], eax
    ret

; A table of 512 entries for the 2 MiB at RDI is filled, hung into the directory's entry at RSI,
; used for 8 pages, and taken down.
operation op_new_table
    mov rax, [new_table_first]
    mov rdx, [new_table]
    xor ecx, ecx
.fill:
    mov [rdx + rcx * 8], rax
    inc ecx
    cmp ecx, 512
    jne .fill
    lea rax, [rdx + 7]
    mov [rsi], rax
    mov ecx, 8
.touch:
    mov [rdi], eax
    add rdi, 64 * 4096
    dec ecx
    jnz .touch
    mov qword [rsi], 0
    mov rax, cr3
    mov cr3, rax
    xor eax, eax
    xor ecx, ecx
.clear:
    mov [rdx + rcx * 8], rax
    inc ecx
    cmp ecx, 512
    jne .clear
    ret

operation op_xapic_write        ; offset from the APIC's base, value
    mov eax, 0xfee00000
    mov [rax + rdi], esi
    ret

operation op_xapic_read         ; offset
    mov eax, 0xfee00000
    mov eax, [rax + rdi]
    ret

; An interrupt to this or another processor, until its handler has answered. Interrupts are on before
; it is sent: a hypervisor that must wait for them to be so hangs in Bochs' SVM.
operation op_xapic_ipi          ; ICR's low half
    mov dword [answered], 0
    mov eax, XAPIC_ICR
    sti
    nop
    mov [rax], edi
.wait:
    pause
    cmp dword [answered], 0
    je .wait
    cli
    ret

operation op_x2apic_ipi         ; ICR
    mov dword [answered], 0
    mov ecx, X2APIC_ICR
    mov eax, edi
    mov rdx, rdi
    shr rdx, 32
    sti
    nop
    wrmsr
.wait:
    pause
    cmp dword [answered], 0
    je .wait
    cli
    ret

; uint64_t halt_until_timer(uint32_t count): from writing the timer's count to its handler
global halt_until_timer
align 64
halt_until_timer:
    mov ecx, 0xfee00380
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov rsi, rax
    mov [rcx], edi
    sti
    hlt
    cli
    mov rax, [woken_at]
    sub rax, rsi
    ret

; ---- Handlers, with as little in them as there can be.

global skip_fault, give_page, answer_xapic, answer_x2apic, note_time

; Go on behind the two bytes that met the fault.
align 64
skip_fault:
    add qword [rsp + 8], 2
    add rsp, 8
    iretq

; Map the other page, writable, by the entry in RSI.
align 64
give_page:
    add rsp, 8
    mov rax, [rsi]
    xor rax, 0x1002
    mov [rsi], rax
    invlpg [rdi]
    iretq

align 64
answer_xapic:
    push rax
    mov eax, XAPIC_EOI
    mov dword [rax], 0
    mov dword [answered], 1
    pop rax
    iretq

align 64
answer_x2apic:
    push rax
    push rcx
    push rdx
    mov ecx, X2APIC_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
    mov dword [answered], 1
    pop rdx
    pop rcx
    pop rax
    iretq

align 64
note_time:
    push rax
    push rdx
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [woken_at], rax
    mov eax, XAPIC_EOI
    mov dword [rax], 0
    pop rdx
    pop rax
    iretq

section .data
global new_table, new_table_first
align 64
answered: dd 0
align 64
woken_at: dq 0
new_table: dq 0                 ; the page for the table
new_table_first: dq 0           ; what each of its entries is filled with

section .note.GNU-stack noalloc noexec nowrite progbits
