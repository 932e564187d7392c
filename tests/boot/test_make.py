# SPDX-License-Identifier: BSD-2-Clause
"""The commands that the README names are there."""

import pytest

from conftest import ROOT

TARGETS = ["run", "test", "iso", "pxe", "unit", "gdb", "format", "lint", "report",
           "clean"]


def test_help_lists_the_targets(make):
    listed = {line.split()[1] for line in make("make", "help").splitlines() if line.split()[1:]}
    assert set(TARGETS) <= listed


def test_launcher_explains_itself(make):
    text = make("iso/run", "--help")
    for option in ("--machine", "--guest", "--append", "--initrd", "--model", "--vcpus", "--mem",
                   "--paging", "--conf", "--uefi", "--bare", "--timeout", "--log"):
        assert option in text


def test_formatted(make):
    """`make format` would change nothing."""
    folders = ["kernel", "svm", "vmx", "mmu", "cpuid", "tests"]
    make("clang-format", "--dry-run", "--Werror",
         *(source for folder in folders for source in sorted((ROOT / folder).rglob("*.[ch]"))))


@pytest.mark.long
def test_lint(make):
    make("make", "lint")
