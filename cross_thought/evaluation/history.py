"""Reading `history.tsv`, the losses that a training run wrote down."""

from pathlib import Path

import pandas as pd

from cross_thought.evaluation.result_files import result_file

_TYPES = {"num_updates": "Int64", "loss": float, "elapsed_s": float, "tokens": "Int64"}


def read_history(path: Path | str) -> pd.DataFrame:
    """Read `<model>/seed-<s>/history.tsv`; the model and the seed are in the path.

    A UserError says that the file is missing, empty, or lacks a column.

    Returns:
        The lines in the order of the file: model, seed, split, num_updates, loss (in bits a token, as fairseq prints
        it), elapsed_s (since the attempt's start) and tokens (read so far); the last two are empty where not recorded.
    """
    path = Path(path)
    with result_file(path, "training history"):
        lines = pd.read_csv(path, sep="\t", dtype={"split": str})
        lines = lines.assign(**dict.fromkeys({"elapsed_s", "tokens"} - set(lines)))[["split", *_TYPES]].astype(_TYPES)
        if lines.empty:
            raise ValueError("no line but its header")
    lines.insert(0, "model", path.parent.parent.name)
    lines.insert(1, "seed", int(path.parent.name.removeprefix("seed-")))
    return lines


def of_split(history: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return a split's lines in the order of updates; of two for one update, the later written."""
    lines = history[history["split"] == split].drop_duplicates("num_updates", keep="last")
    return lines.sort_values("num_updates", ignore_index=True)
