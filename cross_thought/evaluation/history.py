"""Reading `history.tsv`, the losses that a training run wrote down."""

from pathlib import Path

import pandas as pd

from cross_thought.errors import UserError

_TYPES = {"num_updates": "Int64", "loss": float, "elapsed_s": float, "tokens": "Int64"}


def read_history(path: Path | str) -> pd.DataFrame:
    """Read `<model>/seed-<s>/history.tsv`; the model and the seed are in the path.

    Returns:
        The lines in the order of the file: model, seed, split, num_updates, loss (in bits a token, as fairseq prints
        it), elapsed_s (since the attempt's start) and tokens (read so far); the last two are empty where not recorded.

    Raises:
        UserError: if the file is missing, empty, or lacks a column.
    """
    path = Path(path)
    try:
        lines = pd.read_csv(path, sep="\t", dtype={"split": str})
        for name in {"elapsed_s", "tokens"} - set(lines):
            lines[name] = None
        lines = lines[["split", *_TYPES]].astype(_TYPES)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake {path}` to make it") from None
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no training history ({error}): delete it and train again") from None
    if lines.empty:
        raise UserError(f"{path} has no line but its header: delete it and train again")
    lines.insert(0, "model", path.parent.parent.name)
    lines.insert(1, "seed", int(path.parent.name.removeprefix("seed-")))
    return lines


def of_split(history: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return a split's lines in the order of updates; of two for one update, the later written."""
    lines = history[history["split"] == split].drop_duplicates("num_updates", keep="last")
    return lines.sort_values("num_updates", ignore_index=True)
