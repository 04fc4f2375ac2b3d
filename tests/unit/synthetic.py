"""A small `results/` tree as the workflow leaves it, written by a seeded generator: nothing is trained."""

import importlib.util
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cross_thought.data.definitions import EmbeddingTask, Task
from cross_thought.data.demo import SEGMENT_LENGTH
from cross_thought.data.embedding_tasks import embedding_tasks_of
from cross_thought.data.run_results import RunResults
from cross_thought.data.tasks import TASKS
from cross_thought.environment import REPOSITORY, record_command
from cross_thought.evaluation.embeddings import embeddings_document, read_pairs
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import SplitPredictions, write_predictions
from cross_thought.files import write_json

MODELS = ("cross_thought", "mlm")
SEEDS = (1, 2, 3)
SIZES = {"RTE": 277, "MRPC": 408, "STS-B": 60, "MNLI": 150}


@dataclass(frozen=True)
class Results:
    """A synthetic results folder: RTE, MRPC, STS-B and MNLI for two models and three seeds."""

    folder: Path
    tasks: dict[str, Task]

    @property
    def config(self) -> dict:
        """What its config.yaml says."""
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    @property
    def run(self) -> RunResults:
        """The files of its evaluations and tables."""
        return RunResults(self.config, self.folder)

    def files(self, pattern: str) -> list[Path]:
        """Return the files below the folder that match, in the order of their names."""
        return sorted(self.folder.glob(pattern))

    @property
    def metrics(self) -> list[Path]:
        """Every metrics.json."""
        return self.files("evaluate/*/*/seed-*/metrics.json")


def answers(task: Task, labels: list[str], *, skill: float, generator: random.Random) -> list[str]:
    """Answer right with probability `skill`, else at random; for regression, blend the label with noise."""
    if task.labels is None:
        return [f"{skill * float(x) + (1 - skill) * generator.uniform(0, 5):.4f}" for x in labels]
    return [x if generator.random() < skill else generator.choice(task.labels) for x in labels]


def write_evaluation(folder: Path, *, model: str, task: Task, seed: int, skill: float, size: int) -> None:
    """Write one model's predictions.tsv and metrics.json."""
    data, generator = random.Random(task.name), random.Random(f"{model}{task.name}{seed}")
    splits = {}
    for split in task.splits:
        if split == "train":
            continue
        rows = task.splits[split].expected_rows if split.startswith("test") else size
        if task.labels is None:
            labels = [f"{data.uniform(0, 5):.3f}" for _ in range(rows)]
        else:
            labels = [task.labels[min(len(task.labels) - 1, int(data.random() * 1.5))] for _ in range(rows)]
        predictions = answers(task, labels, skill=skill, generator=generator)
        known = labels if split.startswith("valid") else [""] * rows
        scores = {label: [1.0 if p == label else 0.0 for p in predictions] for label in task.labels or ()}
        splits[split] = SplitPredictions([str(i) for i in range(rows)], known, predictions, scores)
    folder.mkdir(parents=True)
    write_predictions(folder / "predictions.tsv", splits)
    document = metrics_document(model=model, task=task, seed=seed, predictions=splits, num_train_examples=2000)
    write_json(folder / "metrics.json", document)


def write_history(folder: Path, *, seed: int, end: float) -> None:
    """Write a history.tsv whose losses fall to about `end` bits."""
    generator = random.Random(seed)
    lines = ["split\tnum_updates\tloss\tppl\tlearning_rate\telapsed_s\ttokens"]
    for update in range(100, 1000, 100):
        for split in ("train", "valid"):
            loss = end + 6 * 0.996**update + generator.uniform(-0.05, 0.05)
            lines.append(f"{split}\t{update}\t{loss:.3f}\t{2**loss:.2f}\t0.0008\t{update * 0.05:.1f}\t{update * 3000}")
    folder.mkdir(parents=True)
    (folder / "history.tsv").write_text("\n".join(lines) + "\n")
    record_command(folder / "command.json", ["train", "data", "--arch", "cross_thought_tiny"], 1.7e9, 45.0)
    record = json.loads((folder / "command.json").read_text())
    record["host"] |= {"cpu": "a CPU", "gpus": []}  # the same table on every machine
    write_json(folder / "command.json", record)


def write_masked_words(folder: Path, *, seed: int, conditions: Sequence[str]) -> None:
    """Write a words.tsv of two words in each of 40 documents; with cross layer 0 on more are told."""
    generator = random.Random(seed)
    columns = [f"{name}_{condition}" for condition in conditions for name in ("right", "loss")]
    lines = ["\t".join(["split", "document", "segment", "column", "symbol", "elsewhere", *columns])]
    for number in range(80):
        told = [int(generator.random() < (0.6 if condition == "on" else 0.3)) for condition in conditions]
        guesses = [f"{right}\t{generator.uniform(0, 1) if right else generator.uniform(1, 6):.6f}" for right in told]
        lines.append("\t".join(["test", str(number // 2), "1", str(number % 2), "9", str(number % 3 // 2), *guesses]))
    folder.mkdir(parents=True)
    (folder / "words.tsv").write_text("\n".join(lines) + "\n")


def write_embeddings(folder: Path, *, model: str, task: EmbeddingTask, seed: int | None, skill: float) -> None:
    """Write one model's pairs.tsv and metrics.json: the scores of 50 pairs, or the ranks of 40 sentences."""
    generator = random.Random(f"{model}{task.name}{seed}")
    if task.evaluation == "similarity":
        scores = [random.Random(f"{task.name}{row}").uniform(0, 5) for row in range(50)]
        lines = [f"{row}\t{score}\t{skill * score / 5 + generator.random():.6f}" for row, score in enumerate(scores)]
        header = "split\trow\tscore\tcosine"
    else:
        ranks = [1 if generator.random() < skill else generator.randint(1, 90) for _ in range(40)]
        # a query has one right candidate or two
        lines = [
            f"{2 * row}\t{2 * (row - row % 3 // 2)}\t{90 - row % 2}\t{rank}\t0.5" for row, rank in enumerate(ranks)
        ]
        header = "split\trow\tquery\tcandidates\trank\tcosine"
    folder.mkdir(parents=True)
    (folder / "pairs.tsv").write_text("\n".join([header, *(f"valid\t{line}" for line in lines)]) + "\n")
    pooling = None if seed is None else "mean"
    pairs = read_pairs(folder / "pairs.tsv")
    document = embeddings_document(model=model, task=task, seed=seed, pooling=pooling, pairs=pairs)
    write_json(folder / "metrics.json", document)


def make_results(folder: Path) -> Results:
    """Write the whole tree."""
    tasks = {name: TASKS[name] for name in SIZES}
    for model, skill, end in zip(MODELS, (0.6, 0.2), (2.1, 3.4), strict=True):
        for seed in SEEDS:
            write_history(folder / "pretrain" / model / f"seed-{seed}", seed=seed, end=end)
            conditions = ("on", "bypassed", "shuffled") if model == "cross_thought" else ("bypassed",)
            accuracy = {name: 0.95 if name == "on" else 0.16 + 0.01 * seed for name in conditions}
            report = {"model": model, "seed": seed, "guess_rate": 1 / 6, "accuracy": accuracy, "num_words": 900}
            (folder / "cross_path" / model).mkdir(parents=True, exist_ok=True)
            write_json(folder / "cross_path" / model / f"seed-{seed}.json", report)
            write_masked_words(folder / "masked_words" / model / f"seed-{seed}", seed=seed, conditions=conditions)
            for name, task in tasks.items():
                place = folder / "evaluate" / model / name / f"seed-{seed}"
                write_evaluation(place, model=model, task=task, seed=seed, skill=skill, size=SIZES[name])
                finetune = folder / "finetune" / model / name / f"seed-{seed}"
                finetune.mkdir(parents=True)
                record_command(finetune / "command.json", ["train", "--task", "sentence_prediction"], 1.7e9, 9.0)
                benchmark = folder / "benchmarks" / "finetune_task" / model / name / f"seed-{seed}.jsonl"
                benchmark.parent.mkdir(parents=True, exist_ok=True)
                benchmark.write_text(json.dumps({"s": 9.0}) + "\n")
    config = {
        "models": {
            model: {"source": "pretrain", "cross_sequence": model != "mlm", "segment_length": SEGMENT_LENGTH}
            for model in MODELS
        },
        "corpus": {"source": "demo"},
        "ablation": {"cross_sequence": ["mlm", "cross_thought"]},
        "tasks": {name: {} for name in tasks},
        "embedding_tasks": {"STS-B": {}, "MRPC": {}},
        "embedding": {"pooling": "mean"},
        "seeds": list(SEEDS),
        "pretraining_seed": "each",
        "control": "mlm",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for name, task in embedding_tasks_of(config).items():
        for method, skill in zip(task.lexical, (0.3, 0.4), strict=False):
            write_embeddings(folder / "embeddings" / method / name, model=method, task=task, seed=None, skill=skill)
        for model, skill in zip(MODELS, (0.6, 0.2), strict=True):
            for seed in SEEDS:
                place = folder / "embeddings" / model / name / "mean" / f"seed-{seed}"
                write_embeddings(place, model=model, task=task, seed=seed, skill=skill)
    return Results(folder, tasks)


def script(name: str) -> Callable[..., None]:
    """Import the function that a workflow script is named after."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "workflow_scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def tabulate(results: Results, folder: Path) -> None:
    """Write all tables of a synthetic results folder, by the workflow's script."""
    folder.mkdir()
    endings = {"csv": "csv", "markdown": "md", "latex": "tex", "svg": "svg", "png": "png"}
    for name in results.run.made_of:
        files = {form: str(folder / f"{name}.{ending}") for form, ending in endings.items()}
        if name not in results.run.figures.values():
            del files["svg"], files["png"]
        script("make_table")(name, results.run, files=files)
