"""Small files in the formats of GLUE and SNLI, made up here."""

import random
import zipfile
from pathlib import Path

from cross_thought.data.tasks import TASKS

WORDS = (
    "the",
    "a",
    "dog",
    "cats",
    "sleep",
    "slowly",
    "she",
    "said",
    '"quoted',
    "'m",
    "it's",
    "café",
    "–",
    "...",
    ",",
    ".",
)
GLUE = ("CoLA", "SST-2", "MRPC", "QQP", "STS-B", "MNLI", "QNLI", "RTE", "WNLI")


def _header(task: str, split: str) -> list[str] | None:
    """Return the column names of a file, or None where GLUE's file has none."""
    pair = ["sentence1", "sentence2"]
    if task == "CoLA":
        return ["index", "sentence"] if split == "test" else None
    if task == "SST-2":
        return ["index", "sentence"] if split == "test" else ["sentence", "label"]
    if task == "MRPC":
        return ["index" if split == "test" else "Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    if task == "QQP":
        return (
            ["id", "question1", "question2"]
            if split == "test"
            else ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
        )
    if task == "STS-B":
        front = ["index", "genre", "filename", "year", "old_index", "source1", "source2", *pair]
        return front if split == "test" else [*front, "score"]
    if task == "MNLI":
        parses = ["sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"]
        front = ["index", "promptID", "pairID", "genre", *parses, *pair]
        labels = {"train": ["label1"], "valid": [f"label{n}" for n in range(1, 6)], "test": None}[split.rstrip("1")]
        return front if labels is None else [*front, *labels, "gold_label"]
    if task == "AX":
        return ["index", *pair]
    if task == "SNLI":
        return ["gold_label", "sentence1_parse", *pair, "captionID", "pairID", "label1"]
    return ["index", *pair] if split == "test" else ["index", *pair, "label"]


def make_rows(task: str, split: str, count: int) -> list[list[str]]:
    """Return rows of one file, its header first where it has one."""
    generator = random.Random(f"{task} {split}")
    header = _header(task, split)
    width = len(header) if header else 4
    definition = TASKS[task].splits[split]

    def place(column: int | str) -> int:
        return header.index(column) if isinstance(column, str) else column - 1

    rows = [header] if header else []
    for number in range(count):
        row = [f"x{number}.{column}" for column in range(width)]
        for column in definition.input_columns:
            row[place(column)] = " ".join(generator.choices(WORDS, k=generator.randint(1, 12)))
        if definition.label_column is not None:
            labels = TASKS[task].labels
            label = f"{generator.uniform(0, 5):.3f}" if labels is None else labels[number % len(labels)]
            row[place(definition.label_column)] = label
        rows.append(row)
    return rows


def encode_rows(rows: list[list[str]]) -> bytes:
    """Return rows as the bytes of a TSV file."""
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def write_archive(task: str, data_dir: Path, counts: dict[str, int]) -> None:
    """Write a task as it is downloaded, below `data_dir`: one archive, or MRPC's three files.

    Args:
        task: a task of GLUE, its diagnostics AX, or SNLI.
        data_dir: folder of one's own files.
        counts: rows of train, valid and test; MNLI's second splits are as long as its first.
    """
    if task == "MRPC":
        _write_paraphrases(data_dir / "glue" / "MRPC", counts)
        return
    folder = TASKS[task].archive_folder
    path = data_dir / TASKS[task].downloads[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    if task == "AX":
        path.write_bytes(encode_rows(make_rows(task, "test", counts["test"])))
        return
    with zipfile.ZipFile(path, "w") as archive:
        for split, definition in TASKS[task].splits.items():
            rows = make_rows(task, split, counts[split.rstrip("1")])
            archive.writestr(f"{folder}/{definition.file}", encode_rows(rows))


def _write_paraphrases(folder: Path, counts: dict[str, int]) -> None:
    """Write MRPC's sources: train and dev in one file with a byte order mark, told apart by ids."""
    folder.mkdir(parents=True)
    train, valid = make_rows("MRPC", "train", counts["train"]), make_rows("MRPC", "valid", counts["valid"])[1:]
    for row in valid:
        row[1] += "v"
    mixed = [train[0], *(row for pair in zip(valid, train[1:], strict=False) for row in pair), *train[1 + len(valid) :]]
    (folder / "msr_paraphrase_train.txt").write_bytes(b"\xef\xbb\xbf" + encode_rows(mixed))
    (folder / "dev_ids.tsv").write_bytes(encode_rows([row[1:3] for row in valid]))
    test = make_rows("MRPC", "test", counts["test"])
    (folder / "msr_paraphrase_test.txt").write_bytes(b"\xef\xbb\xbf" + encode_rows(test))
