"""From raw files through a short fine-tuning: what `predict` answers is what `evaluate` writes, to the digit."""

import csv
import json
import os
import random
from argparse import Namespace
from itertools import islice
from pathlib import Path

import pytest
import torch

from cross_thought import SentenceClassifier
from cross_thought.__main__ import main
from cross_thought.config import load_config
from cross_thought.data.binarize import binarize_task
from cross_thought.data.bpe import encode_task, train_vocabulary
from cross_thought.data.definitions import Task
from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.glue import prepare_task
from cross_thought.data.prepared import read_prepared
from cross_thought.data.raw_files import raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.fairseq import bridge
from cross_thought.inference import classifier as classifier_module
from cross_thought.inference import fine_tuned
from cross_thought.inference.export import export_model
from cross_thought.inference.fine_tuned import FineTunedModel, describe
from cross_thought.inference.loading import load_fine_tuned
from cross_thought.training.checkpoints import load_checkpoint
from cross_thought.training.launch import model_flags
from workflow_scripts.evaluate import evaluate, token_rows
from workflow_scripts.finetune import finetune

bridge.install()

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "pilot",
    "sees",
    "flies",
    "near",
    "naïve",
    "—",
    "😀",
    "old",
    "house",
    "‘blue’",
    "bird",
]
COMPARED = 128  # rows that are held against fairseq's model as well
LONGEST = 24  # tokens; the encoder has positions for more


def sentence(generator: random.Random) -> str:
    return " ".join(generator.choices(WORDS, k=generator.randint(1, 30)))


def write_rows(path: Path, columns: list[str], number: int, label: list[str], *, seed: int) -> None:
    """Write rows of random sentences, some with an empty one at the end."""
    generator = random.Random(seed)
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", *columns])
        for index in range(number):
            cells = [f"{sentence(generator)} {index} {place}" for place in range(len(columns))]
            if len(columns) > 3 and index % 5 == 0:
                cells[-1] = ""
            rows.writerow([generator.choice(label), *cells])


def own_entry(folder: Path, columns: list[str], label: list[str], **entry: object) -> dict:
    for name, number in (("train", 40), ("valid", 150), ("test", 70)):
        write_rows(folder / f"{name}.csv", columns, number, label, seed=number)
    files = {name: str(folder / f"{name}.csv") for name in ("train", "valid", "test")}
    return {"files": files, "input_columns": columns, "label_column": "label", **entry}


def tune(task: Task, entry: dict, folder: Path) -> Path:
    """Take a task from its raw files to a fine-tuned checkpoint in a results folder, which is returned."""
    results = folder / "results"
    prepared, data = results / f"tasks/{task.name}", results / f"binarized/tasks/{task.name}"
    raw = raw_files(task, data_dir=str(REAL_DATA))
    prepare_task(task, raw, prepared, max_train_examples=entry.get("max_train_examples"))
    vocabulary = results / "bpe/vocabulary"
    vocabulary.parent.mkdir()
    train_vocabulary(prepared / "valid.tsv", vocabulary, vocab_size=400, workers=1)
    encode_task(prepared, folder / "encoded", vocabulary=vocabulary)
    binarize_task(
        task,
        prepared=prepared,
        encoded=folder / "encoded",
        vocabulary=vocabulary,
        output_dir=data,
        max_sentence_tokens=LONGEST,
    )
    config = load_config({"model_defaults": {"num_positions": 64}})
    model, hardware = config["models"]["cross_thought"], config["hardware"]
    place = results / f"finetune/mine/{task.name}/seed-1"
    place.mkdir(parents=True)
    finetune(
        data,
        write_pretrained(folder / "pretrained.pt", model, vocabulary),
        task=task,
        model_name="mine",
        model=model,
        settings=finetuning_settings(task, config["finetuning"], entry) | {"num_epochs": 1, "learning_rate": 1e-3},
        seed=1,
        hardware=hardware,
        checkpoint=place / "best.pt",
        history=place / "history.tsv",
        command_record=place / "command.json",
    )
    predictions = results / f"evaluate/mine/{task.name}/seed-1/predictions.tsv"
    evaluate(
        place / "best.pt", data, prepared, task=task, device="cpu", precision="float32", predictions_file=predictions
    )
    return results


def write_pretrained(path: Path, model: dict, vocabulary: Path) -> Path:
    """Write a checkpoint with random weights as fairseq has it."""
    from fairseq.data import Dictionary
    from fairseq.models import ARCH_CONFIG_REGISTRY

    from cross_thought.fairseq.model import CrossThoughtModel, RegisteredEncoder

    args = Namespace(**{key: value for key, value in model_flags(model).items() if value}, no_cross_sequence=False)
    ARCH_CONFIG_REGISTRY[args.arch](args)
    args.max_positions = args.num_positions
    dictionary = Dictionary.load(str(vocabulary / "dict.txt"))
    dictionary.add_symbol("<mask>")
    torch.manual_seed(1)
    weights = CrossThoughtModel(args, RegisteredEncoder(args, dictionary)).state_dict()
    history = [{"num_updates": 7, "criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}}]
    torch.save({"args": args, "model": weights, "optimizer_history": history, "extra_state": {"epoch": 1}}, path)
    return path


def written(path: Path, split: str | None = None) -> list[list[str]]:
    """Return index, prediction and scores of a file that `evaluate` or `predict` wrote."""
    rows = list(csv.DictReader(path.open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        [row[name] for name in row if name not in ("split", "label")]
        for row in rows
        if split in (None, row.get("split"))
    ]


def predicted(model: Path, source: Path, output: Path, *options: str) -> list[list[str]]:
    main(["predict", "--model", str(model), "--input", str(source), "--output", str(output), *options])
    return written(output)


def through_fairseq(checkpoint: Path, data: Path, split: str, task: Task) -> torch.Tensor:
    """Return what fairseq's own model makes of a split's first examples."""
    from fairseq import checkpoint_utils

    import cross_thought.fairseq.answer_selection
    import cross_thought.fairseq.model  # noqa: F401

    models, arguments, fairseq_task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": str(data), "no_shuffle": True}
    )
    dataset = fairseq_task.load_dataset(split)
    batch = dataset.collater([dataset[index] for index in range(COMPARED)])["net_input"]
    head = {} if task.selection else {"classification_head_name": arguments.classification_head_name}
    with torch.inference_mode():
        return models[0].eval()(**batch, features_only=True, **head)[0]


def shows(task: Task, entry: dict, folder: Path, sources: dict[str, tuple[Path, list[str]]]) -> tuple[Path, Path]:
    """Fine-tune, and hold `predict` on each split's file against `evaluate`; return results and the checkpoint."""
    results = tune(task, entry, folder)
    checkpoint = results / f"finetune/mine/{task.name}/seed-1/best.pt"
    export_model(checkpoint, folder / "export", output_format="safetensors")
    evaluated = results / f"evaluate/mine/{task.name}/seed-1/predictions.tsv"
    scores = [] if task.labels is None else ["--probabilities"]
    for split, (source, options) in sources.items():
        expected = written(evaluated, split)
        assert len(expected) > 64  # more than a batch
        assert predicted(checkpoint, source, folder / "p.tsv", *options, *scores) == expected
    split, (source, options) = next(iter(sources.items()))
    assert predicted(folder / "export", source, folder / "p.tsv", *options, *scores) == written(evaluated, split)
    model = FineTunedModel(load_fine_tuned(checkpoint, describe(task)))
    data = results / f"binarized/tasks/{task.name}"
    ours = torch.cat(list(model.outputs(islice(token_rows(data, split, task, bos_id=0), COMPARED))))
    torch.testing.assert_close(ours, through_fairseq(checkpoint, data, split, task), rtol=1e-5, atol=1e-6)
    return results, checkpoint


def test_rte(tmp_path: Path) -> None:
    folder = REAL_DATA / "glue/RTE"
    if not folder.is_dir():
        pytest.skip(f"needs the real files in {folder}")
    entry = {"max_train_examples": 64}
    sources = {"valid": (folder / "dev.tsv", []), "test": (folder / "test.tsv", [])}
    _, checkpoint = shows(task_from_config("RTE", entry), entry, tmp_path, sources)
    about = load_checkpoint(checkpoint)["fine_tuned_on"]
    assert about["labels"] == ["entailment", "not_entailment"]
    assert (about["task"], about["columns"], about["max_sentence_tokens"]) == ("RTE", [2, 3], LONGEST)
    classifier = SentenceClassifier.from_pretrained(checkpoint, device="cpu")
    pairs = [example.sentences for example in read_prepared(tmp_path / "results/tasks/RTE/valid.tsv")]
    expected = [row[1] for row in written(tmp_path / "results/evaluate/mine/RTE/seed-1/predictions.tsv", "valid")]
    assert classifier.predict(pairs) == expected
    assert classifier.num_cut_sentences > 0
    accuracy = about["metrics"]["valid"]["accuracy"]
    right = [example.label for example in read_prepared(tmp_path / "results/tasks/RTE/valid.tsv")]
    assert accuracy == pytest.approx(sum(map(str.__eq__, expected, right)) / len(right), abs=6e-4)  # fairseq rounds it


def test_mrpc(tmp_path: Path) -> None:
    folder = REAL_DATA / "glue/MRPC"
    if not folder.is_dir():
        pytest.skip(f"needs the real files in {folder}")
    entry = {"max_train_examples": 64}
    prepared = tmp_path / "results/tasks/MRPC/valid.tsv"
    sources = {
        "test": (folder / "msr_paraphrase_test.txt", []),
        "valid": (prepared, ["--columns", "sentence1", "sentence2"]),
    }
    shows(task_from_config("MRPC", entry), entry, tmp_path, sources)


def test_scores_in_their_own_scale(tmp_path: Path) -> None:
    scores = [str(number / 4) for number in range(21)]
    entry = own_entry(tmp_path, ["first", "second"], scores, score_scale=5.0)
    sources = {split: (tmp_path / f"{split}.csv", []) for split in ("valid", "test")}
    task = task_from_config("similarity", entry)
    results, checkpoint = shows(task, entry, tmp_path, sources)
    found = SentenceClassifier.from_pretrained(checkpoint, device="cpu").predict([("the cat", "a dog")] * 2)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert isinstance(found[0], float)
    assert json.loads((tmp_path / "export/config.json").read_text())["fine_tuned_on"]["score_scale"] == 5.0
    with pytest.raises(ValueError, match="similarity is a regression, which has no probabilities: use predict"):
        SentenceClassifier.from_pretrained(tmp_path / "export", device="cpu").predict_proba(["a"])
    assert results.is_dir()


def test_answers_are_ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuned, "BLOCK_SENTENCES", 100)  # of 600
    monkeypatch.setattr(classifier_module, "_BLOCK_SENTENCES", 70)
    columns = ["question", "a", "b", "c"]
    entry = own_entry(tmp_path, columns, ["1", "2"])
    sources = {split: (tmp_path / f"{split}.csv", []) for split in ("valid", "test")}
    shows(task_from_config("choose", entry), entry, tmp_path, sources)
    classifier = SentenceClassifier.from_pretrained(tmp_path / "export", device="cpu")
    question, *answers = WORDS[:5]
    [order], [weights] = classifier.predict([[question, *answers]]), classifier.predict_proba([[question, *answers]])
    assert sorted(order) == [0, 1, 2, 3]  # more candidates than in training
    assert order == tuple(sorted(range(4), key=lambda place: -weights[place]))
    assert weights.sum() == pytest.approx(1, abs=1e-6)
