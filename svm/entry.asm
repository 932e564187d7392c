; SPDX-License-Identifier: BSD-2-Clause
; The way into the guest and out of it (APM vol. 2 §15.5, §15.6). VMRUN and #VMEXIT exchange RAX,
; RSP, RIP, RFLAGS, CS, SS, DS, ES, the control registers and GDTR and IDTR by themselves; VMSAVE
; and VMLOAD exchange FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs; the stub does the rest.
%include "svm/offsets.inc"
%include "kernel/return_stack.inc"

extern svm_quick, svm_exit, svm_exit_timed
global svm_loop, svm_loop_measured, svm_loop_timed, svm_open_gif, svm_close_gif, svm_vmsave

%define MSR_PRED_CMD 0x49
%define PRED_CMD_IBPB 1

bits 64
section .rodata
verw_selector: dw SELECTOR_DATA

section .text

; Enter, and handle each exit by %1, until that says no. With %2 svm_quick() is asked first: it
; keeps R8 to R15 and RBP, and the state that VMSAVE and VMLOAD exchange stays in the CPU. With %3
; there may be measures against the CPU's speculation.
%macro run_guest 3
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx                    ; [rsp + 16] host_vmcb
    push rsi                    ; [rsp + 8] vmcb
    push rdi                    ; [rsp] v; the stack is aligned for the calls below
    clgi
%%enter:
    mov rbp, [rdi + REGS_RBP]
    mov r8, [rdi + REGS_R8]
    mov r9, [rdi + REGS_R9]
    mov r10, [rdi + REGS_R10]
    mov r11, [rdi + REGS_R11]
    mov r12, [rdi + REGS_R12]
    mov r13, [rdi + REGS_R13]
    mov r14, [rdi + REGS_R14]
    mov r15, [rdi + REGS_R15]
    mov rax, [rsp + 8]
    vmload
%%enter_quick:
%if %3
    test byte [rdi + VCPU_MEASURES], MEASURE_VERW
    jz %%registers
    verw [rel verw_selector]
%%registers:
%endif
    mov rcx, [rdi + REGS_RCX]
    mov rdx, [rdi + REGS_RDX]
    mov rbx, [rdi + REGS_RBX]
    mov rsi, [rdi + REGS_RSI]
    mov rdi, [rdi + REGS_RDI]
    mov rax, [rsp + 8]
    vmrun
    mov rax, [rsp]
    mov [rax + REGS_RCX], rcx
    mov [rax + REGS_RDX], rdx
    mov [rax + REGS_RBX], rbx
    mov [rax + REGS_RSI], rsi
    mov [rax + REGS_RDI], rdi
    mov rdi, rax
%if %3
    test byte [rdi + VCPU_MEASURES], MEASURE_IBPB
    jz %%predicted
    mov ecx, MSR_PRED_CMD
    mov eax, PRED_CMD_IBPB
    xor edx, edx
    wrmsr
%%predicted:
%endif
%if %2
    call svm_quick
    mov rdi, [rsp]
    test al, al
    jnz %%enter_quick
%endif
    mov [rdi + REGS_RBP], rbp
    mov [rdi + REGS_R8], r8
    mov [rdi + REGS_R9], r9
    mov [rdi + REGS_R10], r10
    mov [rdi + REGS_R11], r11
    mov [rdi + REGS_R12], r12
    mov [rdi + REGS_R13], r13
    mov [rdi + REGS_R14], r14
    mov [rdi + REGS_R15], r15
    mov rax, [rsp + 8]
    vmsave
    mov rax, [rsp + 16]
    vmload
    call %1
    mov rdi, [rsp]
    test al, al
    jnz %%enter
    stgi
    fill_return_stack           ; the calls that led here came before the guest
    add rsp, 24
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
%endmacro

; void svm_loop(struct vcpu *v, uint64_t vmcb, uint64_t host_vmcb)
svm_loop:
    run_guest svm_exit, 1, 0

; void svm_loop_measured(struct vcpu *v, uint64_t vmcb, uint64_t host_vmcb)
svm_loop_measured:
    run_guest svm_exit, 1, 1

; void svm_loop_timed(struct vcpu *v, uint64_t vmcb, uint64_t host_vmcb)
svm_loop_timed:
    run_guest svm_exit_timed, 0, 1

; void svm_open_gif(void): what is pending is taken behind STGI, at the latest behind the NOP.
svm_open_gif:
    stgi
    nop
    clgi
    ret

; void svm_close_gif(void)
svm_close_gif:
    clgi
    ret

; void svm_vmsave(uint64_t vmcb)
svm_vmsave:
    mov rax, rdi
    vmsave
    ret

section .note.GNU-stack noalloc noexec nowrite progbits
