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
    **{(name, "test"): f"{name}.tsv" for name in ("CoLA", "SST-2", "MRPC", "STS-B")},
    ("MNLI", "test"): "MNLI-m.tsv",
    ("MNLI", "test1"): "MNLI-mm.tsv",
    **{(name, "test"): f"{name}.tsv" for name in ("QNLI", "QQP", "RTE", "WNLI", "AX")},
}

# Part of the bytes of a zip; fixed, so that the same predictions give the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


def choose_seeds(
    metrics_paths: Iterable[Path | str], *, model: str, evaluated_with: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Path]:
    """Choose each task's seed of a model: the one with the best mean of its development metrics, the first of equals.

    A task without a model of its own, `evaluated_with` that of another, gets the seed of that. Returned is task name ->
    the `predictions.tsv` of that seed.
    """
    paths = list(map(Path, metrics_paths))
    of_task: dict[str, list[tuple[float, int, Path]]] = {}
    for path, document in zip(paths, read_metrics(paths), strict=True):
        if document["model"] == model:
            development = [scored for split, scored in document["splits"].items() if split.startswith("valid")]
            values = [value for scored in development for value in scored["metrics"].values()]
            score = fmean(values) if values and None not in values else float("-inf")
            of_task.setdefault(document["task"], []).append((score, -document["seed"], path.parent))
    best = {task: max(runs) for task, runs in sorted(of_task.items())}
    seeds = {task: best.get(evaluated_with.get(task, task), run)[2].name for task, run in best.items()}
    return {task: run[2].with_name(seeds[task]) / "predictions.tsv" for task, run in best.items()}


def write_submission(
    path: Path | str, predictions_paths: Mapping[str, Path | str], *, tasks: Mapping[str, Task], complete: bool = True
) -> list[str]:
    """Write one model's test predictions, a `predictions.tsv` for each task, as a zip; tasks outside GLUE are left out.

    Returns:
        What keeps the submission from being complete: each missing file, each wrong row count; `complete` refuses it.

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
        source = predictions_paths.get(name)
        rows = read_predictions(source).get(split) if source else None
        if rows is None:
            why = f"{source} has no predictions for split {split}" if source else f"task {name} is not in the config"
            faults.append(f"{file} is missing ({why})")
            continue
        if rows.indices != list(map(str, range(len(rows.indices)))):
            raise UserError(f"{source}: the indices of {name} ({split}) do not count from 0 upward: evaluate it again")
        # GLUE's own number, whatever the config says of checking rows
        found, expected = len(rows.predictions), TASKS[name].splits[split].expected_rows if name in TASKS else None
        if expected not in (None, found):
            faults.append(f"{source} has {found} predictions for {name} ({split}), GLUE has {expected} rows")
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
    predictions: Iterable[str] = rows.predictions
    if task.labels is None:
        predictions = (f"{min(max(float(score), 0.0), task.score_scale):.3f}" for score in predictions)
    return "\n".join(["index\tprediction", *map("{}\t{}".format, range(len(rows.predictions)), predictions)]) + "\n"
