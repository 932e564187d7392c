# SPDX-License-Identifier: BSD-2-Clause
"""The page: one file that loads nothing, on a phone, a screen or paper. All that comes from the log
is escaped, and the page's own policy forbids scripts and anything from elsewhere besides."""

import html

import charts

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--card:#f6f7f9;--ink:#1c2330;--soft:#5b6577;
--line:#d5dae2;--s0:#2563b8;--s1:#d97a12;--s2:#1f8a5b;--s3:#8b4fc0;--s4:#c03a4b;--s5:#0e8a9c;
--s6:#8a6d1d;--s7:#5b6577;--good:#17703f;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--paper:#12161d;--card:#1b212b;--ink:#e6eaf1;--soft:#9aa6b8;
--line:#343d4b;--s0:#6aa5f0;--s1:#f0a04b;--s2:#53c493;--s3:#bb8be8;--s4:#ee7c89;--s5:#4fc3d3;
--s6:#d0b052;--s7:#9aa6b8;--good:#5fd39a;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--paper);color:var(--ink);
font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:0 0 .2rem}
h3{font-size:.95rem;margin:0}p{margin:.2rem 0 .6rem;color:var(--soft);font-size:.9rem}
.verdict{font-weight:bold;padding:.1rem .6rem;border:2px solid;border-radius:.5rem;color:var(--bad)}
.SUCCESS{color:var(--good)}.SKIP{color:var(--soft)}
.cards{columns:22rem;column-gap:1rem;margin:1rem 0}
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem;
margin:0 0 1rem;break-inside:avoid}
.small{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr))}
figure{margin:0;break-inside:avoid}
svg{display:block;width:100%;max-width:34rem;height:auto;overflow:visible}
text{font:12px system-ui,sans-serif;fill:var(--ink)}
.value,.scale,.tiny{fill:var(--soft);font-size:11px}.tiny{font-size:9px}
.value,.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--line);fill:none}.rail{fill:var(--line);opacity:.45}
.median{fill:var(--paper);stroke:var(--s0);stroke-width:2.5}
""" + "".join(f".s{i}{{fill:var(--s{i});background:var(--s{i})}}" for i in range(8)) + """
.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 .8em}
dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem .8rem;margin:0;font-size:.85rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
pre{overflow-x:auto;font-size:.75rem;line-height:1.35}
@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#333;--line:#bbb;
--s0:#2563b8;--s1:#d97a12;--s2:#1f8a5b;--s3:#8b4fc0;--s4:#c03a4b;--s5:#0e8a9c;--s6:#8a6d1d;
--s7:#5b6577;--good:#17703f;--bad:#b3261e}
body{max-width:none;padding:0;font-size:11px}
.log{display:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def card(title, note, body):
    return f"<section><h2>{html.escape(title)}</h2><p>{html.escape(note)}</p>{body}</section>"


def exits(run):
    vcpus = run.vcpus
    rows = [(reason, [(f"vCPU {vcpu}", counts.get(vcpu, 0)) for vcpu in vcpus])
            for reason, counts in run.exits.items()]
    rows.sort(key=lambda row: -sum(number for _, number in row[1]))
    legend = "".join(f'<span class="key s{i % charts.SERIES}"></span>vCPU {vcpu}'
                     for i, vcpu in enumerate(vcpus))
    return card("Exits by reason", "How often the guest's CPUs came to Latch, and why.",
                charts.stacked("exits by reason", rows) + f"<p>{legend}</p>")


def times(run):
    rows = sorted(((reason, t.least, t.median, t.most) for reason, t in run.timings.items()),
                  key=lambda row: row[2])
    return card("What an exit takes",
                f"In {run.unit}: the least, the median (the ring) and the most of each reason.",
                charts.ranges(f"{run.unit} of an exit by reason", rows))


def histograms(run):
    figures = "".join(
        f"<figure><h3>{html.escape(reason)}</h3><p>{t.count:,}, median {t.median:,}</p>"
        + charts.columns(f"{reason} by {run.unit}", t.powers) + "</figure>"
        for reason, t in run.timings.items() if t.powers)
    return card("Exits by what they took",
                f"How many exits took from each power of two of {run.unit} on.",
                f'<div class="small">{figures}</div>')


def stages(run):
    total = sum(number for _, number in run.stages)
    return card("Boot stages", f"{total:,} {run.unit} from Latch's first to the guest's; what Latch "
                "prints in a stage is part of it.", charts.spans("boot stages", run.stages))


def roles(run):
    rows = [(role, [("pages", pages)]) for role, pages in run.roles]
    return card("Table pages by role", f"{sum(pages for _, pages in run.roles):,} pages that Latch "
                "built, at the end of the run.", charts.stacked("table pages by role", rows))


def facts(run):
    said = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(words)}</dd>"
                   for name, words in run.facts)
    return card("What Latch said", "", f"<dl>{said}</dl>")


def log(run):
    lines = html.escape("\n".join(run.lines))
    cut = f" (its last {len(run.lines):,} lines)" if run.cut else ""
    return f'<details class="log"><summary>The console{cut}</summary><pre>{lines}</pre></details>'


def head(run, name):
    verdict = run.verdict or "no verdict"
    kind = run.verdict or "none"
    inexact = ", inexact" if run.inexact else ""
    return (f'<h1>Latch: a run <span class="verdict {kind}">{verdict}{inexact}</span></h1>'
            f"<p>{html.escape(name)}</p>")


def write(run, name):
    """The page of a Run, whose log has this name."""
    def cards(*parts):
        shown = "".join(part(run) for there, part in parts if there)
        return f'<div class="cards">{shown}</div>'

    timed = any(t.powers for t in run.timings.values())
    charted = cards((run.exits, exits), (run.timings, times), (run.roles, roles),
                    (run.stages, stages))
    below = "".join(part(run) for there, part in ((timed, histograms), (run.facts, facts)) if there)
    missing = "" if run.timings else ("<p>Boot the guest with stats=on for what its exits take, "
                                      "boot stages and table pages.</p>")
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>Latch: a run</title><style>{STYLE}</style></head><body>"
            f"{head(run, name)}{missing}{charted}{below}{log(run)}</body></html>\n")
