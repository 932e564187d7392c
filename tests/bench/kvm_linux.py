# SPDX-License-Identifier: BSD-2-Clause
"""Debian as KVM's guest: all that is measured of it on a machine, in one boot of the host.

The guest has the command line that bare Debian has there, and as much memory. The monitor prints
KVM's counters at each guest's end. Host and guest are told that their clock is ten times as fast as
it is: at Bochs' 16,000 instructions to a tick of the timer KVM would come to nothing else. So KVM's
guest has a tenth of the ticks that the other columns have, and is idle for ten times as long.
"""

import re

import configurations
import steady
import whole

# As iso/run has them for bare Debian.
BARE_WORDS = ("console=ttyS0 panic=-1 cryptomgr.notests nokaslr mitigations=off no_timer_check"
              " tsc=reliable random.trust_cpu=on 8250.nr_uarts=1 nowatchdog expect.cpus=1 nr_cpus=1")
SLOWER = 10
TICKS_PER_US = whole.TICKS_PER_US * SLOWER
CLOCK = f"tsc_early_khz={TICKS_PER_US}000 lpj={4 * TICKS_PER_US}000"
COLUMNS = {"kvm": 1, "kvm-sh": 0}
MACHINES = ["bochs-intel", "bochs-amd"]
GUEST = re.compile(r"^bench: guest (\S+)$", re.M)
ENTRY = re.compile(r"^bench: entry at (\d+)$", re.M)


def guests(machine, rounds):
    """{name: words} of the guests, in the order in which they run."""
    found = {"whole": "bench.whole", "rows": f"bench.rows rounds={rounds}",
             "base": steady.words("idle", 0)}
    for load in steady.LOADS:
        found[load] = steady.words(load, steady.SECONDS[machine] // SLOWER)
    return found


def boot(machine, column, rounds, logs):
    """{name: console} of the guests that ran."""
    wanted = guests(machine, rounds)
    host = configurations.kvm(f"{CLOCK} bench.nested={COLUMNS[column]}")[0]
    words = configurations.LINUX_WORDS.replace(configurations.BOCHS_CLOCK, CLOCK)
    line = [f"bench.words={BARE_WORDS} {words}"] + [
        f"bench.linux={guest}" for guest in wanted.values()]
    at = host.index("--append") + 1
    # A colon stands for the blank between the guest's words. What a guest says comes at its end.
    arguments = [*host[:at], " ".join([host[at]] + [words.replace(" ", ":") for words in line]),
                 *host[at + 1:], "--timeout", "1800"]
    log = logs / f"{machine}-{column}-linux.log"
    log.unlink(missing_ok=True)
    text, _ = configurations.boot(machine, arguments, log)
    return dict(zip(wanted, GUEST.split(text)[2::2])), text


def measure(machine, column, rounds, logs):
    """{"whole": as whole.read(), "steady": as steady.measure(), "rows"}, and "missing" with the
    reason in each of the first two that there is none of."""
    consoles, text = boot(machine, column, rounds, logs)
    missing = {"missing": f"no such guest; the last line: {steady.last_line(text)}"}
    entry = ENTRY.search(consoles.get("whole", ""))
    found = {"whole": whole.read(consoles["whole"], int(entry.group(1)), TICKS_PER_US)
             if entry else None,
             "rows": configurations.read(consoles.get("rows", "")), "steady": {}}
    base = steady.read(consoles.get("base", ""), 1)
    for load in steady.LOADS:
        run = steady.read(consoles.get(load, ""), 1, SLOWER)
        found["steady"][load] = steady.difference(base, run) if base and run else missing
    found["whole"] = found["whole"] or missing
    return found
