"""Our binary files against fairseq's own: byte for byte, and as its tasks and datasets read them."""

import json
import os
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.stock_bpe import StockEncoder
from cross_thought.data import binarize, bpe
from cross_thought.data.definitions import Split, Task
from cross_thought.data.glue import prepare_task
from cross_thought.data.indexed import read_dataset, read_sizes
from cross_thought.data.prepared import Example, read_prepared, write_prepared
from cross_thought.data.raw_files import raw_files
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from tests.unit.data.hostile import HOSTILE_LINES, training_text
from tests.unit.data.references import tiktoken_encoding

bridge.install()

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
SHORT_HOSTILE_LINES = [line for line in HOSTILE_LINES if len(line) < 10_000]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small vocabulary learnt from text; the text lies beside it."""
    folder = tmp_path_factory.mktemp("bpe")
    (folder / "train.txt").write_text(training_text(), encoding="utf-8")
    bpe.train_vocabulary(folder / "train.txt", folder / "vocabulary", vocab_size=400, workers=2)
    return folder / "vocabulary"


def gpt2() -> Path:
    if not (REAL_DATA / "gpt2_bpe" / "encoder.json").is_file():
        pytest.skip(f"needs the real files in {REAL_DATA}/gpt2_bpe")
    return REAL_DATA / "gpt2_bpe"


def preprocess(*arguments: object, workers: int = 1) -> None:
    """Run fairseq's own preprocess."""
    from fairseq import options
    from fairseq_cli import preprocess as fairseq_preprocess

    parser = options.get_preprocessing_parser()
    fairseq_preprocess.main(parser.parse_args(["--only-source", "--workers", str(workers), *map(str, arguments)]))


def write_bpe_text(lines: list[str], path: Path, encode: Callable[[str], list[int]]) -> None:
    """Write what the stock BPE step would, one line of ids for each line of text."""
    path.write_text("".join(" ".join(map(str, encode(line.strip()))) + "\n" for line in lines))


def assert_same_files(ours: Path, theirs: Path, *names: str) -> None:
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


@pytest.mark.parametrize("workers", [1, 2])
def test_a_learnt_vocabulary_gives_the_files_of_preprocess(workers: int, vocabulary: Path, tmp_path: Path) -> None:
    stock = StockEncoder(vocabulary).encode
    texts = {"train": training_text().split("\n")[:-1], "valid": SHORT_HOSTILE_LINES}
    encoded = {}
    for split, lines in texts.items():
        write_bpe_text(lines, tmp_path / split, stock)
        (tmp_path / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8", newline="\n")
        encoded[split] = tmp_path / "encoded" / split
        bpe.encode_file(tmp_path / f"{split}.txt", encoded[split], vocabulary=vocabulary, workers=2)
    # without --srcdict: fairseq makes the dictionary itself
    preprocess(
        *("--trainpref", tmp_path / "train", "--validpref", tmp_path / "valid", "--destdir", tmp_path / "theirs"),
        workers=workers,
    )
    counts = binarize.binarize_corpus(encoded, vocabulary, tmp_path / "ours")
    assert counts == {split: len(lines) for split, lines in texts.items()}
    names = ("dict.txt", "train.bin", "train.idx", "valid.bin", "valid.idx")
    assert_same_files(tmp_path / "ours", tmp_path / "theirs", *names)


def test_gpt2s_vocabulary_gives_the_files_of_preprocess(tmp_path: Path) -> None:
    vocabulary = gpt2()
    encode, encoder = tiktoken_encoding(vocabulary).encode_ordinary, bpe.Encoder(vocabulary)
    texts = {"hostile": HOSTILE_LINES}
    for name in ("wiki.valid.tokens", "wiki.test.tokens"):
        if (REAL_DATA / "wikitext" / name).is_file():
            texts[name] = (REAL_DATA / "wikitext" / name).read_text(encoding="utf-8").split("\n")
    for name, lines in texts.items():
        text, ours, theirs = tmp_path / f"{name}.bpe", tmp_path / f"{name}.ours", tmp_path / f"{name}.theirs"
        write_bpe_text(lines, text, encode)
        preprocess("--srcdict", vocabulary / "dict.txt", "--trainpref", text, "--destdir", theirs)
        bpe.encode_lines(encoder, lines, tmp_path / name)
        binarize.binarize_corpus({"train": tmp_path / name}, vocabulary, ours)
        assert_same_files(ours, theirs, "dict.txt", "train.bin", "train.idx")


@pytest.mark.parametrize("name", ["RTE", "MRPC", "SST-2"])
def test_real_tasks_give_the_files_of_preprocess(name: str, tmp_path: Path) -> None:
    vocabulary, task = gpt2(), TASKS[name]
    if not (REAL_DATA / "glue" / name).is_dir():
        pytest.skip(f"needs the real files in {REAL_DATA}/glue/{name}")
    raw = raw_files(task, data_dir=str(REAL_DATA))
    prepare_task(task, raw, tmp_path / "prepared", max_train_examples=2000)
    bpe.encode_task(tmp_path / "prepared", tmp_path / "encoded", vocabulary=vocabulary)
    ours = tmp_path / "ours"
    binarize.binarize_task(
        task,
        prepared=tmp_path / "prepared",
        encoded=tmp_path / "encoded",
        vocabulary=vocabulary,
        output_dir=ours,
        max_sentence_tokens=None,
    )
    stock = StockEncoder(vocabulary).encode
    columns = {"label": [], **{f"input{number}": [] for number in range(task.num_sentences)}}
    for split, pref in (("train", "--trainpref"), ("valid", "--validpref"), ("test", "--testpref")):
        examples = list(read_prepared(tmp_path / "prepared" / f"{split}.tsv"))
        for number in range(task.num_sentences):
            path = tmp_path / f"input{number}.{split}"
            write_bpe_text([example.sentences[number] for example in examples], path, stock)
            columns[f"input{number}"] += [pref, path]
        if split != "test":
            (tmp_path / f"label.{split}").write_text("".join(f"{example.label}\n" for example in examples))
            columns["label"] += [pref, tmp_path / f"label.{split}"]
    for column, arguments in columns.items():
        dictionary = ours / "label" / "dict.txt" if column == "label" else vocabulary / "dict.txt"
        preprocess("--srcdict", dictionary, "--destdir", tmp_path / "theirs" / column, *arguments)
        names = sorted(path.name for path in (ours / column).iterdir())
        assert len(names) == (5 if column == "label" else 7)
        assert_same_files(ours / column, tmp_path / "theirs" / column, *names)


@pytest.mark.parametrize("dictionary_size", [100, 65499, 65500, 70000])
@pytest.mark.parametrize("sizes", [[], [1], [3, 1, 1, 7], [100_000, 1]])
def test_the_writer_writes_what_fairseqs_builder_does(dictionary_size: int, sizes: list[int], tmp_path: Path) -> None:
    from fairseq.data import indexed_dataset

    generator = np.random.default_rng(1)
    items = [generator.integers(0, dictionary_size, size) for size in sizes]
    builder = indexed_dataset.make_builder(str(tmp_path / "theirs.bin"), impl="mmap", vocab_size=dictionary_size)
    for item in items:
        builder.add_item(torch.from_numpy(item))
    builder.finalize(str(tmp_path / "theirs.idx"))
    with binarize.DatasetWriter(tmp_path / "ours", dictionary_size=dictionary_size) as writer:
        for half in (slice(None, 2), slice(2, None)):
            if items[half]:
                writer.write(np.concatenate(items[half]), np.array(sizes[half]))
    for suffix in ("bin", "idx"):
        assert (tmp_path / f"ours.{suffix}").read_bytes() == (tmp_path / f"theirs.{suffix}").read_bytes()


def make_task(labels: tuple[str, ...] | None, num_sentences: int, splits: tuple[str, ...]) -> Task:
    columns = tuple(range(1, num_sentences + 1))
    return Task(
        name="mine",
        metrics=("accuracy",) if labels else ("pearson",),
        labels=labels,
        num_sentences=num_sentences,
        splits={split: Split(file=f"{split}.tsv", input_columns=columns, label_column=3) for split in splits},
        score_scale=5.0,
    )


def binarize_examples(
    task: Task, examples: dict[str, list[Example]], vocabulary: Path, folder: Path, **kwargs: object
) -> Path:
    (folder / "prepared").mkdir()
    for split, rows in examples.items():
        write_prepared(folder / "prepared" / f"{split}.tsv", rows)
    bpe.encode_task(folder / "prepared", folder / "encoded", vocabulary=vocabulary)
    binarize.binarize_task(
        task,
        prepared=folder / "prepared",
        encoded=folder / "encoded",
        vocabulary=vocabulary,
        output_dir=folder / "binarized",
        **{"max_sentence_tokens": None} | kwargs,
    )
    return folder / "binarized"


def load_task(data: Path, *, num_classes: int, regression: bool = False) -> object:
    """Return fairseq's task on a binarized folder."""
    from fairseq.tasks.sentence_prediction import SentencePredictionTask

    return SentencePredictionTask.setup_task(
        Namespace(
            data=str(data),
            num_classes=num_classes,
            regression_target=regression,
            max_positions=512,
            dataset_impl=None,
            init_token=0,
            separator_token=0,
            seed=1,
            shorten_data_split_list="",
            shorten_method="none",
            add_prev_output_tokens=False,
            no_shuffle=True,
        )
    )


def test_class_i_is_label_i_whatever_the_frequencies(vocabulary: Path, tmp_path: Path) -> None:
    labels = ("rare", "often", "never")
    task = make_task(labels, 2, ("train", "valid", "test"))
    train = [Example(label, ("the cat", "sat on")) for label in ("often", "often", "rare", "often")]
    examples = {"train": train, "valid": train[:2], "test": [Example("", ("the", "cat"))]}
    data = binarize_examples(task, examples, vocabulary, tmp_path)
    assert (data / "label" / "dict.txt").read_text() == "rare 1\noften 3\nnever 0\n"
    assert not list((data / "label").glob("test.*"))
    fairseq_task = load_task(data, num_classes=3)
    dataset = fairseq_task.load_dataset("train")
    assert [dataset[index]["target"].item() for index in range(4)] == [labels.index(example.label) for example in train]
    symbols = {symbol: index for index, symbol in enumerate(binarize.read_dictionary(vocabulary / "dict.txt"), start=4)}
    ids = [[symbols[str(index)] for index in StockEncoder(vocabulary).encode(text)] for text in ("the cat", "sat on")]
    assert dataset[0]["net_input.src_tokens"].tolist() == [0, *ids[0], 2, 0, *ids[1], 2]
    assert "target" not in fairseq_task.load_dataset("test")[0]


def test_a_task_without_train_has_a_dictionary_of_its_labels(vocabulary: Path, tmp_path: Path) -> None:
    task = make_task(("0", "1"), 2, ("test",))
    data = binarize_examples(task, {"test": [Example("", ("the", "cat"))]}, vocabulary, tmp_path)
    assert (data / "label" / "dict.txt").read_text() == "0 0\n1 0\n"
    assert len(load_task(data, num_classes=2).load_dataset("test")) == 1


def test_regression_targets_are_scaled(vocabulary: Path, tmp_path: Path) -> None:
    task = make_task(None, 2, ("train", "test"))
    scores = ["5.000", "2.5", "0"]
    train = [Example(score, ("a b", "c")) for score in scores]
    data = binarize_examples(task, {"train": train, "test": [Example("", ("a", "b"))]}, vocabulary, tmp_path)
    assert (data / "label" / "train.label").read_text() == "1.0\n0.5\n0.0\n"
    dataset = load_task(data, num_classes=1, regression=True).load_dataset("train")
    targets = dataset.collater([dataset[index] for index in range(3)])["target"]
    assert targets.flatten().tolist() == [1.0, 0.5, 0.0]


def test_long_sentences_are_cut_before_their_end_and_counted(
    vocabulary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    task = make_task(("0", "1"), 1, ("train",))
    texts = ["the " * 50, "the cat", "", "the " * 7]
    train = [Example("1", (text,)) for text in texts]
    data = binarize_examples(task, {"train": train}, vocabulary, tmp_path, max_sentence_tokens=6)
    assert not (data / "input1").exists()
    dataset = load_task(data, num_classes=2).load_dataset("train")
    rows = [dataset[index]["net_input.src_tokens"].tolist() for index in range(4)]
    assert [len(row) for row in rows] == [1 + 6, 1 + 3, 1 + 1, 1 + 6]
    assert all(row[0] == 0 and row[-1] == 2 for row in rows)
    assert "2 items longer than 6 tokens cut" in caplog.text
    assert json.loads((data / "summary.json").read_text()) == {"train": {"cut": 2}, "max_sentence_tokens": 6}
    # the same as the log has
    (tmp_path / "unknown").mkdir()
    unknown = binarize_examples(task, {"train": [Example("1", ("the ☃ cat",))]}, vocabulary, tmp_path / "unknown")
    counts = json.loads((unknown / "summary.json").read_text())["train"]
    (row,) = read_dataset(unknown / "input0" / "train")
    assert counts == {"cut": 0, "tokens": len(row), "unknown": row.tolist().count(3)}
    assert counts["unknown"] >= 3 < counts["tokens"]
    assert [[0, *ids.tolist()] for ids in read_dataset(data / "input0" / "train")] == rows
    with pytest.raises(UserError, match="which leaves no word"):
        binarize.write_dataset(
            tmp_path / "encoded", tmp_path / "again", symbols=binarize.symbol_map(vocabulary), max_tokens=1
        )


@pytest.mark.parametrize("num_bytes", [-1, -2, 2])
def test_a_file_of_ids_that_is_cut_is_refused(num_bytes: int, vocabulary: Path, tmp_path: Path) -> None:
    bpe.encode_lines(bpe.Encoder(vocabulary), ["the cat", "the"], tmp_path / "encoded")
    binarize.binarize_corpus({"train": tmp_path / "encoded"}, vocabulary, tmp_path / "data")
    file = tmp_path / "data" / "train.bin"
    content = file.read_bytes()
    assert len(list(read_dataset(tmp_path / "data" / "train"))) == 2
    file.write_bytes(content[:num_bytes] if num_bytes < 0 else content + b"x" * num_bytes)
    with pytest.raises(UserError, match=r"train\.bin or \.idx is damaged: binarize the data again"):
        list(read_dataset(tmp_path / "data" / "train"))


def test_documents_reach_fairseq_as_documents(vocabulary: Path, tmp_path: Path) -> None:
    from fairseq.data import TokenBlockDataset, data_utils

    (tmp_path / "text").write_text("the cat\nsat on\n\nmats\n\nthe\n")
    bpe.encode_file(tmp_path / "text", tmp_path / "encoded", vocabulary=vocabulary, workers=1)
    binarize.binarize_corpus({"train": tmp_path / "encoded"}, vocabulary, tmp_path / "data")
    dataset = data_utils.load_indexed_dataset(str(tmp_path / "data" / "train"), None, None)
    assert dataset.sizes.tolist() == read_sizes(tmp_path / "data" / "train").tolist() == [3, 3, 1, 2, 1, 2]
    blocks = TokenBlockDataset(dataset, dataset.sizes, 100, pad=1, eos=2, break_mode="complete_doc", document_sep_len=1)
    assert len(blocks) == 3


def test_unknown_symbols_are_counted(vocabulary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bpe.encode_lines(bpe.Encoder(vocabulary), ["the Я", "the"], tmp_path / "encoded")
    binarize.binarize_corpus({"train": tmp_path / "encoded"}, vocabulary, tmp_path / "data")
    assert "2 items" in caplog.text
    ids = np.fromfile(tmp_path / "data" / "train.bin", np.uint16)
    unknown = int((ids == 3).sum())
    assert unknown >= 1
    assert f"{100 * unknown / len(ids):.3g}% of them <unk>" in caplog.text


def test_a_damaged_dictionary_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    for content, message in (
        ("13 5\n14\n", "line 2: '14' is not `SYMBOL COUNT`"),
        ("13 5\n13 4\n", "names a symbol twice"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=re.escape(message)):
            binarize.read_dictionary(path)


def test_sentences_and_labels_must_be_as_many(vocabulary: Path, tmp_path: Path) -> None:
    task = make_task(("0", "1"), 1, ("train",))
    examples = [Example("1", ("the",)), Example("0", ("cat",))]
    binarize_examples(task, {"train": examples}, vocabulary, tmp_path)
    write_prepared(tmp_path / "prepared" / "train.tsv", examples[:1])
    with pytest.raises(UserError, match=r"2 sentences for the 1 rows of .*train\.tsv"):
        binarize.binarize_task(
            task,
            prepared=tmp_path / "prepared",
            encoded=tmp_path / "encoded",
            vocabulary=vocabulary,
            output_dir=tmp_path / "other",
            max_sentence_tokens=None,
        )
    assert not (tmp_path / "other").exists()
