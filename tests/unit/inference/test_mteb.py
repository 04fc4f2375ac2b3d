"""Embeddings scored by mteb: as we score them, each model its own results, and what is refused."""

import json
from pathlib import Path

import mteb
import numpy as np
import pandas as pd
import pytest
from checkpoints import TEXT, write_checkpoint
from scipy import stats

from cross_thought import SentenceEncoder
from cross_thought.errors import UserError
from cross_thought.inference.mteb_encoder import MTEBEncoder, mteb_scores, mteb_tasks
from cross_thought.tables.layout import markdown
from cross_thought.tables.mteb import mteb_page, read_mteb_rows
from workflow_scripts.evaluate_mteb import evaluate_mteb

PAIRS = [(TEXT[n % len(TEXT)], f"{TEXT[(n * 3 + 1) % len(TEXT)]} again", (n * 7) % 6) for n in range(40)]
OWN_TASKS = """
import json
from pathlib import Path

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata


class OurSTS(AbsTaskSTS):
    metadata = TaskMetadata(
        name="OurSTS", description="ours", type="STS", category="t2t", modalities=["text"], eval_splits=["test"],
        eval_langs=["eng-Latn"], main_score="cosine_spearman", dataset={"path": "our/sts", "revision": "1"},
    )

    def load_data(self, num_proc=None, **_):
        left, right, score = zip(*json.loads(Path(__file__).with_name("pairs.json").read_text()))
        rows = {"sentence1": list(left), "sentence2": list(right), "score": list(score)}
        self.dataset = DatasetDict({"test": Dataset.from_dict(rows)})
        self.data_loaded = True
"""


@pytest.fixture
def own_tasks(tmp_path: Path) -> Path:
    """Write a file of Python with a task of pairs."""
    (tmp_path / "pairs.json").write_text(json.dumps(PAIRS))
    (tmp_path / "our_tasks.py").write_text(OWN_TASKS)
    return tmp_path / "our_tasks.py"


def checkpoint(folder: Path, seed: int) -> Path:
    """Write a checkpoint of random weights, once."""
    path = folder / f"model{seed}" / "model.pt"
    return path if path.exists() else write_checkpoint(path.parent, num_slots=1 + seed)


def spearman(encoder: SentenceEncoder, pooling: str) -> float:
    """Compute the score by ourselves."""
    left, right = (encoder.encode([pair[n] for pair in PAIRS], pooling=pooling, normalize=True) for n in (0, 1))
    return float(stats.spearmanr((left * right).sum(1), [pair[2] for pair in PAIRS]).statistic)


@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_mteb_scores_as_we_do(own_tasks: Path, tmp_path: Path, pooling: str) -> None:
    encoder = SentenceEncoder.from_pretrained(checkpoint(tmp_path, 1))
    model = MTEBEncoder(encoder, name="ours/one", revision="1", pooling=pooling)
    assert isinstance(model, mteb.EncoderProtocol)
    found = mteb_scores(model, mteb_tasks([str(own_tasks)]), tmp_path / "cache")
    assert found["OurSTS"]["score"] == pytest.approx(spearman(encoder, pooling), abs=1e-6)
    assert [found["OurSTS"][key] for key in ("type", "metric", "revision")] == ["STS", "cosine_spearman", "1"]


def test_each_model_has_its_own_results_and_has_them_once(own_tasks: Path, tmp_path: Path) -> None:
    seeds = (1, 2)
    files = [tmp_path / f"results/mteb/m/mean/seed-{seed}/scores.json" for seed in seeds]
    for _ in range(2):
        for seed, file in zip(seeds, files, strict=True):
            path = checkpoint(tmp_path, seed)
            options = {"model": "m", "seed": seed, "pooling": "mean", "device": "cpu", "scores_file": file}
            evaluate_mteb(path, path.parent, [str(own_tasks)], **options)
            expected = spearman(SentenceEncoder.from_pretrained(path), "mean")
            assert json.loads(file.read_text())["tasks"]["OurSTS"]["score"] == pytest.approx(expected, abs=1e-6)
        own_tasks.with_name("pairs.json").unlink(missing_ok=True)  # from here on, only what is kept can answer
    rows = read_mteb_rows(files)
    (row,) = rows.itertuples()
    assert (row.model, row.pooling, row.task, row.metric, row.n) == ("m", "mean", "OurSTS", "cosine_spearman", 2)
    assert row.mean == pytest.approx(
        100 * np.mean([spearman(SentenceEncoder.from_pretrained(checkpoint(tmp_path, s)), "mean") for s in seeds]),
        abs=1e-4,
    )
    assert "| m       |" in markdown(mteb_page(rows))


def test_the_average_counts_each_task_once(tmp_path: Path) -> None:
    for seed in (1, 2):
        tasks = {
            name: {"type": "STS", "metric": "m", "score": seed * score} for name, score in (("a", 0.1), ("b", 0.3))
        }
        document = {"model": "x", "seed": seed, "pooling": "mean", "mteb": "2", "tasks": tasks}
        (tmp_path / f"{seed}.json").write_text(json.dumps(document))
    rows: pd.DataFrame = read_mteb_rows(tmp_path / f"{seed}.json" for seed in (1, 2))
    assert rows.set_index("task")["mean"].to_dict() == pytest.approx({"a": 15, "b": 45, "average": 30})


def test_what_is_no_task_is_refused(tmp_path: Path, own_tasks: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    for names, message in (
        (["STSBenchmrk"], r"'STSBenchmrk' is no task and no benchmark of mteb 2.*Did you mean: 'STSBenchmark'"),
        ([str(tmp_path / "gone.py")], r"gone.py is missing"),
        ([str(tmp_path / "empty.py")], r"empty.py defines no task"),
        (["STSBenchmark", "STSBenchmark"], r"mteb_tasks has STSBenchmark twice"),
    ):
        with pytest.raises(UserError, match=message):
            mteb_tasks(names)
    assert [task.metadata.name for task in mteb_tasks(["STS12", str(own_tasks)])] == ["STS12", "OurSTS"]
