"""The site of docs/: built whole, with nothing from elsewhere, and not at all where a link leads nowhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("mkdocstrings_handlers.python", reason="requirements-docs.txt is not installed")

REPOSITORY = Path(__file__).parents[2]


def build(config: Path, site: Path) -> subprocess.CompletedProcess:
    """Build a site as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "REPOSITORY_URL": "https://example.org/owner/repository"}
    return subprocess.run(
        command, cwd=site.parent, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def test_the_site_is_whole_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = build(REPOSITORY / "mkdocs.yml", site)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    missing = {f"{path.stem}.html" for path in (REPOSITORY / "docs").glob("*.md")} - set(pages)
    assert missing == set()
    # the README, with what it leads to: a page of docs/, a page for a file, a picture
    for link in ("running.html", "config/index.html", "CITATION.cff.html", "images/chain.svg"):
        assert f'="{link}"' in pages["index.html"], link
    assert "demo_documents" in pages["config.yaml.html"]
    assert "https://example.org/owner/repository" in pages["running.html"]
    assert 'id="cross_thought.inference.embed.SentenceEncoder.encode"' in pages["reference/inference.html"]
    for name, page in pages.items():
        fetched = re.findall(r'<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)="([^"]*)"', page)
        assert [url for url in fetched if "//" in url] == [], name


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for folder in ("docs", "config", "schemas"):
        shutil.copytree(REPOSITORY / folder, clone / folder)
    for name in ("config.yaml", "mkdocs.yml", "CITATION.cff", *(p.name for p in REPOSITORY.glob("*.md"))):
        shutil.copy(REPOSITORY / name, clone / name)
    page = "[a](../nowhere.yaml) [b](running.md#nowhere) [c](../README.md#run-it) [d](../config.yaml)\n"
    (clone / "docs/tuning.md").write_text(page, encoding="utf-8")
    # what the reference takes is left out
    (clone / "small.yml").write_text(yaml.safe_dump({"INHERIT": "mkdocs.yml", "plugins": ["search"]}), encoding="utf-8")
    done = build(clone / "small.yml", tmp_path / "site")
    assert done.returncode == 1
    about = [line for line in done.stderr.splitlines() if "'tuning.md'" in line]
    assert len(about) == 2, done.stderr
    assert "'../nowhere.yaml', but the target is not found" in about[0]
    assert "'running.md#nowhere', but the doc 'running.md' does not contain an anchor '#nowhere'" in about[1]
