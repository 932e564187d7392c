# SPDX-License-Identifier: BSD-2-Clause
"""What Latch itself takes of a machine's memory, as it says at launch, and what it executes until
then, by its own boot stages: beside the images, whose copying is a stage of its own."""

import re
import subprocess

import configurations
import steady
from configurations import BUILD, PAYLOAD

MACHINE = "qemu-amd"
PAGE = 4096
IMAGES = "guest images"
SIZES = [256, 1024, 4096, 16384]  # MiB
# What makes direct tables differ; where the CPU does not enforce it, the run is inexact.
MODELS = {"one model": ["--vcpus", "1"],
          "four models": ["--vcpus", "4", "--conf", "cpu1=host,maxphyaddr=39 cpu2=host,gbpages=off"
                          " cpu3=host,nx=off"],
          "eight CPUs": ["--vcpus", "8"]}
BOCHS_MOST = 2048
ENTRY = {"entry-1g": 1024, "entry-16g": 16384}  # rows, and the machine's memory
TABLES = re.compile(r"(?:tables: \w+: |paging: \w+, \w+, )(\d+) (?:table )?pages")
RANGE = re.compile(r"memory: Latch at 0x([0-9a-f]+)-0x([0-9a-f]+)")
POOL = re.compile(r"memory: pool of (\d+) pages, (\d+) in use")
STAGE = re.compile(r"stats: boot ([^:]+): (\d+) (?:instructions|ticks)")


def image():
    """Bytes of Latch's image in memory, without modules."""
    done = subprocess.run(["size", "-B", BUILD / "latch.elf"], stdout=subprocess.PIPE, text=True,
                          check=True)
    return int(done.stdout.splitlines()[1].split()[3])


def measure(mebibytes, models, logs):
    """{"tables": pages, "used": pages of the pool, "pool": all of them, "range": bytes in all,
    "own": bytes of the image and the pool in use beside tables}."""
    log = logs / f"memory-{mebibytes}-{models.replace(' ', '-')}.log"
    log.unlink(missing_ok=True)
    text, _ = configurations.boot(MACHINE, [
        "--guest", PAYLOAD, "--paging", "direct", "--mem", str(mebibytes), "--append", "rounds=1",
        *MODELS[models]], log, counted=False)
    tables, span, pool = (pattern.search(text) for pattern in (TABLES, RANGE, POOL))
    if not (tables and span and pool):
        return {"missing": "Latch did not say it"}
    used = int(pool.group(2))
    return {"tables": int(tables.group(1)), "pool": int(pool.group(1)), "used": used,
            "range": int(span.group(2), 16) - int(span.group(1), 16),
            "own": image() + (used - int(tables.group(1))) * PAGE}


def lines(machine, columns):
    """The results as text."""
    found = columns["latch"]
    text = [f"{machine}: Latch's memory; the image takes {found['image']:,} bytes of it"]
    for models, sizes in found["models"].items():
        for size, result in sizes.items():
            text.append(f"  {models}, {size} MiB: " + (result.get("missing") or (
                f"{result['tables']} table pages; {result['own']:,} bytes of the image and of the"
                f" pool beside them; {result['range']:,} bytes kept from the guest")))
    return "\n".join(text)


def measure_all(logs):
    """One CPU with a model, four CPUs with one each, and eight, by the machine's memory."""
    return {MACHINE: {"latch": {"image": image(), "models": {
        models: {size: measure(size, models, logs) for size in SIZES} for models in MODELS}}}}


def entry(machine, column, mebibytes, logs):
    """Instructions from Latch's entry to the guest's first beside the copying of images."""
    if machine.startswith("bochs") and mebibytes > BOCHS_MOST:
        raise ValueError(f"Bochs has at most {BOCHS_MOST} MiB")
    log = logs / f"entry-{machine}-{column}-{mebibytes}.log"
    log.unlink(missing_ok=True)
    text, _ = configurations.boot(machine, [
        "--guest", PAYLOAD, "--vcpus", "1", "--mem", str(mebibytes), "--append", "rounds=1",
        "--paging", "shadow" if column == "latch-sh" else "direct", "--conf", "stats=on"], log)
    stages = {name: int(count) for name, count in STAGE.findall(text)}
    if "launch" not in stages:
        raise ValueError(f"Latch did not say its stages; the last line: {steady.last_line(text)}")
    return sum(count for name, count in stages.items() if name != IMAGES)
