"""Documents out of plain text and WikiText, and the split by document."""

import gzip
import json
import os
import zipfile
from pathlib import Path

import pytest

from cross_thought.data.corpus import TextFile, corpus_files, prepare_corpus, read_documents
from cross_thought.data.documents import find_files
from cross_thought.errors import UserError

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
LINES = {"lines": "sentences", "text_field": "text"}
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
        config = {"source": source, "files": {"train": ["a"], "valid": None}, "format": "wikitext"} | LINES
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
    config = {"source": "wikitext-2", "files": None, "format": "plain"} | LINES
    sources = corpus_files(config, data_dir=str(tmp_path))
    assert prepare_corpus(sources, tmp_path / "out", valid_fraction=0.02) == {"train": 2, "valid": 2}


def prepared(tmp_path: Path, *, valid_fraction: float = 0.5, **given: str) -> dict:
    """Prepare a corpus of these files, "_" for a dot in their names; return its summary."""
    lines = given.pop("lines", "sentences")
    for name, text in given.items():
        (tmp_path / name.replace("_", ".")).write_text(text, encoding="utf-8", newline="\n")
    train = [TextFile(path=str(tmp_path / name.replace("_", ".")), lines=lines) for name in given]
    prepare_corpus({"train": train, "valid": []}, tmp_path / "out", valid_fraction=valid_fraction)
    return json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))


BOOK = """\ufeffCHAPTER I.\r
\r
It was the best of times,\r
it was the worst of\r
times.\r
\r
  There were a king\r
and a queen.\r
\r
\r
\r
CHAPTER II.\r
\r
It was the year\r
of Our Lord.\r
"""
CHAPTERS = [
    ["CHAPTER I.", "It was the best of times, it was the worst of times.", "There were a king and a queen."],
    ["CHAPTER II.", "It was the year of Our Lord."],
]


def test_wrapped_lines_become_paragraphs_and_gaps_end_documents(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(BOOK, encoding="utf-8", newline="")
    wrapped = TextFile(path=str(path), lines="wrapped")
    assert list(read_documents(wrapped)) == CHAPTERS
    record = tmp_path / "book.jsonl"
    record.write_text(json.dumps({"text": BOOK}) + "\n")
    assert list(read_documents(TextFile(path=str(record), lines="wrapped"))) == [CHAPTERS[0] + CHAPTERS[1]]


def test_a_summary_says_what_was_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    summary = prepared(
        tmp_path,
        a_txt="One two.\nThree.\n\n\nFour five six.\n",
        b_jsonl='{"text": "Seven.\\n\\nEight nine."}\n\n{"text": " "}\n{"text": "Ten"}\n',
        valid_fraction=0.25,
    )
    assert summary == {
        "files": 2,
        "documents": 4,
        "sentences": 6,
        "words": 10,
        "sentences_per_document": 1.5,
        "words_per_sentence": 1.67,
        "longest_sentence_characters": 14,
        "documents_of_one_sentence": 2,
        "train_documents": 3,
        "train_sentences": 5,
        "train_words": 9,
        "valid_documents": 1,
        "valid_sentences": 1,
        "valid_words": 1,
        "empty_lines": 5,
        "empty_records": 1,
        "notes": "",
        "valid_fraction": 0.25,
    }
    assert "valid: 1 documents, 1 lines, 1 words" in caplog.messages
    assert "words per sentence: 1.67" in caplog.messages


def test_documents_that_train_has_too_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whole ones, however often; before they are held out or after."""
    held_out = prepared(tmp_path, a_txt="a\nb\n\na\nb\n\nc\n\nb\n\nd\n\ne\n\nc\n\nc\n")
    assert (tmp_path / "out" / "valid.txt").read_text() == "a\nb\n\nb\n\ne\n\nc\n"
    assert held_out["valid_documents_in_train"] == 2
    assert caplog.messages == ["valid: 2 of 4 documents stand in train, too"]
    texts = {"train": "a\nb\n\n c\n\n\nd\n", "valid": "c\n\nb\n\nc\n\nd\n", "test": "a\n\nb\n\na\nb\n"}
    sources = {}
    for split, text in texts.items():
        (tmp_path / split).write_text(text)
        sources[split] = [TextFile(path=str(tmp_path / split))]
    prepare_corpus(sources, tmp_path / "out", valid_fraction=0.5)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["valid_documents_in_train"], summary["test_documents_in_train"]) == (3, 1)
    assert caplog.messages[1:] == [
        "valid: 3 of 4 documents stand in train, too",
        "test: 1 of 3 documents stand in train, too",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "summary.json", "test.txt", "train.txt", "valid.txt"
    ]  # fmt: skip


def test_a_wrapped_book_is_noted_where_its_lines_are_taken_for_sentences(tmp_path: Path) -> None:
    text = "\n\n".join(["It was the best of times, it was the worst\nof times, it was the age\nof wisdom."] * 4)
    assert "if this is text wrapped at a width, set corpus.lines to wrapped" in prepared(tmp_path, a_txt=text)["notes"]
    wrapped = prepared(tmp_path, a_txt=f"{text}\n\n\n{text}", lines="wrapped")
    assert wrapped["notes"] == ""
    assert (wrapped["documents"], wrapped["sentences"]) == (2, 8)


def test_documents_of_a_single_sentence_are_noted(tmp_path: Path) -> None:
    summary = prepared(tmp_path, a_txt="One.\n\nTwo.\n\nThree.\nFour.\n")
    assert summary["notes"].startswith("2 of 3 documents have one sentence, so no other sentence helps")


def test_text_packed_by_gzip_is_read_as_it_is(tmp_path: Path) -> None:
    for name, text in (("a.txt.gz", "One.\n\nTwo.\n"), ("b.jsonl.gz", '{"text": "Three."}\n')):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    files = find_files([str(tmp_path)], key="corpus.files.train")
    documents = [document for path in files for document in read_documents(TextFile(path=path))]
    assert documents == [["One."], ["Two."], ["Three."]]


def test_real_text_packed_by_gzip() -> None:
    path = REAL_DATA / "multi30k" / "train.1.en.gz"
    if not path.is_file():
        pytest.skip(f"needs the real file {path}")
    (document,) = read_documents(TextFile(path=str(path)))
    assert len(document) == 29_000
    assert document[0] == gzip.decompress(path.read_bytes()).decode().split("\n")[0].strip()


def test_real_wikitext_by_a_pattern() -> None:
    if not (REAL_DATA / "wikitext" / "wiki.valid.tokens").is_file():
        pytest.skip(f"needs the real files in {REAL_DATA}/wikitext")
    config = {"source": "files", "format": "wikitext", "files": {"train": [f"{REAL_DATA}/wikitext/wiki.*.tokens"]}}
    files = corpus_files(config | LINES, data_dir=None)["train"]
    assert [Path(file.path).name for file in files] == ["wiki.test.tokens", "wiki.valid.tokens"]
    assert sum(1 for file in files for _ in read_documents(file)) == 120


def test_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden", "odd[1].txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*paths: str) -> list[str]:
        files = find_files([str(tmp_path / path) for path in paths], key="corpus.files.train")
        return [str(Path(file).relative_to(tmp_path)) for file in files]

    assert found("**/*.txt") == ["a.txt", "b.txt", "odd[1].txt", "sub/c.txt"]
    assert found("b.txt", "*.txt", "sub") == ["b.txt", "a.txt", "odd[1].txt", "sub/c.txt"]
    assert found("odd[1].txt") == ["odd[1].txt"]
    with pytest.raises(UserError, match=r"corpus.files.train is '.*', which has a folder in it, '.*/sub'; say which"):
        found("")
    with pytest.raises(
        UserError, match=r"corpus.files.train is '.*/\*\.md', which matches no file; correct the pattern"
    ):
        found("*.md")
    (tmp_path / "sub" / "c.txt").unlink()
    with pytest.raises(UserError, match=r"which is an empty folder"):
        found("sub")
    for name in ("d.zip", "d.csv.gz", "d.tsv"):
        (tmp_path / "sub" / name).touch()
        with pytest.raises(UserError, match=rf"corpus.files.train has '.*/sub/{name}', which is no text"):
            found("sub")
        (tmp_path / "sub" / name).unlink()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "b"', "no JSON (column 13: Expecting ',' delimiter); each line of this file must be a JSON object"),
        ('["b"]', "a JSON list instead of an object with the field 'text'"),
        ('{"body": "b", "id": 1}', "no field 'text' among body, id; name the text's in corpus.text_field"),
        ('{"text": "b", "text": "c"}', "the key 'text' stands twice; leave one"),
        ('{"text": null}', "the field 'text' holds null instead of text; mend or remove that line"),
        ('{"text": "\\ud800"}', "\\ud800 is half a character (a lone surrogate); mend that line"),
        ("[" * 100_000, "no JSON ("),
        ("9" * 5_000, "no JSON ("),
    ],
)
def test_a_json_line_without_text_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a"}}\n\n{line}\n')
    with pytest.raises(UserError) as error:
        list(read_documents(TextFile(path=str(path))))
    assert str(error.value).startswith(f"{path}, line 3: {said}")
    assert "\n" not in str(error.value)


def test_another_field_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('\ufeff{"body": "a\\nb", "text": 1}\r\n{"body": "c"}', encoding="utf-8")
    assert list(read_documents(TextFile(path=str(path), text_field="body"))) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("text", ["one\rtwo\r\rthree\r", "one\rtwo\r\rthree\n"])
def test_carriage_returns_alone_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"text: lines end in a carriage return alone \(3 of them, and 1 in a line feed"
    ):
        documents_of(text, tmp_path)
