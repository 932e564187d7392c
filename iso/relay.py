# SPDX-License-Identifier: BSD-2-Clause
"""Carry the serial line to the terminal and back, and watch it for the verdict."""

import contextlib
import dataclasses
import os
import re
import select
import sys
import termios
import time
import tty
from typing import Optional

VERDICT = re.compile(rb"Test result: (SUCCESS|SKIP|ERROR|FAILURE)\b")
# Latch's first line. QEMU is told to end at a reset; what Bochs begins anew is seen by this.
BEGIN = b"Latch: a microhypervisor"
WORST_LAST = ["SUCCESS", "SKIP", "ERROR", "FAILURE"]
CONTROL_A = b"\x01"
# A machine that is to end does so soon after its verdict; one that halts is not waited for.
AFTER_VERDICT = 20.0


@dataclasses.dataclass
class Outcome:
    verdict: Optional[str] = None  # the worst line that was seen
    timed_out: bool = False
    left: bool = False  # by the user, with Ctrl-A x
    again: bool = False  # the machine was reset and began anew
    debug_exit: Optional[int] = None
    failure: Optional[str] = None  # of the emulator
    where: list = dataclasses.field(default_factory=list)  # what machine.where() said


class Watcher:
    """Finds verdict lines in a stream of bytes, and counts Latch's beginnings."""

    def __init__(self):
        self.line = b""
        self.worst = None
        self.begins = 0

    def feed(self, data):
        *lines, rest = (self.line + data).split(b"\n")
        self.line = rest[-4096:]
        self.begins += sum(BEGIN in line for line in lines)
        for line in lines + [self.line]:
            found = VERDICT.search(line)
            if found:
                verdict = found.group(1).decode()
                self.worst = max(verdict, self.worst or verdict, key=WORST_LAST.index)


class Keys:
    """What is typed, less Ctrl-A and its command: x leaves, Ctrl-A is Ctrl-A itself."""

    def __init__(self):
        self.escaped = False
        self.leave = False

    def feed(self, data):
        passed = b""
        for key in (data[i:i + 1] for i in range(len(data))):
            if self.escaped:
                self.escaped = False
                self.leave = self.leave or key in b"xX"
                passed += key if key == CONTROL_A else b""
            elif key == CONTROL_A:
                self.escaped = True
            else:
                passed += key
        return passed


@contextlib.contextmanager
def raw_terminal(wanted):
    if not wanted:
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
        print()


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


def carry(output, typed, options, log):
    """Until the serial line closes, the user leaves, or nothing more comes."""
    outcome, watcher, keys = Outcome(), Watcher(), Keys()
    patience = options.timeout
    deadline = patience and time.monotonic() + patience
    while True:
        wait = deadline and max(0, deadline - time.monotonic())
        ready = select.select([output] + ([0] if options.interactive else []), [], [], wait)[0]
        if not ready:
            outcome.timed_out = True
            break
        if 0 in ready:
            write_all(typed, keys.feed(os.read(0, 1024)))
            if keys.leave:
                outcome.left = True
                break
        if output in ready:
            try:
                data = os.read(output, 65536)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            watcher.feed(data)
            if patience and watcher.worst:
                patience = min(patience, AFTER_VERDICT)
            deadline = patience and time.monotonic() + patience
            write_all(1, data)
            if log:
                log.write(data)
            if watcher.begins > 1:
                outcome.again = True
                break
    outcome.verdict = watcher.worst
    return outcome


def run(machine, options):
    """Run a machine to its end, which is the emulator's too, whatever happens here."""
    how_to_leave = "; leave with Ctrl-A x" if options.interactive else ""
    print(f"iso/run: {options.machine}, {options.machine_cpus} CPUs, {options.mem} MiB,"
          f" {'bare' if options.bare else 'under Latch'}{how_to_leave}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(options.log, "wb", buffering=0)) if options.log else None
        stack.callback(machine.stop)
        output, typed = machine.start()
        with raw_terminal(options.interactive):
            outcome = carry(output, typed, options, log)
        if outcome.timed_out and not outcome.verdict:
            outcome.where = machine.where()
        if not outcome.timed_out and not outcome.left and not outcome.again:
            outcome.debug_exit, outcome.failure = machine.ended()
    return outcome
