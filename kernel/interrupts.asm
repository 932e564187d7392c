; SPDX-License-Identifier: BSD-2-Clause
; Entries of the IDT, and the few sequences around interrupts that C cannot express.

extern interrupt_handle
global interrupt_stubs, interrupts_load_tables
global wait_for_nmi, wait_for_nmi_halt, wait_for_nmi_end
global interrupts_drop, interrupts_drop_window, nmis_open
global rdmsr_safe, rdmsr_safe_instruction, rdmsr_safe_fault
global wrmsr_safe, wrmsr_safe_instruction, wrmsr_safe_fault
global write_safe, write_safe_instruction, write_safe_fault

EIO equ 5
EFAULT equ 14
STUB_SIZE equ 16

section .text progbits alloc exec nowrite align=16

; One stub for each vector, STUB_SIZE bytes apart. #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC and
; #SX push an error code (SDM vol. 3 §6.13, APM vol. 2 §8.2).
interrupt_stubs:
%assign vector 0
%rep 256
    align STUB_SIZE
%if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    push 0
%endif
    push vector
    jmp near common_entry
%assign vector vector + 1
%endrep

common_entry:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    cld
    call interrupt_handle
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

; void interrupts_load_tables(const void *gdtr, const void *idtr, uint16_t code, uint16_t data,
;                             uint16_t tss)
interrupts_load_tables:
    lgdt [rdi]
    lidt [rsi]
    mov ds, cx
    mov es, cx
    mov ss, cx
    xor eax, eax
    mov fs, ax
    mov gs, ax
    movzx edx, dx
    pop rax
    push rdx
    push rax
    ltr r8w
    retfq

; void wait_for_nmi(const volatile bool *flag): an NMI behind the test, up to the HLT, is moved by
; interrupt_handle() to the end, so that none is slept over.
wait_for_nmi:
    cmp byte [rdi], 0
    jne wait_for_nmi_end
wait_for_nmi_halt:
    hlt
wait_for_nmi_end:
    cmp byte [rdi], 0
    je wait_for_nmi
    ret

; void interrupts_drop(void): all that is requested comes at the CLI, or at the NOP if an NMI ended the
; shadow of the STI, and is dropped there by interrupt_handle().
interrupts_drop:
    sti
    nop
interrupts_drop_window:
    cli
    ret

; void nmis_open(void): an IRET back to the caller
nmis_open:
    pop rax
    mov rcx, rsp
    mov edx, ss
    push rdx
    push rcx
    pushfq
    mov edx, cs
    push rdx
    push rax
    iretq

; int rdmsr_safe(uint32_t msr, uint64_t *value)
rdmsr_safe:
    mov ecx, edi
rdmsr_safe_instruction:
    rdmsr
    shl rdx, 32
    or rax, rdx
    mov [rsi], rax
    xor eax, eax
    ret
rdmsr_safe_fault:
    mov eax, -EIO
    ret

; int wrmsr_safe(uint32_t msr, uint64_t value)
wrmsr_safe:
    mov ecx, edi
    mov eax, esi
    mov rdx, rsi
    shr rdx, 32
wrmsr_safe_instruction:
    wrmsr
    xor eax, eax
    ret
wrmsr_safe_fault:
    mov eax, -EIO
    ret

; int write_safe(volatile uint8_t *to, uint8_t value)
write_safe:
write_safe_instruction:
    mov [rdi], sil
    xor eax, eax
    ret
write_safe_fault:
    mov eax, -EFAULT
    ret

section .note.GNU-stack noalloc noexec nowrite progbits
