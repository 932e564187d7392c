# SPDX-License-Identifier: BSD-2-Clause
"""No page of Latch's own tables is both writable and executable: read from outside, by QEMU."""

import re
import sys
import time

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "iso"))

from monitor import Monitor  # noqa: E402

# "ADDRESS: PHYSICAL XGPDACTUW" of `info tlb`, a letter or "-" each: X means no-execute.
MAPPING = re.compile(r"^([0-9a-f]{16}): ([0-9a-f]{16}) ([X-])([G-])([P-])...([T-])([U-])([W-])\s*$",
                     re.MULTILINE)
HIGH_HALF = 1 << 63
CR4_LA57 = 1 << 12
STAYS_UP = ["--conf", "on-end=halt on-reset=halt exit-port=0"]


def check_tables(monitor, cpu, levels):
    monitor(f"cpu {cpu}")
    cr4 = int(re.search(r"CR4=([0-9a-f]+)", monitor("info registers")).group(1), 16)
    assert (5 if cr4 & CR4_LA57 else 4) == levels, f"CPU {cpu}: CR4 {cr4:x}"
    mappings = MAPPING.findall(monitor("info tlb"))
    assert len(mappings) > 100, "QEMU shows no page tables"
    own = [m for m in mappings if int(m[0], 16) >= HIGH_HALF]
    assert own, "nothing is mapped in the high half"
    both = [m[0] for m in mappings if m[7] == "W" and m[2] == "-"]
    assert not both, f"CPU {cpu}: writable and executable: {both[:5]} ({len(both)} in all)"
    assert any(m[2] == "-" for m in mappings), "nothing is executable"
    user = [m[0] for m in mappings if m[6] == "U"]
    assert not user, f"CPU {cpu}: reachable from user mode: {user[:5]}"


REFUSED = ["--vcpus", "3", "--machine-cpus", "2", "--guest", BUILD / "guest/modes.elf"]
TRIPLE = ["--guest", BUILD / "guest/triple.elf"]


@pytest.mark.parametrize("arguments, levels", [
    (REFUSED, 4), (["--uefi", *REFUSED], 4), (TRIPLE, 4), (["--uefi", *TRIPLE], 4),
    (["--cpu", "max,phys-bits=52", *TRIPLE], 5),
], ids=["refused", "refused-uefi", "after-the-guest", "after-the-guest-uefi", "five-levels"])
def test_nothing_is_writable_and_executable(boot, tmp_path, arguments, levels):
    path = tmp_path / "monitor"
    booted = boot("--machine", "qemu-amd", *arguments, *STAYS_UP, "--",
                  "-monitor", f"unix:{path},server,nowait")
    booted.expect("Test result: ERROR")
    assert booted.lines(r"memory: Latch at .* none writable and executable"), booted.tail(40)
    time.sleep(1)  # until the CPU that printed it halts
    monitor = Monitor(path)
    for cpu in (0, 1):
        check_tables(monitor, cpu, levels)


def test_no_writable_alias(refused):
    """A second, writable way to a sealed page is found before a guest runs.

    The test image makes one, and asks for devices in Latch's own memory, as a hostile firmware would.
    """
    booted = refused("models: wanted no way to write to their pages, found Latch's mapping at 0xffff8",
                     "--machine", "qemu-amd", "--latch", BUILD / "test/latch-alias.elf")
    assert booted.lines("fake: 6 of 6 devices refused"), booted.tail(40)
    assert booted.lines("fake: a writable way to a sealed page"), booted.tail(40)
