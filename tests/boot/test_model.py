# SPDX-License-Identifier: BSD-2-Clause
"""The sealed model in front of the guest: printed, given on, hidden feature by feature."""

import pytest

from conftest import MACHINES
from test_payloads import run_payload

MODEL_LINE = r"(?:CPU \d+:|   0x[0-9a-f]{8} 0x[0-9a-f]{2}: eax=.*)"


def digest(booted):
    lines = booted.lines("model: digest [0-9a-f]{64}")
    assert len(lines) == 1, booted.tail(60)
    return lines[0].split()[-1]


@pytest.mark.parametrize("machine", MACHINES)
def test_print_model(boot, machine, tmp_path):
    """What one machine's console shows is a model file, and gives the next machine the same model.

    Each vCPU gets its own part of the file.
    """
    conf = "print-model=on test-hypercalls=on"
    changes = ["--model", "host,-popcnt", "--conf", "cpu1=host,-cx16"]
    first = run_payload(boot, machine, "seal", conf=conf, arguments=changes)
    lines = first.lines(MODEL_LINE)
    assert [line for line in lines if line.startswith("CPU")] == ["CPU 0:", "CPU 1:"]
    file = tmp_path / "printed.model"
    file.write_text("\n".join(lines) + "\n")
    second = run_payload(boot, machine, "seal", conf=conf, arguments=["--model", file])
    assert second.lines(MODEL_LINE) == lines
    assert digest(second) == digest(first)
    assert not second.lines("model of vcpu .: dropped"), "the file did not fit where it came from"
