; SPDX-License-Identifier: BSD-2-Clause
; Where a SIPI starts an application processor: from real mode to ap_entry() in 64-bit mode.
; smp.c copies trampoline..trampoline_end to a page below 1 MiB, which the page tables map at its
; own address for the time, the root of the page tables to the page behind it, and fills in the
; mailbox.

CR0_PE equ 1 << 0
CR0_WP equ 1 << 16
CR0_PG equ 1 << 31
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8
EFER_NXE equ 1 << 11

%define AT(label) ((label) - trampoline)

global trampoline, trampoline_end, trampoline_mailbox

section .rodata progbits alloc noexec nowrite align=16
bits 16
trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    movzx ebx, ax
    shl ebx, 4                      ; the page's address
    lea eax, [ebx + AT(gdt)]
    mov [AT(gdt_pointer) + 2], eax
    lea eax, [ebx + AT(in_protected_mode)]
    mov [AT(to_protected)], eax
    lea eax, [ebx + AT(in_long_mode)]
    mov [AT(to_long)], eax
    lgdt [AT(gdt_pointer)]
    mov eax, cr0
    or eax, CR0_PE
    mov cr0, eax
    jmp far dword [AT(to_protected)]

bits 32
in_protected_mode:
    mov ax, 24
    mov ds, ax
    mov ss, ax
    mov es, ax
    mov eax, cr4
    or eax, [ebx + AT(mailbox_cr4)]
    mov cr4, eax
    mov ecx, [ebx + AT(mailbox_msr)]
    jecxz .tables
    rdmsr
    mov esi, eax
    or eax, [ebx + AT(mailbox_msr_bits)]
    cmp eax, esi
    je .tables
    wrmsr
.tables:
    mov eax, [ebx + AT(mailbox_root)]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    or eax, [ebx + AT(mailbox_efer)]
    wrmsr
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    and eax, ~(3 << 29)             ; CD and NW, which INIT leaves set
    mov cr0, eax
    jmp far [ebx + AT(to_long)]

bits 64
in_long_mode:
    mov rax, [rbx + AT(mailbox_cr3)]
    mov cr3, rax                    ; which has bits above 31 if memory is encrypted
    mov rsp, [rbx + AT(mailbox_stack)]
    mov rdi, [rbx + AT(mailbox_cpu)]
    mov rax, [rbx + AT(mailbox_entry)]
    xor ebp, ebp
    call rax
    ud2

align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff           ; 32-bit code
    dq 0x00af9b000000ffff           ; 64-bit code
    dq 0x00cf93000000ffff           ; data
gdt_pointer:
    dw $ - gdt - 1
    dd 0
to_protected:
    dd 0
    dw 8
to_long:
    dd 0
    dw 16

align 8
trampoline_mailbox:                 ; struct mailbox of smp.c
mailbox_cr3: dq 0
mailbox_efer: dq 0
mailbox_stack: dq 0
mailbox_cpu: dq 0
mailbox_entry: dq 0
mailbox_cr4: dd 0                   ; PAE, and LA57 if the tables have five levels
mailbox_root: dd 0                  ; what mailbox_cr3 points to, copied to below 4 GiB
mailbox_msr: dd 0                   ; has these bits before paging is on; 0: none
mailbox_msr_bits: dd 0
trampoline_end:

section .note.GNU-stack noalloc noexec nowrite progbits
