"""Every path and command that the README names exists."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# made by a run, or a user's own
NOT_HERE = re.compile(r"^(results/(?!README)|glue/|gpt2_bpe/|wikitext/|\.venv|/)")


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("https://")]
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_paths_exist() -> None:
    spans = re.findall(r"`([^`\n]+)`", README)
    paths = [span for span in spans if re.fullmatch(r"[\w.-]+(/[\w.-]*)+|\w+\.(yaml|md|txt|py)", span)]
    paths = [path for path in paths if not NOT_HERE.match(path) and path not in ("my.yaml",)]
    assert len(paths) > 10
    # in the table of files, a folder's row names files of that folder
    folders = [REPOSITORY, REPOSITORY / "cross_thought", REPOSITORY / "cross_thought" / "fairseq"]
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README)) - {"g"}))
def test_make_targets_exist(target: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"README names `make {target}`"


def test_overlays_and_modules_exist() -> None:
    for overlay in re.findall(r"--configfile (config/[\w-]+\.yaml)", README):
        assert (REPOSITORY / overlay).exists(), overlay
    for module in re.findall(r"python -m ((?:cross_thought|benchmarks)[\w.]*)", README):
        place = REPOSITORY / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
