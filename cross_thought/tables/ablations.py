"""The ablation table: models that differ in one factor, by their held-out loss, the cross path, and the tasks."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cross_thought.data.definitions import Task
from cross_thought.data.demo import SEGMENT_LENGTH as SENTENCE_LENGTH
from cross_thought.evaluation.aggregate import over_seeds, read_metrics, tidy_results
from cross_thought.tables.cross_path import read_cross_path_rows
from cross_thought.tables.layout import NOT_AVAILABLE, Page, mean_sd_n, metric_name, wide
from cross_thought.tables.pretraining import read_pretraining_rows

LOSS, CROSS_PATH = "valid_loss_bits", "cross_path"
FACTOR_NAMES = {
    "num_slots": "slots k",
    "segment_length": "segment T",
    "num_layers": "layers",
    "embed_dim": "width d",
    "ffn_dim": "FFN width",
    "num_heads": "heads",
    "cross_sequence": "cross layer 0",
}
COLUMNS = ["factor", "setting", "model", "task", "metric", "mean", "sd", "n", "seeds"]

# for each factor its setting in each of the models that differ in it
Factors = Mapping[str, Mapping[str, int | bool]]


def factors_of(config: Mapping) -> Factors:
    """Look up, in an effective config with an ablation, each factor's setting in each of its models."""
    return {
        factor: {model: config["models"][model][factor] for model in models}
        for factor, models in config["ablation"].items()
    }


def read_ablation_rows(
    factors: Factors,
    *,
    histories: Iterable[Path | str],
    cross_path_reports: Iterable[Path | str],
    metrics: Iterable[Path | str],
    tasks: Mapping[str, Task],
) -> pd.DataFrame:
    """Read the results of the compared models into the rows of the ablation table.

    There may be no reports on the cross path, where the corpus has no known answers; of a task counts the main metric
    on the development set.

    Returns:
        One row a number: `metric` is a loss in bits (`valid_loss_bits`), an accuracy in percent (`cross_path`, as the
        model was trained), or the main metric of `task`, in percent.
    """
    models = list(dict.fromkeys(model for settings in factors.values() for model in settings))
    losses = read_pretraining_rows(histories).rename(columns={LOSS: "value"}).sort_values("seed", kind="stable")
    accuracies = read_cross_path_rows(cross_path_reports).drop_duplicates("model")  # as it was trained comes first
    results = tidy_results(read_metrics(metrics), models=models, tasks=tasks)
    main = results["metric"] == results["task"].map({name: task.metrics[0] for name, task in tasks.items()})
    numbers = pd.concat(
        [
            over_seeds(losses, ["model"]).assign(task="", metric=LOSS),
            accuracies.assign(task="", metric=CROSS_PATH),
            over_seeds(results[main & (results["split"] == "valid")]),
        ]
    )
    settings = [
        (factor, {True: "on", False: "off"}[setting] if isinstance(setting, bool) else str(setting), model)
        for factor, settings in factors.items()
        for model, setting in settings.items()
    ]
    return pd.DataFrame(settings, columns=COLUMNS[:3]).merge(numbers, on="model")[COLUMNS]


def ablation_page(rows: pd.DataFrame, *, demo: bool) -> Page:
    """Lay the ablation rows out, a row a setting, with a rule between the factors; `demo`: the text is the demo's."""
    section = wide(
        rows.assign(group=rows["factor"]),
        lambda row: mean_sd_n(row, ".3f" if row.metric == LOSS else ".1f"),
        index=["group", *COLUMNS[:3]],
        column=column_title,
        missing=NOT_AVAILABLE,
    )
    factors = section.cells["factor"]
    section.cells["factor"] = factors.map(FACTOR_NAMES).where(~factors.duplicated(), "")
    return Page("Ablations", [section], ablation_notes(rows, demo=demo))


def ablation_notes(rows: pd.DataFrame, *, demo: bool) -> list[str]:
    """Say what a reader must know of these rows, in one sentence or two each."""
    notes = [
        "The models of a factor differ in it alone (and in the position range, where that has to fit). Mean ± sample "
        "standard deviation over seeds (number of seeds); no test is made, a difference within ± is noise.",
        "Loss: on held-out masked words, in bits; lower is better.",
    ]
    if CROSS_PATH in set(rows["metric"]):
        notes.append(
            "Cross path: held-out accuracy, in percent, on masked words that only other segments can tell; guessing is "
            "right once in 6. `n/a`: a segment tells such words itself, so nothing is to be measured."
        )
    if (rows["task"] != "").any():
        notes.append("Tasks: the main metric on the development set, in percent.")
    if demo and "segment_length" in set(rows["factor"]):
        notes.append(
            f"The demo's sentences have exactly {SENTENCE_LENGTH} tokens and state each fact once. At T = "
            f"{SENTENCE_LENGTH} a segment is a sentence; shorter segments cut through sentences, so that one hears "
            "of fewer facts and has to gather them from more segments; longer ones hold several sentences, whose words "
            "can tell a masked one without the cross path. Expect T to change how much the cross path has to do, not "
            "only how well it does it."
        )
    return notes


def column_title(row: Any) -> str:
    """Name a row's column for people."""
    if row.task:
        return f"{row.task} {metric_name(row)}"
    return {LOSS: "loss (bits)", CROSS_PATH: "cross path (%)"}[row.metric]
