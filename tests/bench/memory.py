# SPDX-License-Identifier: BSD-2-Clause
"""What Latch itself takes of a machine's memory, as it says at launch."""

import re
import subprocess

import configurations
from configurations import BUILD, PAYLOAD

MACHINE = "qemu-amd"
SIZES = [256, 1024, 4096, 16384]  # MiB
# What makes direct tables differ; where the CPU does not enforce it, the run is inexact.
MODELS = {"one model": ["--vcpus", "1"],
          "four models": ["--vcpus", "4", "--conf", "cpu1=host,maxphyaddr=39 cpu2=host,gbpages=off"
                          " cpu3=host,nx=off"]}
TABLES = re.compile(r"(?:tables: \w+: |paging: \w+, \w+, )(\d+) (?:table )?pages")
RANGE = re.compile(r"memory: Latch at 0x([0-9a-f]+)-0x([0-9a-f]+)")
POOL = re.compile(r"memory: pool of (\d+) pages, (\d+) in use")


def image():
    """Bytes of Latch's image in memory, without modules."""
    done = subprocess.run(["size", "-B", BUILD / "latch.elf"], stdout=subprocess.PIPE, text=True,
                          check=True)
    return int(done.stdout.splitlines()[1].split()[3])


def measure(mebibytes, models, logs):
    """{"tables": pages, "used": pages of the pool, "pool": all of them, "range": bytes in all}."""
    log = logs / f"memory-{mebibytes}-{models.partition(' ')[0]}.log"
    log.unlink(missing_ok=True)
    text, _ = configurations.boot(MACHINE, [
        "--guest", PAYLOAD, "--paging", "direct", "--mem", str(mebibytes), "--append", "rounds=1",
        *MODELS[models]], log, counted=False)
    tables, span, pool = (pattern.search(text) for pattern in (TABLES, RANGE, POOL))
    if not (tables and span and pool):
        return {"missing": "Latch did not say it"}
    return {"tables": int(tables.group(1)), "pool": int(pool.group(1)), "used": int(pool.group(2)),
            "range": int(span.group(2), 16) - int(span.group(1), 16)}


def lines(found):
    """The results as text."""
    text = [f"{MACHINE}: Latch's memory; the image takes {found['image']:,} bytes of it"]
    for models, sizes in found["machines"].items():
        for size, result in sizes.items():
            text.append(f"  {models}, {size} MiB: " + (result.get("missing") or (
                f"{result['tables']} table pages; {result['used'] * 4096:,} bytes of the pool in"
                f" use; {result['range']:,} bytes kept from the guest")))
    return "\n".join(text)


def measure_all(logs):
    """One CPU with a model, and four CPUs with one each, by the machine's memory."""
    return {"image": image(), "machines": {
        models: {size: measure(size, models, logs) for size in SIZES} for models in MODELS}}
