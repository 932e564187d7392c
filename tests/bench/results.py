# SPDX-License-Identifier: BSD-2-Clause
"""A run's results: {"machines": {machine: {column: {"rows": {name: figures}}}}}."""

import csv
import json

from configurations import COLUMNS, LIMIT, PEERS

FIGURES = ["median", "min", "rounds", "exits", "absent"]


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


def median(columns, column, row):
    return columns.get(column, {}).get("rows", {}).get(row, {}).get("median")


def ratios(columns, column, row):
    """A column of Latch's against the stub and the best peer; None where one is not there."""
    own, limit = median(columns, column, row), median(columns, LIMIT, row)
    peers = [value for peer in PEERS[column]
             if (value := median(columns, peer, row)) is not None and value > 0]
    return (own / limit if own is not None and limit else None,
            own / min(peers) if own is not None and peers else None)


def cell(value, form="d"):
    return "-" if value is None else format(value, form)


def table(machine, columns):
    """One machine's results as lines of text."""
    shown = [column.name for column in COLUMNS if columns.get(column.name, {}).get("rows")]
    own = [name for name in shown if name in PEERS]
    head = ["row"] + shown + [f"{name}/{what}" for name in own for what in (LIMIT, "peer")]
    lines = [head]
    for row in rows_of(columns):
        line = [row] + [cell(median(columns, name, row)) for name in shown]
        for name in own:
            line += [cell(ratio, ".2f") for ratio in ratios(columns, name, row)]
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"{machine}: instructions, median"]
    for line in lines:
        text.append("  ".join([line[0].ljust(widths[0])] +
                              [word.rjust(width) for word, width in zip(line[1:], widths[1:])]))
    for column in COLUMNS:
        if why := columns.get(column.name, {}).get("missing"):
            text.append(f"{column.name}: {why}")
    return "\n".join(text)


def write_csv(path, results):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["machine", "column", "row", *FIGURES])
        for machine, columns in results["machines"].items():
            for column, result in columns.items():
                for row, figures in result["rows"].items():
                    writer.writerow([machine, column, row] + [
                        figures.get(name, "") for name in FIGURES])


def write_json(path, results):
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def flat(results):
    """{(machine, column, row): median} of all."""
    return {(machine, column, row): figures["median"]
            for machine, columns in results["machines"].items()
            for column, result in columns.items()
            for row, figures in result["rows"].items() if "median" in figures}


def differences(first, second):
    """The medians in which two results differ: [(key, first, second)]."""
    old, new = flat(first), flat(second)
    return [(key, old[key], new[key]) for key in old if key in new and old[key] != new[key]]


def grown(old, new, least):
    """Those that grew by more than the fraction `least`, the worst first."""
    worse = [(key, before, after) for key, before, after in differences(old, new)
             if after > before + abs(before) * least]
    return sorted(worse, key=lambda entry: entry[2] / max(1, entry[1]), reverse=True)
