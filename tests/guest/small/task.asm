; SPDX-License-Identifier: BSD-2-Clause
;
; A flat real-mode image of one sector that goes to protected mode, with paging if PAGED is defined,
; and jumps to another task: a hardware task switch. It then says so on COM1.
bits 16
org 0x7c00

    cli
    xor ax, ax
    mov ds, ax
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp CODE:protected

bits 32
protected:
    mov ax, DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7000
%ifdef PAGED
    mov dword [DIRECTORY], 0x83     ; 4 MiB as they are
    mov eax, cr4
    or al, 0x10                     ; PSE
    mov cr4, eax
    mov eax, DIRECTORY
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
%endif
    mov ax, TASK
    ltr ax
    jmp OTHER:0

there:
    mov esi, text
    call say_text
.stop:
    hlt
    jmp .stop

%include "say.inc"

text: db "task: switched", 13, 10, 0

align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff
    dq 0x00cf93000000ffff
    dw 103, task, 0x8900, 0
    dw 103, other, 0x8900, 0
gdtr:
    dw $ - gdt - 1
    dd gdt

CODE equ 8
DATA equ 16
TASK equ 24
OTHER equ 32

align 4
other:
    times 7 dd 0
    dd DIRECTORY, there, 2          ; CR3, EIP, EFLAGS
    times 4 dd 0
    dd 0x7000, 0, 0, 0              ; ESP, EBP, ESI, EDI
    dd DATA, CODE, DATA, DATA, 0, 0 ; ES, CS, SS, DS, FS, GS
    dd 0, 104 << 16                 ; no LDT, no port bitmap

    times 510 - ($ - $$) db 0
    dw 0xaa55

task equ 0x7e00
DIRECTORY equ 0x9000
