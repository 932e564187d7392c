# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel from its first instruction to the verdict of its initramfs, in instructions.

On Bochs, whose debugger tells when an address is first executed, on one CPU; in KVM's guest the
monitor tells the TSC at its entry. The time in which the CPU idled by the kernel's own account is
taken off, and each column gets the same memory and the same command line, which says not to use what
Latch's guest does not see.
"""

import re

import debugger
import memory
import steady
from configurations import LINUX_INITRD, LINUX_WORDS

LATCH_ENTRY = 0x200020
KERNEL_ENTRY = 0x1000000  # of the 32-bit boot protocol: GRUB and Latch load it where it wants to be
VERDICT = re.compile(r"^bench: verdict at (\d+), idle for (\d+) ns$", re.M)
FLAGS = re.compile(r"^bench: flags (.*)$", re.M)
COLUMNS = ["bare", "latch", "latch-sh"]
TICKS_PER_US = 4
INITRD = LINUX_INITRD


def read(console, entry, ticks_per_us=TICKS_PER_US):
    """{"boot": instructions without "idle", "flags", "exits"} from a console that has come as far as
    the verdict, by the TSC at the kernel's entry; else None."""
    verdict = VERDICT.search(console)
    if entry is None or not verdict:
        return None
    idle = int(verdict.group(2)) * ticks_per_us // 1000
    flags = FLAGS.search(console)
    return {"boot": int(verdict.group(1)) - entry - idle, "idle": idle,
            "flags": flags.group(1).split() if flags else [],
            "exits": dict(steady.exits_of(console))}


def measure(machine, column):
    """As read(); under Latch "entry", from Latch's to the guest's first, and "tables" too."""
    bare = column == "bare"
    paging = "shadow" if column == "latch-sh" else "direct"
    stops = [KERNEL_ENTRY] if bare else [LATCH_ENTRY, KERNEL_ENTRY]
    script = [f"pb {stop:#x}" for stop in stops] + ["c"] * len(stops)
    script += [f"d {i + 1}" for i in range(len(stops))] + ["c", "q"]
    arguments = ["--machine", machine, "--vcpus", "1", "--initrd", INITRD, "--append", LINUX_WORDS,
                 "--timeout", "1800"]
    arguments += ["--bare"] if bare else ["--paging", paging]
    said, console = debugger.run(script, arguments)
    times = [int(time) for time in debugger.STOPPED.findall(said)][1:]
    result = read(console, times[len(stops) - 1] if len(times) >= len(stops) else None)
    if result is None:
        refused = re.search(r"refused: (.*)", console)
        last = steady.last_line(console)
        return {"missing": refused.group(1) if refused else f"no verdict; its last line: {last}"}
    if not bare:
        result["entry"] = times[1] - times[0]
        tables = memory.TABLES.search(console)
        if tables:
            result["tables"] = int(tables.group(1))
    return result


def lines(machine, columns):
    """The results as text."""
    text = [f"{machine}: Debian's kernel from entry to verdict"]
    bare = columns.get("bare", {})
    for name, result in columns.items():
        if "missing" in result:
            text.append(f"  {name}: {result['missing']}")
            continue
        line = f"  {name}: {result['boot']:,} instructions without {result['idle']:,} idle"
        if "boot" in bare and name != "bare":
            line += f", {result['boot'] / bare['boot']:.4f} of bare"
        if "entry" in result:
            line += f"; {result['entry']:,} from Latch's entry to the guest's first"
        if result["exits"]:
            line += "; exits:"
            line += "".join(f" {kind} {count}" for kind, count in result["exits"].items())
        if "flags" in bare:
            other = set(result["flags"]) ^ set(bare["flags"])
            line += f"; features that differ from bare: {' '.join(sorted(other)) or 'none'}"
        text.append(line)
    return "\n".join(text)
