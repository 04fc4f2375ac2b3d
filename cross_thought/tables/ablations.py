"""The ablation table: models that differ in one factor, by their held-out loss, the cross path, and the tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cross_thought.data.demo import SEGMENT_LENGTH as SENTENCE_LENGTH
from cross_thought.data.tasks import Task
from cross_thought.evaluation.aggregate import Summary, read_metrics, summarise
from cross_thought.tables.tables import (
    METRIC_NAMES,
    NOT_AVAILABLE,
    latex_table,
    markdown_table,
    mean_sd_n,
    read_cross_path_rows,
    read_pretraining_rows,
)

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

# for each factor its setting in each of the models that differ in it
Factors = Mapping[str, Mapping[str, int | bool]]


@dataclass(frozen=True)
class AblationRow:
    """One number of the ablation table: a loss in bits, an accuracy or a task's metric in percent.

    Attributes:
        factor: the key of the models that is varied.
        setting: what it is in this model.
        task: whose metric it is; "" for the others.
        metric: `valid_loss_bits`, `cross_path`, or the task's main metric.
        mean, sd, n: over seeds; None where undefined.
    """

    factor: str
    setting: str
    model: str
    task: str
    metric: str
    mean: float | None
    sd: float | None
    n: int
    seeds: tuple[int, ...]

    @property
    def column(self) -> tuple[str, str]:
        """The table's column: (task, metric)."""
        return self.task, self.metric


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
) -> list[AblationRow]:
    """Read the results of the compared models into the rows of the ablation table.

    Args:
        factors: what is compared.
        histories: every `history.tsv` of pre-training.
        cross_path_reports: every report on the cross path; none where the corpus has no known answers.
        metrics: every `metrics.json`.
        tasks: task name -> task; what counts is the main metric on the development set.
    """
    models = list(dict.fromkeys(model for settings in factors.values() for model in settings))
    numbers = _losses(histories) + _cross_path_accuracies(cross_path_reports)
    for summary in summarise(read_metrics(metrics), models=models, tasks=tasks):
        if summary.split == "valid" and summary.metric == tasks[summary.task].metrics[0]:
            numbers.append(_in_percent(summary))
    return [
        AblationRow(
            factor=factor,
            setting={True: "on", False: "off"}[setting] if isinstance(setting, bool) else str(setting),
            model=model,
            task=number.task,
            metric=number.metric,
            mean=number.mean,
            sd=number.sd,
            n=number.n,
            seeds=number.seeds,
        )
        for factor, settings in factors.items()
        for model, setting in settings.items()
        for number in numbers
        if number.model == model
    ]


def _losses(histories: Iterable[Path | str]) -> list[Summary]:
    """Return each model's held-out loss at the end of pre-training, in bits, over seeds."""
    rows = read_pretraining_rows(histories)
    losses = []
    for model in dict.fromkeys(row.model for row in rows):
        runs = sorted((row for row in rows if row.model == model), key=lambda row: row.seed)
        seeds, values = zip(*((run.seed, run.valid_loss_bits) for run in runs), strict=True)
        losses.append(Summary(model, "", "valid", LOSS, seeds, values, 0))
    return losses


def _cross_path_accuracies(reports: Iterable[Path | str]) -> list[Summary]:
    """Return each model's accuracy as it was trained: cross layer 0 on, or left out if it always was."""
    accuracies: dict[str, Summary] = {}
    for row in read_cross_path_rows(reports):  # of a model, the condition that it was trained in comes first
        accuracies.setdefault(row.model, Summary(row.model, "", "valid", CROSS_PATH, row.seeds, row.values, 0))
    return list(accuracies.values())


def _in_percent(summary: Summary) -> Summary:
    return replace(summary, values=tuple(None if value is None else 100 * value for value in summary.values))


def ablation_markdown(rows: Sequence[AblationRow], *, demo: bool) -> str:
    """Lay the ablation rows out as Markdown; `demo` says whether the text is the demo's."""
    header, body, _ = _wide_table(rows)
    notes = "\n".join(f"- {note}" for note in ablation_notes(rows, demo=demo))
    return f"# Ablations\n\n{markdown_table(header, body)}\n\n{notes}\n"


def ablation_latex(rows: Sequence[AblationRow], *, demo: bool) -> str:
    """Lay the ablation rows out as a LaTeX tabular for booktabs, a rule between the factors."""
    header, body, rules = _wide_table(rows)
    notes = [note.replace("`", "") for note in ablation_notes(rows, demo=demo)]
    return latex_table(header, body, rules=rules) + "\n" + "".join(f"% {note}\n" for note in notes)


def ablation_notes(rows: Sequence[AblationRow], *, demo: bool) -> list[str]:
    """Say what a reader must know of these rows, in one sentence or two each."""
    notes = [
        "The models of a factor differ in it alone (and in the position range, where that has to fit). Mean ± sample "
        "standard deviation over seeds (number of seeds); no test is made, a difference within ± is noise.",
        "Loss: on held-out masked words, in bits; lower is better.",
    ]
    columns = {row.column for row in rows}
    if ("", CROSS_PATH) in columns:
        notes.append(
            "Cross path: held-out accuracy, in percent, on masked words that only other segments can tell; guessing is "
            "right once in 6. `n/a`: a segment tells such words itself, so nothing is to be measured."
        )
    if any(task for task, _ in columns):
        notes.append("Tasks: the main metric on the development set, in percent.")
    if demo and any(row.factor == "segment_length" for row in rows):
        notes.append(
            f"The demo's sentences have exactly {SENTENCE_LENGTH} tokens and state each fact once. At T = "
            f"{SENTENCE_LENGTH} a segment is a sentence; shorter segments cut through sentences, so that one hears "
            "of fewer facts and has to gather them from more segments; longer ones hold several sentences, whose words "
            "can tell a masked one without the cross path. Expect T to change how much the cross path has to do, not "
            "only how well it does it."
        )
    return notes


def column_title(task: str, metric: str) -> str:
    """Name a column for people."""
    if task:
        return f"{task} {METRIC_NAMES[metric]}"
    return {LOSS: "loss (bits)", CROSS_PATH: "cross path (%)"}[metric]


def columns_of(rows: Sequence[AblationRow]) -> list[tuple[str, str]]:
    """Return the table's columns, in order."""
    return list(dict.fromkeys(row.column for row in rows))


def _wide_table(rows: Sequence[AblationRow]) -> tuple[list[str], list[list[str]], set[int]]:
    """Pivot rows to setting x column. Returns the header, the body, and the body rows that a rule goes before."""
    columns = columns_of(rows)
    of_cell = {(row.factor, row.model, row.column): row for row in rows}
    body, rules, previous = [], set(), None
    for factor, setting, model in dict.fromkeys((row.factor, row.setting, row.model) for row in rows):
        if previous not in (None, factor):
            rules.add(len(body))
        cells = [_cell(of_cell.get((factor, model, column))) for column in columns]
        body.append(["" if factor == previous else FACTOR_NAMES[factor], setting, model, *cells])
        previous = factor
    return ["factor", "setting", "model", *(column_title(*column) for column in columns)], body, rules


def _cell(row: AblationRow | None) -> str:
    if row is None or row.mean is None:
        return NOT_AVAILABLE
    return mean_sd_n(row.mean, row.sd, row.n, ".3f" if row.metric == LOSS else ".1f")
