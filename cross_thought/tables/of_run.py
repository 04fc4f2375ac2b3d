"""Every table of a run, by name: its module computes and lays it out."""

from collections.abc import Mapping
from typing import Protocol

import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.result_files import Read
from cross_thought.tables import (
    ablations,
    cross_path,
    embeddings,
    masked_words,
    mteb,
    pretraining,
    retrieval,
    sweeps,
    tasks,
)
from cross_thought.tables.layout import Page


class Table(Protocol):
    """What the module of a table has."""

    ROW_KEYS: list[str]  # the columns that name a row

    def tabulate(self, results: RunResults, read: Read = ..., /) -> tuple[pd.DataFrame, Page]:
        """Compute the rows of a run's table, and lay them out.

        `read` reads the JSON documents of single evaluations, from their paths.
        """


TABLES: Mapping[str, Table] = {
    "tasks": tasks,
    "sweeps": sweeps,
    "embeddings": embeddings,
    "mteb": mteb,
    "retrieval": retrieval,
    "pretraining": pretraining,
    "masked_words": masked_words,
    "cross_path": cross_path,
    "ablations": ablations,
}
