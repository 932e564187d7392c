# SPDX-License-Identifier: BSD-2-Clause
"""The host's unit tests, one program each; `make unit` runs the same."""

import subprocess

import pytest

from conftest import BUILD, ROOT

PROGRAMS = sorted(path.stem for path in (ROOT / "tests/unit").glob("test_*.c"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_unit(program):
    done = subprocess.run([BUILD / "unit" / program], stdout=subprocess.PIPE, cwd=ROOT,
                          stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    failed = [line for line in lines if not line.startswith("ok ")]
    assert done.returncode == 0, "\n".join(failed[-30:])
    assert any(line.startswith("ok ") for line in lines), "no test was run"
    assert not any(line.startswith("FAIL ") for line in lines), "\n".join(failed[-30:])


def test_there_are_unit_tests():
    assert len(PROGRAMS) > 10
