"""Every path, command and name that the documents name exists."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
# the other pages of docs/ are about files of the reader's own: tests/workflow/test_docs.py does what they say
PAGES = (
    *(
        "architecture",
        "cluster",
        "configuration",
        "differences",
        "full-run",
        "not-yet-verified",
        "real-data",
        "results",
        "warm-start",
    ),
    "running",
)
DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *(REPOSITORY / f"docs/{page}.md" for page in PAGES),
]
# made by a run, or a user's own
NOT_HERE = re.compile(r"^(results/(?!README)|downloads/|glue/|gpt2_bpe/|wikitext/|site/|\.venv|/)|^my")
MADE = set(re.findall(r"`([\w.-]+)", (REPOSITORY / "results/README.md").read_text(encoding="utf-8")))

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())


def text(document: Path) -> str:
    return document.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", sorted({*DOCUMENTS, *REPOSITORY.glob("docs/*.md")}), ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text(document)) if not link.startswith("https://")]
    assert [link for link in links if not (document.parent / link).exists()] == []


@each_document
def test_paths_exist(document: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", text(document))
    paths = [span for span in spans if re.fullmatch(r"[\w.-]+(/[\w.-]*)+|\w+\.(yaml|md|txt|py)", span)]
    paths = [path for path in paths if not NOT_HERE.match(path) and path.split("/")[0] not in MADE]
    # a table's row may name files of the folder it is about
    folders = [REPOSITORY, *(REPOSITORY / "cross_thought" / name for name in ("", "fairseq")), document.parent]
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []


@each_document
def test_names_are_in_their_files(document: Path) -> None:
    for path, name in re.findall(r"^\| `([\w./-]+\.\w+)` \| `([^`]+)` \|", text(document), re.MULTILINE):
        assert name in text(REPOSITORY / path), f"{document.name}: {path} has no {name}"


@each_document
def test_make_targets_exist(document: Path) -> None:
    makefile = text(REPOSITORY / "Makefile")
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)\b", text(document), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"`make {target}`"


@each_document
def test_overlays_and_modules_exist(document: Path) -> None:
    for overlay in re.findall(r"--configfile (config/[\w-]+\.yaml)", text(document)):
        assert (REPOSITORY / overlay).exists(), overlay
    for module in re.findall(r"python -m ((?:cross_thought|benchmarks)[\w.]*)", text(document)):
        place = REPOSITORY / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def test_the_readme_is_short_and_says_what_counts() -> None:
    readme = text(REPOSITORY / "README.md")
    assert len(readme.splitlines()) <= 160
    assert "\nmake test " in readme
    assert "\n## Not yet verified\n\n[Not yet verified](docs/not-yet-verified.md)" in readme
    assert text(REPOSITORY / "docs/not-yet-verified.md").startswith("# Not yet verified\n")


def test_the_catalog_finds_what_it_reads() -> None:
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda", "report"}
    readme = (REPOSITORY / "config/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\S+\.yaml)`", readme, re.MULTILINE)) == {
        path.name for path in (REPOSITORY / "config").glob("*.yaml")
    }
