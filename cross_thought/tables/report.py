"""One HTML page of all results: opens from a file, needs no network. Standard library only.

The tables are those of `results/tables/*.md`, the figures the SVG files, so the page says what they say.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 0 auto; padding: 1rem;
  max-width: 72rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
nav a { display: inline-block; margin-right: 1rem; padding: .25rem 0; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .5rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #444; }
figure { margin: 1.5rem 0; } figure img { width: 100%; max-width: 36rem; height: auto; }
figcaption, .caption { color: #444; font-size: .9rem; max-width: 46rem; }
code, pre { font-size: .85rem; background: #f4f4f4; } pre { padding: .7rem; overflow-x: auto; }
summary { cursor: pointer; padding: .3rem 0; }
"""


def report_page(
    *,
    tables: Sequence[Path],
    figures: Sequence[Path],
    captions: Mapping[Path, Path],
    config: Path,
    provenance: Path,
    benchmarks: Path,
) -> str:
    """Return the page.

    Args:
        tables: Markdown files, in order; a file's first line is its heading.
        figures: SVG files, in order.
        captions: for each table and figure the text file that says what is to be seen.
        config: the effective config.
        provenance: provenance.json.
        benchmarks: folder of what Snakemake measured, a folder or a file for each rule.
    """
    known = json.loads(provenance.read_text(encoding="utf-8"))
    sections = []
    for path in tables:
        text = path.read_text(encoding="utf-8")
        sections.append(
            (_heading(text), f'<p class="caption">{_caption(captions[path])}</p>\n{markdown_as_html(text)}')
        )
    pictures = "\n".join(_figure(path, _caption(captions[path])) for path in figures)
    sections.append(("Figures", pictures))
    sections += [
        ("Config", _folded("the config as it took effect", f"<pre>{html.escape(config.read_text('utf-8'))}</pre>")),
        ("Provenance", _provenance(known)),
        ("Timings", timings_as_html(benchmarks)),
    ]
    links = "".join(f'<a href="#{_anchor(name)}">{html.escape(name)}</a>' for name, _ in sections)
    body = "".join(f'<h2 id="{_anchor(name)}">{html.escape(name)}</h2>\n{content}\n' for name, content in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>Cross-Thought: results</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>Cross-Thought: results</h1>\n<p>{_made(known['made'])}</p>\n<nav>{links}</nav>\n"
        f"{body}</body>\n</html>\n"
    )


def markdown_as_html(text: str) -> str:
    """Turn what our Markdown tables are written in into HTML: headings, tables, lists, bold, code.

    A heading of the first level is left out: the page has one of its own.
    """
    parts = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.split("\n")
        if lines[0].startswith("# "):
            lines = lines[1:]
        if not lines:
            continue
        if lines[0].startswith("## "):
            parts.append(f"<h3>{_inline(lines[0].removeprefix('## '))}</h3>")
        elif lines[0].startswith("|"):
            header, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            parts.append(table_as_html(header, body))
        elif lines[0].startswith("- "):
            items = [line.removeprefix("- ") for line in lines]
            parts.append("<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>")
        else:
            parts.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(parts)


def table_as_html(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Lay out a table that scrolls by itself where the screen is narrow."""
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
    rows = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in cells) + "</tr>\n" for cells in body)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'


def timings_as_html(benchmarks: Path) -> str:
    """Tabulate for each rule its jobs, their time and their memory at most."""
    measured: dict[str, list[dict]] = {}
    for path in sorted(benchmarks.rglob("*.jsonl")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".jsonl")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        measured.setdefault(rule, []).extend(lines[-1:])  # of a job that ran again, its last time
    rows = []
    for rule, jobs in sorted(measured.items(), key=lambda item: -sum(job["s"] for job in item[1])):
        seconds = [job["s"] for job in jobs]
        memory = [job["max_rss"] for job in jobs if isinstance(job.get("max_rss"), int | float)]
        longest_memory = f"{max(memory):,.0f}" if memory else "n/a"
        rows.append([rule, str(len(jobs)), f"{sum(seconds):,.0f}", f"{max(seconds):,.0f}", longest_memory])
    return table_as_html(["rule", "jobs", "seconds in all", "longest (s)", "memory at most (MB)"], rows)


def _provenance(known: Mapping) -> str:
    made = known["made"]
    facts = {
        "packages": ", ".join(f"{name} {version}" for name, version in made["packages"].items()),
        "Python": made["python"],
        "platform": made["platform"],
        "machine": f"{made['cpu']}, {made['cores']} cores, {made['memory_gb']} GB",
        "GPUs": ", ".join(made["gpus"]) or "none",
        "config": f"SHA-256 {made['config']['sha256']}",
    }
    data = [[entry["path"], f"{entry['bytes']:,}", entry["sha256"]] for entry in known["data"]]
    runs = []
    for name, run in known["runs"].items():
        if run["command"]:
            host = run["command"]["host"]
            machine = ", ".join(host["gpus"]) or host["cpu"]
            commit = f"{(host['commit'] or 'n/a')[:12]}{' + changes' if host['dirty'] else ''}"
            runs.append([name, run["command"]["started"], f"{run['command']['duration_s']:,.0f}", commit, machine])
    return (
        "<p>This is a summary: <code>results/provenance.json</code> ties each number to its files, seeds, runs and "
        "their full command lines.</p><ul>"
        + "".join(f"<li>{name}: {html.escape(str(value))}</li>" for name, value in facts.items())
        + "</ul>"
        + _folded(f"{len(runs)} training runs", table_as_html(["run", "started", "seconds", "commit", "machine"], runs))
        + _folded(f"{len(data)} data files", table_as_html(["file", "bytes", "SHA-256"], data))
    )


def _made(made: Mapping) -> str:
    commit = made["commit"] or "no commit"
    return f"Made {made['at']} from <code>{commit}</code>{' with uncommitted changes' if made['dirty'] else ''}."


def _heading(markdown: str) -> str:
    return markdown.partition("\n")[0].removeprefix("# ")


def _caption(path: Path) -> str:
    return html.escape(" ".join(path.read_text(encoding="utf-8").split()))


def _figure(path: Path, caption: str) -> str:
    # As an image, so that the names inside one figure cannot meet those of another.
    content = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{path.stem}" src="data:image/svg+xml;base64,{content}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")
