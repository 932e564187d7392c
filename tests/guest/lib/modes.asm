; SPDX-License-Identifier: BSD-2-Clause
;
; Trips from long mode to another mode and back. All of it is copied to MODES_BASE, below 1 MiB,
; and begins with what trips.c hands over (struct area there).

%include "tests/guest/lib/layout.inc"

%define AT(label) (MODES_BASE + (label) - modes_blob)
%define IN16(label) ((label) - modes_blob)
%define CODE16 0x20
%define DATA16 0x28

; The order of enum trip_mode.
%define TRIP_REAL          0
%define TRIP_PROTECTED16   1
%define TRIP_PROTECTED32   2
%define TRIP_COMPATIBILITY 6
%define TRIP_LONG          7
%define TRIP_LONG5         8

global modes_blob, modes_entry, modes_blob_end

; What is looked at in each mode; the parameter says how a label is reached from there.
%macro PROBE 1
    xor eax, eax
    xor ecx, ecx
    cpuid
    mov [%1(v_eax)], eax
    mov [%1(v_ebx)], ebx
    mov [%1(v_ecx)], ecx
    mov [%1(v_edx)], edx
    mov ecx, MSR_EFER
    rdmsr
    mov [%1(v_efer)], eax
%if __BITS__ == 64
    mov rax, cr0
    mov rbx, cr4
%else
    mov eax, cr0
    mov ebx, cr4
%endif
    mov [%1(v_cr0)], eax
    mov [%1(v_cr4)], ebx
    mov dx, [%1(v_port)]
    xor eax, eax
    in al, dx
    mov [%1(v_in)], eax
%if __BITS__ != 16
    cmp dword [%1(v_hypercall)], 1
    jb %%done
    mov eax, 0                  ; VERSION; MOV keeps the flags
    jne %%amd
    vmcall
    jmp %%answer
%%amd:
    vmmcall
%%answer:
    mov [%1(v_version)], eax
%%done:
%endif
%endmacro

section .text
align 16
modes_blob:
v_mode: dd 0
v_port: dd 0
v_hypercall: dd 0               ; 0 none, 1 VMCALL, 2 VMMCALL
v_cr3: dd 0
v_cr4_wanted: dd 0
v_long: dd 0                    ; EFER.LME in the other mode
v_eax: dd 0
v_ebx: dd 0
v_ecx: dd 0
v_edx: dd 0
v_efer: dd 0
v_cr0: dd 0
v_cr4: dd 0
v_in: dd 0
v_version: dd 0
v_saved_cr3: dd 0
v_saved_cr4: dq 0
v_saved_rsp: dq 0

align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff       ; SELECTOR_CODE64
    dq 0x00cf93000000ffff       ; SELECTOR_DATA
    dq 0x00cf9b000000ffff       ; SELECTOR_CODE32
    dq 0x00009b000000ffff | MODES_BASE << 16 ; CODE16
    dq 0x000093000000ffff | MODES_BASE << 16 ; DATA16
gdt_pointer:
    dw gdt_pointer - gdt - 1
    dq AT(gdt)

bits 64
modes_entry:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    cli
    mov [AT(v_saved_rsp)], rsp
    mov rax, cr3
    mov [AT(v_saved_cr3)], eax
    mov rax, cr4
    mov [AT(v_saved_cr4)], rax
    lgdt [AT(gdt_pointer)]
    mov rsp, AT(stack_end)
    cmp dword [AT(v_mode)], TRIP_LONG
    je .stay
    push SELECTOR_CODE32
    push AT(compatibility)
    o64 retf
.stay:
    PROBE AT
    jmp return64

bits 32
compatibility:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    cmp dword [AT(v_mode)], TRIP_COMPATIBILITY
    jne leave_long_mode
    PROBE AT
    jmp SELECTOR_CODE64:AT(return64)

leave_long_mode:
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_LME
    wrmsr
    mov eax, [AT(v_cr4_wanted)]
    mov cr4, eax
    mov eax, [AT(v_cr3)]
    mov cr3, eax
    mov eax, [AT(v_mode)]
    cmp eax, TRIP_PROTECTED16
    jbe .bits16
    cmp eax, TRIP_PROTECTED32
    je .probe
    cmp dword [AT(v_long)], 0
    je .page
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
.page:
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    cmp dword [AT(v_long)], 0
    jne .long
.probe:
    PROBE AT
    jmp enter_long_mode
.long:
    jmp SELECTOR_CODE64:AT(other_long)
.bits16:
    jmp CODE16:IN16(protected16)

bits 16
protected16:
    mov ax, DATA16
    mov ds, ax
    mov es, ax
    mov ss, ax
    cmp dword [IN16(v_mode)], TRIP_REAL
    je .real
    PROBE IN16
    jmp back16
.real:
    mov eax, cr0
    and al, ~CR0_PE & 0xff
    mov cr0, eax
    jmp MODES_BASE >> 4:IN16(real)
real:
    mov ax, cs
    mov ds, ax
    mov es, ax
    mov ss, ax
    PROBE IN16
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
back16:
    jmp dword SELECTOR_CODE32:AT(enter_long_mode)

bits 64
other_long:
    PROBE AT
    push SELECTOR_CODE32
    push AT(enter_long_mode)
    o64 retf

bits 32
enter_long_mode:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, AT(stack_end)
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, [AT(v_saved_cr4)]
    mov cr4, eax
    mov eax, [AT(v_saved_cr3)]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    jmp SELECTOR_CODE64:AT(return64)

bits 64
return64:
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

align 16
    times 256 db 0
stack_end:
modes_blob_end:

section .note.GNU-stack noalloc noexec nowrite progbits
