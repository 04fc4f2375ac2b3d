"""One HTML page of all results: opens from a file, needs no network.

The tables are those of `results/tables/*.md`, the figures the SVG files, so the page says what they say; the template,
with its style and the few lines that sort a table, is `report/report.html.j2`.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from cross_thought.environment import REPOSITORY
from cross_thought.evaluation.result_files import read_json, read_json_lines

TEMPLATE = REPOSITORY / "report" / "report.html.j2"


def report_page(
    *,
    tables: Sequence[Path],
    figures: Sequence[Path],
    captions: Mapping[Path, Path],
    config: Path,
    provenance: Path,
    benchmarks: Path,
    corpus: Path | None = None,
    tasks: Mapping[str, Path] | None = None,
) -> str:
    """Return the page, of Markdown tables, whose first line is the heading, and SVG figures, in order.

    Args:
        captions: for each of them the text file that says what is to be seen.
        config, provenance: the effective config; provenance.json.
        benchmarks: folder of what Snakemake measured, a folder or a file for each rule.
        corpus, tasks: summary.json of the prepared corpus, and by name of each task; left out where it is not there.
    """
    known = read_json(provenance)
    parts = []
    for path in tables:
        title, _, text = path.read_text(encoding="utf-8").partition("\n")
        text, _, notes = text.partition("## How to read this\n")
        content = {"tables": markdown_as_html(text), "notes": markdown_as_html(notes)}
        parts.append({"heading": title.removeprefix("# "), "caption": _caption(captions[path]), **content})
    of_corpus = _flat(read_json(corpus)) if corpus and corpus.is_file() else {}
    of_tasks = task_data(tasks or {})
    has_data = ["Data"] if of_corpus or of_tasks["rows"] else []
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["anchor"] = lambda name: re.sub(r"\W+", "-", name.lower()).strip("-")
    return environment.get_template(TEMPLATE.name).render(
        headings=[*(part["heading"] for part in parts), "Figures", *has_data, "Config", "Provenance", "Timings"],
        tables=parts,
        # As images, so that the names inside one figure cannot meet those of another.
        figures=[
            {"name": path.stem, "content": base64.b64encode(path.read_bytes()).decode()}
            | {"caption": _caption(captions[path])}
            for path in figures
        ],
        corpus=of_corpus,
        tasks=of_tasks,
        config=config.read_text(encoding="utf-8"),
        made=known["made"],
        runs=list(_runs(known["runs"])),
        data=[[entry["path"], f"{entry['bytes']:,}", entry["sha256"]] for entry in known["data"]],
        timings=timings(benchmarks),
    )


def markdown_as_html(text: str) -> Markup:
    """Turn Markdown into HTML: headings one level down, for the page has its own; tables scroll by themselves."""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(re.sub("^## ", "### ", text, flags=re.M))
    return Markup(html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>"))


def timings(benchmarks: Path) -> list[list[str]]:
    """Tabulate for each rule its jobs, their time and their memory at most."""
    jobs = [
        {"rule": path.relative_to(benchmarks).parts[0].removesuffix(".jsonl"), **job}
        for path in sorted(benchmarks.rglob("*.jsonl"))
        for job in read_json_lines(path)[-1:]  # its last time counts
    ]
    frame = pd.DataFrame(jobs, columns=["rule", "s", "max_rss"])
    frame["max_rss"] = pd.to_numeric(frame["max_rss"], errors="coerce")
    rules = frame.groupby("rule").agg(n=("s", "size"), all=("s", "sum"), longest=("s", "max"), mb=("max_rss", "max"))
    rules = rules.sort_values("all", ascending=False, kind="stable").map("{:,.0f}".format).replace("nan", "n/a")
    return rules.reset_index().to_numpy().tolist()


def task_data(summaries: Mapping[str, Path]) -> dict[str, list]:
    """Tabulate what became of the rows of each task's files: `header` and `rows`; nothing where nothing was written."""
    rows = [
        {"task": name, "split": split, **_flat(found)}
        for name, path in summaries.items()
        if path.is_file()
        for split, found in read_json(path).items()
    ]
    frame = pd.DataFrame(rows).fillna("")
    # a column that says nothing of any file is left out
    shown = [name for name in frame if name in ("task", "split") or not frame[name].isin(["", "0"]).all()]
    return {"header": shown, "rows": frame[shown].to_numpy().tolist()}


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a document's numbers by their keys, those of a document in it as `outer: inner`."""
    flat: dict[str, str] = {}
    for key, value in document.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}: ")
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            flat[name] = "" if value is None else f"{value:,}" if is_number else str(value)
    return flat


def _runs(runs: Mapping[str, Mapping]) -> Iterable[list[str]]:
    for name, run in runs.items():
        if run["command"]:
            host = run["command"]["host"]
            commit = f"{(host['commit'] or 'n/a')[:12]}{' + changes' if host['dirty'] else ''}"
            duration = f"{run['command']['duration_s']:,.0f}"
            yield [name, run["command"]["started"], duration, commit, ", ".join(host["gpus"]) or host["cpu"]]


def _caption(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())
