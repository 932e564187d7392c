; SPDX-License-Identifier: BSD-2-Clause
;
; A flat real-mode image of one sector: a line on COM1, then VALUE to QEMU's debug-exit port.
bits 16
org 0x7c00

    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov si, text
    call say_text
    mov dx, 0x3fd
.drain:
    in al, dx
    test al, 0x40
    jz .drain
    mov al, VALUE
    out 0xf4, al
.stop:
    hlt
    jmp .stop

%include "say.inc"

text: db "flat: a real-mode guest", 13, 10, 0
    times 510 - ($ - $$) db 0
    dw 0xaa55
