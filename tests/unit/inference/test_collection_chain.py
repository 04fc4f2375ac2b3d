"""A collection through the scripts of the rules with a real encoder: the numbers are those of the embedding tasks."""

import json
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint

from cross_thought.data.definitions import EmbeddingTask, RetrievalTask
from cross_thought.data.prepared import Example
from cross_thought.data.retrieval import prepare_collection
from cross_thought.evaluation.embeddings import evaluate_split
from cross_thought.evaluation.retrieval import Collection, read_run, retrieval_metrics
from cross_thought.inference.embed import SentenceEncoder
from tests.unit.synthetic import script

pytest.importorskip("faiss", reason="needs faiss-cpu")

METRICS = {
    "success@1": "accuracy@1",
    "mrr": "mrr",
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
}


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_numbers_are_those_of_the_embedding_tasks(precision: str, tmp_path: Path) -> None:
    draw = random.Random(6)
    words = [
        "Ada",
        "owns",
        "a",
        "cat",
        "works",
        "as",
        "pilot",
        "and",
        "lives",
        "near",
        "the",
        "river",
        "He",
        "flies",
        "planes",
        "has",
        "kitten",
        "fox",
        "dog",
    ]
    texts = list(dict.fromkeys(" ".join(draw.choices(words, k=draw.randint(2, 6))) for _ in range(120)))
    asked, pool = texts[:40], texts[30:]  # some queries are candidates as well
    pairs = [Example("", (query, draw.choice(pool))) for query in asked] + [
        Example("", (asked[0], other)) for other in pool
    ]
    pairs = [pair for pair in pairs if pair.sentences[0] != pair.sentences[1]]

    rows = {"queries": asked, "passages": list(dict.fromkeys(second for _, (_, second) in pairs))}
    for name, lines in rows.items():
        (tmp_path / f"{name}.tsv").write_text(
            "id\ttext\n" + "".join(f"{line.replace(' ', '_')}\t{line}\n" for line in lines)
        )
    qrels = [
        f"{first} 0 {second} 1"
        for first, second in ([text.replace(" ", "_") for text in pair.sentences] for pair in pairs)
    ]
    (tmp_path / "qrels").write_text("\n".join(dict.fromkeys(qrels)) + "\n")
    files = {name: (str(tmp_path / f"{name}.tsv"),) for name in rows}
    task = RetrievalTask(name="mine", judgements={"test": (str(tmp_path / "qrels"),)}, precision=precision, **files)
    prepare_collection(task, tmp_path / "prepared")

    checkpoint = write_checkpoint(tmp_path / "model", num_positions=16)
    folders = [tmp_path / pooling for pooling in ("mean", "concat")]
    script("embed_collection")(
        checkpoint, checkpoint.parent, tmp_path / "prepared",
        poolings=["mean", "concat"], precision=precision, device="cpu", folders=folders,
    )  # fmt: skip
    embeddings = np.load(folders[1] / "passages.npy")
    assert (embeddings.dtype, embeddings.shape) == (precision, (len(rows["passages"]), 3 * 32))
    np.testing.assert_allclose(np.linalg.norm(embeddings.astype(np.float32), axis=1), 1, atol=1e-3)
    encoder = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
    collection = Collection(tmp_path / "prepared", task)
    for folder in folders:
        script("search_collection")(
            folder, tmp_path / "prepared", task=task, tag="m", run=folder / "run.trec", counts=folder / "found.json"
        )
        found = retrieval_metrics(list(METRICS), collection.judgements, read_run(folder / "run.trec"))
        same = EmbeddingTask(name="mine", evaluation="retrieval", splits=("test",))
        expected = evaluate_split(same, pairs, partial(encoder.encode, pooling=folder.name)).metrics()
        tolerance = 1e-9 if precision == "float32" else 0.05
        assert found == pytest.approx({ours: expected[theirs] for ours, theirs in METRICS.items()}, abs=tolerance)
        counts = json.loads((folder / "found.json").read_text())
        assert counts["sentences"] == len(collection.queries) + len(rows["passages"])
        assert counts["cut"] > 0
    assert encoder.num_cut_sentences > 0
