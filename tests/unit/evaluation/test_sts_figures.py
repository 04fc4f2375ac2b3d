"""STS and SICK from raw files to figures, against another reading of the same bytes: made as SemEval's are, and real ones."""

import math
import os
import random
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cross_thought.data.definitions import STS_TASKS
from cross_thought.data.embedding_tasks import embedding_task_from_config
from cross_thought.data.glue import prepare_task
from cross_thought.data.prepared import read_prepared, read_summary
from cross_thought.data.raw_files import RawFile, raw_files
from cross_thought.data.tasks import PAIRS, TASKS, task_from_config
from cross_thought.evaluation.embeddings import embeddings_document, evaluate_task

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
LETTERS = "etaoinshrdlu"
# what stands in such files beside letters: quotes that do not end, what other readers break lines at, accents, spaces
ODD = [
    '"',
    '""',
    "'",
    '"a',
    'b"',
    "é",
    "naïve",
    "—",
    "\u2028",
    "\x85",
    "\x0c",
    "\xa0",
    "\\",
    "#",
    "NA",
    "null",
    "日本",
    "🙂",
    "  ",
]


def sentence(draw: random.Random) -> str:
    words = ["".join(draw.choices(LETTERS, k=draw.randint(1, 5))) for _ in range(draw.randint(1, 8))]
    return " ".join(draw.choice(ODD) if draw.random() < 0.2 else word for word in words) or "a"


def pair(draw: random.Random) -> list[str]:
    """Draw two sentences that differ, so that cosines tell all pairs apart."""
    left, right = sentence(draw), sentence(draw)
    return [left, right] if left.strip() != right.strip() else pair(draw)


def vector(text: str) -> np.ndarray:
    """Return a fixed embedding of a text."""
    return np.random.default_rng(zlib.crc32(text.strip().encode())).normal(size=8)


def embed(sentences: list[str]) -> np.ndarray:
    return np.stack(list(map(vector, sentences)))


def write_year(
    folder: Path, names: list[str], draw: random.Random, *, unscored: float, sources: bool, crlf: bool
) -> None:
    """Write a year's parts as SemEval's: of some pairs no score, of some years two fields more, and ends as on Windows."""
    folder.mkdir(parents=True)
    end = "\r\n" if crlf else "\n"
    for name in names:
        pairs = [pair(draw) for _ in range(draw.randint(30, 60))]
        scores = [draw.choice(["0", "5", "2.5", "3.250", "4.4"]) for _ in pairs]
        scores[:2] = ["0", "5"]
        scores = ["" if number > 1 and draw.random() < unscored else score for number, score in enumerate(scores)]
        rows = ["\t".join([*cells, "a.org/x", ""] if sources else cells) for cells in pairs]
        # the last line of either file may lack its end
        (folder / name).write_bytes((end.join(rows) + draw.choice(["", end])).encode())
        gold = folder / name.replace(".input.", ".gs.")
        gold.write_bytes((end.join(scores) + (end if not scores[-1] else draw.choice(["", end]))).encode())


def read_bytes(folder: Path, names: list[str]) -> list[tuple[str, str, str, str]]:
    """Read the pairs with a score by their bytes alone: part, score, both sentences."""
    found = []
    for name in names:
        pairs = (folder / name).read_bytes().split(b"\n")
        scores = (folder / name.replace(".input.", ".gs.")).read_bytes().split(b"\n")
        for cells, score in zip(pairs, scores, strict=False):
            if score.strip(b"\r"):
                left, right = (cell.decode() for cell in cells.removesuffix(b"\r").split(b"\t")[:2])
                found.append((name, score.strip(b"\r").decode(), left, right))
    return found


def cosine(left: str, right: str) -> float:
    """Return the cosine of two sentences, in plain Python."""
    one, two = vector(left).tolist(), vector(right).tolist()
    return sum(map(math.prod, zip(one, two, strict=True))) / math.hypot(*one) / math.hypot(*two)


def rank_correlation(frame: pd.DataFrame) -> float:
    """Return Spearman's correlation of the score and the cosine: Pearson's of the ranks, ties in their middle."""
    ranks = frame[["score", "cosine"]].rank()
    return float(np.corrcoef(ranks["score"], ranks["cosine"])[0, 1])


def frame_of(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Return the pairs with scores as numbers, and with cosines."""
    frame = pd.DataFrame(rows, columns=["part", "score", "left", "right"])
    frame["score"] = frame["score"].astype(float)
    frame["cosine"] = list(map(cosine, frame["left"], frame["right"]))
    return frame


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "seed"), [(name, seed) for seed, name in enumerate(STS_TASKS[:5])])
def test_a_year_gives_the_figures_of_another_reading(name: str, seed: int, packed: bool, tmp_path: Path) -> None:
    task, draw = PAIRS[name], random.Random(seed)
    names = list(task.splits["test"].files)
    folder = tmp_path / task.folder if task.folder else tmp_path
    # the last two years have pairs that were not judged; the last has two fields more
    write_year(
        folder, names, draw, unscored=0.3 * (name in ("STS15", "STS16")), sources=name == "STS16", crlf=bool(seed % 2)
    )
    frame = frame_of(read_bytes(folder, names))
    num_pairs = sum((folder / part).read_bytes().count(b"\t") for part in names) // (3 if name == "STS16" else 1)
    if packed:
        with tarfile.open(tmp_path / "senteval" / "senteval.tar", "w") as tar:
            tar.add(folder, task.archive_folder)
        (folder / names[0]).unlink()
    raw = raw_files(task, data_dir=str(tmp_path))
    assert (raw["test"].member is not None) is packed
    prepare_task(task, raw, tmp_path / "out")
    found = list(read_prepared(tmp_path / "out" / "test.tsv"))
    assert [example.sentences for example in found] == list(zip(frame["left"], frame["right"], strict=True))
    assert [float(example.label) for example in found] == list(frame["score"])

    embedded = embedding_task_from_config(name, {"embedding_tasks": {name: {}}, "tasks": {}})
    pairs, counts = evaluate_task(embedded, tmp_path / "out", embed)
    document = embeddings_document(model="m", task=embedded, seed=1, pooling="mean", pairs=pairs, counts=counts)
    metrics = document["splits"]["test"]["metrics"]
    assert metrics["spearman"] == pytest.approx(rank_correlation(frame), abs=1e-9)
    assert metrics["pearson"] == pytest.approx(frame["score"].corr(frame["cosine"]), abs=1e-9)
    means = [rank_correlation(part) for _, part in frame.groupby("part")]
    assert len(means) == len(names)
    assert metrics["spearman_mean"] == pytest.approx(sum(means) / len(means), abs=1e-9)
    num_pairs = len(frame) + counts["test"].get("dropped", 0)
    assert ("dropped" in counts["test"]) is (name in ("STS15", "STS16"))
    assert (
        num_pairs
        == sum((folder / part).read_bytes().count(b"\t") for part in names if not packed)
        // (3 if name == "STS16" else 1)
        or packed
    )


def test_stsbenchmark_gives_the_figures_of_another_reading(tmp_path: Path) -> None:
    """Its .csv is tab-separated, has no header, quotes that do not end, and sources after the sentences in some rows."""
    draw, lines = random.Random(7), []
    for number in range(200):
        score = draw.choice(["0.000", "5.000", "2.5", "3.8"])
        cells = ["main-news", "headlines", "2015", f"{number:04}", score, *pair(draw)]
        lines.append("\t".join([*cells, *["http://a.org", 'x"'][: draw.choice([0, 0, 1, 2])]]))
    path = tmp_path / "senteval/STS/STSBenchmark/sts-test.csv"
    path.parent.mkdir(parents=True)
    for name in ("sts-test.csv", "sts-dev.csv"):
        path.with_name(name).write_bytes(("\n".join(lines) + "\n").encode())
    rows = [line.split(b"\t") for line in path.read_bytes().split(b"\n") if line]
    frame = frame_of([("", row[4].decode(), row[5].decode(), row[6].decode()) for row in rows])
    task = task_from_config("STSBenchmark", {"check_rows": False}, section="embedding_tasks")
    prepare_task(task, raw_files(task, data_dir=str(tmp_path)), tmp_path / "out")
    found = list(read_prepared(tmp_path / "out" / "test.tsv"))
    assert [example.sentences for example in found] == list(zip(frame["left"], frame["right"], strict=True))
    embedded = embedding_task_from_config("STSBenchmark", {"embedding_tasks": {"STSBenchmark": {}}, "tasks": {}})
    pairs, counts = evaluate_task(embedded, tmp_path / "out", embed)
    assert pairs["test"].metrics()["spearman"] == pytest.approx(rank_correlation(frame), abs=1e-9)
    assert "dropped" not in counts["test"]


def test_sick_gives_the_figures_of_another_reading(tmp_path: Path) -> None:
    """The real files of SICK; the labels of its test set are in a file of the same form."""
    files = {"train": "SICK_train.txt", "valid": "SICK_trial.txt", "test": "SICK_trial.txt"}
    paths = {split: REAL_DATA / "sick" / name for split, name in files.items()}
    if not all(path.is_file() for path in paths.values()):
        pytest.skip(f"needs SICK's files in {REAL_DATA}/sick")
    task = task_from_config("SICK-R", {"check_rows": False})
    prepare_task(task, {split: RawFile(path=str(path)) for split, path in paths.items()}, tmp_path / "out")
    assert {split: rows["used"] for split, rows in read_summary(tmp_path / "out").items()} == {
        "train": 4500, "valid": 500, "test": 500
    }  # fmt: skip
    embedded = embedding_task_from_config("SICK-R", {"embedding_tasks": {"SICK-R": {}}, "tasks": {"SICK-R": {}}})
    pairs, _ = evaluate_task(embedded, tmp_path / "out", embed)
    raw = pd.read_csv(paths["test"], sep="\t", quoting=3, dtype=str)
    columns = ["relatedness_score", "sentence_A", "sentence_B"]
    frame = frame_of([("", *row) for row in raw[columns].itertuples(index=False)])
    assert len(frame) == len(pairs["test"].row) == 500
    assert pairs["test"].metrics()["spearman"] == pytest.approx(rank_correlation(frame), abs=1e-9)
    train = pd.read_csv(paths["train"], sep="\t", quoting=3, dtype=str)
    prepared = list(read_prepared(tmp_path / "out" / "train.tsv"))
    assert [example.sentences for example in prepared] == list(
        zip(train["sentence_A"], train["sentence_B"], strict=True)
    )
    assert list(TASKS["SICK-R"].metrics) == ["pearson", "spearman"]
