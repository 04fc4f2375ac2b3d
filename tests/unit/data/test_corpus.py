"""Documents out of plain text and WikiText, and the split by document."""

import os
import zipfile
from pathlib import Path

import pytest

from cross_thought.data.corpus import TextFile, corpus_files, prepare_corpus, read_documents
from cross_thought.errors import UserError

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
WIKITEXT = (
    " \n = First = \n \n One line . \n Another , = not = a title = \n \n = = Part = = \n \n Text . \n"
    " \n = Second = \n \n End . \n"
)


def documents_of(text: str, tmp_path: Path, file_format: str = "plain") -> list[list[str]]:
    path = tmp_path / "text"
    path.write_text(text, encoding="utf-8", newline="\n")
    return list(read_documents(TextFile(path=str(path), format=file_format)))


def test_empty_lines_separate_documents(tmp_path: Path) -> None:
    text = "\n\n  one \n\ttwo\n\n \n\u2028\nthree\r\n\nfour"
    assert documents_of(text, tmp_path) == [["one", "two"], ["three"], ["four"]]
    assert documents_of("", tmp_path) == []


def test_titles_start_wikitext_documents(tmp_path: Path) -> None:
    assert documents_of(WIKITEXT, tmp_path, "wikitext") == [
        ["= First =", "One line .", "Another , = not = a title =", "= = Part = =", "Text ."],
        ["= Second =", "End ."],
    ]


def test_the_real_wikitext_has_sixty_articles_a_split() -> None:
    for split in ("valid", "test"):
        path = REAL_DATA / "wikitext" / f"wiki.{split}.tokens"
        if not path.is_file():
            pytest.skip(f"needs the real file {path}")
        documents = list(read_documents(TextFile(path=str(path), format="wikitext")))
        assert len(documents) == 60
        filled = [line.strip() for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        assert [line for document in documents for line in document] == filled


def test_documents_are_held_out_evenly(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("\n\n".join(f"document {number}\nsecond line" for number in range(100)))
    counts = prepare_corpus({"train": [TextFile(path=str(path))], "valid": []}, tmp_path / "out", valid_fraction=0.05)
    assert counts == {"train": 95, "valid": 5}
    valid = (tmp_path / "out" / "valid.txt").read_text()
    assert valid == "\n".join(f"document {number}\nsecond line\n" for number in (19, 39, 59, 79, 99))
    assert len(list(read_documents(TextFile(path=str(tmp_path / "out" / "train.txt"))))) == 95


def test_own_valid_text_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("a", "b", "v"):
        (tmp_path / name).write_text(f"of {name}\n")
    sources = {
        "train": [TextFile(path=str(tmp_path / name)) for name in ("a", "b")],
        "valid": [TextFile(path=str(tmp_path / "v"))],
    }
    assert prepare_corpus(sources, tmp_path / "out", valid_fraction=0.5) == {"train": 2, "valid": 1}
    assert (tmp_path / "out" / "train.txt").read_text() == "of a\n\nof b\n"
    assert (tmp_path / "out" / "valid.txt").read_text() == "of v\n"


def test_too_few_documents_are_explained_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("one document\nof two lines\n")
    sources = {"train": [TextFile(path=str(path))], "valid": []}
    with pytest.raises(UserError, match="no document to validate on: 1 in all"):
        prepare_corpus(sources, tmp_path / "out", valid_fraction=0.02)
    path.write_text("\n\n")
    with pytest.raises(UserError, match="no document to train on"):
        prepare_corpus(sources, tmp_path / "out", valid_fraction=0.02)
    path.write_bytes(b"good\n\xe9t\xe9\n")
    with pytest.raises(UserError, match=r"text: byte 5 \(0xe9\)"):
        prepare_corpus(sources, tmp_path / "out", valid_fraction=0.02)
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_where_each_source_is_looked_for(tmp_path: Path) -> None:
    def sources(source: str, data_dir: Path | None = None) -> dict[str, list[TextFile]]:
        config = {"source": source, "files": {"train": ["a"], "valid": None}, "format": "wikitext"}
        return corpus_files(config, data_dir=data_dir and str(data_dir))

    assert sources("demo")["train"] == [TextFile(path="results/downloads/demo/corpus.txt")]
    assert sources("wikipedia")["train"] == [TextFile(path="results/downloads/wikipedia/20231101.en.txt")]
    assert sources("files") == {"train": [TextFile(path="a", format="wikitext")], "valid": []}
    assert sources("wikitext-2")["valid"] == [
        TextFile(
            path="results/downloads/wikitext/wikitext-2-raw-v1.zip",
            member="wikitext-2-raw/wiki.valid.raw",
            format="wikitext",
        )
    ]
    own = tmp_path / "wikitext" / "wiki.train.tokens"
    own.parent.mkdir()
    own.touch()
    assert sources("wikitext-103", tmp_path)["train"][0].path.startswith("results/")  # valid is missing
    own.with_name("wiki.valid.tokens").touch()
    assert sources("wikitext-103", tmp_path)["train"] == [TextFile(path=str(own), format="wikitext")]


def test_a_wikitext_archive_is_read_in_place(tmp_path: Path) -> None:
    archive = tmp_path / "wikitext" / "wikitext-2-raw-v1.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for split in ("train", "valid"):
            file.writestr(f"wikitext-2-raw/wiki.{split}.raw", WIKITEXT)
    config = {"source": "wikitext-2", "files": None, "format": "plain"}
    sources = corpus_files(config, data_dir=str(tmp_path))
    assert prepare_corpus(sources, tmp_path / "out", valid_fraction=0.02) == {"train": 2, "valid": 2}
