; SPDX-License-Identifier: BSD-2-Clause
;
; The stub's loop for SVM (APM vol. 2 §15.5). All addresses are below 4 GiB.

%include "tests/bench/null/registers.inc"

%define EXIT_CODE 0x70
%define EXIT_INFO_1 0x78
%define EXIT_INFO_2 0x80
%define SAVE_RIP 0x578
%define SAVE_RAX 0x5f8

%define EXIT_CPUID 0x72
%define EXIT_IOIO 0x7b
%define EXIT_MSR 0x7c
%define EXIT_VMMCALL 0x81
%define EXIT_NPF 0x400

bits 64
section .text

; The guest's registers are what the last exit left: CPUID's four, and the others as they were.
global null_svm_floor
align 64
null_svm_floor:
    mov rax, rdi
.enter:
    vmrun
    mov qword [rax + SAVE_RAX], ANSWER
    mov ebx, ANSWER
    mov ecx, ANSWER
    mov edx, ANSWER
    add qword [rax + SAVE_RIP], 2
    jmp .enter

; %1: the label; %2: 1 if the state of VMLOAD and VMSAVE is kept too, and GIF is closed.
%macro stub 2
global %1
align 64
%1:
    mov [guest_vmcb], rdi
    mov [host_vmcb], rsi
%%enter:
%if %2
    clgi
%endif
    load_registers
    mov rax, [guest_vmcb]
%if %2
    vmload
%endif
    vmrun
%if %2
    vmsave
%endif
    store_registers
%if %2
    mov rax, [host_vmcb]
    vmload
    stgi
    mov rax, [guest_vmcb]
%endif
    mov rdx, [rax + EXIT_CODE]
    cmp rdx, EXIT_CPUID
    jne %%not_cpuid
    mov qword [rax + SAVE_RAX], ANSWER
    mov qword [guest_rbx], ANSWER
    mov qword [guest_rcx], ANSWER
    mov qword [guest_rdx], ANSWER
    add qword [rax + SAVE_RIP], 2
    jmp %%enter
%%not_cpuid:
    cmp rdx, EXIT_VMMCALL
    jne %%not_vmmcall
    mov qword [rax + SAVE_RAX], ANSWER
    add qword [rax + SAVE_RIP], 3
    jmp %%enter
%%not_vmmcall:
    cmp rdx, EXIT_MSR
    jne %%not_msr
    add qword [rax + SAVE_RIP], 2
    cmp dword [rax + EXIT_INFO_1], 0
    jne %%enter
    mov qword [rax + SAVE_RAX], ANSWER
    mov qword [guest_rdx], ANSWER
    jmp %%enter
%%not_msr:
    cmp rdx, EXIT_IOIO
    jne %%not_io
    mov rcx, [rax + EXIT_INFO_2]
    mov [rax + SAVE_RIP], rcx
    test dword [rax + EXIT_INFO_1], 1
    jz %%enter
    mov qword [rax + SAVE_RAX], ANSWER
    jmp %%enter
%%not_io:
    cmp rdx, EXIT_NPF
    jne %%unknown
    mov rcx, [rax + EXIT_INFO_2]
    map_fresh
    jmp %%enter
%%unknown:
    ret
%endmacro

stub null_svm_gpr, 0
stub null_svm_full, 1

section .bss
alignb 64
guest_registers
guest_vmcb: resq 1
host_vmcb: resq 1

section .note.GNU-stack noalloc noexec nowrite progbits
