# SPDX-License-Identifier: BSD-2-Clause
"""Charts as SVG for the page, whose style sheet gives the colours. They are drawn for the width of
a phone, a label above its bar, so that they are read at any width."""

import html
import math
import textwrap

WIDTH = 360
ROW = 34
LINE = 14
BAR = 12
LABEL = 46  # letters in a line beside a number
SERIES = 8  # colours that the style sheet has


def svg(height, label, parts):
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html.escape(label)}">'
            + "".join(parts) + "</svg>")


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{html.escape(str(words))}</text>'


def box(x, y, width, height, kind, title):
    return (f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(0.8, width):.2f}" height="{height:.2f}" '
            f'class="{kind}"><title>{html.escape(title)}</title></rect>')


def in_binary(power):
    """1, 2, … 512, 1 Ki, …: a power of two in few letters."""
    units = ["", " Ki", " Mi", " Gi", " Ti", " Pi", " Ei"]
    place = min((power.bit_length() - 1) // 10, len(units) - 1) if power else 0
    return f"{power >> 10 * place}{units[place]}"


def row_head(y, label, value):
    return [text(0, y + 12, label), text(WIDTH, y + 12, value, "value")]


def stacked(label, rows):
    """A bar for each (name, [(part's name, number)]), its parts side by side."""
    most = max(sum(number for _, number in parts) for _, parts in rows) or 1
    out, y = [], 0
    for name, parts in rows:
        x = 0.0
        lines = textwrap.wrap(name, LABEL, max_lines=3, placeholder=" …")
        out += row_head(y, lines[0], f"{sum(number for _, number in parts):,}")
        for line in lines[1:]:
            y += LINE
            out.append(text(10, y + 12, line))
        for place, (part, number) in enumerate(parts):
            width = WIDTH * number / most
            if number:
                out.append(box(x, y + 17, width, BAR, f"s{place % SERIES}",
                               f"{name}, {part}: {number:,}"))
            x += width
        y += ROW
    return svg(y, label, out)


def spans(label, rows):
    """One after another: a bar for each (name, number) that begins where the last one ended."""
    total = sum(number for _, number in rows) or 1
    out, before = [], 0
    for i, (name, number) in enumerate(rows):
        y = i * ROW
        share = f"{number:,}  ({100 * number / total:.1f} %)"
        out += row_head(y, name, share)
        out.append(box(0, y + 17, WIDTH, BAR, "rail", name))
        out.append(box(WIDTH * before / total, y + 17, WIDTH * number / total, BAR, "s0",
                       f"{name}: {share}"))
        before += number
    return svg(len(rows) * ROW, label, out)


def ranges(label, rows):
    """From the least to the most of each (name, least, median, most), on a logarithmic scale."""
    low = math.floor(math.log10(max(1, min(row[1] for row in rows))))
    high = max(low + 1, math.ceil(math.log10(max(2, *(row[3] for row in rows)))))

    def place(number):
        return 4 + (WIDTH - 8) * (math.log10(max(1, number)) - low) / (high - low)

    bottom = len(rows) * ROW
    out = []
    for decade in range(low, high + 1):
        x = place(10 ** decade)
        out.append(f'<path d="M{x:.1f} 0V{bottom}" class="grid"/>')
        anchor = "start" if decade == low else "end" if decade == high else "middle"
        out.append(text(x, bottom + 12, f"{10 ** decade:,}" if decade < 6 else f"1e{decade}",
                        f"scale {anchor}"))
    for i, (name, least, median, most) in enumerate(rows):
        y = i * ROW
        out += row_head(y, name, f"{least:,} · {median:,} · {most:,}")
        out.append(box(place(least), y + 20, place(most) - place(least), 6, "s0",
                       f"{name}: from {least:,} to {most:,}"))
        out.append(f'<circle cx="{place(median):.1f}" cy="{y + 23}" r="5" class="median">'
                   f"<title>{html.escape(name)}: median {median:,}</title></circle>")
    return svg(bottom + 16, label, out)


def columns(label, rows):
    """A column for each (from where, number), as the powers of two of a histogram."""
    height, foot = 90, 14
    most = max(number for _, number in rows) or 1
    step = WIDTH / max(len(rows), 6)
    out = []
    every = max(1, math.ceil(len(rows) / 6))
    for i, (start, number) in enumerate(rows):
        tall = (height - 14) * number / most
        if number:
            out.append(box(i * step + 1, height - tall, step - 2, tall, "s0",
                           f"{start:,} to {2 * start - 1 if start > 1 else 1:,}: {number:,}"))
        if number and step > 18:
            out.append(text(i * step + step / 2, height - tall - 3, f"{number:,}", "tiny middle"))
        if i % every == 0:
            out.append(text(i * step + 1, height + foot - 3, in_binary(start), "scale start"))
    out.append(f'<path d="M0 {height}H{WIDTH}" class="grid"/>')
    return svg(height + foot, label, out)
