"""What a task is: its files, their columns, its labels and metrics; and what embeddings are evaluated on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

TWO_CLASS_METRICS = ("f1", "precision", "recall")  # of the last of two labels
CLASS_METRICS = ("accuracy", "f1", "matthews", "precision", "recall", "macro_f1", "macro_precision", "macro_recall")
SCORE_METRICS = ("pearson", "spearman")
RANKING_METRICS = ("accuracy", "mrr")  # those of rankings by default; `ranking_metric` tells which others there are
METRICS = tuple(dict.fromkeys((*CLASS_METRICS, *SCORE_METRICS, *RANKING_METRICS)))

# accuracy: how often a right candidate is ranked first; raw_: of all questions, those without a right candidate too
_RANKING_METRIC = re.compile(
    r"(raw_)?(?:(accuracy|mrr|map)|(precision|recall|full_recall|success|ndcg)@([1-9][0-9]{0,5}))"
)
RANKING_METRICS_TEXT = "accuracy, mrr, map, and with @k precision, recall, full_recall, success, ndcg, each with raw_"

RESERVED_LABELS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

STS = "sts"  # the form of SemEval's files: a year of several parts
# what papers on sentence embeddings average over: Spearman of each one's test set
STS_TASKS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R")

SIMILARITY, RETRIEVAL, PROBE = "similarity", "retrieval", "probe"
TF_IDF, BM25 = "tf-idf", "bm25"
SPEARMAN_MEAN = "spearman_mean"  # over the parts of a split
EMBEDDING_METRICS = {
    SIMILARITY: ("spearman", "pearson"),
    RETRIEVAL: ("accuracy@1", "mrr", "recall@1", "recall@5", "recall@10"),
}  # those of a probe are its task's

EXACT, IVF = "exact", "ivf"  # how a collection is searched
RETRIEVAL_METRICS = ("ndcg@10", "mrr", "recall@10", "recall@100")  # of a collection, by default

Column = int | str


class RankingMetric(NamedTuple):
    """A metric of rankings: its name without `raw_` and `@k`; k, 0 where it has none; whether it is a raw one."""

    name: str
    cutoff: int
    is_raw: bool


def ranking_metric(metric: str) -> RankingMetric | None:
    """Return the metric of rankings that a name means; None if it means none."""
    found = _RANKING_METRIC.fullmatch(metric)
    if found is None:
        return None
    raw, plain, with_cutoff, cutoff = found.groups()
    return RankingMetric(plain or with_cutoff, int(cutoff or 0), raw is not None)


@dataclass(frozen=True, kw_only=True)
class Split:
    """The files of one split of a task, which are read one after the other.

    Attributes:
        file: name inside the task's folder or archive; of a task of one's own, the path.
        more_files: those that follow it.
        input_columns: the column of each sentence, by number from 1 or by name.
        label_column: the column of the label; None where the file has none.
        labels_optional: whether the file may come without that column, or with empty labels.
        header: whether the first line names the columns.
        format: one of `readers.FORMATS`; None: told by the file's ending.
        expected_rows: well-formed rows of the published file; None: not checked.
        num_fields: rows with another number of fields are malformed and left out; None: all rows count.
        download: name in `resources/downloads.tsv` of the file itself; None where it is in the task's archive.
        ids: name there of a file of id pairs that select rows by their 2nd and 3rd column (MRPC's dev set).
        keep_ids: whether the rows with these ids are kept, or the others.
        question_id_column: in answer selection with a row for each candidate, the column that tells questions apart;
            None: their text does.
        questions: the file of the questions that `file` has the passages of: its name in `resources/downloads.tsv` with
            `download`, else its path; None: `file` has both.
    """

    file: str
    more_files: tuple[str, ...] = ()
    input_columns: tuple[Column, ...]
    label_column: Column | None = None
    labels_optional: bool = False
    header: bool = True
    format: str | None = None
    expected_rows: int | None = None
    num_fields: int | None = None
    download: str | None = None
    ids: str | None = None
    keep_ids: bool = False
    question_id_column: Column | None = None
    questions: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files, in the order in which they are read."""
        return (self.file, *self.more_files)


@dataclass(frozen=True, kw_only=True)
class AnswerSelection:
    """How the rows of a file become questions with candidate answers.

    Attributes:
        num_candidates: N, the most candidates of a question; None: as many as there are.
        row_labels: with a row for each candidate: the labels there; None: a row has a question with all its candidates
            and, in place of a label, the numbers of the right ones.
        right_label: with a row for each candidate: the label of the right ones'.
        fill: whether the sentences of other questions make every question's candidates N.
        drop_unusable: whether questions that are empty, or have an empty candidate, and wrong candidates beyond N, are
            left out; otherwise they are refused.
    """

    num_candidates: int | None = None
    row_labels: tuple[str, ...] | None = None
    right_label: str | None = None
    fill: bool = False
    drop_unusable: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task on single sentences, on sentence pairs, or on questions with candidate answers.

    Attributes:
        name: as in the config.
        metrics: names out of `METRICS`, the main one first.
        labels: label strings as GLUE's submissions want them, in the order of the class indices; None: regression. In
            answer selection, the numbers of the candidates from 1; () where there are as many as the data have.
        num_sentences: 1 or 2; in answer selection, the question and its candidates, 0 if as many as the data have.
        selection: the form of an answer selection; None for other tasks.
        splits: the files, by split: train, valid, test, and valid1, test1 for MNLI's mismatched ones.
        folder: where the files lie under `data_dir`; None for generated ones and one's own.
        archive: name in `resources/downloads.tsv` of a zip archive with the files.
        archive_folder: folder of the files inside the archive.
        extra_columns: whether rows may have more fields than the first line.
        has_numbers: whether the files have a label's number, from 0, in place of it.
        no_label: what stands in place of a label that is not known.
        ignored_labels: rows with such a label are left out.
        score_scale: what a regression label is divided by before training.
        learning_rate, batch_size, num_updates, warmup_updates: fine-tuning as published, whatever the config says;
            num_updates None: as many as the epochs of the config take.
        best_metric: what the best checkpoint is chosen by, "accuracy" or "loss".
        in_average: whether tables count the task in their average.
        start_from: the task whose fine-tuned model, less its head, this one starts from; None: the pre-trained model.
        evaluated_with: the task whose fine-tuned model answers this one, which has no fine-tuning of its own.
    """

    name: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] | None
    num_sentences: int
    splits: Mapping[str, Split]
    selection: AnswerSelection | None = None
    folder: str | None = None
    archive: str | None = None
    archive_folder: str | None = None
    extra_columns: bool = False
    has_numbers: bool = False
    no_label: str | None = None
    ignored_labels: tuple[str, ...] = ()
    score_scale: float = 1.0
    learning_rate: float = 1e-5
    batch_size: int = 32
    num_updates: int | None = None
    warmup_updates: int | None = None
    best_metric: str = "accuracy"
    in_average: bool = True
    start_from: str | None = None
    evaluated_with: str | None = None

    def with_sentences(self, num_sentences: int) -> "Task":
        """Return an answer selection with as many candidates as its data have, unless the task says how many."""
        if self.num_sentences:
            return self
        labels = tuple(str(number) for number in range(1, num_sentences))
        return replace(self, num_sentences=num_sentences, labels=labels)

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number."""
        return self.labels is None

    @property
    def file_labels(self) -> tuple[str, ...] | None:
        """The labels in the task's files; None where they are any numbers."""
        labels = self.selection.row_labels if self.selection and self.selection.row_labels else self.labels
        return tuple(map(str, range(len(labels)))) if labels and self.has_numbers else labels

    @property
    def downloads(self) -> tuple[str, ...]:
        """Names in `resources/downloads.tsv` of what the files come from; none for other tasks."""
        names = [self.archive]
        for split in self.splits.values():
            names += [split.download, split.ids, split.questions if split.download else None]
        return tuple(dict.fromkeys(name for name in names if name is not None))


@dataclass(frozen=True, kw_only=True)
class EmbeddingTask:
    """What embeddings are evaluated on as they are, without fine-tuning: the sentence pairs of a task.

    Attributes:
        name: of the task, as in the config.
        evaluation: SIMILARITY (cosines against scores), RETRIEVAL (the second sentence is to be found by the first) or
            PROBE (a linear classifier on frozen embeddings).
        splits: those that can be scored: all whose labels are known, but train, which others learn from.
        positive_label: of retrieval, the label of the pairs that belong together; None: all do.
        has_parts: of similarity, whether a split is made of parts, whose mean is measured as well.
        probed: of a probe, the task that is classified.
        unread: splits that are not scored, for nobody says whether their files have labels.
    """

    name: str
    evaluation: str
    splits: tuple[str, ...]
    positive_label: str | None = None
    has_parts: bool = False
    probed: Task | None = None
    unread: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what is measured, the main one first."""
        if self.probed is not None:
            return self.probed.metrics
        return (*EMBEDDING_METRICS[self.evaluation], *((SPEARMAN_MEAN,) if self.has_parts else ()))

    @property
    def lexical(self) -> tuple[str, ...]:
        """Names of what needs no training and is evaluated beside: BM25 ranks, so it has no similarities."""
        return (TF_IDF, BM25) if self.evaluation == RETRIEVAL else (TF_IDF,)


@dataclass(frozen=True, kw_only=True)
class RetrievalTask:
    """A collection of passages in which those that answer a query are to be found, without fine-tuning.

    Attributes:
        name: as in the config.
        archive: the zip or tar that all files lie in, by their paths there; None: they are files.
        queries, passages: their files, which are read one after the other.
        judgements: of each split the files that say which passages are right for which query.
        query_columns, passage_columns: the column of the id, and those of the text; (): told by their names.
        header: whether TSV and CSV files start with a line of column names.
        metrics: names of what is measured, the main one first.
        depth: how many passages of a query are ranked.
        index: EXACT, or IVF: an approximate index.
        num_probes: of IVF, the clusters that are searched for a query.
        precision: of the embeddings on disk.
    """

    name: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    judgements: Mapping[str, tuple[str, ...]]
    archive: str | None = None
    query_columns: tuple[Column, ...] = ()
    passage_columns: tuple[Column, ...] = ()
    header: bool = True
    metrics: tuple[str, ...] = RETRIEVAL_METRICS
    depth: int = 1000
    index: str = EXACT
    num_probes: int = 64
    precision: str = "float32"

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that have judgements."""
        return tuple(self.judgements)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the collection is made of."""
        if self.archive is not None:
            return (self.archive,)
        return (*self.queries, *self.passages, *chain.from_iterable(self.judgements.values()))

    @property
    def unscored(self) -> "RetrievalTask":
        """What a run depends on: the collection without its metrics."""
        return replace(self, metrics=())

    @property
    def unsearched(self) -> "RetrievalTask":
        """What its prepared files depend on: the collection without how it is embedded, searched and scored."""
        data = ("name", "queries", "passages", "judgements", "archive", "query_columns", "passage_columns", "header")
        return RetrievalTask(**{key: getattr(self, key) for key in data})
