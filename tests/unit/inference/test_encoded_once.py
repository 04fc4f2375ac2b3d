"""Several poolings in one pass of the encoder: what one pass for each gives, to the bit."""

import json
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from checkpoints import TEXT, write_checkpoint

from cross_thought import SentenceEncoder
from cross_thought.data.definitions import EmbeddingTask
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.embeddings import embeddings_document, evaluate_task, write_pairs
from cross_thought.files import write_json
from cross_thought.inference.embed import embed_file
from cross_thought.inference.tally import tally
from tests.unit.synthetic import script

POOLINGS = ["concat", "slot0", "mean"]
TASKS_EMBEDDED = [
    EmbeddingTask(name="STS-B", evaluation="similarity", splits=("valid", "test")),
    EmbeddingTask(name="find", evaluation="retrieval", splits=("valid",)),
    EmbeddingTask(name="probed", evaluation="probe", splits=("valid",), probed=TASKS["RTE"]),
]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", num_positions=20)


def sentences(count: int, seed: int) -> list[str]:
    """Draw sentences, short and beyond the positions, some of them twice."""
    draw = random.Random(seed)
    words = [*" ".join(TEXT).split(), "§¿"]  # unknown to the vocabulary
    found = [" ".join(draw.choices(words, k=draw.choice([1, 2, 3, 5, 8, 20]))) for _ in range(count)]
    return [*found, *found[:3]]


def write_splits(folder: Path, labels: list[str], seed: int) -> Path:
    """Write a prepared task whose development and test sets are the same rows."""
    folder.mkdir()
    texts = sentences(40, seed)
    rows = [f"{labels[place % len(labels)]}\t{texts[place]}\t{texts[-place]}\n" for place in range(40)]
    for split in ("train", "valid", "test"):
        (folder / f"{split}.tsv").write_text("label\tsentence1\tsentence2\n" + "".join(rows))
    (folder / "summary.json").write_text("{}")
    return folder


def test_tasks_are_evaluated_as_by_a_pass_for_each_pooling(checkpoint: Path, tmp_path: Path) -> None:
    labels = {"STS-B": ["0.5", "2", "4.25"], "find": [""], "probed": list(TASKS["RTE"].labels or ())}
    prepared = [write_splits(tmp_path / task.name, labels[task.name], seed) for seed, task in enumerate(TASKS_EMBEDDED)]
    expected = {}
    for task, folder in zip(TASKS_EMBEDDED, prepared, strict=True):
        for pooling in POOLINGS:
            encoder = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
            pairs, counts = evaluate_task(
                task,
                folder,
                partial(encoder.encode, pooling=pooling),
                tally=partial(tally, encoder),
            )
            known = {"model": "m", "task": task, "seed": 1, "pooling": pooling}
            place = tmp_path / f"{task.name}-{pooling}"
            write_pairs(place.with_suffix(".tsv"), pairs)
            write_json(place.with_suffix(".json"), embeddings_document(**known, pairs=pairs, counts=counts))
            expected[place] = counts
    assert all(count["cut"] > 0 and count["unknown"] > 0 for counts in expected.values() for count in counts.values())
    found = [tmp_path / f"{place.name}-found" for place in expected]
    script("embed_tasks")(
        checkpoint, checkpoint.parent, TASKS_EMBEDDED, prepared, model="m", seed=1, poolings=POOLINGS, device="cpu",
        pairs_files=[path.with_suffix(".tsv") for path in found],
        metrics_files=[path.with_suffix(".json") for path in found],
    )  # fmt: skip
    for wanted, path in zip(expected, found, strict=True):
        for ending in (".tsv", ".json"):
            assert path.with_suffix(ending).read_bytes() == wanted.with_suffix(ending).read_bytes()


def test_a_collection_is_embedded_as_by_a_pass_for_each_pooling(checkpoint: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    for seed, (kind, count) in enumerate({"passages": 120, "queries": 9}.items()):
        (prepared / f"{kind}.txt").write_text("".join(f"{text}\n" for text in sentences(count, seed)))
    folders = [tmp_path / pooling for pooling in POOLINGS]
    options = {"poolings": POOLINGS, "precision": "float16", "device": "cpu"}
    script("embed_collection")(checkpoint, checkpoint.parent, prepared, **options, folders=folders)
    for pooling, folder in zip(POOLINGS, folders, strict=True):
        encoder = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
        for kind in ("passages", "queries"):
            output = tmp_path / "alone.npy"
            embed_file(encoder, prepared / f"{kind}.txt", output, pooling=pooling, normalize=True, precision="float16")
            assert output.read_bytes() == (folder / f"{kind}.npy").read_bytes()
        counts = json.loads((folder / "counts.json").read_text())
        assert counts == {"sentences": 135, **tally(encoder)}
        assert counts["unknown"] > 0
        assert counts["cut"] > 0


def test_one_pass_it_is(checkpoint: Path) -> None:
    encoder, texts = SentenceEncoder.from_pretrained(checkpoint, device="cpu"), sentences(30, 3)
    one = encoder.encode(texts, pooling="mean")
    num_cut = encoder.num_cut_sentences
    assert num_cut > 0
    found = encoder.encode_by_poolings(texts, POOLINGS)
    assert encoder.num_cut_sentences == 2 * num_cut
    np.testing.assert_array_equal(found["mean"], one)
    assert [found[pooling].shape[1] for pooling in POOLINGS] == [3 * 32, 32, 32]


def test_all_outputs_of_a_file_or_none(checkpoint: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(checkpoint, device="cpu")
    (tmp_path / "text").write_bytes(b"a\n\xff\n")
    with pytest.raises(UserError, match="is not valid UTF-8"):
        embed_file(encoder, tmp_path / "text", {pooling: tmp_path / f"{pooling}.npy" for pooling in POOLINGS})
    (tmp_path / "slot1").mkdir()
    with pytest.raises(UserError, match=r"slot1 is a folder where a file is to be written"):
        embed_file(encoder, tmp_path / "text", {"mean": tmp_path / "m.npy", "slot0": tmp_path / "slot1"})
    assert not list(tmp_path.glob("*.npy"))
