"""Where numbers come from: the code, the machine, the data and the command lines behind each of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from cross_thought.data.definitions import STS_TASKS, Task
from cross_thought.data.pairs import place_of
from cross_thought.data.run_results import RunResults
from cross_thought.environment import environment
from cross_thought.errors import UserError
from cross_thought.evaluation.aggregate import AVERAGE
from cross_thought.evaluation.choice import chosen_setting
from cross_thought.evaluation.result_files import read_json, read_json_lines
from cross_thought.files import file_hash, files_of
from cross_thought.tables.ablations import EMBEDDED, MASKED_WORDS


def assemble(run: RunResults, *, config_path: Path | str, data_paths: Iterable[Path | str]) -> dict[str, Any]:
    """Tie each number of a run's tables to what made it.

    A UserError says that a number has seeds, and a file of one of them is missing.

    Args:
        run: its results, whose folder has the tables.
        config_path: the effective config.
        data_paths: data files to hash; of a folder, each file in it that is not hidden.

    Returns:
        A document of four parts: `made` (when and where it was assembled, with the config's hash), `data` (files with
        sizes and hashes), `runs` (each training or evaluation: command line, start, duration, machine, and what
        Snakemake measured) and `numbers` (each figure of each table, with its seeds, source files and runs). A run's
        `command` is null where none was recorded, as for a downloaded checkpoint.
    """
    numbers = [number for table in run.made_of for number in _numbers_of(run, table)]
    config = {"path": str(config_path), "sha256": file_hash(config_path)}
    files = [
        {"path": str(path), "bytes": path.stat().st_size, "sha256": file_hash(path)} for path in files_of(data_paths)
    ]
    results = Path(run.folder)
    return {
        "made": {"at": datetime.now(UTC).isoformat(timespec="seconds"), **environment(), "config": config},
        "data": files,
        "runs": {run: _run_record(Path(run), results) for run in sorted({run for n in numbers for run in n["runs"]})},
        "numbers": numbers,
    }


# what the numbers of a table are computed from
_SCORED = {"embeddings": "pairs.tsv", "retrieval": "run.trec", "mteb": "scores.json"}


def _behind(
    run: RunResults, table: str, row: Mapping[str, str], figure: str, seed: str
) -> tuple[list[Path], list[Path]]:
    """Return a seed's part of the files that a figure is computed from, and of the folders of the runs behind them."""
    results = Path(run.folder)
    if table == "ablations":
        of_metric = {"cross_path": "cross_path"} | dict.fromkeys(MASKED_WORDS, "masked_words")
        of_task = "embeddings" if row["metric"].startswith(EMBEDDED) else "tasks"
        table = of_task if row["task"] else of_metric.get(row["metric"], "pretraining")
    model, seed = place_of(row["model"]), f"seed-{seed}"
    start, _, tuned_on = model.partition("@")
    trained = _pretraining_runs(run, start, seed)
    if table == "pretraining":
        return [place / "history.tsv" for place in trained], trained
    if table == "cross_path":
        return [results / "cross_path" / model / f"{seed}.json"], trained
    if table == "masked_words":
        return [results / "masked_words" / model / seed / "words.tsv"], trained
    if table in _SCORED:
        pooling = row.get("pooling") or row["metric"].split()[1]  # the ablations' metric names it
        tuned = [results / "tune" / start / tuned_on / seed] if tuned_on else []
        tasks = [""] if table == "mteb" else _embedding_tasks(row)  # mteb's tasks are in one file
        place = Path(pooling, seed, _SCORED[table])
        return [results / table / model / task / place for task in tasks], [*trained, *tuned]
    if table == "sweeps":
        of_setting = Path(model, row["task"], row["setting"], seed)
        evaluation = results / "evaluate" / of_setting
        return [evaluation / "predictions.tsv"], [evaluation, results / "finetune" / of_setting, *trained]
    if table != "tasks":
        raise NotImplementedError(f"{table}: what its numbers are computed from is to be said here")
    predictions: list[Path] = []
    runs: list[Path] = []
    for model in [row["model"], row["control"]] if figure == "difference" else [row["model"]]:
        for name, task in run.tasks.items():
            if name == row["task"] or (row["task"] == AVERAGE and _is_averaged(task)):
                evaluation = results / "evaluate" / model / name / seed
                predictions.append(evaluation / "predictions.tsv")
                runs += [evaluation, results / "finetune" / model / (task.evaluated_with or name) / seed]
        runs += _pretraining_runs(run, model, seed)
    return predictions, runs


def _is_averaged(task: Task) -> bool:
    """Whether a task has development results that count in averages."""
    return task.in_average and any(split.startswith("valid") for split in task.splits)


def _embedding_tasks(row: Mapping[str, str]) -> Sequence[str]:
    """Return the embedding tasks behind a row: of an average, those that are averaged."""
    return STS_TASKS if row["task"] == AVERAGE else [row["task"]]


def _named(run: RunResults, places: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders of runs, before a fine-tuning that started from another the latter.

    Of a task with a sweep it is the run of the chosen setting, whose files were copied.
    """
    for folder in places:
        stage, model, *place = folder.relative_to(run.folder).parts
        if stage == "finetune" and (start := run.tasks[place[0]].start_from):
            yield from _named(run, [Path(run.folder, stage, model, start, folder.name)])
        if stage in ("finetune", "evaluate") and place[0] in run.sweeps and len(place) == 2:
            chosen = chosen_setting(Path(run.folder, "finetune", model, place[0], "choice.json"))
            folder = folder.parent / chosen / folder.name
        yield folder


def _pretraining_runs(run: RunResults, model: str, seed: str) -> list[Path]:
    """Return the pre-training of that seed, or the one that all seeds share, or none for a model that is given."""
    if model not in run.trained_models:
        return []
    shared = run.config["pretraining_seed"]
    return [Path(run.folder, "pretrain", model, seed if shared == "each" else f"seed-{shared}")]


_FIGURES = ["mean", "sd", "difference", "valid_loss_bits", "valid_loss_nats", "valid_perplexity", "train_loss_bits"]
_FIGURES += ["hours", "median"]
_OF_WORDS = ["mean", "sd", "ci_low", "ci_high", "p_documents", "p_seeds"]
_KEYS = ("factor", "setting", "kind", "model", "pooling", "task", "split", "metric", "words", "condition", "control")


def _numbers_of(run: RunResults, table: str) -> Iterator[dict[str, Any]]:
    path = Path(run.folder, "tables", f"{table}.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    figures = _OF_WORDS if table == "masked_words" else _FIGURES
    if not set(figures) & set(frame) or not {"seed", "seeds"} & set(frame):
        raise NotImplementedError(f"{table}: has none of the figures that are known here, or no seeds")
    for row in frame.to_dict("records"):
        seeds = (row["seeds"] if "seeds" in row else row["seed"]).split()
        for figure in filter(row.get, figures):
            found = [_behind(run, table, row, figure, seed) for seed in seeds]
            for seed, (sources, _) in zip(seeds, found, strict=True):
                missing = [str(source) for source in sources if not source.is_file()]
                if missing or not sources:
                    raise UserError(
                        f"{path}: {figure} of {row['model']} is over seeds {' '.join(seeds)}, but of seed {seed} "
                        f"{missing[0] if missing else 'every source'} is missing: run `snakemake` again"
                    )
            if row.get("kind") == "lexical":  # needs no seed
                folder = Path(run.folder, table, row["model"])
                found = [([folder / task / _SCORED[table] for task in _embedding_tasks(row)], [])]
            runs = _named(run, (place for _, places in found for place in places))
            yield {
                "table": table,
                **{key: row[key] for key in _KEYS if row.get(key)},
                "figure": figure,
                "value": float(row[figure]),
                "seeds": list(map(int, seeds)),
                "sources": _existing(source for sources, _ in found for source in sources),
                "runs": _existing(runs),
                **({"published": row["source"]} if row.get("source") else {}),
            }


def _existing(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in dict.fromkeys(paths) if path.exists()]


def _run_record(run: Path, results: Path) -> dict[str, object]:
    stage, *wildcards = run.relative_to(results).parts
    command = run / "command.json"
    # The rule is named after the stage: `finetune_task` writes below `finetune`.
    benchmarks = sorted(results.glob("/".join(["benchmarks", f"{stage}*", *wildcards]) + ".jsonl"))
    return {
        "command": read_json(command) if command.is_file() else None,
        "benchmark": read_json_lines(benchmarks[0]) if benchmarks else None,
    }
