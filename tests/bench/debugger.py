# SPDX-License-Identifier: BSD-2-Clause
"""Bochs' debugger as a measuring instrument: it tells each instruction, and when it ran."""

import bisect
import collections
import pathlib
import re
import subprocess
import tempfile

from configurations import BUILD, PAYLOAD, ROOT

STOPPED = re.compile(r"^Next at t=(\d+)$", re.M)
TRACED = re.compile(r"^\(0\)\.\[\d+\] \[0x[0-9a-f]+\] [0-9a-f]+:([0-9a-f]{16}) \(.*?\): (\S+)",
                    re.M)
LATCH_BASE = 1 << 63
MACHINES = ["bochs-intel", "bochs-amd"]


def run(script, arguments):
    """Boot by iso/run with debugger commands: what the debugger said, and the console."""
    with tempfile.TemporaryDirectory(prefix="latch-bench-") as directory:
        file = pathlib.Path(directory) / "script"
        file.write_text("\n".join(script) + "\n", encoding="utf-8")
        words = [ROOT / "iso/run", "--batch", "--bochs-script", file, *arguments]
        done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        out = pathlib.Path(f"{file}.out")  # not there where iso/run refused
        said = out.read_text(encoding="utf-8", errors="replace") if out.exists() else ""
        return said, done.stdout.decode(errors="replace").replace("\r", "")


def symbols(elf):
    """The functions of an ELF in the order of their addresses: [(address, name)]."""
    lines = subprocess.run(["nm", "-n", str(elf)], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.splitlines()
    words = (line.split() for line in lines)
    return [(int(line[0], 16), line[2]) for line in words if len(line) == 3 and line[1] in "tT"]


def name_of(known, address):
    at = bisect.bisect_right(known, (address, "\x7f")) - 1
    return known[at][1] if at >= 0 else "?"


def trace(machine, operation):
    """One round of an operation under Latch, the third: [(function, mnemonic)]; [] if never met."""
    guest, latch = symbols(PAYLOAD), symbols(BUILD / "latch.elf")
    start = next((address for address, name in guest if name == operation), None)
    if start is None:
        return []
    script = [f"lb {start:#x}", "c", "c", "c", "trace on", "s 12000", "q"]
    said, _ = run(script, ["--machine", machine, "--vcpus", "1", "--guest", PAYLOAD])
    steps = []
    for address, mnemonic in TRACED.findall(said):
        address = int(address, 16)
        where = name_of(latch if address >= LATCH_BASE else guest, address)
        if where == operation and mnemonic.startswith("ret"):
            return steps
        steps.append((where, mnemonic))
    return []


def profile(steps):
    """The instructions of each function, most first, and how often some dear ones ran."""
    functions = collections.Counter(where for where, _ in steps).most_common()
    dear = collections.Counter(mnemonic for _, mnemonic in steps
                               if mnemonic in ("vmread", "vmwrite", "vmload", "vmsave", "rdmsr",
                                               "wrmsr", "cpuid", "invept", "invvpid"))
    return functions, dear
