# SPDX-License-Identifier: BSD-2-Clause
"""What the serial-console tests stand on: a machine booted by iso/run, read line by line.

Nothing here counts wall-clock time: iso/run ends a machine from which nothing more comes.
"""

import os
import pathlib
import re
import subprocess

import pexpect
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
SMALL = ROOT / "tests/guest/small"
LOGS = BUILD / "logs"
MACHINES = ["qemu-amd", "bochs-intel", "bochs-amd"]

SUCCESS, FAILURE, ERROR, SKIP, NOTHING_MORE = 0, 1, 2, 77, 124



def pytest_collection_modifyitems(items):
    """Spread the long tests over the run, so that both workers have one at a time."""
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if not item.get_closest_marker("long")]
    gap = max(1, len(short) // (len(long) + 2))
    items[:] = []
    while long or short:
        items += long[:1] + short[:gap]
        del long[:1], short[:gap]


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes about a minute")


class Machine:
    """A running machine: its serial console through pexpect, and how it ended."""

    def __init__(self, arguments, log):
        self.log = open(log, "w", encoding="utf-8", errors="replace")
        self.child = pexpect.spawn(
            str(ROOT / "iso/run"), arguments, timeout=None, encoding="utf-8",
            codec_errors="replace", echo=False, dimensions=(24, 400), maxread=65536)
        self.child.logfile_read = self.log
        self.log.write(f"iso/run {' '.join(arguments)}\n")
        self.text = ""
        self.status = None

    def expect(self, pattern):
        """Wait for a line; what came before it stays in `text`. Fails if the machine ends first."""
        found = self.child.expect([pattern, pexpect.EOF])
        self.text += self.child.before
        if found == 1:
            pytest.fail(f"the machine ended before {pattern!r}; its last lines:\n{self.tail()}")
        self.text += self.child.after
        return self.child.match

    def finish(self):
        """To the end of the machine; its exit status."""
        if self.status is None:
            self.child.expect(pexpect.EOF)
            self.text += self.child.before
            self.child.close()
            self.status = self.child.exitstatus
        return self.status

    def stop(self):
        self.child.close(force=True)
        self.log.close()

    def tail(self, lines=15):
        return "\n".join(self.text.splitlines()[-lines:])

    def lines(self, pattern):
        """The matches of a pattern at the beginning of lines, Latch's date left out."""
        line = re.compile(r"^(?:\[ *\d+\.\d+\] )?" + pattern, re.MULTILINE)
        return [match.group(0) for match in line.finditer(self.text.replace("\r", ""))]

    @property
    def verdicts(self):
        return re.findall(r"^Test result: (\w+)", self.text.replace("\r", ""), re.MULTILINE)

    def tables(self, kind):
        """The verdict's line: table pages in all, of more than one model, and of each."""
        line = self.lines(rf"tables: {kind}: \d+ pages .*in all.*")[-1]
        pages, shared = re.search(r": (\d+) pages .*in all, (\d+) shared", line).groups()
        models = {int(vcpu): int(of) for vcpu, of in re.findall(r", vcpu (\d+): (\d+)", line)}
        return int(pages), int(shared), models


@pytest.fixture
def boot(request):
    """Starts a machine: boot("--guest", file, ...). Its console goes to build/logs/TEST.log.

    With typed=True it is interactive, as on a terminal.
    """
    machines = []

    def start(*arguments, typed=False):
        LOGS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "_", request.node.name)
        suffix = f".{len(machines)}" if machines else ""
        words = [str(a) for a in arguments]
        if not typed:
            words = ["--batch"] + words
        machine = Machine(words, LOGS / f"{name}{suffix}.log")
        machines.append(machine)
        return machine

    yield start
    for machine in machines:
        machine.stop()


@pytest.fixture
def refused(boot):
    """Boots what Latch must refuse: one line with the reason, no started guest, ERROR."""

    def check(reason, *arguments):
        machine = boot(*arguments)
        status = machine.finish()
        refusals = machine.lines(r"[Ll]atch: refused: .*")
        assert len(refusals) == 1, machine.tail()
        assert re.search(reason, refusals[0]), refusals[0]
        assert machine.verdicts == ["ERROR"], machine.tail()
        assert status == ERROR, machine.tail()
        assert not machine.lines("launch:"), "a guest was started"
        return machine

    return check


@pytest.fixture
def make(tmp_path):
    """Runs a command in the repository; its standard output."""

    # A make that the suite itself runs under would have its say in the output.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}

    def run(*words):
        done = subprocess.run([str(w) for w in words], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, env=environment)
        assert done.returncode == 0, f"{' '.join(map(str, words))}:\n{done.stdout}"
        return done.stdout

    return run


@pytest.fixture
def small_elf32(make, tmp_path):
    """Builds a 32-bit guest that does not know Latch: the file, by its source's name."""

    def build(name):
        file = tmp_path / f"{name}.elf"
        make("nasm", "-I", f"{SMALL}/", "-f", "elf32", SMALL / f"{name}.asm", "-o", f"{file}.o")
        make("ld", "-m", "elf_i386", "-Ttext=0x400000", "-z", "max-page-size=4096", "-e", "start",
             f"{file}.o", "-o", file)
        return file

    return build
