# SPDX-License-Identifier: BSD-2-Clause
"""The results as an SVG: a line for each row, a dot for each column, on a logarithmic scale."""

import html
import math

from configurations import COLUMNS
from results import median, rows_of

LEFT, RIGHT, LINE, HEAD, GAP = 150, 40, 17, 62, 30
WIDTH = 900
COLOURS = {"bare": "#888888", "floor": "#c9b458", "gpr": "#d98c21", "full": "#8c510a",
           "latch": "#0057b8", "latch-fl": "#00838f", "latch-sh": "#5aa9ff",
           "kvm": "#c62828", "kvm-sh": "#f48a8a",
           "xen": "#6a1b9a"}
STYLE = ("text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}"
         ".scale{fill:#666;text-anchor:middle}.row{text-anchor:end}")


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{html.escape(words)}</text>'


def line(x1, y1, x2, y2, colour):
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def panel(machine, columns, top):
    """One machine's part, and where the next begins."""
    shown = [column for column in COLUMNS if columns.get(column.name, {}).get("rows")]
    rows = rows_of(columns)
    values = [value for row in rows for column in shown
              if (value := median(columns, column.name, row)) is not None]
    decades = max(1, math.ceil(math.log10(max(values, default=10) + 1)))
    scale = (WIDTH - LEFT - RIGHT) / decades
    bottom = top + HEAD + LINE * len(rows)
    out = [text(8, top + 18, f"{machine}: instructions for one round trip, median", "title")]
    at = LEFT
    for column in shown:
        out.append(f'<circle cx="{at}" cy="{top + 34}" r="5" fill="{COLOURS[column.name]}"/>')
        out.append(text(at + 9, top + 38, column.name))
        at += 90
    for decade in range(decades + 1):
        x = LEFT + scale * decade
        out.append(line(x, top + HEAD - 6, x, bottom, "#dddddd"))
        out.append(text(x, top + HEAD - 9, f"{10 ** decade:,}", "scale"))
    for i, row in enumerate(rows):
        y = top + HEAD + LINE * i + LINE / 2
        out.append(text(LEFT - 10, y + 4, row, "row"))
        out.append(line(LEFT, y, WIDTH - RIGHT, y, "#eeeeee"))
        for place, column in enumerate(shown):  # the later the smaller, where they coincide
            value = median(columns, column.name, row)
            if value is not None:
                x = LEFT + scale * math.log10(max(1, value))
                out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 - place / 2}" '
                           f'fill="{COLOURS[column.name]}" fill-opacity="0.85">'
                           f'<title>{column.name} {row}: {value:,}</title></circle>')
    return out, bottom + GAP


def write(path, results):
    parts, top = [], 0
    for machine, columns in results["machines"].items():
        if any(result["rows"] for result in columns.values()):
            out, top = panel(machine, columns, top)
            parts += out
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" '
        f'height="{top}"><style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts) + "\n</svg>\n", encoding="utf-8")
