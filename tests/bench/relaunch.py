# SPDX-License-Identifier: BSD-2-Clause
"""From the guest's reset to its first instruction in the next generation, in instructions.

On Bochs, whose debugger stops where a part of it begins: clearing the memory, telling by their
digest that the images are as they were, and copying them are told apart from the rest. Several
generations are measured, and are alike; what grew with them would show.
"""

import re
import subprocess

import debugger
import steady
from configurations import BUILD

GUEST = BUILD / "guest/relaunch.elf"
GENERATIONS = 3
# Each function of Latch's begins where the part before it has ended.
PARTS = [("relaunch_begin", "rest"), ("pristine_restore", "clearing"), ("pristine_check", "digest"),
         ("vm_renew_memory", "rest"), ("guest_load_images", "copying"),
         ("backend_set_state", "rest")]
ENTRY = re.compile(r"Entry point address:\s+(0x[0-9a-f]+)")


def entry_of(elf):
    done = subprocess.run(["readelf", "-h", str(elf)], stdout=subprocess.PIPE, text=True,
                          check=True)
    return ENTRY.search(done.stdout).group(1)


def parts_of(times):
    """{part: instructions} of one relaunch, from the times at which its functions began."""
    parts = dict.fromkeys((part for _, part in PARTS), 0)
    for i, (_, part) in enumerate(PARTS):
        parts[part] += times[i + 1] - times[i]
    return parts


def measure(machine, column):
    """{"rest", "clearing", "digest", "copying"} in instructions of the median relaunch, "samples"
    with the rest of each; or {"missing": why}."""
    known = {name: address for address, name in debugger.symbols(BUILD / "latch.elf")}
    absent = [name for name, _ in PARTS if name not in known]
    if absent:
        return {"missing": f"Latch has no {absent[0]}()"}
    stops = ([f"lb {known[name]:#x}" for name, _ in PARTS]
             + [f"pb {entry_of(GUEST)}"]) * GENERATIONS
    script = [line for i, stop in enumerate(stops) for line in (stop, "c", f"d {i + 1}")] + ["q"]
    said, console = debugger.run(script, [
        "--machine", machine, "--vcpus", "1", "--guest", GUEST,
        "--append", f"rounds={GENERATIONS + 1} ways=k keep-msrs",
        "--paging", "shadow" if column == "latch-sh" else "direct",
        "--conf", "on-reset=relaunch test-hypercalls=on"])
    times = [int(time) for time in debugger.STOPPED.findall(said)][1:]
    if len(times) < len(stops):
        return {"missing": steady.last_line(console)}
    one = len(PARTS) + 1
    found = sorted((parts_of(times[i * one:(i + 1) * one]) for i in range(GENERATIONS)),
                   key=lambda parts: parts["rest"])
    return {**found[GENERATIONS // 2], "samples": [parts["rest"] for parts in found]}


def lines(machine, columns):
    """The results as text."""
    text = [f"{machine}: from the reset to the guest's first instruction"]
    for column, parts in columns.items():
        text.append(f"  {column}: " + (parts.get("missing") or (
            f"{parts['rest']:,} instructions, and {parts['clearing']:,} to clear memory, "
            f"{parts['digest']:,} to check the images, {parts['copying']:,} to copy them")))
    return "\n".join(text)
