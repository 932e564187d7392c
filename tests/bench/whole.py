# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel from its first instruction to the verdict of its initramfs, in instructions.

On Bochs, whose debugger tells when an address is first executed, on one CPU.
"""

import re

import debugger
import memory
from configurations import BENCH

LATCH_ENTRY = 0x200020
KERNEL_ENTRY = 0x1000000  # of the 32-bit boot protocol: GRUB and Latch load it where it wants to be
VERDICT_AT = re.compile(r"^bench: verdict at (\d+)$", re.M)
EXITS = re.compile(r"exits: vcpu \d+: (.*)$", re.M)
COLUMNS = ["bare", "latch", "latch-sh"]
# Bochs' Intel CPUs claim another frequency than they have, which Latch hides: told to all alike.
WORDS = "tsc_early_khz=4000 lpj=16000"
INITRD = BENCH / "whole.gz"


def measure(machine, column):
    """{"boot": instructions, and under Latch "entry" to the guest's first, "exits", "tables"}."""
    bare = column == "bare"
    paging = "shadow" if column == "latch-sh" else "direct"
    stops = [KERNEL_ENTRY] if bare else [LATCH_ENTRY, KERNEL_ENTRY]
    script = [f"pb {stop:#x}" for stop in stops] + ["c"] * len(stops)
    script += [f"d {i + 1}" for i in range(len(stops))] + ["c", "q"]
    arguments = ["--machine", machine, "--vcpus", "1", "--initrd", INITRD, "--append", WORDS,
                 "--timeout", "240"]
    arguments += ["--bare"] if bare else ["--paging", paging]
    said, console = debugger.run(script, arguments)
    times = [int(time) for time in debugger.STOPPED.findall(said)][1:]
    verdict = VERDICT_AT.search(console)
    if len(times) < len(stops) or not verdict:
        refused = re.search(r"refused: (.*)", console)
        last = (console.strip().splitlines() or ["nothing"])[-1]
        return {"missing": refused.group(1) if refused else f"no verdict; its last line: {last}"}
    result = {"boot": int(verdict.group(1)) - times[len(stops) - 1]}
    if not bare:
        result["entry"] = times[1] - times[0]
        words = " ".join(EXITS.findall(console)).split()
        result["exits"] = {name: int(count) for name, count in zip(words[::2], words[1::2])}
        tables = memory.TABLES.search(console)
        if tables:
            result["tables"] = int(tables.group(1))
    return result


def lines(machine, columns):
    """The results as text."""
    text = [f"{machine}: Debian's kernel from entry to verdict"]
    bare = columns.get("bare", {}).get("boot")
    for name, result in columns.items():
        if "missing" in result:
            text.append(f"  {name}: {result['missing']}")
            continue
        line = f"  {name}: {result['boot']:,} instructions"
        if name != "bare":
            if bare:
                line += f", {result['boot'] / bare:.4f} of bare"
            line += f"; {result['entry']:,} from Latch's entry to the guest's first; exits:"
            line += "".join(f" {kind} {count}" for kind, count in result["exits"].items())
        text.append(line)
    return "\n".join(text)
