# SPDX-License-Identifier: BSD-2-Clause
"""Exits in a second of Debian's user space, idle and under load, after both vCPUs have come up.

A run's exits are counted until power-off, so a run of no length, which boots and does nothing, is
taken off. On Bochs both boot alike to the instruction, and their command lines differ in no length.
On QEMU one vCPU does: there two boot by other numbers of writes to the trapped APIC each time.
"""

import collections
import concurrent.futures
import re
import subprocess

from configurations import BENCH, ROOT

INITRD = BENCH / "whole.gz"
COLUMNS = {"latch": "direct", "latch-sh": "shadow"}
LOADS = ["idle", "fork", "exec", "memory", "timer"]
SECONDS = {"qemu-amd": 5, "bochs-intel": 20, "bochs-amd": 20}
VCPUS = {"qemu-amd": 1, "bochs-intel": 2, "bochs-amd": 2}
# What the guest's own instructions ask for: the others would be Latch's making.
ASKED = ["cpuid", "rdmsr", "wrmsr", "io", "xsetbv", "hypercall"]
EXITS = re.compile(r"exits: vcpu \d+: (.*)$", re.M)
ROUNDS = re.compile(r"^bench: load \S+ on CPU \d+: (\d+) rounds in ([0-9.]+) s$", re.M)


def exits_of(console):
    """{reason: exits of all vCPUs} as Latch says at power-off."""
    sums = collections.Counter()
    for line in EXITS.findall(console):
        words = line.split()
        sums.update({name: int(count) for name, count in zip(words[::2], words[1::2])})
    return sums


def run(machine, column, load, seconds, logs):
    """(exits, rounds, seconds) of one boot, or None and what came last."""
    words = [ROOT / "iso/run", "--batch", "--machine", machine, "--vcpus", VCPUS[machine],
             "--initrd", INITRD, "--paging", COLUMNS[column], "--timeout", 240,
             "--append", f"bench.load={load:_<8} bench.seconds={seconds:03}"]
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    console = done.stdout.decode(errors="replace").replace("\r", "")
    (logs / f"steady-{machine}-{column}-{load}-{seconds}.log").write_text(console)
    found = [(int(rounds), float(time)) for rounds, time in ROUNDS.findall(console)]
    if done.returncode != 0 or len(found) != VCPUS[machine]:
        return None, (console.strip().splitlines() or ["nothing"])[-1]
    return (exits_of(console), sum(rounds for rounds, _ in found),
            max(time for _, time in found)), None


def measure(machine, column, logs):
    """{load: {"rounds", "seconds", "exits": {reason: count}} or {"missing": why}}"""
    base, why = run(machine, column, "idle", 0, logs)
    if base is None:
        return {"idle": {"missing": why}}
    results = {}
    for load in LOADS:
        found, why = run(machine, column, load, SECONDS[machine], logs)
        if found is None:
            results[load] = {"missing": why}
            continue
        exits, rounds, seconds = found
        more = {name: exits[name] - base[0][name] for name in sorted(exits.keys() | base[0].keys())}
        results[load] = {"rounds": rounds, "seconds": seconds,
                         "exits": {name: count for name, count in more.items() if count != 0}}
    return results


def measure_all(machines, columns, logs, jobs):
    """{machine: {column: loads}}, some at a time."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        found = {machine: {column: pool.submit(measure, machine, column, logs)
                           for column in columns} for machine in machines}
    return {machine: {column: future.result() for column, future in futures.items()}
            for machine, futures in found.items()}


def lines(machine, columns):
    """The results as text."""
    text = [f"{machine}: exits of {VCPUS[machine]} vCPUs in a guest-second of Debian's user space"]
    for column, loads in columns.items():
        for load, found in loads.items():
            if "missing" in found:
                text.append(f"  {column} {load}: {found['missing']}")
                continue
            rates = {name: count / found["seconds"] for name, count in found["exits"].items()}
            making = sum(rate for name, rate in rates.items() if name not in ASKED)
            text.append(
                f"  {column} {load}: {found['rounds'] / found['seconds']:.0f} rounds; "
                f"{making:.1f} of Latch's making; "
                + (", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()) or "no exit"))
    return "\n".join(text)
