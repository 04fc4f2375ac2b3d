"""Data files as they come: cut, shifted, mislabelled, odd. The functions of the rules read them."""

import gzip
import logging
import lzma
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cross_thought.data.binarize import binarize_task
from cross_thought.data.bpe import copy_vocabulary, encode_task, train_vocabulary
from cross_thought.data.corpus import TextFile, prepare_corpus
from cross_thought.data.definitions import RetrievalTask
from cross_thought.data.glue import prepare_task
from cross_thought.data.prepared import read_prepared
from cross_thought.data.raw_files import raw_files
from cross_thought.data.retrieval import prepare_collection
from cross_thought.data.tasks import TASKS, task_from_config
from cross_thought.evaluation.predictions import SplitPredictions, write_predictions
from tests.bad_input.cases import Case, refusal
from workflow_scripts.score import score

HEADER = b"premise\thypothesis\tlabel\n"
ROWS = b"a cat\tan animal\tyes\na dog\ta cat\tno\n"
ENTRY = {
    "files": {"train": "train.tsv", "valid": "dev.tsv"},
    "input_columns": ["premise", "hypothesis"],
    "label_column": "label",
    "labels": ["no", "yes"],
}
PASSAGES = {
    "input_columns": ["question", "passage"],
    "label_column": "label",
    "labels": ["0", "1"],
    "right_label": "1",
}
OUTPUT = Path("results/tasks/mine")

# what is wrong, the content of train.tsv, that of dev.tsv, what the task's entry says otherwise
REFUSED = [
    ("a file that is cut within a row", HEADER + ROWS + b"a bird\tan ani", HEADER + ROWS, {}),
    ("a tab in a sentence", HEADER + ROWS + b"a\tbird\tan animal\tyes\n", HEADER + ROWS, {}),
    ("an unknown label", HEADER + ROWS + b"a bird\tan animal\tmaybe\n", HEADER + ROWS, {}),
    ("a label with a space", HEADER + ROWS + b"a bird\tan animal\tyes \n", HEADER + ROWS, {}),
    ("no label", HEADER + ROWS, HEADER + b"a bird\tan animal\t\n", {}),
    ("a class missing from train", HEADER + b"a cat\tan animal\tyes\n", HEADER + ROWS, {}),
    ("no rows in the dev set", HEADER + ROWS, HEADER, {}),
    ("an empty dev set", HEADER + ROWS, b"", {"input_columns": [1, 2], "label_column": 3}),
    ("a column that the header lacks", HEADER + ROWS, HEADER + ROWS, {"label_column": "gold"}),
    ("a column that rows lack", HEADER + ROWS, HEADER + ROWS, {"label_column": 7}),
    ("not UTF-8", HEADER + ROWS + b"caf\xe9\ta bar\tyes\n", HEADER + ROWS, {}),
    ("a score that is no number", HEADER + b"a\tb\thigh\n", HEADER + b"a\tb\t1\n", {"labels": None}),
    ("no header, though `header` is not false", ROWS, HEADER + ROWS, {"input_columns": [1, 2], "label_column": 3}),
    (
        "the same of scores",
        b"a\tb\t4.5\nc\td\t1\n",
        b"x\ty\tz\na\tb\t1\n",
        {"input_columns": [1, 2], "label_column": 3, "labels": None},
    ),
    ("CSV under the name of TSV", b"premise,hypothesis,label\na cat,an animal,yes\n", HEADER + ROWS, {}),
    ("JSON lines under the name of TSV", b'{"premise": "a cat", "label": "yes"}\n', HEADER + ROWS, {}),
    (
        "JSON lines of which one is cut",
        b'{"premise": "a", "hypothesis": "b", "label": "no"}\n{"premise"',
        HEADER + ROWS,
        {"format": "jsonl"},
    ),
    (
        "no text in a JSON object",
        b'{"premise": null, "hypothesis": "b", "label": "no"}\n',
        HEADER + ROWS,
        {"format": "jsonl"},
    ),
    (
        "CSV with a quote that nothing closes",
        b'premise,hypothesis,label\n"a cat,an animal,yes\n',
        HEADER + ROWS,
        {"format": "csv"},
    ),
    (
        "CSV with a row too long",
        b"premise,hypothesis,label\na cat, so to say,an animal,yes\n",
        HEADER + ROWS,
        {"format": "csv"},
    ),
    (
        "a file that is quoted throughout",
        b'"premise"\t"hypothesis"\t"label"\n"a cat"\t"b"\t"yes"\n',
        HEADER + ROWS,
        {"input_columns": [1, 2], "label_column": 3},
    ),
    ("no Parquet file", b"PAR1", HEADER + ROWS, {"format": "parquet"}),
    ("gzip that is cut", gzip.compress(HEADER + ROWS, mtime=0)[:-9], HEADER + ROWS, {}),
    (
        "a label's name where its number belongs",
        HEADER + b"a\tb\tyes\n",
        HEADER + ROWS,
        {"labels": None, "label_names": ["no", "yes"]},
    ),
    (
        "more fields than line 1 has",
        b"no\t7\ta cat\tan animal\nyes\t8\ta dog\ta cat\tweb\tfree\n",
        HEADER + ROWS,
        {"header": False, "input_columns": [3, 4], "label_column": 1},
    ),
    (
        "an empty answer to a question",
        HEADER + b"q\ta\tyes\nq\tb\tno\nr\tc\tyes\nq\t \tno\n",
        HEADER + ROWS,
        {"right_label": "yes"},
    ),
    (
        "more answers to a question than there may be",
        HEADER + b"q\ta\tyes\nq\tb\tno\nr\tc\tyes\nq\td\tno\n",
        HEADER + ROWS,
        {"right_label": "yes", "num_candidates": 2},
    ),
    ("no right answer to any question", HEADER + b"q\ta\tno\nr\tb\tno\n", HEADER + ROWS, {"right_label": "yes"}),
    (
        "two questions of one id",
        b"1\tq\ta\tyes\n2\tr\tb\tyes\n1\tr\tc\tno\n",
        HEADER + ROWS,
        {
            "header": False,
            "input_columns": [2, 3],
            "label_column": 4,
            "question_id_column": 1,
            "right_label": "yes",
        },
    ),
    (
        "HotpotQA's JSON that is cut",
        b'[{"_id": "5a7", "question": "who?", "context": [["Ann", ["She is"',
        HEADER + ROWS,
        PASSAGES | {"format": "hotpotqa"},
    ),
    (
        "half a surrogate pair in HotpotQA's JSON",
        b'[{"_id": "5a7", "question": "who \\ud83d?", "supporting_facts": [["Ann", 0]], "context": [["Ann", ["She is."]]]}]',
        HEADER + ROWS,
        PASSAGES | {"format": "hotpotqa"},
    ),
    (
        "HotpotQA's fullwiki setting, which may lack a paragraph that facts name",
        b'[{"_id": "5a7", "question": "who?", "supporting_facts": [["Bob", 0]], "context": [["Ann", ["She is."]]]}]',
        HEADER + ROWS,
        PASSAGES | {"format": "hotpotqa"},
    ),
    (
        "Quasar-T's passages without their questions",
        b'{"uid": "s0q1", "contexts": [[1.5, "The baker keeps hens ."]]}\n',
        HEADER + ROWS,
        PASSAGES | {"format": "quasar-t"},
    ),
    (
        "a TREC-QA file that is cut",
        b"<QApairs id='1.1'>\n<question>\nWho\tkeeps\thens\n</question>\n<positive>\nAnn\tdoes\n",
        HEADER + ROWS,
        PASSAGES | {"format": "trec-qa"},
    ),
    (
        "STS pairs in a file of another name",
        b"a cat\tan animal\na dog\ta cat\n",
        b"4.5\n",
        {"format": "sts", "input_columns": ["sentence1", "sentence2"], "label_column": "score", "labels": None},
    ),
    ("JSON lines with a key twice", b'{"label": "no", "label": "yes"}\n', HEADER + ROWS, {"format": "jsonl"}),
    ("a JSON array", b'[{"premise": "a", "hypothesis": "b", "label": "no"}]', HEADER + ROWS, {"format": "jsonl"}),
    ("CSV by semicolons", b"premise;hypothesis;label\na cat;an animal;yes\n", HEADER + ROWS, {"format": "csv"}),
    ("packed by xz", lzma.compress(HEADER + ROWS), HEADER + ROWS, {}),
    ("a spreadsheet", b"PK\x03\x04", HEADER + ROWS, {}),
    ("UTF-16", (HEADER + ROWS).decode().encode("utf-16"), HEADER + ROWS, {}),
    ("UTF-16 without a byte order mark", (HEADER + ROWS).decode().encode("utf-16-le"), HEADER + ROWS, {}),
    ("lines that end in `\\r` alone", (HEADER + ROWS).replace(b"\n", b"\r"), HEADER + ROWS, {}),
    ("the same in CSV", b"premise,hypothesis,label\ra,b,yes\rc,d,no\r", HEADER + ROWS, {"format": "csv"}),
    ("a score without end", HEADER + b"a\tb\tinf\n", HEADER + b"a\tb\t1\n", {"labels": None}),
]
# what looks wrong, train.tsv, and the examples that come out beside those of ROWS
ACCEPTED = [
    ("columns that nobody asked for", HEADER.replace(b"\n", b"\tid\n") + ROWS.replace(b"\n", b"\t7\n"), 0),
    ("an empty sentence", HEADER + ROWS + b"\ta cat\tno\n", 1),
    ("the same row twice", HEADER + ROWS + ROWS, 2),
    ("a byte order mark", b"\xef\xbb\xbf" + HEADER + ROWS, 0),
    ("Windows line ends", (HEADER + ROWS).replace(b"\n", b"\r\n"), 0),
    ("empty lines at the end", HEADER + ROWS + b"\n\n", 0),
    ("packed by gzip", gzip.compress(HEADER + ROWS, mtime=0), 0),
    ("old Mac line ends and U+2028 within a sentence", HEADER + ROWS + "a\rb\tc\u2028d\tno\n".encode(), 1),
]
# what is wrong with a collection, its queries, passages and judgements
COLLECTIONS = [
    ("a passage that stands twice", b"q\twho\n", b"a\tone\na\ttwo\n", b"q 0 a 1\n"),
    ("an id with a space", b"q\twho\n", b"a b\tone\n", b"q 0 a 1\n"),
    ("a judgement of a query that is not there", b"q\twho\n", b"a\tone\n", b"r 0 a 1\n"),
    ("a relevance that is no number", b"q\twho\n", b"a\tone\n", b"q 0 a 1\nq 0 a yes\n"),
    ("the same in the first line, which is no header then", b"q\twho\n", b"a\tone\n", b"q 0 a 1.0\nq 0 a 1\n"),
    ("judgements of another collection", b"q\twho\n", b"a\tone\n", b"q 0 x 1\n"),
    ("a collection in UTF-16 without a byte order mark", b"q\twho\n", "a\tone\n".encode("utf-16-be"), b"q 0 a 1\n"),
    ("a collection whose lines end in `\\r` alone", b"q\twho\n", b"a\tone\rb\ttwo\r", b"q 0 a 1\n"),
]
CORPORA = [
    ("a corpus without text", b"\n \n\n"),
    ("a corpus of one document, with none to hold out", b"one sentence .\nanother one .\n"),
    ("a corpus that is not UTF-8", b"good\n\xff\xfe\n"),
    ("a corpus in UTF-32 without a byte order mark", "one sentence .\n".encode("utf-32-le")),
    ("a corpus whose lines end in `\\r` alone", b"one sentence .\ranother one .\r\rthe next .\r"),
]
JSON_LINES = [
    ("a JSON line without the text's field", b'{"text": "one ."}\n{"body": "two ."}\n'),
    ("a JSON line that is cut", b'{"text": "one ."}\n{"text": "tw'),
    ("a JSON line with a number for its text", b'{"text": 7}\n'),
]


def prepare(train: bytes, dev: bytes, changes: dict) -> None:
    """Prepare an own task of these files, and see that nothing half-made is left if it is refused."""
    Path("train.tsv").write_bytes(train)
    Path("dev.tsv").write_bytes(dev)
    task = task_from_config("mine", ENTRY | changes)
    try:
        prepare_task(task, raw_files(task, data_dir=None), OUTPUT)
    finally:
        assert OUTPUT.exists() or not list(Path().glob("results/tasks/.*"))


def collect(queries: bytes, passages: bytes, judgements: bytes) -> None:
    """Prepare a collection of these files, and see that nothing half-made is left."""
    for name, content in (("queries.tsv", queries), ("passages.tsv", passages), ("qrels.txt", judgements)):
        Path(name).write_bytes(content)
    files = {"queries": ("queries.tsv",), "passages": ("passages.tsv",), "judgements": {"test": ("qrels.txt",)}}
    try:
        prepare_collection(RetrievalTask(name="mine", header=False, **files), Path("results/collections/mine"))
    finally:
        assert not list(Path().glob("results/collections/*"))


def accept(train: bytes, more: int) -> str:
    """Prepare an own task of this file; return the line of the log that counts its rows."""
    with logged() as lines:
        prepare(train, HEADER + ROWS, {})
    examples = [example.sentences for example in read_prepared(OUTPUT / "train.tsv")]
    assert examples[:2] == [("a cat", "an animal"), ("a dog", "a cat")]
    assert len(examples) == 2 + more
    return next(line for line in lines if "train" in line)


def make_corpus(content: bytes, *, name: str = "text.txt") -> None:
    """Prepare a corpus of one file."""
    Path(name).write_bytes(content)
    prepare_corpus({"train": [TextFile(path=name)], "valid": []}, Path("results/corpus"), valid_fraction=0.02)


def make_rte(write: Callable[[Path], None]) -> None:
    """Prepare RTE out of an own archive."""
    path = Path("mine/glue/RTE.zip")
    path.parent.mkdir(parents=True)
    write(path)
    prepare_task(TASKS["RTE"], raw_files(TASKS["RTE"], data_dir="mine"), Path("results/tasks/RTE"))


def write_archive(path: Path, *, name: str = "RTE/train.tsv") -> None:
    """Write an archive with one short file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")


def write_cut_archive(path: Path) -> None:
    """Write an archive without its end."""
    write_archive(path)
    path.write_bytes(path.read_bytes()[:80])


def long_sentence() -> str:
    """Take a sentence of 10,000 words through BPE and binarization; return the line of the log that counts the cut."""
    prepare(HEADER + ROWS + b"word " * 10_000 + b"\ta cat\tno\n", HEADER + ROWS, {})
    Path("text.txt").write_text("a cat an animal a dog word word\n" * 9)
    vocabulary, encoded = Path("vocabulary"), Path("encoded")
    train_vocabulary(Path("text.txt"), vocabulary, vocab_size=300, workers=1)
    encode_task(OUTPUT, encoded, vocabulary=vocabulary)
    with logged() as lines:
        binarize_task(
            task_from_config("mine", ENTRY),
            prepared=OUTPUT,
            encoded=encoded,
            vocabulary=vocabulary,
            output_dir=Path("binarized"),
            max_sentence_tokens=512,
        )
    return next(line for line in lines if "cut" in line)


def gpt2_files(*, encoder: str, dictionary: str) -> None:
    """Take GPT-2's BPE files of one's own."""
    Path("encoder.json").write_text(encoder)
    Path("vocab.bpe").write_text("#version: 0.2\n")
    Path("dict.txt").write_text(dictionary)
    copy_vocabulary(
        encoder=Path("encoder.json"),
        merges=Path("vocab.bpe"),
        dictionary=Path("dict.txt"),
        output_dir=Path("vocabulary"),
    )


class logged(logging.Handler):
    """The lines that are logged meanwhile."""

    def __enter__(self) -> list[str]:
        self.lines: list[str] = []
        self._logger = logging.getLogger("cross_thought")
        self._level = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self.lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


def predictions_of_other_rows() -> str:
    """Score predictions after the data were prepared anew, by code that leaves a row out."""
    prepare(HEADER + ROWS, HEADER + ROWS, {})
    rows = SplitPredictions(["0"], ["yes"], ["yes"], {"no": [0.5], "yes": [0.5]})
    write_predictions(Path("predictions.tsv"), {"valid": rows})
    task = task_from_config("mine", ENTRY)
    places = {"metrics_file": Path("metrics.json"), "model": "mlm", "seed": 1}
    return refusal(lambda: score(Path("predictions.tsv"), OUTPUT, OUTPUT, task=task, **places))


def quoted_by_pandas() -> str:
    """Prepare a TSV file with quotes as csv.writer writes it; return the line of the log that counts them."""
    with logged() as lines:
        prepare(HEADER + ROWS + b'"""a"" cat"\tb\tno\n', HEADER + ROWS, {})
    return next(line for line in lines if "quote" in line)


CASES = [
    *(
        Case(group="Data", what=what, run=partial(refusal, partial(prepare, train, dev, changes)))
        for what, train, dev, changes in REFUSED
    ),
    *(Case(group="Data", what=what, run=partial(refusal, partial(collect, *files))) for what, *files in COLLECTIONS),
    Case(
        group="Data", what="another number of rows than GLUE's", run=partial(refusal, partial(make_rte, write_archive))
    ),
    Case(
        group="Data",
        what="an archive without the file",
        run=partial(refusal, partial(make_rte, partial(write_archive, name="RTE/dev.tsv"))),
    ),
    Case(group="Data", what="an archive that is cut", run=partial(refusal, partial(make_rte, write_cut_archive))),
    *(Case(group="Data", what=what, run=partial(refusal, partial(make_corpus, text))) for what, text in CORPORA),
    *(
        Case(group="Data", what=what, run=partial(refusal, partial(make_corpus, text, name="text.jsonl")))
        for what, text in JSON_LINES
    ),
    Case(
        group="Data",
        what="a packed corpus that is cut",
        run=partial(refusal, partial(make_corpus, gzip.compress(b"one sentence .\n" * 9)[:-9], name="text.txt.gz")),
    ),
    Case(
        group="Data",
        what="BPE files that are none",
        run=partial(refusal, partial(gpt2_files, encoder="[1]", dictionary="0 1\n")),
    ),
    Case(
        group="Data",
        what="a dictionary that is cut",
        run=partial(refusal, partial(gpt2_files, encoder='{"a": 0}', dictionary="0 1\n")),
    ),
    Case(group="Data", what="predictions, once other code has prepared other rows", run=predictions_of_other_rows),
    *(
        Case(group="Data that goes through", what=what, run=partial(accept, train, more), refused=False)
        for what, train, more in ACCEPTED
    ),
    Case(
        group="Data that goes through", what="TSV with quotes, as pandas writes it", run=quoted_by_pandas, refused=False
    ),
    Case(group="Data that goes through", what="a sentence of 10,000 words", run=long_sentence, refused=False),
]
