"""The zip of test predictions that GLUE's leaderboard takes.

One TSV a task with the columns `index` and `prediction`, counted from 0; label strings as in the task's data, STS-B as
a number from 0 to 5. The leaderboard scores a submission only if all its files are there, with all their rows.
"""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from cross_thought.data.definitions import Task
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.aggregate import read_metrics
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
    scores: dict[str, dict[str, float]] = {}
    path_of = {}
    for path, document in sorted(
        zip(paths, read_metrics(paths), strict=True), key=lambda pair: (pair[1]["task"], pair[1]["seed"])
    ):
        if document["model"] == model:
            task, seed = document["task"], path.parent.name
            development = [scored for split, scored in document["splits"].items() if split.startswith("valid")]
            values = [value for scored in development for value in scored["metrics"].values()]
            score = fmean(values) if values and None not in values else float("-inf")
            scores.setdefault(task, {})[seed] = score
            path_of[task, seed] = path.with_name("predictions.tsv")
    # `max` takes the first of equals
    best = {task: max(of_seed, key=lambda seed: of_seed[seed]) for task, of_seed in scores.items()}
    return {task: path_of[task, best.get(evaluated_with.get(task, task), seed)] for task, seed in best.items()}


def write_submission(
    path: Path | str, predictions_paths: Mapping[str, Path | str], *, tasks: Mapping[str, Task], complete: bool = True
) -> list[str]:
    """Write one model's test predictions as a zip.

    Args:
        path: the zip file.
        predictions_paths: task name -> `predictions.tsv`; tasks outside GLUE are left out.
        tasks: task name -> task.
        complete: refuse to write what the leaderboard would not score.

    Returns:
        What keeps the submission from being complete, if that is allowed: each missing file, each wrong row count.

    Raises:
        UserError: if no GLUE task is among them, rows are out of order, or the submission may not be incomplete but is.
    """
    glue = dict.fromkeys(name for name, _ in SUBMISSION_FILES)
    if not glue.keys() & predictions_paths.keys():
        raise UserError(
            f"no GLUE task among {', '.join(predictions_paths)}: a submission needs at least one of {', '.join(glue)}"
        )
    members, faults = {}, []
    for (name, split), file in SUBMISSION_FILES.items():
        if name not in predictions_paths:
            faults.append(f"{file} is missing (task {name} is not in the config)")
            continue
        source = predictions_paths[name]
        rows = read_predictions(source).get(split)
        if rows is None:
            faults.append(f"{file} is missing ({source} has no predictions for split {split})")
            continue
        if rows.indices != [str(number) for number in range(len(rows.indices))]:
            raise UserError(f"{source}: the indices of {name} ({split}) do not count from 0 upward: evaluate it again")
        # GLUE's own number, whatever the config says of checking rows
        expected = TASKS[name].splits[split].expected_rows if name in TASKS else None
        if expected is not None and len(rows.predictions) != expected:
            faults.append(
                f"{source} has {len(rows.predictions)} predictions for {name} ({split}), GLUE has {expected} rows"
            )
        members[file] = submission_text(tasks[name], rows)
    if faults and (complete or not members):
        raise UserError(
            f"{path} would be no complete submission: {'; '.join(faults)}: add what is missing and evaluate it"
            + (", or allow this with --config submission=incomplete" if members else "")
        )
    with atomic_file(Path(path)) as partial, zipfile.ZipFile(partial, "w") as archive:
        for file, text in members.items():
            entry = zipfile.ZipInfo(file, date_time=_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return faults


def submission_text(task: Task, rows: SplitPredictions) -> str:
    """Return one task's TSV; scores are kept within 0 to 5, three decimals."""
    lines = ["index\tprediction"]
    for index, prediction in enumerate(rows.predictions):
        if task.labels is None:
            prediction = f"{min(max(float(prediction), 0.0), task.score_scale):.3f}"
        lines.append(f"{index}\t{prediction}")
    return "\n".join(lines) + "\n"
