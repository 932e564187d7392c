# SPDX-License-Identifier: BSD-2-Clause
"""A run's results: {"machines": {machine: {column: {"rows": {name: figures}}}}}, and beside that
{part: {machine: {column: what it found}}} for what is no row."""

import csv
import json

from configurations import COLUMNS, LIMIT, PEERS

FIGURES = ["median", "min", "rounds", "exits", "again", "of limit", "of peer", "absent"]
# Numbers that are no cost: what was asked for, and what follows from others.
NO_COSTS = {"rounds", "seconds", "idle", "again", "of limit", "of peer", "entry at"}


def rows_of(columns):
    """The names of all rows of a machine that some column has, in the order of measuring."""
    names = []
    for result in columns.values():
        at = 0
        for name in result["rows"]:
            if name not in names:
                names.insert(at, name)
            at = names.index(name) + 1
    return [name for name in names
            if any(median(columns, column, name) is not None for column in columns)]


def figures_of(columns, column, row):
    return columns.get(column, {}).get("rows", {}).get(row, {})


def median(columns, column, row):
    return figures_of(columns, column, row).get("median")


def ratios(columns, column, row):
    """A column of Latch's against the stub and the best peer; None where one is not there."""
    own, limit = median(columns, column, row), median(columns, LIMIT, row)
    peers = [value for peer in PEERS[column]
             if (value := median(columns, peer, row)) is not None and value > 0]
    return (own / limit if own is not None and limit else None,
            own / min(peers) if own is not None and peers else None)


def add_row(results, machine, column, row, samples):
    """A row that is measured otherwise than by the bench's guest."""
    samples = sorted(samples)
    columns = results["machines"].setdefault(machine, {})
    columns.setdefault(column, {"rows": {}})["rows"][row] = {
        "median": samples[len(samples) // 2], "min": samples[0], "rounds": len(samples)}


def add_absent(results, machine, column, row, why):
    columns = results["machines"].setdefault(machine, {})
    columns.setdefault(column, {"rows": {}})["rows"][row] = {"absent": why}


def add_ratios(results):
    for columns in results["machines"].values():
        for column in PEERS:
            for row, figures in columns.get(column, {}).get("rows", {}).items():
                for name, ratio in zip(("of limit", "of peer"), ratios(columns, column, row)):
                    if ratio is not None:
                        figures[name] = round(ratio, 4)


def add_repeat(columns, again):
    """Note the rows of a machine that a second run found to have another median or minimum."""
    for column, result in again.items():
        for row, figures in result["rows"].items():
            first = figures_of(columns, column, row)
            if "median" in figures and "median" in first and any(
                    first[name] != figures[name] for name in ("median", "min")):
                first["again"] = figures["median"]


def varying(columns):
    """[(column, row, first median, second)] of what does not repeat to the instruction."""
    return [(column, row, figures["median"], figures["again"])
            for column, result in columns.items()
            for row, figures in result["rows"].items() if "again" in figures]


def cell(figures):
    """Median and minimum, one number where they are the same; ~ where it does not repeat."""
    if "median" not in figures:
        return "-"
    both = dict.fromkeys([figures["median"], figures["min"]])
    return ("~" if "again" in figures else "") + "/".join(str(value) for value in both)


def table(machine, columns):
    """One machine's results as lines of text."""
    shown = [column.name for column in COLUMNS if columns.get(column.name, {}).get("rows")]
    own = [name for name in shown if name in PEERS]
    head = ["row"] + shown + [f"{name}/{what}" for name in own for what in (LIMIT, "peer")]
    lines = [head]
    for row in rows_of(columns):
        line = [row] + [cell(figures_of(columns, name, row)) for name in shown]
        for name in own:
            line += ["-" if ratio is None else f"{ratio:.2f}"
                     for ratio in ratios(columns, name, row)]
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"{machine}: instructions, median/minimum (one number: the same; ~: does not repeat)"]
    for line in lines:
        text.append("  ".join([line[0].ljust(widths[0])] +
                              [word.rjust(width) for word, width in zip(line[1:], widths[1:])]))
    return "\n".join(text + reasons(columns))


def reasons(columns):
    """Why a column is missing, or some of its rows; rows with the same reason together."""
    text = []
    for column in COLUMNS:
        result = columns.get(column.name, {})
        if why := result.get("missing"):
            text.append(f"{column.name}: {why}")
        absent = {}
        for row, figures in result.get("rows", {}).items():
            if "absent" in figures:
                absent.setdefault(figures["absent"], []).append(row)
        text += [f"{column.name}: no {', '.join(rows)}: {why}" for why, rows in absent.items()]
    return text


def leaves(found, path=()):
    """All numbers that are costs, with the way to them."""
    for name, value in found.items():
        if isinstance(value, dict):
            yield from leaves(value, path + (str(name),))
        elif isinstance(value, (int, float)) and name not in NO_COSTS:
            yield path + (str(name),), value


def flat(results):
    """{way: number}: (machine, column, row) for a median, with "min" or "exits" behind it for
    those, and (part, machine, column, ...) for what is no row."""
    found = {}
    for way, value in leaves(results):
        if way[0] == "machines":
            way = tuple(word for i, word in enumerate(way) if i not in (0, 3))
            way = way[:-1] if way[-1] == "median" else way
        found[way] = value
    return found


def write_csv(path, results):
    """The rows, and behind them a line for each number of the other parts."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["machine", "column", "row", *FIGURES])
        for machine, columns in results["machines"].items():
            for column, result in columns.items():
                for row, figures in result["rows"].items():
                    writer.writerow([machine, column, row] + [
                        figures.get(name, "") for name in FIGURES])
        parts = {name: found for name, found in results.items() if name != "machines"}
        for (part, machine, column, *way), value in flat(parts).items():
            writer.writerow([machine, column, " ".join([part, *way]), value])


def write_json(path, results):
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def grown(old, new, least):
    """What grew by more than the fraction `least`, the worst first: [(way, before, after)]. An exit
    for a reason that there was none of counts as grown from 0."""
    old, new = flat(old), flat(new)
    counted = {way[:-1] for way in old if "exits" in way[:-1]}
    pairs = [(way, old.get(way, 0), after) for way, after in new.items()
             if way in old or way[:-1] in counted]
    worse = [(way, before, after) for way, before, after in pairs
             if after > before + abs(before) * least]
    return sorted(worse, key=lambda entry: entry[2] / max(1, entry[1]), reverse=True)


def vanished(old, new):
    """What was measured and is no more, but for exits that there are no more of."""
    old, new = flat(old), flat(new)
    measured = {way[:i] for way in new for i in range(len(way))}
    return [way for way in old if way not in new
            and not ("exits" in way[:-1] and way[:way.index("exits")] in measured)]
