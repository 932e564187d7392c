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


def is_of_a_model(line):
    """Leaves of the basic, the hypervisor's and the extended range; others no model has."""
    leaf = int(line.split()[0], 16)
    return leaf >> 30 != 3 and leaf & 0x3FFFFFFF < 64


def test_dump_of_this_machine(tmp_path):
    """What Debian's cpuid says of this machine is read whole, and written back line by line."""
    dump = subprocess.run(["cpuid", "-r"], stdout=subprocess.PIPE, text=True, check=True).stdout
    file = tmp_path / "this.cpuid"
    file.write_text(dump)
    read = subprocess.run([BUILD / "unit/test_cpuid_text", file], stdout=subprocess.PIPE, text=True,
                          check=False)
    lines = [line for line in dump.splitlines() if line.startswith("CPU") or is_of_a_model(line)]
    assert read.returncode == 0, read.stdout
    assert len(lines) > 20 and read.stdout.splitlines() == lines


def test_there_are_unit_tests():
    assert len(PROGRAMS) > 10
