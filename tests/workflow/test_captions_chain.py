"""Multi30k's captions through the workflow, cut small: the first pictures of the real files where they are at hand."""

import csv
import gzip
import os
from itertools import islice
from pathlib import Path

import pytest
import yaml

from cross_thought.data.captions import SPLITS, caption_files
from tests.workflow.conftest import REPOSITORY, run_snakemake

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", REPOSITORY.parent / "shared" / "data"))
NUM_PICTURES = {"train": 120, "dev": 30, "test": 40}


def captions(name: str, count: int) -> list[str]:
    """Return the first captions of a file, or such as it might have."""
    if (REAL_DATA / name).is_file():
        with gzip.open(REAL_DATA / name, "rt", encoding="utf-8") as file:
            return list(islice(file, count))
    words = ["man", "woman", "dog", "child", "bike", "street", "field", "ball", "red", "small"]
    pictures = [[words[(number * step) % 10] for step in (1, 3, 7)] for number in range(count)]
    start = {"1": "a photo of", "2": "here is", "3": "someone sees", "4": "there stands", "5": "look at"}[name[-7]]
    return [f"{start} a {' and a '.join(picture)} number {n} .\n" for n, picture in enumerate(pictures)]


def write_sick(folder: Path) -> None:
    """Write SICK's train and trial files: the first pairs of the real ones, or such as they might have."""
    folder.mkdir(parents=True)
    for name in ("SICK_train.txt", "SICK_trial.txt"):
        lines = ["pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"]
        lines += [f"{n}\tA man plays {n} balls\tA dog has {n % 3} balls\t{1 + n % 5}.5\tNEUTRAL" for n in range(20)]
        if (real := REAL_DATA / "sick" / name).is_file():
            lines = real.read_text(encoding="utf-8").splitlines()[:21]
        (folder / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run `config/captions.yaml` on few pictures, for a few updates, as far as the new tables need."""
    directory = tmp_path_factory.mktemp("captions")
    for split in SPLITS:
        for name in caption_files(split):
            path = directory / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress("".join(captions(name, NUM_PICTURES[split])).encode()))
    overlay = yaml.safe_load((REPOSITORY / "config/captions.yaml").read_text(encoding="utf-8")) | {"data_dir": "own"}
    write_sick(directory / "own/senteval/SICK")
    overlay |= yaml.safe_load((REPOSITORY / "config/captions-similarity.yaml").read_text(encoding="utf-8"))
    overlay["bpe"]["vocab_size"] = 400
    overlay["model_defaults"]["pretraining"] |= {"max_updates": 3, "warmup_updates": 1, "batch_size": 8}
    overlay["finetuning"] |= {"num_epochs": 1}
    overlay["tasks"]["captions-pick"] |= {"max_train_examples": 16}
    overlay |= {"seeds": [1], "models": {"cross_thought": {}}, "control": None}
    done = run_snakemake(
        directory,
        *(
            "embeddings",
            "results/tables/masked_words.md",
            "results/cross_attention/cross_thought/seed-1.json",
        ),
        "results/evaluate/cross_thought/captions-pick/seed-1/metrics.json",
        overlay=overlay,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return directory


def rows(path: Path, **wanted: str) -> list[dict[str, str]]:
    """Return the rows of a CSV or TSV file with these cells."""
    with path.open(encoding="utf-8") as file:
        found = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    return [row for row in found if wanted.items() <= row.items()]


def test_each_split_of_the_files_is_a_part_of_the_corpus(run: Path) -> None:
    for split, ours in {"train": "train", "dev": "valid", "test": "test"}.items():
        documents = (run / f"results/corpus/{ours}.txt").read_text(encoding="utf-8").split("\n\n")
        assert len(documents) == NUM_PICTURES[split]
        first = [captions(name, 1)[0].strip() for name in caption_files(split)]
        assert documents[0].splitlines() == first


def test_masked_words_are_of_the_test_part(run: Path) -> None:
    words = rows(run / "results/masked_words/cross_thought/seed-1/words.tsv")
    assert {row["split"] for row in words} == {"test"}
    assert len({row["document"] for row in words}) > NUM_PICTURES["test"] / 2
    (told,) = rows(run / "results/tables/masked_words.csv", words="all", condition="on", metric="accuracy")
    assert float(told["mean"]) == pytest.approx(100 * sum(int(row["right_on"]) for row in words) / len(words), rel=1e-5)
    assert rows(run / "results/tables/masked_words.csv", words="elsewhere", condition="on - shuffled", metric="bits")


def test_captions_are_looked_for_among_those_of_other_pictures(run: Path) -> None:
    table = run / "results/tables/embeddings.csv"
    found = {(row["model"], row["pooling"]) for row in rows(table, split="test", metric="mrr")}
    assert found == {
        ("cross_thought", "mean"),
        ("cross_thought", "concat"),
        ("tf-idf", ""),
        ("bm25", ""),
        ("chance", ""),
    }
    queries = {row["num_queries"] for row in rows(table, split="test", task="captions-find")}
    assert queries == {str(NUM_PICTURES["test"])}
    if (REAL_DATA / "multi30k").is_dir():
        (found,) = rows(table, split="test", metric="mrr", model="bm25")
        assert float(found["mean"]) > 50


def test_cosines_are_held_against_the_scores_of_people(run: Path) -> None:
    found = rows(run / "results/tables/embeddings.csv", task="sick", metric="spearman")
    assert {(row["model"], row["pooling"], row["num_examples"]) for row in found} == {
        ("cross_thought", "mean", "40"),
        ("cross_thought", "concat", "40"),
        ("tf-idf", "", "40"),
        ("chance", "", "40"),
    }


def test_another_own_file_trains_anew(run: Path) -> None:
    overlay = yaml.safe_load((run / "overlay.yaml").read_text(encoding="utf-8"))
    trained = "results/pretrain/cross_thought/seed-1/model.pt"
    assert "rule pretrain_model" not in run_snakemake(run, trained, "--dry-run", overlay=overlay).stdout
    path = run / "own" / caption_files("train")[0]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"a", b"A", 1)))
    done = run_snakemake(run, trained, "--dry-run", overlay=overlay)
    assert "rule pretrain_model" in done.stdout
