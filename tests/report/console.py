# SPDX-License-Identifier: BSD-2-Clause
"""What a console log says of a run. The guest writes to the same console, so a log may hold
anything: what does not read as a line of Latch's is left alone, and nothing grows without bound."""

import dataclasses
import re

NUMBER = r"(\d{1,20})"
DATED = re.compile(r"^\[ *\d{1,12}\.\d{6}\] (.*)$")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
VERDICT = re.compile(r"^Test result: (SUCCESS|SKIP|ERROR|FAILURE)(, inexact)?$")
EXITS = re.compile(r"^exits: vcpu (\d{1,2}):((?: [a-z0-9-]{1,30} \d{1,20})+)$")
TIMED = re.compile(rf"^stats: exit ([a-z0-9-]{{1,30}}): {NUMBER}, (instructions|ticks) "
                   rf"min {NUMBER} median {NUMBER} max {NUMBER}$")
POWER = re.compile(rf"^stats: +{NUMBER} \|[# ]{{1,80}} {NUMBER}$")
STAGE = re.compile(rf"^stats: boot ([^:]{{1,40}}): {NUMBER} (instructions|ticks), ")
ROLE = re.compile(rf"^stats: tables (\S.{{0,199}}): {NUMBER}$")
FACTS = ("boot", "machine", "memory", "model", "paging", "tables", "dma", "ipi", "launch",
         "guest", "latch", "relaunch")
FACT = re.compile(rf"^({'|'.join(FACTS)}): (.{{1,300}})$")
RANK = ["SUCCESS", "SKIP", "FAILURE", "ERROR"]
ROWS_MAX = 64
FACTS_MAX = 60
LINES_MAX = 1000
LINE_MAX = 400


@dataclasses.dataclass
class Timing:
    """One reason's exits: how many, their least, median and largest time, and how many of them
    took from each power of two on."""

    count: int
    least: int
    median: int
    most: int
    powers: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Run:
    """All that was found; what was not is empty."""

    verdict: str = ""
    inexact: bool = False
    unit: str = ""
    facts: list = dataclasses.field(default_factory=list)
    exits: dict = dataclasses.field(default_factory=dict)  # reason -> {vCPU: how many}
    timings: dict = dataclasses.field(default_factory=dict)  # reason -> Timing
    stages: list = dataclasses.field(default_factory=list)  # (name, time)
    roles: list = dataclasses.field(default_factory=list)  # (role, table pages)
    lines: list = dataclasses.field(default_factory=list)  # the last ones of the log
    cut: int = 0  # how many lines came before those

    @property
    def vcpus(self):
        return sorted({vcpu for counts in self.exits.values() for vcpu in counts})


def take_verdict(run, match):
    if not run.verdict or RANK.index(match[1]) > RANK.index(run.verdict):
        run.verdict = match[1]
    run.inexact = run.inexact or bool(match[2])


def take_exits(run, match):
    words = match[2].split()
    for reason, count in zip(words[::2], words[1::2]):
        if reason in run.exits or len(run.exits) < ROWS_MAX:
            run.exits.setdefault(reason, {})[int(match[1])] = int(count)


def take_timed(run, match):
    if match[1] in run.timings or len(run.timings) < ROWS_MAX:
        count, least, median, most = (int(match[i]) for i in (2, 4, 5, 6))
        run.timings[match[1]] = Timing(count, least, median, most)
        run.unit = match[3]


def take_stage(run, match):
    if len(run.stages) < ROWS_MAX:
        run.stages.append((match[1], int(match[2])))
        run.unit = match[3]


def take_role(run, match):
    if len(run.roles) < ROWS_MAX:
        run.roles.append((match[1], int(match[2])))


def take_fact(run, match):
    if len(run.facts) < FACTS_MAX:
        run.facts.append((match[1], match[2]))


TAKERS = [(VERDICT, take_verdict), (EXITS, take_exits), (TIMED, take_timed), (STAGE, take_stage),
          (ROLE, take_role), (FACT, take_fact)]


def read(text):
    """The Run that a log tells of."""
    run = Run()
    last = None  # the Timing that powers belong to
    for line in text.split("\n"):
        line = CONTROLS.sub("", line)[:LINE_MAX]
        run.lines.append(line)
        dated = DATED.match(line)
        said = dated[1] if dated else line
        power = POWER.match(said)
        if power and last and len(last.powers) < ROWS_MAX:
            last.powers.append((int(power[1]), int(power[2])))
            continue
        for pattern, take in TAKERS:
            match = pattern.match(said)
            if match:
                take(run, match)
                last = run.timings.get(match[1]) if take is take_timed else None
                break
    if run.lines and not run.lines[-1]:
        run.lines.pop()
    run.cut = max(0, len(run.lines) - LINES_MAX)
    run.lines = run.lines[run.cut:]
    return run
