# SPDX-License-Identifier: BSD-2-Clause
"""What comes from outside, for a few seconds from a fuzzer; `make fuzz` takes longer."""

import re
import subprocess

import pytest

from conftest import BUILD, ROOT

FUZZERS = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
RUNS = 200000
FEWER = {"fuzz_shadow": 1000}  # a whole machine each


def fuzz(fuzzer, limit, tmp_path):
    done = subprocess.run(
        [BUILD / "fuzz" / fuzzer, limit, "-seed=1", f"-artifact_prefix={tmp_path}/"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT,
        check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.mark.parametrize("fuzzer", [name for name in FUZZERS if name != "fuzz_mmu"])
def test_fuzz(fuzzer, tmp_path):
    runs = FEWER.get(fuzzer, RUNS)
    output = fuzz(fuzzer, f"-runs={runs}", tmp_path)
    assert int(re.search(r"Done (\d+) runs", output).group(1)) >= runs
    if fuzzer == "fuzz_shadow":
        assert int(re.search(r"(\d+) evictions", output).group(1)) > 1000


@pytest.mark.long
def test_fuzz_page_tables(tmp_path):
    """Guest and nested tables for a minute: Latch and the reference walker differ on no tree."""
    output = fuzz("fuzz_mmu", "-max_total_time=60", tmp_path)
    assert int(re.search(r"fuzz_mmu: (\d+) trees without a difference", output).group(1)) > 10000
    assert int(re.search(r"fuzz_mmu: of them (\d+) nested", output).group(1)) > 2000
