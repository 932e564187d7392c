# SPDX-License-Identifier: BSD-2-Clause
"""Kinds of guests that know nothing of Latch, and what the launcher makes of their ends."""

import pytest

from conftest import ERROR, FAILURE, MACHINES, SMALL, SUCCESS


@pytest.fixture
def flat(make, tmp_path):
    def build(value):
        file = tmp_path / f"flat{value}.bin"
        make("nasm", "-I", f"{SMALL}/", "-f", "bin", f"-DVALUE={value}", SMALL / "flat.asm",
             "-o", file)
        return file

    return build


@pytest.mark.parametrize("value, status", [(0, SUCCESS), (5, FAILURE)])
def test_flat_image_and_debug_exit(boot, flat, value, status):
    machine = boot("--machine", "qemu-amd", "--guest", flat(value))
    assert machine.finish() == status, machine.tail()
    assert machine.lines("flat: a real-mode guest"), machine.tail()
    if value:
        assert f"debug-exit value {value}" in machine.text


@pytest.mark.parametrize("machine", ["bochs-intel", "bochs-amd"])
def test_flat_image(boot, flat, machine):
    booted = boot("--machine", machine, "--guest", flat(0), "--timeout", "15")
    booted.expect("flat: a real-mode guest")


def test_flat_image_of_an_inexact_run(boot, flat):
    """It takes no command line, and is given none."""
    booted = boot("--machine", "qemu-amd", "--guest", flat(0), "--paging", "direct", "--model",
                  "host,gbpages=off")
    assert booted.finish() == SUCCESS, booted.tail()
    assert booted.lines("paging: .* inexact, not enforced"), booted.tail(40)
    assert booted.lines("flat: a real-mode guest"), booted.tail()


@pytest.fixture
def task(make, tmp_path):
    def build(*words):
        file = tmp_path / "task.bin"
        make("nasm", "-I", f"{SMALL}/", "-f", "bin", *words, SMALL / "task.asm", "-o", file)
        return file

    return build


@pytest.mark.parametrize("machine, paging", [("bochs-intel", "direct"), ("bochs-amd", "shadow")])
def test_a_task_switch_ends_by_its_name(boot, task, machine, paging):
    """VMX has it exit always; with paging it would load CR3, which on shadow tables is Latch's."""
    booted = boot("--machine", machine, "--paging", paging, "--guest", task("-DPAGED"))
    assert booted.finish() == ERROR, booted.tail()
    assert booted.lines("guest: vcpu 0 stopped: a hardware task switch"), booted.tail(40)
    assert booted.lines("dump: exit task-switch"), booted.tail(40)


@pytest.mark.parametrize("paging, word", [("direct", "-DPAGED"), ("shadow", "-DUNPAGED")])
def test_a_task_switch_of_the_hardware(boot, task, paging, word):
    booted = boot("--machine", "bochs-amd", "--paging", paging, "--guest", task(word))
    booted.expect("task: switched")
    booted.stop()


@pytest.mark.parametrize("machine", MACHINES)
def test_multiboot_elf32_with_modules(boot, small_elf32, machine, tmp_path):
    """A module and an environment file reach the guest whole, with their command lines."""
    (tmp_path / "module").write_text("forty-two")
    (tmp_path / "environment").write_text("HOME=/")
    booted = boot("--machine", machine, "--guest", small_elf32("multiboot"),
                  "--append", "alpha beta=1", "--initrd", tmp_path / "module",
                  "--module", f"{tmp_path / 'environment'} second")
    booted.finish()
    text = booted.tail(30)
    assert booted.lines("multiboot: command line .*alpha beta=1"), text
    assert booted.lines("multiboot: module .*module.* contains forty-two"), text
    assert booted.lines("multiboot: module .*environment.* contains HOME=/"), text
    assert booted.lines("multiboot: done"), text
    assert booted.lines("guest: powers off"), text
