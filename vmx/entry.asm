; SPDX-License-Identifier: BSD-2-Clause
;
; Into the guest and out of it. While a guest runs, Latch's stack holds, from HOST_RSP on: the vCPU,
; and the registers that vmx_run_guest()'s caller wants back. Exits arrive with interrupts off,
; RFLAGS = 2 and GS base = struct cpu.

%include "vmx/offsets.inc"
%include "kernel/return_stack.inc"

extern vmx_quick, vmx_exit, vmx_exit_timed, vmx_attend, vmx_entry_failed
global vmx_run_guest, vmx_exit_entry, vmx_exit_entry_timed
global vmx_launch_window, vmx_launch_window_end, vmx_resume_window, vmx_resume_window_end
global vmx_quick_window, vmx_quick_window_end

%define MSR_FLUSH_CMD 0x10b
%define FLUSH_CMD_L1D 1

bits 64
section .rodata
verw_selector: dw SELECTOR_DATA

section .text

; Enters the guest by instruction %1. Nothing that is done from here to label %2 is lost if it is done
; again. So an NMI that comes too late to be seen here returns to here, see vmx_after_nmi().
%macro enter_guest 2
%%again:
    mov rax, [rsp]
    mov rcx, [rax + VCPU_BACKEND]
    cmp byte [rcx + VMX_ATTEND], 0
    jne %%attend
    cmp word [rax + VCPU_FLUSH], 0      ; and VCPU_MEASURES
    je %%registers
    cmp byte [rax + VCPU_FLUSH], 0
    jne %%attend
    test byte [rax + VCPU_MEASURES], MEASURE_L1D_FLUSH
    jz %%verw
    mov ecx, MSR_FLUSH_CMD
    mov eax, FLUSH_CMD_L1D
    xor edx, edx
    wrmsr
    mov rax, [rsp]
%%verw:
    test byte [rax + VCPU_MEASURES], MEASURE_VERW
    jz %%registers
    verw [rel verw_selector]
%%registers:
    mov rcx, [rax + REGS_RCX]
    mov rdx, [rax + REGS_RDX]
    mov rbx, [rax + REGS_RBX]
    mov rbp, [rax + REGS_RBP]
    mov rsi, [rax + REGS_RSI]
    mov rdi, [rax + REGS_RDI]
    mov r8, [rax + REGS_R8]
    mov r9, [rax + REGS_R9]
    mov r10, [rax + REGS_R10]
    mov r11, [rax + REGS_R11]
    mov r12, [rax + REGS_R12]
    mov r13, [rax + REGS_R13]
    mov r14, [rax + REGS_R14]
    mov r15, [rax + REGS_R15]
    mov rax, [rax + REGS_RAX]
    %1
%2:
    jmp entry_failed
%%attend:
    mov rdi, rax
    call vmx_attend
    test al, al
    jnz %%again
    jmp leave_loop
%endmacro

; Store those registers that vmx_quick() may read or write, or that it does not keep. RDI becomes the vCPU.
%macro store_quick 0
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi + REGS_RAX], rax
    mov [rdi + REGS_RCX], rcx
    mov [rdi + REGS_RDX], rdx
    mov [rdi + REGS_RBX], rbx
    mov [rdi + REGS_RSI], rsi
    pop qword [rdi + REGS_RDI]
%endmacro

; Store the others; RDI is the vCPU.
%macro store_rest 0
    mov [rdi + REGS_RBP], rbp
    mov [rdi + REGS_R8], r8
    mov [rdi + REGS_R9], r9
    mov [rdi + REGS_R10], r10
    mov [rdi + REGS_R11], r11
    mov [rdi + REGS_R12], r12
    mov [rdi + REGS_R13], r13
    mov [rdi + REGS_R14], r14
    mov [rdi + REGS_R15], r15
%endmacro

; Handle an exit by %1.
%macro take_exit 1
    store_rest
    call %1
    test al, al
    jz leave_loop
%endmacro

; void vmx_run_guest(struct vcpu *v)
vmx_run_guest:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi                            ; the stack is aligned again
    mov eax, FIELD_HOST_RSP
    vmwrite rax, rsp
vmx_launch_window:
    enter_guest vmlaunch, vmx_launch_window_end

vmx_exit_entry_timed:
    store_quick
    take_exit vmx_exit_timed
    jmp vmx_resume_window

vmx_exit_entry:
    store_quick
    call vmx_quick
    test al, al
    jz not_quick
vmx_quick_window:
    mov rdi, [rsp]
    mov rax, [rdi + VCPU_BACKEND]
    cmp byte [rax + VMX_ATTEND], 0
    jne quick_attend
    cmp word [rdi + VCPU_FLUSH], 0      ; and VCPU_MEASURES
    jne quick_attend
    mov rax, [rdi + REGS_RAX]
    mov rcx, [rdi + REGS_RCX]
    mov rdx, [rdi + REGS_RDX]
    mov rbx, [rdi + REGS_RBX]
    mov rsi, [rdi + REGS_RSI]
    mov rdi, [rdi + REGS_RDI]
    vmresume
vmx_quick_window_end:
    mov rdi, [rsp]
    store_rest
    jmp entry_failed
quick_attend:
    store_rest
    jmp vmx_resume_window
not_quick:
    mov rdi, [rsp]
    take_exit vmx_exit

vmx_resume_window:
    enter_guest vmresume, vmx_resume_window_end

entry_failed:
    mov rdi, [rsp]
    call vmx_entry_failed
leave_loop:
    fill_return_stack                   ; the calls that led here came before the guest
    pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

section .note.GNU-stack noalloc noexec nowrite progbits
