# SPDX-License-Identifier: BSD-2-Clause
"""What comes from outside, for a few seconds from a fuzzer; `make fuzz` takes longer."""

import re
import subprocess

import pytest

from conftest import BUILD, ROOT

FUZZERS = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
RUNS = 200000


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzz(fuzzer, tmp_path):
    done = subprocess.run(
        [BUILD / "fuzz" / fuzzer, f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT,
        check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"Done (\d+) runs", done.stdout).group(1)) >= RUNS
