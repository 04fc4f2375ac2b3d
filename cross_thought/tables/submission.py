"""The zip of test predictions that GLUE's leaderboard takes.

One TSV a task with the columns `index` and `prediction`, counted from 0; label strings as in the task's data, STS-B as
a number from 0 to 5. The leaderboard scores a submission only if all its files are there: a run of some tasks gives
the files of those tasks.
"""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from cross_thought.data.tasks import Task
from cross_thought.errors import UserError
from cross_thought.evaluation.aggregate import is_development, read_metrics
from cross_thought.evaluation.predictions import SplitPredictions, read_predictions
from cross_thought.files import atomic_file

# (task, split) -> file
SUBMISSION_FILES = {
    ("CoLA", "test"): "CoLA.tsv",
    ("SST-2", "test"): "SST-2.tsv",
    ("MRPC", "test"): "MRPC.tsv",
    ("STS-B", "test"): "STS-B.tsv",
    ("MNLI", "test"): "MNLI-m.tsv",
    ("MNLI", "test1"): "MNLI-mm.tsv",
    ("QNLI", "test"): "QNLI.tsv",
    ("QQP", "test"): "QQP.tsv",
    ("RTE", "test"): "RTE.tsv",
    ("WNLI", "test"): "WNLI.tsv",
    ("AX", "test"): "AX.tsv",
}

# Part of the bytes of a zip; fixed, so that the same predictions give the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


def choose_seeds(
    metrics_paths: Iterable[Path | str], *, model: str, evaluated_with: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Path]:
    """Choose each task's seed: the one with the best mean of its development metrics, the first of equals.

    Args:
        metrics_paths: of all models, tasks and seeds.
        model: whose predictions are chosen.
        evaluated_with: of a task without a model of its own, the task whose seed it gets.

    Returns:
        Task name -> the `predictions.tsv` of that seed.
    """
    paths = list(map(Path, metrics_paths))
    best: dict[str, tuple[float, Path]] = {}
    path_of = {}
    for path, document in sorted(
        zip(paths, read_metrics(paths), strict=True), key=lambda pair: (pair[1]["task"], pair[1]["seed"])
    ):
        if document["model"] != model:
            continue
        values = [
            value
            for split, scored in document["splits"].items()
            if is_development(split)
            for value in scored["metrics"].values()
        ]
        path_of[document["task"], path.parent.name] = path.with_name("predictions.tsv")
        score = fmean(values) if values and None not in values else float("-inf")
        if document["task"] not in best or score > best[document["task"]][0]:
            best[document["task"]] = (score, path.with_name("predictions.tsv"))
    chosen = {task: path for task, (_, path) in best.items()}
    of_others = {
        task: path_of[task, chosen[other].parent.name]
        for task, other in evaluated_with.items()
        if task in chosen and other in chosen
    }
    return chosen | of_others


def write_submission(
    path: Path | str, predictions_paths: Mapping[str, Path | str], *, tasks: Mapping[str, Task]
) -> None:
    """Write one model's test predictions as a zip.

    Args:
        path: the zip file.
        predictions_paths: task name -> `predictions.tsv`; tasks outside GLUE are left out.
        tasks: task name -> task; gives the rows that GLUE's test set has.

    Raises:
        UserError: if no GLUE task is among them, or a test set is incomplete.
    """
    members = {}
    for task_name, predictions_path in predictions_paths.items():
        splits = read_predictions(predictions_path)
        for (name, split), file in SUBMISSION_FILES.items():
            if name != task_name:
                continue
            if split in splits:
                _check_rows(predictions_path, splits[split], tasks[name], split)
                members[file] = submission_text(tasks[name], splits[split])
            elif split in tasks[name].splits:
                raise UserError(f"{predictions_path} has no predictions for split {split}: evaluate {name} again")
    if not members:
        raise UserError(
            f"no GLUE task among {', '.join(predictions_paths)}: a submission needs at least one of "
            f"{', '.join(dict.fromkeys(name for name, _ in SUBMISSION_FILES))}"
        )
    with atomic_file(Path(path)) as partial, zipfile.ZipFile(partial, "w") as archive:
        for file in SUBMISSION_FILES.values():
            if file in members:
                entry = zipfile.ZipInfo(file, date_time=_DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, members[file])


def submission_text(task: Task, rows: SplitPredictions) -> str:
    """Return one task's TSV; scores are kept within 0 to 5, three decimals."""
    lines = ["index\tprediction"]
    for index, prediction in enumerate(rows.predictions):
        if task.labels is None:
            prediction = f"{min(max(float(prediction), 0.0), task.score_scale):.3f}"
        lines.append(f"{index}\t{prediction}")
    return "\n".join(lines) + "\n"


def _check_rows(path: Path | str, rows: SplitPredictions, task: Task, split: str) -> None:
    expected = task.splits[split].expected_rows if split in task.splits else None
    if expected is not None and len(rows.predictions) != expected:
        raise UserError(
            f"{path}: {len(rows.predictions)} predictions for {task.name} ({split}), GLUE has {expected} rows: "
            "prepare and evaluate the task again"
        )
    if rows.indices != [str(number) for number in range(len(rows.indices))]:
        raise UserError(f"{path}: the indices of {task.name} ({split}) do not count from 0 upward: evaluate it again")
