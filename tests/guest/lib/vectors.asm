; SPDX-License-Identifier: BSD-2-Clause
;
; One entry per vector, all to processor_event() with a frame of the registers. The SSE state is
; kept, because the handlers are compiled like everything else.

extern processor_event
global vector_entries, ring3_enter, ring3_leave

section .text
bits 64
%assign vector 0
%rep 256
align 16
vector_%+vector:
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
    push 0
%endif
    push vector
    jmp event_entry
%assign vector vector + 1
%endrep

event_entry:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push rbx
    push rdx
    push rcx
    push rax
    mov rdi, rsp
    mov rbx, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    cld
    call processor_event
    fxrstor64 [rsp]
    mov rsp, rbx
    pop rax
    pop rcx
    pop rdx
    pop rbx
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq

; ring3_enter(fn, arg, stack, saved): run fn(arg) at CPL 3 on `stack`; it comes back through
; INT 80H, whose handler calls ring3_leave(saved).
ring3_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rcx], rsp
    mov rax, rsi
    push 0x2b                   ; SS: user data
    push rdx
    push 2                      ; RFLAGS
    push 0x33                   ; CS: user code
    push ring3_start
    mov rsi, rdi
    mov rdi, rax
    iretq
ring3_start:
    call rsi
    int 0x80
ring3_leave:
    mov rsp, [rdi]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

section .rodata
align 8
vector_entries:
%assign vector 0
%rep 256
    dq vector_%+vector
%assign vector vector + 1
%endrep

section .note.GNU-stack noalloc noexec nowrite progbits
