; SPDX-License-Identifier: BSD-2-Clause
;
; What a processor finds at its SIPI vector, stored before any of it changes, and on to the
; trampoline; and the modes in which an INIT may find one. All of it is copied to PROBE_BASE.

%include "tests/guest/lib/layout.inc"

%define AT(label) (PROBE_BASE + (label) - probe)
%define IN16(label) ((label) - probe)
%define CODE16 0x20
%define DATA16 0x28
%define APIC_BASE 0xfee00000
%define MSR_APIC_BASE 0x1b
%define APIC_BASE_X2APIC (1 << 10)
%define MSR_FS_BASE 0xc0000100
%define MSR_GS_BASE 0xc0000101
%define VECTOR_SS 12
%define VECTOR_GP 13
%define LAST_LDT_SELECTOR 0xfffc ; its descriptor ends at the limit of FFFFH
%define LDT_MARK 0x1234

; The order of enum probe_mode.
%define MODE_COMPATIBILITY 0
%define MODE_LONG5 1
%define MODE_PAGING32 2
%define MODE_VIRTUAL8086 3
%define MODE_PROTECTED 4
%define MODE_REAL 5
; Of enum probe_last.
%define LAST_HALT 1
%define RESET_CONTROL 0xcf9
%define EFLAGS_VM (1 << 17)

global probe, probe_end, probe_found, probe_linger, probe_lingers

section .text
align 16
bits 16
probe:
    mov [cs:IN16(found_gpr)], eax
    mov [cs:IN16(found_gpr) + 4], ecx
    mov [cs:IN16(found_gpr) + 8], edx
    mov [cs:IN16(found_gpr) + 12], ebx
    mov [cs:IN16(found_gpr) + 16], esp
    mov [cs:IN16(found_gpr) + 20], ebp
    mov [cs:IN16(found_gpr) + 24], esi
    mov [cs:IN16(found_gpr) + 28], edi
    mov [cs:IN16(found_selector)], es
    mov [cs:IN16(found_selector) + 2], cs
    mov [cs:IN16(found_selector) + 4], ss
    mov [cs:IN16(found_selector) + 6], ds
    mov [cs:IN16(found_selector) + 8], fs
    mov [cs:IN16(found_selector) + 10], gs
    pushfd
    pop eax
    mov [cs:IN16(found_eflags)], eax

    ; The segments' bases by where they lead.
    mov eax, [es:AT(mark)]
    mov [cs:IN16(found_mark)], eax
    mov eax, [cs:IN16(mark)]
    mov [cs:IN16(found_mark) + 4], eax
    mov eax, [ss:AT(mark)]
    mov [cs:IN16(found_mark) + 8], eax
    mov eax, [ds:AT(mark)]
    mov [cs:IN16(found_mark) + 12], eax
    mov eax, [fs:AT(mark)]
    mov [cs:IN16(found_mark) + 16], eax
    mov eax, [gs:AT(mark)]
    mov [cs:IN16(found_mark) + 20], eax

%macro STORE 2
    mov eax, %1
    mov [cs:IN16(%2)], eax
%endmacro
    STORE cr0, found_cr
    STORE cr2, found_cr + 4
    STORE cr3, found_cr + 8
    STORE cr4, found_cr + 12
    STORE dr0, found_dr
    STORE dr1, found_dr + 4
    STORE dr2, found_dr + 8
    STORE dr3, found_dr + 12
    STORE dr6, found_dr + 16
    STORE dr7, found_dr + 20
    o32 sgdt [cs:IN16(found_gdtr)]
    o32 sidt [cs:IN16(found_idtr)]
%macro STORE_MSR 2
    mov ecx, %1
    rdmsr
    mov [cs:IN16(%2)], eax
    mov [cs:IN16(%2) + 4], edx
%endmacro
    STORE_MSR MSR_EFER, found_efer
    STORE_MSR MSR_FS_BASE, found_bases
    STORE_MSR MSR_GS_BASE, found_bases + 8
    STORE_MSR MSR_APIC_BASE, found_apic_base
    mov eax, cr4
    or eax, CR4_OSFXSR
    mov cr4, eax
    fxsave [cs:IN16(found_fpu)]

    ; Their limits: the last byte can be read, the one behind it not.
%macro SET_VECTOR 1
    mov word [ds:4 * %1], IN16(fault)
    mov word [ds:4 * %1 + 2], PROBE_BASE >> 4
%endmacro
    SET_VECTOR VECTOR_SS
    SET_VECTOR VECTOR_GP
%macro LIMIT 1
    mov dx, IN16(%%end)
    mov ebx, 0xffff
    mov al, [%1:ebx]
    inc ebx
    inc word [cs:IN16(found_limits)]
    mov al, [%1:ebx]
    dec word [cs:IN16(found_limits)]
%%end:
%endmacro
    LIMIT es
    LIMIT cs
    LIMIT ss
    LIMIT ds
    LIMIT fs
    LIMIT gs
    mov dword [ds:LAST_LDT_SELECTOR & ~7], LDT_MARK
    mov dword [ds:(LAST_LDT_SELECTOR & ~7) + 4], 0x9300

    ; LDTR and TR can be read in protected mode only, the APIC's page only above 1 MiB.
    o32 lgdt [cs:IN16(gdt_pointer)]
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    sldt [cs:IN16(found_ldtr)]
    str [cs:IN16(found_tr)]
    mov ax, LAST_LDT_SELECTOR
    lsl eax, ax
    jnz .no_ldt
    mov [cs:IN16(found_ldt_mark)], eax
.no_ldt:
    mov ax, SELECTOR_DATA
    mov fs, ax
    mov si, IN16(apic_offsets)
    mov di, IN16(found_apic)
.apic:
    movzx ebx, word [cs:si]
    test word [cs:IN16(found_apic_base)], APIC_BASE_X2APIC
    jz .xapic
    mov ecx, ebx
    shr ecx, 4
    or ecx, 0x800
    rdmsr
    jmp .got
.xapic:
    mov eax, [fs:ebx + APIC_BASE]
.got:
    mov [cs:di], eax
    add si, 2
    add di, 4
    cmp si, IN16(apic_offsets_end)
    jb .apic
    mov eax, cr0
    and al, ~CR0_PE & 0xff
    mov cr0, eax
    jmp TRAMPOLINE >> 4:0

; Resumes where DX says; the fault has no error code in real mode.
fault:
    mov bp, sp
    mov [bp], dx
    iret

; void probe_linger(enum probe_mode mode, uint32_t cr3, uint32_t cr4, enum probe_last last): never
; returns. Says so in probe_lingers.
bits 64
probe_linger:
    cli
    mov ebx, ecx
    mov ebp, edx
    lgdt [AT(gdt_pointer)]
    mov rsp, AT(stack_end)
    push SELECTOR_CODE32
    push AT(compatibility)
    o64 retf

bits 32
compatibility:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    cmp edi, MODE_COMPATIBILITY
    je linger32
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    cmp edi, MODE_LONG5
    je .tables
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_LME
    wrmsr
.tables: ; PAE goes after LME: TCG takes no exit of SVM's that finds LME alone
    mov cr4, ebp
    mov cr3, esi
    cmp edi, MODE_PROTECTED
    je linger32
    ja .real
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    cmp edi, MODE_PAGING32
    je linger32
    ja .virtual8086
    jmp SELECTOR_CODE64:AT(linger64)
.virtual8086:
    push PROBE_BASE >> 4        ; GS, FS, DS, ES, SS
    push PROBE_BASE >> 4
    push PROBE_BASE >> 4
    push PROBE_BASE >> 4
    push PROBE_BASE >> 4
    push IN16(stack_end)
    push EFLAGS_VM | 2
    push PROBE_BASE >> 4
    push IN16(linger16)
    iret
.real:
    jmp CODE16:IN16(protected16)

%macro LINGER 1
    std
    stc
    mov eax, 0xa0a0a0a0
    mov ecx, 0xc1c1c1c1
    mov edx, 0xd2d2d2d2
    mov ebp, 0xb5b5b5b5
    mov esi, 0x56565656
    mov edi, 0xd7d7d7d7
    mov dword [%1(probe_lingers)], 1
    cmp ebx, LAST_HALT
    mov ebx, 0xb3b3b3b3
    jb %%spin
    je %%halt
    mov dx, RESET_CONTROL
    mov al, 6
    out dx, al
%%halt:
    hlt
    jmp %%halt
%%spin:
    jmp %%spin
%endmacro

linger32:
    LINGER AT

bits 64
linger64:
    LINGER AT

bits 16
protected16:
    mov ax, DATA16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, cr0
    and al, ~CR0_PE & 0xff
    mov cr0, eax
    jmp PROBE_BASE >> 4:IN16(real)
real:
    mov ax, cs
    mov ds, ax
    mov es, ax
    mov ss, ax
linger16:
    LINGER IN16

align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff       ; SELECTOR_CODE64
    dq 0x00cf93000000ffff       ; SELECTOR_DATA
    dq 0x00cf9b000000ffff       ; SELECTOR_CODE32
    dq 0x00009b000000ffff | PROBE_BASE << 16 ; CODE16
    dq 0x000093000000ffff | PROBE_BASE << 16 ; DATA16
gdt_pointer:
    dw gdt_pointer - gdt - 1
    dq AT(gdt)

mark: dd 0x5eedf00d
; The order of enum probe_apic.
apic_offsets:
    dw 0x80, 0xd0, 0xf0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x390, 0x3e0, 0x280
    dw 0x100, 0x110, 0x120, 0x130, 0x140, 0x150, 0x160, 0x170
    dw 0x200, 0x210, 0x220, 0x230, 0x240, 0x250, 0x260, 0x270
apic_offsets_end:

; struct probe of payload.h
align 16
probe_found:
found_fpu: times 512 db 0
found_gpr: times 8 dd 0
found_cr: times 4 dd 0
found_dr: times 6 dd 0
found_eflags: dd 0
found_mark: times 6 dd 0
found_ldt_mark: dd 0
found_bases: dq 0, 0
found_efer: dq 0
found_apic_base: dq 0
found_selector: times 6 dw 0
found_ldtr: dw 0
found_tr: dw 0
found_limits: dw 0
found_gdtr: times 3 dw 0
found_idtr: times 3 dw 0
    dw 0
found_apic: times 29 dd 0
probe_lingers: dd 0
align 16
    times 128 db 0
stack_end:
probe_end:

section .note.GNU-stack noalloc noexec nowrite progbits
