"""The table of pre-training: how each run ended, a row a run; laid out, a row a model."""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.data.starts import starts_of
from cross_thought.evaluation.aggregate import over_seeds
from cross_thought.evaluation.history import of_split, read_history
from cross_thought.evaluation.result_files import Read, read_json
from cross_thought.tables.layout import NOT_AVAILABLE, Page, Section, as_table, mean_sd_n, percent_text, that_hold

OTHER_TARGETS = (
    "Losses of models cut by `tokens` and by `sentence` are of different targets, so do not compare them: by `tokens`, "
    "the marks `<s>` and `</s>`, which are easily told, are masked and scored like words; by `sentence` they are not."
)
ROW_KEYS = ["model", "seed"]
_FORMS = {"valid_loss_bits": ".3f", "valid_loss_nats": ".3f", "valid_perplexity": ".2f", "hours": ".2g"}
_NAMES = {"valid_loss_bits": "loss (bits)", "valid_loss_nats": "loss (nats)", "valid_perplexity": "perplexity"}


def tabulate(results: RunResults, _: Read | None = None) -> tuple[pd.DataFrame, Page]:
    """Compute a run's table and lay it out."""
    rows, models = read_pretraining_rows(results.histories()), results.config["models"]
    cuts = {models[name].get("segment_by", "tokens") for name in results.trained_models}
    left_out = left_out_notes(results.histories())
    return rows, pretraining_page(rows, cuts=cuts, starts=starts_of(models), left_out=left_out)


def read_pretraining_rows(history_paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read `results/pretrain/<model>/seed-<s>/history.tsv` files, and `command.json` beside each if it is there.

    Returns:
        One row a run: model, seed, updates, tokens, the losses at the end (as fairseq prints them in bits; NaN where
        not recorded), hours and hardware.
    """
    rows = pd.DataFrame(
        [pretraining_row(read_history(path), hardware=_hardware_beside(path)) for path in map(Path, history_paths)]
    )
    return as_table(rows, list(rows))


def pretraining_row(history: pd.DataFrame, *, hardware: str = "") -> dict[str, object]:
    """Take the last line of each split of a history."""
    ends = pd.concat([of_split(history, split).tail(1) for split in ("train", "valid")]).set_index("split")
    train, valid = (ends.reindex([split]).iloc[0] for split in ("train", "valid"))
    return {
        "model": history["model"].iloc[0],
        "seed": history["seed"].iloc[0],
        "updates": history["num_updates"].max(),
        "tokens": train["tokens"],
        "train_loss_bits": train["loss"],
        "valid_loss_bits": valid["loss"],
        "valid_loss_nats": valid["loss"] * math.log(2),
        "valid_perplexity": 2 ** valid["loss"],
        "hours": _training_time(history) / 3600,
        "hardware": hardware,
    }


def _training_time(history: pd.DataFrame) -> float:
    """Return the seconds that the history's updates took, over all attempts at the run; NaN if not recorded.

    Each attempt counts from its own start, so where the time falls back, another attempt goes on.
    """
    times = history.dropna(subset="elapsed_s").sort_values(["num_updates", "elapsed_s"])["elapsed_s"]
    after = times.shift(-1)
    return float(times[(after < times) | after.isna()].sum(min_count=1))


def pretraining_page(
    rows: pd.DataFrame,
    *,
    cuts: Collection[str] = (),
    starts: Mapping[str, str] | None = None,
    left_out: Iterable[str] = (),
) -> Page:
    """Lay the rows out: what is the same for all seeds or a range, and losses over seeds.

    Args:
        cuts: the values that `segment_by` has; if more than one, losses are of different targets, which is said.
        starts: model -> its `initialize_from`, of those that have one: updates and tokens are what came after it.
        left_out: of `left_out_notes`.
    """
    groups = rows.groupby("model", sort=False)
    cells = pd.DataFrame({name: groups[name].agg(_same_or_range) for name in ("updates", "tokens")})
    for name, form in _FORMS.items():
        summary = over_seeds(rows.rename(columns={name: "value"}), ["model"]).set_index("model")
        cells[_NAMES.get(name, name)] = [mean_sd_n(row, form) for row in summary.itertuples()]
    cells["hardware"] = groups["hardware"].agg(lambda known: "; ".join(filter(None, known.unique())) or NOT_AVAILABLE)
    places = ", ".join(f"`{model}` from `{place}`" for model, place in (starts or {}).items())
    notes = {
        "Held-out masked-word loss at the last update: mean ± sample standard deviation over seeds (number of "
        "seeds).": True,
        "Bits are what fairseq prints (base 2); perplexity is 2 to the power of them.": True,
        OTHER_TARGETS: len(cuts) > 1,
        f"Not from drawn weights, so updates, tokens and hours are those since: {places}.": starts,
    }
    notes |= dict.fromkeys(left_out, True)
    return Page("Pre-training", [Section(cells.reset_index())], that_hold(notes))


def _same_or_range(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return NOT_AVAILABLE
    return f"{known.min():,}" if known.nunique() == 1 else f"{known.min():,} to {known.max():,}"


def left_out_notes(history_paths: Iterable[Path | str]) -> list[str]:
    """Say which sentences were too long for the streams that a model was trained on, by the runs' `command.json`."""
    notes: dict[str, bool] = {}
    for path in map(Path, history_paths):
        for split, number in _command_beside(path).get("left_out", {}).items():
            notes[
                f"{path.parts[-3]} ({split}): {number['sentences']:,} of {number['of_sentences']:,} sentences, "
                f"{percent_text(number['tokens'] / number['of_tokens'])} of the tokens, are longer than a stream "
                "(`tokens_per_sample`), and were left out."
            ] = True
    return list(notes)


def _command_beside(path: Path) -> dict:
    command = path.with_name("command.json")
    return read_json(command) if command.is_file() else {}


def _hardware_beside(path: Path) -> str:
    if not (host := _command_beside(path).get("host")):
        return ""
    return ", ".join(host["gpus"]) or f"CPU: {host['cpu']}"
