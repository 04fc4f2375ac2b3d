"""Reading `history.tsv`, the losses that a training run wrote down."""

import csv
from dataclasses import dataclass
from pathlib import Path

from cross_thought.errors import UserError


@dataclass(frozen=True)
class HistoryLine:
    """One line: losses in bits a token, as fairseq prints them. `tokens` counts what was read so far, if recorded."""

    split: str
    num_updates: int
    loss: float
    elapsed_s: float | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class History:
    """The lines of one run, in the order of the file."""

    model: str
    seed: int
    lines: tuple[HistoryLine, ...]

    def last(self, split: str) -> HistoryLine | None:
        """Return the split's line of the highest update."""
        lines = self.of_split(split)
        return lines[-1] if lines else None

    def of_split(self, split: str) -> list[HistoryLine]:
        """Return the split's lines in the order of updates; of two for one update, the later written."""
        by_update = {line.num_updates: line for line in self.lines if line.split == split}
        return [by_update[update] for update in sorted(by_update)]


def read_history(path: Path | str) -> History:
    """Read `<model>/seed-<s>/history.tsv`; the model and the seed are in the path.

    Raises:
        UserError: if the file is missing, empty, or lacks a column.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = tuple(_line(entry) for entry in csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake {path}` to make it") from None
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no training history ({error}): delete it and train again") from None
    if not lines:
        raise UserError(f"{path} has no line but its header: delete it and train again")
    return History(model=path.parent.parent.name, seed=int(path.parent.name.removeprefix("seed-")), lines=lines)


def _line(entry: dict[str, str]) -> HistoryLine:
    elapsed, tokens = entry.get("elapsed_s"), entry.get("tokens")
    return HistoryLine(
        split=entry["split"],
        num_updates=int(float(entry["num_updates"])),
        loss=float(entry["loss"]),
        elapsed_s=float(elapsed) if elapsed else None,
        tokens=int(float(tokens)) if tokens else None,
    )
