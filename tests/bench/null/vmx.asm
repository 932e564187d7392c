; SPDX-License-Identifier: BSD-2-Clause
;
; The stub's loop for VMX (SDM vol. 3 ch. 26 to 28). All addresses are below 4 GiB.

%include "tests/bench/null/registers.inc"

%define FIELD_GUEST_PHYSICAL 0x2400
%define FIELD_EXIT_REASON 0x4402
%define FIELD_VECTORING_EVENT 0x4408
%define FIELD_EXIT_LENGTH 0x440c
%define FIELD_EXIT_QUALIFICATION 0x6400
%define FIELD_GUEST_RIP 0x681e
%define FIELD_HOST_RSP 0x6c14
%define FIELD_HOST_RIP 0x6c16

%define EXIT_CPUID 10
%define EXIT_VMCALL 18
%define EXIT_IO 30
%define EXIT_RDMSR 31
%define EXIT_WRMSR 32
%define EXIT_EPT 48
%define EXIT_XSETBV 55
%define QUALIFICATION_IN 8
%define EVENT_VALID 31

bits 64
section .text

%macro write_field 2
    mov eax, %1
    vmwrite rax, %2
%endmacro

; %1: where exits go. Returns if the CPU refuses.
%macro launch 1
    write_field FIELD_HOST_RSP, rsp
    mov ecx, %1
    write_field FIELD_HOST_RIP, rcx
    vmlaunch
    ret
%endmacro

; The guest's registers are what the last exit left: CPUID's four, and the others as they were.
global null_vmx_floor
null_vmx_floor:
    launch floor_exit
align 64
floor_exit:
    mov ebx, FIELD_GUEST_RIP
    vmread rcx, rbx
    add rcx, 2
    vmwrite rbx, rcx
    mov eax, ANSWER
    mov ebx, ANSWER
    mov ecx, ANSWER
    mov edx, ANSWER
    vmresume
    ret

%macro skip_instruction 0
    mov eax, FIELD_EXIT_LENGTH
    vmread rcx, rax
    mov eax, FIELD_GUEST_RIP
    vmread rdx, rax
    add rdx, rcx
    vmwrite rax, rdx
%endmacro

; %1: the label; %2: 1 if CR2 is kept too, and an event is seen whose delivery the exit cut short.
%macro stub 2
global %1
%1:
    launch %%exit
align 64
%%exit:
    store_registers
    mov [guest_rax], rax
%if %2
    mov rax, cr2
    mov [guest_cr2], rax
    mov eax, FIELD_VECTORING_EVENT
    vmread rcx, rax
    bt ecx, EVENT_VALID
    jc %%unknown
%endif
    mov eax, FIELD_EXIT_REASON
    vmread rdx, rax
    cmp edx, EXIT_CPUID
    jne %%not_cpuid
    mov qword [guest_rax], ANSWER
    mov qword [guest_rbx], ANSWER
    mov qword [guest_rcx], ANSWER
    mov qword [guest_rdx], ANSWER
%%skip:
    skip_instruction
%%enter:
%if %2
    mov rax, [guest_cr2]
    mov cr2, rax
%endif
    load_registers
    mov rax, [guest_rax]
    vmresume
%%unknown:
    ret
%%not_cpuid:
    cmp edx, EXIT_VMCALL
    jne %%not_vmcall
    mov qword [guest_rax], ANSWER
    jmp %%skip
%%not_vmcall:
    cmp edx, EXIT_WRMSR
    je %%skip
    cmp edx, EXIT_RDMSR
    jne %%not_msr
    mov qword [guest_rax], ANSWER
    mov qword [guest_rdx], ANSWER
    jmp %%skip
%%not_msr:
    cmp edx, EXIT_IO
    jne %%not_io
    mov eax, FIELD_EXIT_QUALIFICATION
    vmread rcx, rax
    test ecx, QUALIFICATION_IN
    jz %%skip
    mov qword [guest_rax], ANSWER
    jmp %%skip
%%not_io:
    cmp edx, EXIT_XSETBV
    je %%skip
    cmp edx, EXIT_EPT
    jne %%unknown
    mov eax, FIELD_GUEST_PHYSICAL
    vmread rcx, rax
    map_fresh
    jmp %%enter
%endmacro

stub null_vmx_gpr, 0
stub null_vmx_full, 1

section .bss
alignb 64
guest_registers
guest_rax: resq 1
guest_cr2: resq 1

section .note.GNU-stack noalloc noexec nowrite progbits
