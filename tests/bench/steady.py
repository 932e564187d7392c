# SPDX-License-Identifier: BSD-2-Clause
"""Exits in a second of Debian's user space, idle and under load, after both vCPUs have come up.

A run's exits are counted until power-off, so a run of no length, which boots and does nothing, is
taken off; the command lines differ in no length. What Latch traps of the APIC until all vCPUs are up
is told apart: in QEMU two vCPUs boot by other numbers of such writes each time.
"""

import collections
import re
import subprocess

from configurations import BENCH, ROOT

INITRD = BENCH / "whole.gz"
COLUMNS = {"latch": "direct", "latch-sh": "shadow"}
LOADS = ["idle", "fork", "exec", "memory", "timer"]
SECONDS = {"qemu-amd": 5, "bochs-intel": 20, "bochs-amd": 20}
VCPUS = 2
# What the guest's own instructions ask for: the others would be Latch's making. A write to the APIC
# is none of them.
ASKED = ["cpuid", "rdmsr", "wrmsr", "io", "xsetbv", "hypercall"]
EXITS = re.compile(r"exits: vcpu \d+: (.*)$", re.M)
APIC = re.compile(r"ipi: vcpu \d+: (\d+) writes to the APIC by WRMSR and (\d+) by MMIO exited, "
                  r"(\d+) of them when all vCPUs had come up$", re.M)
APIC_LATE = "apic-late"
ROUNDS = re.compile(r"^bench: load \S+ on CPU \d+: (\d+) rounds in ([0-9.]+) s$", re.M)


def exits_of(console):
    """{reason: exits of all vCPUs} as said at power-off; writes to the APIC but as APIC_LATE."""
    sums = collections.Counter()
    for line in EXITS.findall(console):
        words = line.split()
        sums.update({name: int(count) for name, count in zip(words[::2], words[1::2])})
    for by_msr, by_page, late in APIC.findall(console):
        sums["wrmsr"] -= int(by_msr)
        sums["memory"] -= int(by_page)
        sums[APIC_LATE] += int(late)
    return collections.Counter({name: count for name, count in sums.items() if count != 0})


def words(load, seconds):
    """The kernel's words for a run of a load."""
    return f"bench.load={load:_<8} bench.seconds={seconds:03}"


def last_line(console):
    return (console.strip().splitlines() or ["nothing"])[-1]


def read(console, vcpus, scale=1):
    """(exits, rounds, seconds) of one run, or None where it did not end well; `scale` of the
    machine's seconds are one of the guest's."""
    found = [(int(rounds), float(time)) for rounds, time in ROUNDS.findall(console)]
    if len(found) != vcpus:
        return None
    return (exits_of(console), sum(rounds for rounds, _ in found),
            max(time for _, time in found) * scale)


def difference(base, found):
    """{"rounds", "seconds", "making", "exits": {reason: count}} of a run beside the base's boot."""
    exits, rounds, seconds = found
    more = {name: exits[name] - base[0][name] for name in sorted(exits.keys() | base[0].keys())}
    return {"rounds": rounds, "seconds": seconds,
            "making": sum(count for name, count in more.items() if name not in ASKED),
            "exits": {name: count for name, count in more.items() if count != 0}}


def run(machine, column, load, seconds, logs):
    """One boot's console, and what read() finds in it."""
    line = [ROOT / "iso/run", "--batch", "--machine", machine, "--vcpus", VCPUS,
            "--initrd", INITRD, "--paging", COLUMNS[column], "--timeout", 1800,
            "--append", words(load, seconds)]
    done = subprocess.run([str(word) for word in line], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    console = done.stdout.decode(errors="replace").replace("\r", "")
    (logs / f"steady-{machine}-{column}-{load}-{seconds}.log").write_text(console)
    return console, read(console, VCPUS) if done.returncode == 0 else None


def measure(machine, column, logs):
    """{load: what difference() finds, or {"missing": why}}"""
    console, base = run(machine, column, "idle", 0, logs)
    if base is None:
        return {"idle": {"missing": last_line(console)}}
    results = {}
    for load in LOADS:
        console, found = run(machine, column, load, SECONDS[machine], logs)
        results[load] = difference(base, found) if found else {"missing": last_line(console)}
    return results


def lines(machine, columns):
    """The results as text."""
    text = [f"{machine}: exits of all vCPUs in a guest-second of Debian's user space"]
    for column, loads in columns.items():
        for load, found in loads.items():
            if "missing" in found:
                text.append(f"  {column} {load}: {found['missing']}")
                continue
            rates = {name: count / found["seconds"] for name, count in found["exits"].items()}
            making = f"{found['making'] / found['seconds']:.1f} of Latch's making; "
            text.append(
                f"  {column} {load}: {found['rounds'] / found['seconds']:.0f} rounds; "
                + (making if column in COLUMNS else "")
                + (", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()) or "no exit"))
    return "\n".join(text)
