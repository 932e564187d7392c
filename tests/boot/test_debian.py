# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own kernel under Latch, to its report's verdict."""

import os

import pytest

from conftest import MACHINES, SUCCESS

REPORT = ["cpus 2 of 2", r"cpuid \d+ leaves", "cpuinfo agrees", "timer on CPU 0",
          "timer on CPU 1", r"memory \d+ MiB"]


def check_report(booted):
    assert booted.finish() == SUCCESS, booted.tail(40)
    assert booted.verdicts == ["SUCCESS"], booted.tail(40)
    for line in REPORT:
        assert booted.lines(f"report: ok {line}"), f"no {line!r}:\n{booted.tail(40)}"


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
def test_debian(boot, machine):
    booted = boot("--machine", machine)
    check_report(booted)
    assert booted.lines("launch: 2 vCPUs"), booted.tail(40)
    assert booted.lines("guest: powers off"), booted.tail(40)


def test_debian_parks_other_cpus(boot):
    check_report(boot("--machine", "qemu-amd", "--vcpus", "2", "--machine-cpus", "4"))


def test_debian_bare(boot):
    """The same guest on the same machine without Latch, to compare with."""
    booted = boot("--machine", "qemu-amd", "--bare")
    check_report(booted)
    assert not booted.lines("launch:")


def test_debian_sees_the_model(boot):
    booted = boot("--machine", "qemu-amd", "--model", "host,-avx2,-sha_ni,-hypervisor", "--append",
                  "expect.noflags=avx2,sha_ni,hypervisor")
    check_report(booted)


C_BIT = [(machine, paging) for machine in MACHINES for paging in ("direct", "shadow")]


@pytest.mark.parametrize("machine, paging", C_BIT if "LATCH_TEST_ALL" in os.environ else C_BIT[:1])
def test_debian_beside_a_c_bit(boot, machine, paging):
    """Where it sees one it reads SEV_STATUS and SYSCFG, before it has a handler for a #GP."""
    booted = boot("--machine", machine, "--model", "host,cbit=36", "--paging", paging)
    check_report(booted)
    inexact = booted.lines("Test result: SUCCESS, inexact\r?$")
    assert bool(inexact) == (paging == "direct"), booted.tail()


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES if "LATCH_TEST_ALL" in os.environ else ["qemu-amd"])
def test_debian_reboots_into_another_model(boot, machine):
    booted = boot("--machine", machine, "--append", "latch.reboot=popcnt expect.noflags=popcnt",
                  "--conf", "on-reset=relaunch generation2=host,-popcnt")
    check_report(booted)
    assert booted.lines("guest: .*: generation 1 ends"), booted.tail(40)
    digests = [line.split()[-1] for line in booted.lines("model: digest .*")]
    assert len(digests) == len(set(digests)) == 2, digests


def test_debian_shell(boot):
    """What `make run` offers on a terminal, driven as a person would."""
    booted = boot("--machine", "qemu-amd", "--timeout", "60", typed=True)
    booted.expect("leave with Ctrl-A x")
    booted.expect("A shell in the guest")
    booted.expect("/ # ")
    booted.child.send("grep -c ^processor /proc/cpuinfo\r")
    booted.expect(r"\n2\r")
    booted.child.send("exit\r")
    booted.expect("guest: powers off")
