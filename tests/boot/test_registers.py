# SPDX-License-Identifier: BSD-2-Clause
"""A guest reads of its control registers what it wrote, also where the hardware has something else."""

import pytest

from conftest import MACHINES
from test_payloads import run_payload


@pytest.mark.parametrize("paging", ["direct", "shadow"])
@pytest.mark.parametrize("machine", MACHINES)
def test_registers(boot, machine, paging):
    run_payload(boot, machine, "registers", conf=f"paging={paging}")
