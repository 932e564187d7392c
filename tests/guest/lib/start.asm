; SPDX-License-Identifier: BSD-2-Clause
;
; The entry of a payload: from the boot loader's 32 bits to long mode, all memory below 4 GiB
; mapped to itself by 2 MiB pages. The same for the other processors, which come from real mode
; through a trampoline below 1 MiB.

%include "tests/guest/lib/layout.inc"

extern payload_main, processor_main
global payload_entry, long_pml4, long_pdpt, long_directories
global trampoline, trampoline_end

section .multiboot align=8
multiboot1:
    dd 0x1badb002, 3, -(0x1badb002 + 3)
align 8
multiboot2:
    dd 0xe85250d6, 0, multiboot2_end - multiboot2
    dd -(0xe85250d6 + (multiboot2_end - multiboot2))
    dw 0, 0
    dd 8
multiboot2_end:

section .text
bits 32
payload_entry:
    cli
    cld
    mov esp, boot_stack_end
    push 0
    push ebx                    ; the boot information
    push 0
    push eax                    ; the boot loader's magic number

    ; Every page is the user's too, so that a test can run at CPL 3; the last GiB is uncached.
    mov edi, long_directories
    mov eax, 0x87
    mov ecx, 4 * 512
.page:
    cmp ecx, 512
    jne .cached
    or eax, 0x18
.cached:
    mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop .page
    mov edi, long_pdpt
    mov eax, long_directories + 7
    mov ecx, 4
.directory:
    mov [edi], eax
    add eax, 0x1000
    add edi, 8
    loop .directory
    mov dword [long_pml4], long_pdpt + 7

    call enable_long_mode
    lgdt [boot_gdt_pointer]
    jmp SELECTOR_CODE64:.long
bits 64
.long:
    call load_data_segments
    pop rdi
    pop rsi
    xor ebp, ebp
    call payload_main
.stop:
    hlt
    jmp .stop

bits 32
enable_long_mode:
    mov eax, cr4
    or eax, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, eax
    mov eax, long_pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    and eax, ~(CR0_EM | CR0_TS | CR0_CD | CR0_NW)
    or eax, CR0_PG | CR0_WP | CR0_MP | CR0_NE
    mov cr0, eax
    ret

bits 64
load_data_segments:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    ret

; Copied to TRAMPOLINE. The first processor leaves a stack for the one that it starts in its last
; eight bytes.
trampoline:
bits 16
    cli
    cld
    mov ax, cs
    mov ds, ax
    o32 lgdt [trampoline_gdt - trampoline]
    mov eax, cr0
    and eax, ~(CR0_CD | CR0_NW)
    or al, CR0_PE
    mov cr0, eax
    jmp dword SELECTOR_CODE32:TRAMPOLINE + .protected - trampoline
bits 32
.protected:
    mov eax, SELECTOR_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, [TRAMPOLINE + trampoline_stack - trampoline]
    mov eax, enable_long_mode
    call eax
    jmp SELECTOR_CODE64:processor_long
trampoline_gdt:
    dw boot_gdt_end - boot_gdt - 1
    dd boot_gdt
align 8
trampoline_stack:
    dq 0
trampoline_end:

bits 64
processor_long:
    mov esp, esp                ; the mode switch leaves the upper half undefined
    call load_data_segments
    xor ebp, ebp
    call processor_main
.stop:
    hlt
    jmp .stop

section .rodata
align 8
boot_gdt:
    dq 0
    dq 0x00af9b000000ffff       ; SELECTOR_CODE64
    dq 0x00cf93000000ffff       ; SELECTOR_DATA
    dq 0x00cf9b000000ffff       ; SELECTOR_CODE32
boot_gdt_end:
boot_gdt_pointer:
    dw boot_gdt_end - boot_gdt - 1
    dd boot_gdt

section .bss
alignb 4096
long_pml4: resb 4096
long_pdpt: resb 4096
long_directories: resb 4 * 4096
boot_stack: resb 65536
boot_stack_end:

section .note.GNU-stack noalloc noexec nowrite progbits
