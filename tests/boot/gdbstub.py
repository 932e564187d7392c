# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's gdb server, as far as a test needs it: stop at an address, change memory and registers."""

import socket
import time

EAX, EBX = 0, 1  # the server's numbers


class Stub:
    def __init__(self, path):
        """Connects to a machine that was started with -S; waits until its socket is there."""
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.05)
        self.buffer = b""
        # Only then does it let registers be read one by one.
        self.command("qXfer:features:read:target.xml:0,ffb")

    def _byte(self):
        if not self.buffer:
            self.buffer = self.socket.recv(65536)
            assert self.buffer, "QEMU closed its gdb server"
        byte, self.buffer = self.buffer[:1], self.buffer[1:]
        return byte

    def _answer(self):
        while self._byte() != b"$":
            pass
        text = b""
        while (byte := self._byte()) != b"#":
            text += byte
        self._byte(), self._byte()
        self.socket.sendall(b"+")
        return text.decode()

    def command(self, text):
        checksum = sum(text.encode()) & 0xFF
        self.socket.sendall(f"${text}#{checksum:02x}".encode())
        return self._answer()

    def run_to(self, address, arrived):
        """To that address when `arrived()` is true there: others may run there before."""
        while True:
            assert self.command(f"Z1,{address:x},1") == "OK"
            self.command("c")
            assert self.command(f"z1,{address:x},1") == "OK"
            if arrived():
                return
            self.command("s")

    def go(self):
        """Runs freely from here on."""
        self.command("D")
        self.socket.close()

    def register(self, number):
        return int.from_bytes(bytes.fromhex(self.command(f"p{number:x}")), "little")

    def set_register(self, number, value):
        assert self.command(f"P{number:x}={value.to_bytes(8, 'little').hex()}") == "OK"

    def read(self, address, size):
        content = b""
        while len(content) < size:
            part = min(size - len(content), 1024)
            content += bytes.fromhex(self.command(f"m{address + len(content):x},{part:x}"))
        return content

    def write(self, address, content):
        assert self.command(f"M{address:x},{len(content):x}:{content.hex()}") == "OK"
