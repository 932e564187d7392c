; SPDX-License-Identifier: BSD-2-Clause
;
; Into the guest and out of it. While a guest runs, Latch's stack holds, from HOST_RSP on: the vCPU,
; and the registers that vmx_run_guest()'s caller wants back. Exits arrive with interrupts off,
; RFLAGS = 2 and GS base = struct cpu.

%include "vmx/offsets.inc"

extern vmx_exit, vmx_exit_timed, vmx_attend, vmx_entry_failed
global vmx_run_guest, vmx_exit_entry, vmx_exit_entry_timed
global vmx_launch_window, vmx_launch_window_end, vmx_resume_window, vmx_resume_window_end

bits 64
section .text

; Enters the guest by instruction %1. Nothing that is done from here to label %2 is lost if it is done
; again. So an NMI that comes too late to be seen here returns to here, see vmx_after_nmi().
%macro enter_guest 2
%%again:
    mov rax, [rsp]
    mov rcx, [rax + VCPU_BACKEND]
    cmp byte [rcx + VMX_ATTEND], 0
    jne %%attend
    cmp byte [rax + VCPU_FLUSH], 0
    jne %%attend
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

; Handle an exit by %1.
%macro take_exit 1
    push rax
    mov rax, [rsp + 8]
    mov [rax + REGS_RCX], rcx
    mov [rax + REGS_RDX], rdx
    mov [rax + REGS_RBX], rbx
    mov [rax + REGS_RBP], rbp
    mov [rax + REGS_RSI], rsi
    mov [rax + REGS_RDI], rdi
    mov [rax + REGS_R8], r8
    mov [rax + REGS_R9], r9
    mov [rax + REGS_R10], r10
    mov [rax + REGS_R11], r11
    mov [rax + REGS_R12], r12
    mov [rax + REGS_R13], r13
    mov [rax + REGS_R14], r14
    mov [rax + REGS_R15], r15
    pop rcx
    mov [rax + REGS_RAX], rcx
    mov rdi, rax
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
    take_exit vmx_exit_timed
    jmp vmx_resume_window

vmx_exit_entry:
    take_exit vmx_exit

vmx_resume_window:
    enter_guest vmresume, vmx_resume_window_end

entry_failed:
    mov rdi, [rsp]
    call vmx_entry_failed
leave_loop:
    pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

section .note.GNU-stack noalloc noexec nowrite progbits
