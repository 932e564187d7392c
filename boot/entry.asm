; SPDX-License-Identifier: BSD-2-Clause
; From the boot loader's 32-bit protected mode to main() in 64-bit mode.
;
; The first page tables map the lowest 4 GiB three times: at 0 for this code, at PHYSMAP_BASE and
; (1 GiB of it) at KERNEL_BASE; with five levels the root leads to the same ones for both halves. They
; live only until main() has built Latch's own.

KERNEL_BASE equ 0xffffffff80000000
%define PHYS(symbol) ((symbol) - KERNEL_BASE)

MULTIBOOT2_MAGIC equ 0x36d76289
COM1 equ 0x3f8

PRESENT_WRITE equ 3
LARGE equ 0x80
CR0_PG equ 1 << 31
CR0_WP equ 1 << 16
CR4_PAE equ 1 << 5
CR4_LA57 equ 1 << 12
CPUID_7_ECX_LA57 equ 1 << 16
CPUID_80000001_ECX_SVM equ 1 << 2
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8

global boot_entry, boot_directories
extern main

section .boot.text progbits alloc exec nowrite align=16
bits 32

boot_entry:
    cli
    cld
    mov esp, PHYS(boot_stack_top)
    mov ebp, ebx                    ; the boot information

    mov esi, PHYS(not_multiboot2)
    cmp eax, MULTIBOOT2_MAGIC
    jne refuse

    ; CPUID exists if EFLAGS.ID can be toggled (SDM vol. 1 §20.1.2).
    mov esi, PHYS(no_long_mode)
    pushfd
    pop eax
    mov ecx, eax
    xor eax, 1 << 21
    push eax
    popfd
    pushfd
    pop eax
    cmp eax, ecx
    je refuse
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb refuse
    mov eax, 0x80000001
    cpuid
    test edx, 1 << 29
    jz refuse

    ; 4 page directories of 2 MiB pages.
    mov edi, PHYS(boot_directories)
    mov eax, PRESENT_WRITE | LARGE
    mov ecx, 4 * 512
.fill:
    mov [edi], eax
    mov dword [edi + 4], 0
    add eax, 1 << 21
    add edi, 8
    loop .fill

    mov eax, PHYS(boot_directories) + PRESENT_WRITE
    mov edi, PHYS(boot_low)
    mov ecx, 4
.directories:
    mov [edi], eax
    add eax, 4096
    add edi, 8
    loop .directories
    mov dword [PHYS(boot_high) + 510 * 8], PHYS(boot_directories) + PRESENT_WRITE
    mov dword [PHYS(boot_root)], PHYS(boot_low) + PRESENT_WRITE
    mov dword [PHYS(boot_root) + 256 * 8], PHYS(boot_low) + PRESENT_WRITE
    mov dword [PHYS(boot_root) + 511 * 8], PHYS(boot_high) + PRESENT_WRITE
    mov dword [PHYS(boot_root5)], PHYS(boot_root) + PRESENT_WRITE
    mov dword [PHYS(boot_root5) + 511 * 8], PHYS(boot_root) + PRESENT_WRITE

    ; Five levels where SVM's nested tables, which have the depth of these (APM vol. 2 §15.25.3),
    ; would not reach all physical addresses with four.
    mov esi, CR4_PAE
    mov edi, PHYS(boot_root)
    xor eax, eax
    cpuid
    cmp eax, 7
    jb .paging
    mov eax, 7
    xor ecx, ecx
    cpuid
    test ecx, CPUID_7_ECX_LA57
    jz .paging
    mov eax, 0x80000001
    cpuid
    test ecx, CPUID_80000001_ECX_SVM
    jz .paging
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000008
    jb .paging
    mov eax, 0x80000008
    cpuid
    cmp al, 48
    jbe .paging
    mov esi, CR4_PAE | CR4_LA57
    mov edi, PHYS(boot_root5)
.paging:
    mov eax, cr4
    and eax, ~CR4_LA57
    or eax, esi
    mov cr4, eax
    mov cr3, edi
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    mov cr0, eax
    lgdt [PHYS(boot_gdt_pointer)]
    jmp 8:PHYS(long_mode)

; Say why on COM1, with the verdict that launchers look for, and stop. esi: the text.
refuse:
    mov edx, COM1 + 3
    mov al, 3                       ; 8N1; the speed stays the firmware's
    out dx, al
.next:
    lodsb
    test al, al
    jz .halt
    mov ah, al
    mov ecx, 0x10000
.wait:
    mov edx, COM1 + 5
    in al, dx
    test al, 0x20
    loopz .wait
    mov edx, COM1
    mov al, ah
    out dx, al
    jmp .next
.halt:
    hlt
    jmp .halt

bits 64
long_mode:
    mov rax, high
    jmp rax

section .text progbits alloc exec nowrite align=16
high:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    mov rsp, boot_stack_top
    mov edi, ebp
    xor ebp, ebp
    call main
    ud2

; void move_to_top(void *to, const void *from, uint64_t size, uint64_t cr3, uint64_t stack,
;                  void (*go)(void))
; Copies the running image and goes on in the copy, which the tables at cr3 map at the same
; addresses. Nothing is written to the old image after the copying has begun.
global move_to_top
move_to_top:
    mov r10, rcx
    mov rcx, rdx
    shr rcx, 3
    rep movsq
    mov cr3, r10
    mov rsp, r8
    xor ebp, ebp
    call r9
    ud2

section .rodata progbits alloc noexec nowrite align=8
boot_gdt:
    dq 0
    dq 0x00af9b000000ffff           ; 64-bit code
    dq 0x00cf93000000ffff           ; data
boot_gdt_pointer:
    dw $ - boot_gdt - 1
    dd PHYS(boot_gdt)

not_multiboot2:
    db 13, 10, "Latch: refused: started by something other than multiboot2: wanted EAX=0x36d76289;"
    db " load it with GRUB's 'multiboot2' command", 13, 10, "Test result: ERROR", 13, 10, 0
no_long_mode:
    db 13, 10, "Latch: refused: no long mode: wanted CPUID.80000001H:EDX[29]=1, found 0;"
    db " use a 64-bit CPU or CPU model", 13, 10, "Test result: ERROR", 13, 10, 0

section .bss nobits alloc noexec write align=4096
boot_root: resb 4096
boot_root5: resb 4096
boot_low: resb 4096
boot_high: resb 4096
boot_directories: resb 4 * 4096
boot_stack: resb 16384
boot_stack_top:

section .note.GNU-stack noalloc noexec nowrite progbits
