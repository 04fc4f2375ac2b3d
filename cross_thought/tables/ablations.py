"""The ablation table: models that differ in one factor, by their held-out loss, the cross path, and the tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cross_thought.data.definitions import EmbeddingTask
from cross_thought.data.demo import SEGMENT_LENGTH as SENTENCE_LENGTH
from cross_thought.data.run_results import RunResults
from cross_thought.data.tasks import setting_of
from cross_thought.evaluation.aggregate import over_seeds, read_metrics, tidy_results
from cross_thought.evaluation.result_files import Read
from cross_thought.tables.cross_path import read_cross_path_rows
from cross_thought.tables.layout import METRIC_NAMES, NOT_AVAILABLE, Page, mean_sd_n, metric_name, that_hold, wide
from cross_thought.tables.masked_words import DIFFERENCE, read_masked_words_rows
from cross_thought.tables.pretraining import OTHER_TARGETS, read_pretraining_rows

LOSS, CROSS_PATH = "valid_loss_bits", "cross_path"
# how many masked words are told, as the model was trained; and how many more than with other documents' segments
MASKED_WORDS = TOLD, GAIN = ("masked_words", "masked_words_gain")
FACTOR_NAMES = {
    "num_slots": "slots k",
    "segment_length": "segment T",
    "num_layers": "layers",
    "embed_dim": "width d",
    "ffn_dim": "FFN width",
    "num_heads": "heads",
    "segment_by": "cut by",
    "max_updates": "updates",
    "cross_sequence": "cross layer 0",
}
ROW_KEYS = ["factor", "model", "task", "metric"]
COLUMNS = ["factor", "setting", "model", "task", "metric", "mean", "sd", "n", "seeds"]

# for each factor its setting in each of the models that differ in it
Factors = Mapping[str, Mapping[str, int | bool | str]]
EMBEDDED = "embedded "  # before pooling and metric of a task that embeddings are evaluated on as they are


def factors_of(config: Mapping) -> Factors:
    """Look up, in an effective config with an ablation, each factor's setting in each of its models."""
    return {
        factor: {model: setting_of(config["models"][model], factor) for model in models}
        for factor, models in config["ablation"].items()
    }


def tabulate(results: RunResults, read: Read = read_metrics) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out; `read` reads the `metrics.json` files."""
    rows = ablation_rows(results, read)
    return rows, ablation_page(rows, demo=results.config["corpus"]["source"] == "demo")


def ablation_rows(results: RunResults, read: Read = read_metrics) -> pd.DataFrame:
    """Gather the results of the compared models.

    There may be no reports on the cross path, where the corpus has no known answers; of a task counts the main metric
    on the development set, of embeddings as they are, all by one pooling, Spearman's correlation or MRR there.

    Returns:
        One row a number: `metric` is a loss in bits (`valid_loss_bits`), an accuracy in percent (`cross_path`, as the
        model was trained; `masked_words`, likewise; `masked_words_gain`, what it is above that with other documents'
        segments), or of `task`, in percent, its main metric, or `embedded POOLING METRIC` of embeddings as they are.
    """
    factors = factors_of(results.config)
    models = list(dict.fromkeys(model for settings in factors.values() for model in settings))
    losses = (
        read_pretraining_rows(results.histories()).rename(columns={LOSS: "value"}).sort_values("seed", kind="stable")
    )
    accuracies = read_cross_path_rows(results.cross_path()).drop_duplicates("model")  # as it was trained comes first
    words = read_masked_words_rows(results.masked_words())
    words = words[(words["words"] == "all") & (words["metric"] == "accuracy")]
    told, gain = words.drop_duplicates("model"), words[words["condition"] == DIFFERENCE]
    scored = tidy_results(read(results.evaluations("metrics.json")), models=models, tasks=results.tasks)
    main = scored["metric"] == scored["task"].map({name: task.metrics[0] for name, task in results.tasks.items()})
    numbers = pd.concat(
        [
            over_seeds(losses, ["model"]).assign(task="", metric=LOSS),
            accuracies.assign(task="", metric=CROSS_PATH),
            told.assign(task="", metric=TOLD),
            gain.assign(task="", metric=GAIN),
            over_seeds(scored[main & (scored["split"] == "valid")]),
            _embedding_numbers(read(results.ablated_embeddings()), models, results.embedding_tasks),
        ]
    )
    settings = [
        (factor, {True: "on", False: "off"}[setting] if isinstance(setting, bool) else str(setting), model)
        for factor, settings in factors.items()
        for model, setting in settings.items()
    ]
    return pd.DataFrame(settings, columns=COLUMNS[:3]).merge(numbers, on="model")[COLUMNS]


def _embedding_numbers(
    documents: Sequence[Mapping], models: Sequence[str], tasks: Mapping[str, EmbeddingTask]
) -> pd.DataFrame:
    found = tidy_results(documents, models=models, tasks=tasks)
    found = found[found["metric"].isin(["spearman", "mrr"]) & (found["split"] == "valid")]
    (pooling,) = {document["pooling"] for document in documents} or {""}
    return over_seeds(found.assign(metric=f"{EMBEDDED}{pooling} " + found["metric"]))


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
    has_path, has_words = (metric in set(rows["metric"]) for metric in (CROSS_PATH, TOLD))
    factors = set(rows["factor"])
    is_embedded = rows["metric"].str.startswith(EMBEDDED)
    return that_hold(
        {
            "The models of a factor differ in it alone (and in the position range, where that has to fit). Mean ± "
            "sample standard deviation over seeds (number of seeds); no test is made, a difference within ± is "
            "noise.": True,
            "Loss: on held-out masked words, in bits; lower is better.": True,
            OTHER_TARGETS: "segment_by" in factors,
            "Cross path: held-out accuracy, in percent, on masked words that only other segments can tell; guessing is "
            "right once in 6. `n/a`: a segment tells such words itself, so nothing is to be measured.": has_path,
            "Masked words: how many of any kind are told in held-out text, in percent, as the model was trained, and "
            "how many points that is above what it tells with other documents' segments; their number grows with "
            "T.": has_words,
            "Tasks: the main metric on the development set, in percent.": ((rows["task"] != "") & ~is_embedded).any(),
            "Embedded: retrieval or similarity by the embeddings as pre-trained, likewise.": is_embedded.any(),
            "Segments of T tokens cut through sentences; cut by `sentence`, those longer than T are. Then some of a "
            "sentence is in other segments and helps there; of models cut by `sentence` only words of whole sentences "
            "are masked here, so that a smaller T is measured on shorter sentences.": "segment_length" in factors,
            f"The demo's sentences have exactly {SENTENCE_LENGTH} tokens and state each fact once. At T = "
            f"{SENTENCE_LENGTH} a segment is a sentence; shorter segments cut through sentences, so that one hears of "
            "fewer facts and has to gather them from more segments; longer ones hold several sentences, whose words "
            "can tell a masked one without the cross path. Expect T to change how much the cross path has to do, not "
            "only how well it does it.": demo and "segment_length" in factors,
        }
    )


def column_title(row: Any) -> str:
    """Name a row's column for people."""
    if row.metric.startswith(EMBEDDED):
        return f"{row.task} {EMBEDDED}{METRIC_NAMES[row.metric.split()[-1]]}"
    if row.task:
        return f"{row.task} {metric_name(row)}"
    names = {LOSS: "loss (bits)", CROSS_PATH: "cross path (%)", TOLD: "masked words (%)", GAIN: "gain (points)"}
    return names[row.metric]
