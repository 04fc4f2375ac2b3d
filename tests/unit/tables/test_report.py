"""The page of all results: it shows what the files say, stands alone, and opens in a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cross_thought.environment import environment, record_command
from cross_thought.files import write_json
from cross_thought.tables.report import markdown_as_html, report_page, timings

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TABLE = """# Task results

## Development sets

| model | RTE acc.   |
| ----- | ---------- |
| a<b   | **61.0**   |
| `mlm` | 60.0 ± 0.5 |

- **Bold**: highest mean.
- `n/a`: no value.
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page of one table and one figure."""
    table, figure, caption = tmp_path / "tasks.md", tmp_path / "tasks.svg", tmp_path / "tasks.rst"
    table.write_text(TABLE)
    figure.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="9"><rect width="9" height="9"/></svg>'
    )
    caption.write_text("What is\nto be seen & more.\n")
    (tmp_path / "config.yaml").write_text("models: {a<b: {}}\n")
    record_command(tmp_path / "command.json", ["train"], 1.7e9, 3661.0)
    made = {"at": "2020-01-01T00:00:00+00:00", **environment(), "config": {"path": "config.yaml", "sha256": "c0ffee"}}
    runs = {"results/pretrain/mlm/seed-1": {"command": json.loads((tmp_path / "command.json").read_text())}}
    runs["results/evaluate/mlm/RTE/seed-1"] = {"command": None}
    data = [{"path": "results/corpus/train.txt", "bytes": 12345, "sha256": "feed"}]
    write_json(tmp_path / "provenance.json", {"made": made, "data": data, "runs": runs, "numbers": []})
    write_json(tmp_path / "benchmarks" / "pretrain_model" / "mlm.jsonl", {})
    (tmp_path / "benchmarks" / "pretrain_model" / "mlm.jsonl").write_text('{"s": 61.2, "max_rss": 1234.5}\n')
    write_json(tmp_path / "corpus" / "summary.json", {"train": {"documents": 1200, "sentences": 9000}})
    rows = {"examples": 50, "dropped": {"no label": 3}, "quoted": 0}
    write_json(tmp_path / "RTE" / "summary.json", {"train": rows, "valid": rows})
    text = report_page(
        tables=[table],
        figures=[figure],
        captions={table: caption, figure: caption},
        config=tmp_path / "config.yaml",
        provenance=tmp_path / "provenance.json",
        benchmarks=tmp_path / "benchmarks",
        corpus=tmp_path / "corpus" / "summary.json",
        tasks={"RTE": tmp_path / "RTE" / "summary.json", "none": tmp_path / "none" / "summary.json"},
    )
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    return tmp_path / "report.html"


def test_the_page_has_every_part(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = re.findall('<h2 id="(.+?)">(.+?)</h2>', text)
    assert [name for _, name in headings] == ["Task results", "Figures", "Data", "Config", "Provenance", "Timings"]
    assert all(f'href="#{anchor}"' in text for anchor, _ in headings)
    for part in (
        "What is to be seen &amp; more.",
        "models: {a&lt;b: {}}",
        "c0ffee",
        "12,345",
        "3,661",
        "1 training runs",
    ):
        assert part in text
    assert "1,200</td>" in text  # read of the corpus
    assert "<th>dropped: no label</th>" in text
    assert "quoted" not in text  # nothing to say of it
    assert "<td>pretrain_model</td><td>1</td><td>61</td><td>61</td><td>1,234</td>" in text


def test_the_page_needs_no_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script[^>]", text)
    assert all(link.startswith(("#", "data:")) for link in re.findall(r"(?:src|href)=\"(.*?)\"", text))


def test_markdown() -> None:
    body = TABLE.partition("\n")[2]
    assert re.sub(r">\n+<", "><", markdown_as_html(body).strip()).replace("</h3>", "</h3>\n").split("\n") == [
        "<h3>Development sets</h3>",
        '<div class="wide"><table><thead><tr><th>model</th><th>RTE acc.</th></tr></thead><tbody>'
        "<tr><td>a&lt;b</td><td><strong>61.0</strong></td></tr>"
        "<tr><td><code>mlm</code></td><td>60.0 ± 0.5</td></tr>"
        "</tbody></table></div>"
        "<ul><li><strong>Bold</strong>: highest mean.</li><li><code>n/a</code>: no value.</li></ul>",
    ]


def test_timings_are_summed_over_jobs(tmp_path: Path) -> None:
    for name, lines in {
        "short.jsonl": '{"s": 0.4, "max_rss": null}\n',
        "long/a.jsonl": '{"s": 9, "max_rss": 10}\n{"s": 100, "max_rss": 20}\n',  # ran twice: the last time counts
        "long/b/c.jsonl": '{"s": 2000, "max_rss": 5}\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(lines)
    assert timings(tmp_path) == [
        ["long", "2", "2,100", "2,000", "20"],
        ["short", "1", "0", "0", "n/a"],
    ]


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_in_a_browser(page: Path, width: int, tmp_path: Path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},900"]
    picture = tmp_path / "page.png"
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert picture.stat().st_size > 1000
    assert "CONSOLE" not in done.stderr


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_click_on_a_head_sorts_the_table(page: Path, tmp_path: Path) -> None:
    click = '<script>document.querySelectorAll("th")[1].click()</script></body>'
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", click), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=600, check=False)
    table = done.stdout[done.stdout.index("<table>") : done.stdout.index("</table>")]
    assert re.findall(r"(61\.0|60\.0 ± 0\.5)", table) == ["60.0 ± 0.5", "61.0"]  # the file has them the other way round
    assert 'aria-sort="ascending"' in table
