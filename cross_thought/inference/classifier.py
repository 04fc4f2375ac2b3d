"""Labels, scores or rankings for text: `SentenceClassifier` for Python, `predict_file` for files of any size."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO

import numpy as np
import torch
from tqdm import tqdm

from cross_thought.data.definitions import Column
from cross_thought.data.input_rows import InputRow, input_rows
from cross_thought.data.readers import JSON_LINES, TSV, format_of
from cross_thought.encoder.heads import SELECTION, FineTunedTask
from cross_thought.encoder.saved import SavedModel
from cross_thought.encoder.tokenizer import SentenceTokenizer, cut_row
from cross_thought.errors import UserError, shown
from cross_thought.files import atomic_file, check_output, count_lines, is_read_once
from cross_thought.inference.arguments import as_list
from cross_thought.inference.fine_tuned import PRECISIONS, FineTunedModel, Sentence, blocks
from cross_thought.inference.hub import fetched
from cross_thought.inference.loading import load_classifier
from cross_thought.inference.tally import Reader
from cross_thought.training.devices import usable_device

_BLOCK_ROWS, _BLOCK_SENTENCES = 1 << 12, 1 << 14  # that are tokenized together, about
STDIN = Path("/dev/stdin")

Row = str | Sequence[str]


class SentenceClassifier(Reader):
    """A fine-tuned model for whoever wants its answers: labels, scores, or rankings of candidate answers.

    Args:
        saved: a fine-tuned model.
        tokenizer: with its encoder's ids.
        device: where it computes; None: a GPU if there is one, else the CPU.
        precision: `bfloat16`: matrix products of the encoder in that; `float32`: all.

    Attributes:
        task: what it was fine-tuned on.
        num_cut_sentences, num_empty_sentences, num_tokens, num_unknown_tokens: what it has read so far: `Reader`.

    Raises:
        UserError: if there is no such device or precision.
    """

    def __init__(
        self,
        saved: SavedModel,
        tokenizer: SentenceTokenizer,
        *,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = FineTunedModel(saved, device=device, precision=precision)
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        vocabulary: str | Path | None = None,
        revision: str | None = None,
        labels: Sequence[str] | None = None,
        score_scale: float | None = None,
        device: str | None = None,
        precision: str = "float32",
    ) -> "SentenceClassifier":
        """Load a fine-tuned model from disk, or from Hugging Face's hub; nothing in it can run code.

        Args:
            path: a fine-tuned checkpoint, or an export of one. If there is no such path, `user/model` is an export on
                the hub, of which data alone is fetched.
            vocabulary: for a checkpoint, the folder of dict.txt, encoder.json and vocab.bpe; None: where they are
                found, beside it or in the results folder that it lies in.
            revision: of an export on the hub: a branch, a tag or a commit; None: the newest.
            labels: other names for its labels, in their order; needed for a checkpoint that does not tell them.
            score_scale: likewise, what a regression's scores were divided by for training.
            device, precision: as above.

        Raises:
            UserError: if a file is missing, damaged or does not fit the others, the model is not fine-tuned, or does
                not tell its labels or its scale, the device is not there, or the hub has no such model.
        """
        if device is not None:
            usable_device(device)  # before the time that loading takes
        saved, tokenizer = load_classifier(
            fetched(Path(path), revision),
            None if vocabulary is None else Path(vocabulary),
            labels=labels,
            score_scale=score_scale,
        )
        return cls(saved, tokenizer, device=device, precision=precision)

    @property
    def task(self) -> FineTunedTask:
        """What the model was fine-tuned on."""
        return self._model.task

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels in the order of `predict_proba`'s columns; None for scores and rankings."""
        return self.task.labels

    @property
    def max_seq_length(self) -> int:
        """Tokens that a sentence may have, its `<s>` and `</s>` included."""
        return self._model.max_sentence_length

    def predict(
        self, rows: Iterable[Row], *, show_progress: bool = False
    ) -> list[str] | list[float] | list[tuple[int, ...]]:
        """Predict any number of rows.

        Args:
            rows: single sentences; pairs of them; or questions, each with its candidate answers.
            show_progress: draw a bar on stderr.

        Returns:
            In the order of the rows: labels; or scores in the task's own scale; or the candidates' places, from 0, the
            best first.

        Raises:
            ValueError: if a row has another number of sentences, or a sentence holds half a surrogate pair.
            TypeError: if a sentence is no string, or `rows` is one, or they, or a row, go by names as a dict does.
        """
        answers = [answer for answer, _ in self._answered(rows, show_progress)]
        if self.task.kind == SELECTION:
            return [tuple(int(number) - 1 for number in answer.split()) for answer in answers]
        return answers if self.labels is not None else [float(answer) for answer in answers]

    def predict_proba(self, rows: Iterable[Row], *, show_progress: bool = False) -> np.ndarray:
        """Return how sure the model is of rows; arguments as of `predict`.

        Returns:
            Probabilities of the labels, float32, shape (num_rows, num_labels), in the order of `labels`; of answer
            selection the candidates' weights, shape (num_rows, N), 0 where a question has fewer than N.

        Raises:
            ValueError: as of `predict`, and of a regression, which has no probabilities.
            TypeError: as there.
        """
        if self.labels is None and self.task.kind != SELECTION:
            raise ValueError(f"{self.task.task} is a regression, which has no probabilities: use predict")
        found = [probabilities or [] for _, probabilities in self._answered(rows, show_progress)]
        width = max(map(len, found), default=len(self.labels or ()))
        return np.array([[*row, *[0.0] * (width - len(row))] for row in found], np.float32).reshape(len(found), width)

    def _answered(self, rows: Iterable[Row], show_progress: bool) -> Iterator[tuple[str, list[float] | None]]:
        if isinstance(rows, str):
            raise TypeError(f"{rows!r} is one text: give a list of rows")
        rows = as_list(rows, what="rows")
        numbered = (InputRow(f"row {number}", _texts(row, number)) for number, row in enumerate(rows))
        with _progress(len(rows), show_progress) as progress:
            try:
                yield from self.answered(numbered, progress)
            except UserError as error:
                raise ValueError(str(error)) from None

    def answered(self, rows: Iterable[InputRow], progress: tqdm) -> Iterator[tuple[str, list[float] | None]]:
        """Yield for each row, as it comes, the answer as a file has it, and the probabilities or weights, if any.

        Raises:
            UserError: if a row has another number of sentences.
        """
        for outputs in self._model.outputs(self._token_rows(rows)):
            answers, probabilities = self._model.answers(outputs)
            progress.update(len(answers))
            yield from zip(
                answers, [None] * len(answers) if probabilities is None else probabilities.tolist(), strict=True
            )

    def _token_rows(self, rows: Iterable[InputRow]) -> Iterator[list[Sentence]]:
        """Yield each row's sentences as token ids; an empty candidate answer is none."""
        num_sentences = 0
        is_selection = self.task.kind == SELECTION
        vocab_size, unk_id = self._tokenizer.vocab_size, self._tokenizer.unk_id
        for block in blocks(rows, _BLOCK_ROWS, _BLOCK_SENTENCES, count=lambda row: len(row.sentences)):
            texts = [text for row in block for text in row.sentences]
            sentences = iter(self._tokenizer.token_ids(texts, first=num_sentences))  # refuses what is no text
            for row in block:
                self._check_row(row)
            for row in block:
                tokens: list[Sentence] = []
                for text in row.sentences:
                    ids = next(sentences)
                    self.num_cut_sentences += len(ids) > self.max_seq_length
                    known = [number if number < vocab_size else unk_id for number in cut_row(ids, self.max_seq_length)]
                    self.num_tokens += len(known) - 1  # as where data are binarized, without `<s>`
                    self.num_unknown_tokens += known.count(unk_id)
                    is_empty = not text.strip()
                    self.num_empty_sentences += is_empty and not is_selection
                    tokens.append([] if is_empty and is_selection else known)
                yield tokens
            num_sentences += len(texts)

    def _check_row(self, row: InputRow) -> None:
        """Refuse a row of another number of sentences, or a question without an answer to choose."""
        number, expected = len(row.sentences), self.task.num_sentences
        if self.task.kind != SELECTION:
            if expected is not None and number != expected:
                raise UserError(f"{row.place}: {number} sentences where {self.task.task} has {expected}; mend the row")
            if number not in (1, 2):
                raise UserError(f"{row.place}: {number} sentences; give one or two")
            return
        if not row.sentences or not row.sentences[0].strip():
            raise UserError(f"{row.place}: the question is empty; fill it in or take the row out")
        if not any(text.strip() for text in row.sentences[1:]):
            raise UserError(f"{row.place}: no candidate; give one or more, or take the row out")


def _texts(row: Row, number: int) -> tuple[str, ...]:
    """Return the sentences of a row."""
    if isinstance(row, str):
        return (row,)
    if isinstance(row, Mapping | bytes) or not isinstance(row, Iterable):
        raise TypeError(f"row {number} is {shown(row)}: give a text, or a list of texts in the order of the task's")
    return tuple(row)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a file of rows is read.

    Attributes:
        columns: of the sentences, by number from 1 or by name; none: as in the files of the model's task.
        form: one of `readers.FORMATS`; None: told by the file's ending.
        header: of TSV and CSV, whether the first line names the columns; None: it does if columns have names, else as
            in the files of the model's task.
    """

    columns: tuple[Column, ...] = ()
    form: str | None = None
    header: bool | None = None

    def of(self, task: FineTunedTask) -> "Form":
        """Fill in what is not said from the model's task.

        Raises:
            UserError: if nobody says what the columns are, or they are none of such a task.
        """
        columns = self.columns or task.columns
        if not columns:
            raise UserError("the model does not tell the columns of its sentences: name them (--columns)")
        if any(isinstance(column, int) and column < 1 for column in columns):
            raise UserError(f"columns {', '.join(map(str, columns))}: numbers count from 1; correct them (--columns)")
        number = len(columns)
        if len(set(columns)) < number:
            raise UserError(
                f"columns {', '.join(map(str, columns))}: one stands there twice; name a column for each sentence "
                "(--columns)"
            )
        if task.kind == SELECTION and number < 3:
            raise UserError(
                f"columns {', '.join(map(str, columns))} are too few to choose an answer from: name the question's, "
                "and one for each candidate answer (--columns)"
            )
        if task.kind != SELECTION and number != (task.num_sentences or number):
            raise UserError(
                f"{task.task} has rows of {task.num_sentences} sentences, and named are the columns "
                f"{', '.join(map(str, columns))}: name as many (--columns)"
            )
        is_named = any(isinstance(column, str) for column in columns)
        header = self.header
        if header is None:
            header = True if is_named else task.header
        return Form(columns=columns, form=self.form, header=header)


def predict_files(
    classifier: SentenceClassifier,
    sources: Sequence[Path],
    output: Path | None,
    *,
    form: Form,
    probabilities: bool = False,
    show_progress: bool = False,
) -> int:
    """Predict the rows of files of any size, one after the other; the output file is written whole or not at all.

    Args:
        classifier: the model.
        sources: the files.
        output: the TSV file to write: `index` of the row, from 0, `prediction`, and with `probabilities` a column
            `score_LABEL` for each label, or `score_N` for each candidate answer; None: stdout.
        form: how the files are read.
        probabilities: whether to write them.
        show_progress: draw a bar on stderr.

    Returns:
        The number of rows.

    Raises:
        UserError: if a file is missing or is not of that form, a row cannot be answered, the task has no probabilities,
            or the output cannot be written, or is one of the sources.
    """
    if output is not None:
        check_output(output, sources=sources)
    task = classifier.task
    form = form.of(task)
    names: Sequence[str] = ()
    if probabilities:
        numbers = [str(number + 1) for number in range(len(form.columns) - 1)] if task.kind == SELECTION else None
        names = numbers or task.labels or ()
        if not names:
            raise UserError(f"{task.task} is a regression, which has no probabilities: leave --probabilities out")
    total = None
    if all(_can_be_counted(source, form) for source in sources):
        total = sum(count_lines(source) - _has_header(source, form) for source in sources)
    rows = (row for source in sources for row in _rows(source, form))
    count = 0
    with _opened(output) as file, _progress(total, show_progress) as progress:
        print("index", "prediction", *(f"score_{name}" for name in names), sep="\t", file=file)
        for answer, scores in classifier.answered(rows, progress):
            shown = (f"{score:.6g}" for score in scores or ()) if probabilities else ()
            print(count, answer, *shown, sep="\t", file=file)
            count += 1
    return count


def _rows(source: Path, form: Form) -> Iterator[InputRow]:
    return input_rows(source, form.columns, form=form.form, header=bool(form.header))


def _can_be_counted(source: Path, form: Form) -> bool:
    """Whether a file's lines are its rows, and it can be read twice."""
    return not is_read_once(source) and (form.form or format_of(str(source))) in (TSV, JSON_LINES)


def _has_header(source: Path, form: Form) -> bool:
    return bool(form.header) and (form.form or format_of(str(source))) == TSV


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    """Open the output, which comes into place when all is written; stdout for None."""
    if output is None:
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:  # as in a notebook
            yield sys.stdout
            return
        sys.stdout.flush()
        stream = TextIOWrapper(buffer, encoding="utf-8", newline="\n")  # as the file, whatever the locale
        try:
            yield stream
            stream.flush()
        finally:
            stream.detach()
        return
    with atomic_file(output) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def _progress(total: int | None, show: bool) -> tqdm:
    return tqdm(total=total, unit=" rows", disable=not show, mininterval=0.5)
