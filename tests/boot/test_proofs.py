# SPDX-License-Identifier: BSD-2-Clause
"""The proofs of the reserved-bit rules hold; and they are proofs: one wrong bit breaks them."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT


def prove(tree, *functions, seconds=10):
    done = subprocess.run(["tests/proofs/run", *functions], cwd=tree, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          env={**os.environ, "PROOF_SECONDS": str(seconds)})
    return done.returncode, done.stdout


@pytest.mark.long
def test_proved():
    status, text = prove(ROOT)
    assert status == 0, text
    proved, goals = re.search(r"^proofs: (\d+) of (\d+) goals proved", text, re.MULTILINE).groups()
    assert int(proved) == int(goals) > 100


# Each function's rule, and by default one of them: a search for a proof that is not there is long.
WRONG = [
    ("mask_32bit_pse", "width < 40U", "width < 39U"),
    ("mask_pae", "bits(62, width)", "bits(63, width)"),
    ("mask_long", "bits(29, 13)", "bits(29, 12)"),
    ("mask_ept", "bits(6, 3)", "bits(6, 4)"),
    ("reserved_mask", "mask_ept(level, leaf, props) & ~cbit_mask(props)",
     "mask_ept(level, leaf, props)"),
    ("bits", "63U - high", "62U - high"),
    ("ept_misconfigured", "type == 2 || ", ""),
    ("cr3_reserved_mask", "bits(63, 32)", "bits(63, 33)"),
]


@pytest.mark.parametrize("function, right, wrong",
                         WRONG if "LATCH_TEST_ALL" in os.environ else WRONG[3:4])
def test_wrong_rule_is_not_proved(tmp_path, function, right, wrong):
    for folder in ("mmu", "cpuid", "tests/proofs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    source = tmp_path / "mmu/reserved.c"
    code = source.read_text()
    assert right in code
    source.write_text(code.replace(right, wrong))
    status, text = prove(tmp_path, function, seconds=2)
    assert status == 1 and re.search(f"^proofs: not proved: {function}_", text, re.MULTILINE), text
    proved, goals = re.search(r"^proofs: (\d+) of (\d+) goals", text, re.MULTILINE).groups()
    assert int(proved) > int(goals) / 2, "the provers were not at work"
