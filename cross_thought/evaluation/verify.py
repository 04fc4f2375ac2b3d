"""Recompute every number of the tables from the predictions and hold it against what the files say.

`python -m cross_thought.evaluation.verify [RESULTS]` names the first numbers that differ and exits 1, or says how many
agree. The bootstrap's numbers are among them: its generator is seeded.
"""

import argparse
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from cross_thought.errors import UserError, exit_on_user_error
from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.evaluation.tables import (
    csv_text,
    cross_path_markdown,
    pretraining_markdown,
    read_cross_path_rows,
    read_pretraining_rows,
    summarise,
    task_latex,
    task_markdown,
    task_rows,
    reference_rows,
)
from cross_thought.text.tasks import Task, task_from_config

_SHOWN = 10


def verify(results: Path, *, models: Sequence[str], tasks: Mapping[str, Task], seeds: Sequence[int], **options) -> int:
    """Recompute the tables under `results`.

    Args:
        results: the workflow's `results/` folder.
        models, tasks, seeds: what the tables are of, as in the config.
        options: `control` and `references_path`, as for the tables.

    Returns:
        The number of figures that agree.

    Raises:
        UserError: naming the figures that differ.
    """
    differences = []
    count = 0
    for found in _figures(results, models=models, tasks=tasks, seeds=seeds, **options):
        name, written, computed = found
        count += 1
        if written != computed:
            differences.append(f"{name} is {written or 'empty'}, but the predictions give {computed or 'nothing'}")
    if differences:
        more = len(differences) - _SHOWN
        raise UserError(
            f"{len(differences)} of {count} figures differ:\n  "
            + "\n  ".join(differences[:_SHOWN])
            + (f"\n  and {more} more" if more > 0 else "")
            + "\nRun `snakemake tables` if the predictions are right."
        )
    return count
