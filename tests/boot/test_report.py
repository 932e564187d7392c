# SPDX-License-Identifier: BSD-2-Clause
"""stats=on tells what a run cost, and `make report` draws it: the numbers are the log's, and a log
that the guest wrote into harms nobody who reads the page."""

import html
import html.parser
import re
import sys

import pytest

from conftest import BUILD, MACHINES, ROOT, SUCCESS

sys.path.insert(0, str(ROOT / "tests/report"))

import console  # noqa: E402
import page  # noqa: E402

DATE = "[    1.234567] "
VOID = {"meta"}


class Reader(html.parser.HTMLParser):
    """The page's text, its elements and attributes; fails where they are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.attributes, self.text = [], set(), [], ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text += data


def draw(log):
    run = console.read(log)
    return run, Reader(page.write(run, "a log"))


def check_safe(read):
    assert not {"script", "img", "iframe", "link", "a", "object", "form"} & read.elements
    assert not [name for name, _ in read.attributes
                if name.startswith("on") or name in ("src", "href", "xlink:href")]


def run_timed(boot, machine, *arguments):
    booted = boot("--machine", machine, "--conf", "stats=on", *arguments)
    assert booted.finish() == SUCCESS, booted.tail()
    return booted, booted.text.replace("\r", "")


def check_counts(run):
    """Each exit was timed, but for the one in which the run ended."""
    counted = {reason: sum(counts.values()) for reason, counts in run.exits.items()}
    missing = {reason: count - (run.timings[reason].count if reason in run.timings else 0)
               for reason, count in counted.items()}
    assert sum(missing.values()) <= 1 and set(missing.values()) <= {0, 1}, missing
    assert set(run.timings) <= set(counted) | {"other"}
    for reason, timing in run.timings.items():
        assert timing.least <= timing.median <= timing.most, reason
        assert sum(count for _, count in timing.powers) == timing.count, reason
        lowest, highest = timing.powers[0], timing.powers[-1]
        assert lowest[1] and max(1, lowest[0]) <= max(1, timing.least) < 2 * lowest[0], reason
        assert highest[1] and highest[0] <= max(1, timing.most) < 2 * highest[0], reason


@pytest.mark.parametrize("machine", MACHINES)
def test_stats(boot, machine):
    """The numbers are plausible, agree with one another, and stand on the page."""
    booted, log = run_timed(boot, machine, "--vcpus", 1, "--guest", BUILD / "guest/cpuid.elf")
    run, read = draw(log)
    check_counts(run)
    verdict, exits = log.index("Test result: SUCCESS"), log.index("stats: exit cpuid")
    assert verdict < exits, "the verdict is followed by exits by reason"
    assert run.unit == ("ticks" if machine == "qemu-amd" else "instructions"), booted.tail(60)
    assert run.timings["cpuid"].least > 20
    assert run.unit == "ticks" or run.timings["cpuid"].median < 1000
    pages = booted.lines(r"tables: \w+: \d+ pages in all")[-1]
    assert sum(number for _, number in run.roles) == int(re.search(r"(\d+) pages", pages)[1])
    stages = dict(run.stages)
    assert {"ACPI", "models", "guest tables", "guest images", "launch"} <= set(stages)
    assert all(number > 0 for number in stages.values())
    for reason, timing in run.timings.items():
        assert reason in read.text
        assert f"{timing.least:,} · {timing.median:,} · {timing.most:,}" in read.text
    for number in [sum(counts.values()) for counts in run.exits.values()] + list(stages.values()):
        assert f"{number:,}" in read.text
    check_safe(read)


def test_stats_of_shadow_paging(boot):
    """Two vCPUs, and roles of both kinds of tables."""
    booted, log = run_timed(boot, "qemu-amd", "--guest", BUILD / "guest/smp.elf", "--paging",
                            "shadow")
    run = console.read(log)
    check_counts(run)
    shadows = sum(number for role, number in run.roles if role.startswith("shadow"))
    assert booted.lines(rf"tables: shadow: {shadows} pages of"), booted.tail(60)
    assert any(role.endswith("PDPTEs") and number == 2 for role, number in run.roles)
    assert any(role.startswith("NPT") for role, _ in run.roles)
    assert run.vcpus == [0, 1]


def test_stats_begin_anew_with_a_generation(boot):
    """Else what one generation counted would have its exits taken for others in the next."""
    booted, log = run_timed(boot, "qemu-amd", "--guest", BUILD / "guest/relaunch.elf", "--append",
                            "rounds=4", "--conf", "on-reset=relaunch test-hypercalls=on",
                            "--mem", 96)
    assert booted.lines("guest: .*: generation 3 ends"), booted.tail()
    check_counts(console.read(log))


def test_nothing_unasked(boot):
    booted = boot("--machine", "qemu-amd", "--guest", BUILD / "guest/cpuid.elf")
    assert booted.finish() == SUCCESS
    assert not booted.lines("stats: ")
    run, read = draw(booted.text.replace("\r", ""))
    assert run.exits["cpuid"] and not run.timings
    assert "stats=on" in read.text and "Exits by reason" in read.text
    check_safe(read)


LOG = f"""{DATE}machine: QEMU TCG, TSC at 2596314 kHz
{DATE}launch: 2 vCPUs, 0 CPUs parked, the console is the guest's now
report: ok
Test result: SUCCESS
Test result: FAILURE, inexact
{DATE}exits: vcpu 0: cpuid 1065 rdmsr 15
{DATE}exits: vcpu 0: memory 149
{DATE}exits: vcpu 1: cpuid 650
{DATE}stats: boot ACPI: 750 instructions, 75.0 %
{DATE}stats: boot models: 250 instructions, 25.0 %
{DATE}stats: exit cpuid: 1715, instructions min 70 median 75 max 900
{DATE}stats:          64 |######################################## 1700
{DATE}stats:         128 |                                         0
{DATE}stats:         512 |#                                        15
{DATE}stats: tables NPT level 4 direct MAXPHYADDR 40: 1
{DATE}stats:        4096 |#                                        15
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_parsing(ending):
    run = console.read(LOG.replace("\n", ending))
    assert (run.verdict, run.inexact, run.unit) == ("FAILURE", True, "instructions")
    assert run.exits == {"cpuid": {0: 1065, 1: 650}, "rdmsr": {0: 15}, "memory": {0: 149}}
    assert run.stages == [("ACPI", 750), ("models", 250)]
    assert run.roles == [("NPT level 4 direct MAXPHYADDR 40", 1)]
    assert run.timings["cpuid"] == console.Timing(1715, 70, 75, 900,
                                                  [(64, 1700), (128, 0), (512, 15)])
    assert ("machine", "QEMU TCG, TSC at 2596314 kHz") in run.facts


def test_page():
    _, read = draw(LOG)
    for words in ("FAILURE, inexact", "1,715", "70 · 75 · 900", "750 (75.0 %)", "vCPU 1",
                  "NPT level 4 direct MAXPHYADDR 40", "QEMU TCG"):
        assert words in " ".join(read.text.split()), words
    titles = "cpuid, vCPU 0: 1,065", "64 to 127: 1,700"
    assert all(title in read.text for title in titles)


BAD = '<script>alert(1)</script><img src=x onerror="a()">\'"&'


@pytest.mark.parametrize("line", [
    BAD, f"{DATE}machine: {BAD}", f"{DATE}exits: vcpu 0: {BAD} 3", f"Test result: {BAD}",
    f"{DATE}stats: boot {BAD[:30]}: 12 ticks, 3.0 %", f"{DATE}stats: tables {BAD}: 4",
    f"{DATE}stats: exit {BAD}: 3, ticks min 1 median 1 max 1", "\x1b[31m<b>red\x1b[0m",
    f"{DATE}stats: boot </svg></title></section>: 5 ticks, 1.0 %"])
def test_hostile_text_is_only_text(line):
    run, read = draw(LOG + line + "\n")
    check_safe(read)
    assert "b" not in read.elements
    assert run.lines[-1] in read.text
    policy = [value for name, value in read.attributes if name == "content" and "src" in value]
    assert policy == [page.POLICY] and "default-src 'none'" in page.POLICY


LOGS = {
    "nothing": "",
    "an end": "\n",
    "no text": "\0\xff\ufffd" * 1000,
    "one line": "x" * 10**6,
    "a long number": f"{DATE}exits: vcpu 0: cpuid {'9' * 400}\n",
    "no exits": f"{DATE}stats: exit a: 0, ticks min 0 median 0 max 0\n{DATE}stats: 0 |# 0\n",
    "no ticks": f"{DATE}stats: boot a: 0 ticks, 0.0 %\n",
    "no exit": f"{DATE}exits: vcpu 0: cpuid 0\n",
    "no name": f"{DATE}stats: tables  {' ' * 150} : 3\n",
    "no order": f"{DATE}stats: exit a: 1, ticks min 9 median 3 max {'9' * 20}\n"
                f"{DATE}stats: 3 |# {'9' * 20}\n",
    "many vCPUs": "".join(f"{DATE}exits: vcpu {i}: r{i}-{i} 5\n" for i in range(3000)),
    "many stages": "".join(f"{DATE}stats: boot s{i}: 5 ticks, 0.0 %\n" for i in range(5000)),
    "many powers": f"{DATE}stats: exit a: 5, ticks min 1 median 1 max 1\n"
                   + f"{DATE}stats: 1 |# 5\n" * 5000,
    "many reasons": "".join(f"{DATE}stats: exit e{i}: 5, ticks min 1 median 1 max 1\n"
                            for i in range(5000)),
}


@pytest.mark.parametrize("name", LOGS)
def test_hostile_log_has_a_page(name):
    """No log makes the report fail, or grow without bound."""
    _, read = draw(LOGS[name])
    check_safe(read)
    assert len(read.text) < 10**6


def test_make_report(make, tmp_path):
    (tmp_path / "a.log").write_text(LOG)
    assert "build/report.html" in make("make", "-s", "report", f"LOG={tmp_path}/a.log")
    assert "1,715" in (BUILD / "report.html").read_text()
