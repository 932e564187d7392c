# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's monitor, to ask where a silent machine's CPUs stand."""

import re
import socket

PROMPT = b"(qemu) "
REGISTERS = re.compile(r"\b(?:RIP|EIP|RFL|EFL|CPL|HLT|CR0|CR3) *= *\w+")
APIC = re.compile(r"^(?:LVTT|Timer|ISR|IRR)\b.*", re.MULTILINE)


class Monitor:
    """Called with a command, gives the answer. OSError if QEMU does not answer in `patience` s."""

    def __init__(self, path, patience=10.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience)
        self.socket.connect(str(path))
        self.read()

    def read(self):
        answer = b""
        while not answer.endswith(PROMPT):
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError("QEMU closed its monitor")
            answer += data
        return answer.decode(errors="replace").replace("\r", "")

    def __call__(self, command):
        self.socket.sendall(command.encode() + b"\n")
        return self.read()


def where(path, cpus):
    """For each CPU a line: where it is, and what its local APIC waits for or has not delivered."""
    lines = []
    try:
        monitor = Monitor(path)
        for cpu in range(cpus):
            monitor(f"cpu {cpu}")
            registers = REGISTERS.findall(monitor("info registers"))
            found = APIC.findall(monitor("info lapic"))
            apic = [" ".join(line.split()) for line in found]
            lines.append(f"CPU {cpu}: {' '.join(registers)}; {', '.join(apic)}")
    except OSError as error:
        lines.append(f"QEMU's monitor does not answer: {error}")
    return lines
