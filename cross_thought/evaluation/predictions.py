"""Reading and writing `predictions.tsv`: the file from which every task number is computed.

Columns: `split`, `index`, `label` (empty where unknown), `prediction` (a label string; a number for a regression task;
for answer selection the numbers of the candidates, best first, as `3 1 2 4`), then one `score_<label>` column for each
label of a classification task, the probability of that label, or for each candidate, the attention weight on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cross_thought.errors import UserError
from cross_thought.evaluation.result_files import result_file
from cross_thought.files import atomic_file, split_lines

COLUMNS = ("split", "index", "label", "prediction")


@dataclass(frozen=True)
class SplitPredictions:
    """What a model answered to the examples of one split, in the order of the data file.

    `indices`, `labels` and `predictions` have one string an example; a label is "" where it is unknown.
    `scores` maps each label string to its probability for every example, in answer selection each candidate's number
    to its attention weight (0 where there is none); empty for regression.
    """

    indices: list[str]
    labels: list[str]
    predictions: list[str]
    scores: dict[str, list[float]] = field(default_factory=dict)

    @property
    def has_labels(self) -> bool:
        """Whether each example's label is known, so that the split can be scored."""
        return bool(self.labels) and all(self.labels)


def read_predictions(path: Path | str) -> dict[str, SplitPredictions]:
    """Read a `predictions.tsv`, split by split; a UserError names the line that is not of that form."""
    with result_file(path, "file of predictions"):
        # Only "\n" ends a line: a label may hold any other character.
        header, *lines = (line.split("\t") for line in split_lines(Path(path).read_bytes().decode("utf-8")))
        remedy = f"delete the file and run `snakemake {path}`"
        if tuple(header[:4]) != COLUMNS or not all(name.startswith("score_") for name in header[4:]):
            expected = f"{', '.join(COLUMNS)} and score_<label>"
            raise UserError(f"{path}, line 1: the columns are {', '.join(header)}, expected {expected}: {remedy}")
        splits: dict[str, SplitPredictions] = {}
        for number, fields in enumerate(lines, start=2):
            if len(fields) != len(header):
                raise UserError(f"{path}, line {number}: {len(fields)} fields, expected {len(header)}: {remedy}")
            rows = splits.setdefault(fields[0], SplitPredictions([], [], [], {name[6:]: [] for name in header[4:]}))
            for column, value in zip((rows.indices, rows.labels, rows.predictions), fields[1:4], strict=True):
                column.append(value)
            for scores, value in zip(rows.scores.values(), fields[4:], strict=True):
                scores.append(float(value))
    return splits


def write_predictions(path: Path | str, splits: Mapping[str, SplitPredictions]) -> None:
    """Write a `predictions.tsv`, whole or not at all."""
    score_labels = list(next(iter(splits.values())).scores)
    with atomic_file(Path(path)) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        print(*COLUMNS, *(f"score_{label}" for label in score_labels), sep="\t", file=file)
        for split, rows in splits.items():
            scores = [rows.scores[label] for label in score_labels]
            for position, fields in enumerate(zip(rows.indices, rows.labels, rows.predictions, strict=True)):
                print(split, *fields, *(f"{column[position]:.6g}" for column in scores), sep="\t", file=file)
