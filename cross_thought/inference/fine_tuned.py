"""What a fine-tuned model answers to rows of token ids, without fairseq: `evaluate` and `predict` compute it here."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cross_thought.data.definitions import Task
from cross_thought.data.prepared import read_summary
from cross_thought.encoder.heads import CLASSIFICATION, REGRESSION, SELECTION, FineTunedTask, check_head
from cross_thought.encoder.saved import SavedModel, build_head
from cross_thought.errors import UserError
from cross_thought.training.checkpoints import FINE_TUNED_ON
from cross_thought.training.devices import usable_device

PRECISIONS = ("float32", "bfloat16")
BATCH_ROWS, BATCH_TOKENS = 64, 8800  # padded
BLOCK_QUESTIONS, BLOCK_SENTENCES = 1 << 10, 1 << 13  # that are embedded together, about, equal sentences once

_FAIRSEQ_TASKS = {"sentence_prediction": CLASSIFICATION, "answer_selection": SELECTION}
_NO_HEAD = "{} has no classification head: give a checkpoint that was fine-tuned on the task"
_DEFAULT_HEAD = "sentence_classification_head"

Sentence = Sequence[int]  # `<s> A </s>`; nothing: no candidate
_Item = TypeVar("_Item")


class FineTunedModel:
    """An encoder with its head, or one that selects answers.

    Args:
        saved: the model, which must be fine-tuned.
        device: where it computes.
        precision: `bfloat16`: matrix products of the encoder in that, on float32 weights; `float32`: all.

    Raises:
        UserError: if torch cannot use the device.
    """

    def __init__(self, saved: SavedModel, *, device: str = "cpu", precision: str = "float32") -> None:
        assert saved.task is not None, "the model is not fine-tuned"
        self.task = saved.task
        self.device = usable_device(device)
        self._autocasts = precision == "bfloat16"
        self.encoder = saved.encoder.to(self.device).eval()
        self._head = None if saved.head is None else saved.head.to(self.device).eval()

    @property
    def max_sentence_length(self) -> int:
        """Tokens that a sentence may have, `<s>` and `</s>` included: those beyond were cut in training, too."""
        longest = self.encoder.config.max_sentence_length
        given = self.task.max_sentence_tokens
        return longest if given is None else min(longest, 1 + given)

    def outputs(self, rows: Iterable[Sequence[Sentence]]) -> Iterator[Tensor]:
        """Compute what the model puts out for rows, some at a time.

        The same rows in the same order give the same numbers to the last bit: batches are made of rows as they come.

        Args:
            rows: each of one or two sentences, or of a question and its candidates.

        Yields:
            On the CPU, for rows that follow each other: the head's scores, shape (rows, classes); or of answer
            selection the candidates' log attention weights, shape (rows, N), -inf where there is no candidate.
        """
        return self._answer_weights(rows) if self.task.kind == SELECTION else self._head_scores(rows)

    def answers(self, outputs: Tensor) -> tuple[list[str], Tensor | None]:
        """Say what outputs, of `outputs`, mean.

        Returns:
            For each row the label; or the score, in the task's own scale; or the candidates' numbers from 1, best
            first, as `3 1 2`. And the labels' probabilities, or the candidates' weights, in float32, shape as given;
            None for scores.
        """
        if self.task.kind == SELECTION:
            return rankings(outputs), outputs.exp()
        if self.task.labels is None:
            return [repr(score * self.task.score_scale) for score in outputs[:, 0].tolist()], None
        return [self.task.labels[choice] for choice in outputs.argmax(1).tolist()], torch.softmax(outputs, dim=1)

    def _head_scores(self, rows: Iterable[Sequence[Sentence]]) -> Iterator[Tensor]:
        assert self._head is not None
        for batch in _batches([token for sentence in row for token in sentence] for row in rows):
            with torch.inference_mode():
                with self._autocast():
                    states = self.encoder.encode_sentences(self._padded(batch))
                yield self._head(states).float().cpu()

    def _answer_weights(self, questions: Iterable[Sequence[Sentence]]) -> Iterator[Tensor]:
        """Yield a block of questions' weights; every sentence of a block is embedded once."""
        # an empty candidate does not count: files pad their rows with those, and blocks must not depend on it
        for block in blocks(questions, BLOCK_QUESTIONS, BLOCK_SENTENCES, count=lambda row: sum(map(bool, row))):
            width = max(map(len, block))
            numbers: dict[tuple[int, ...], int] = {}  # of the distinct sentences; () is no candidate
            places = torch.tensor(
                [
                    [
                        numbers.setdefault(tuple(sentence), len(numbers))
                        for sentence in (*row, *[()] * (width - len(row)))
                    ]
                    for row in block
                ]
            )
            is_sentence = torch.tensor([len(sentence) > 0 for sentence in numbers])
            with torch.inference_mode():
                slots = self._embed(list(numbers))
                for part in places.split(min(BATCH_ROWS, max(1, BLOCK_SENTENCES // width))):
                    states, present = slots[part].to(self.device), is_sentence[part].to(self.device)
                    with self._autocast():
                        weights = self.encoder.attend_to_candidates(states[:, 0], states[:, 1:], present[:, 1:])
                    yield weights.float().cpu()

    def _embed(self, sentences: Sequence[Sentence]) -> Tensor:
        """Return the sentences' slot states, shape (sentences, k, d), on the CPU; zeros for an empty one."""
        config = self.encoder.config
        slots = torch.zeros(len(sentences), config.num_slots, config.embed_dim)
        by_length = sorted(
            (place for place, sentence in enumerate(sentences) if len(sentence)),
            key=lambda place: len(sentences[place]),
        )
        for start in range(0, len(by_length), BATCH_ROWS):
            places = by_length[start : start + BATCH_ROWS]
            with self._autocast():
                states = self.encoder.embed_sentences(self._padded([sentences[place] for place in places]))
            slots[places] = states.float().cpu()
        return slots

    def _padded(self, rows: Sequence[Sentence]) -> Tensor:
        """Return rows as one tensor, right-padded, shape (rows, L)."""
        tokens = [torch.tensor(row) for row in rows]
        pad_id = self.encoder.config.pad_id
        return nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=pad_id).to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocasts)


def blocks(
    rows: Iterable[_Item], num_rows: int, num_sentences: int, *, count: Callable[[_Item], int]
) -> Iterator[list[_Item]]:
    """Yield rows in lists that end at so many rows, or with the row that makes so many sentences, as `count` says."""
    block: list[_Item] = []
    total = 0
    for row in rows:
        block.append(row)
        total += count(row)
        if len(block) == num_rows or total >= num_sentences:
            yield block
            block, total = [], 0
    if block:
        yield block


def _batches(rows: Iterable[Sentence]) -> Iterator[list[Sentence]]:
    """Yield rows in batches of at most so many rows and padded tokens, in their order."""
    batch: list[Sentence] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row))
        if batch and (len(batch) == BATCH_ROWS or (len(batch) + 1) * longest > BATCH_TOKENS):
            yield batch
            batch, longest = [], len(row)
        batch.append(row)
    if batch:
        yield batch


def rankings(log_alpha: Tensor) -> list[str]:
    """Return the numbers, from 1, of each question's candidates, the one with the largest weight first, as `3 1 2 4`.

    Args:
        log_alpha: shape (questions, N); -inf for no candidate.
    """
    order = log_alpha.argsort(dim=1, descending=True, stable=True).tolist()
    numbers = (~log_alpha.isneginf()).sum(1).tolist()
    return [" ".join(str(place + 1) for place in row[:number]) for row, number in zip(order, numbers, strict=True)]


def precision_of(hardware: str) -> str:
    """Return what a fine-tuned model computes in, for the config's `hardware.precision`: in float32, but bfloat16."""
    return hardware if hardware in PRECISIONS else "float32"


def describe(task: Task, *, data: Path | None = None, best: Mapping[str, Any] | None = None) -> FineTunedTask:
    """Return what a model that is fine-tuned on a task has to know of it.

    `data`, its binarized form, tells where sentences were cut; None, or not told there: not known. Of `best`, the
    checkpoint that is best on the dev set, fairseq's accuracy is noted.
    """
    split = task.splits.get("valid") or next(iter(task.splits.values()))
    limit = None if data is None else read_summary(data).get("max_sentence_tokens")
    accuracy = (best or {}).get("extra_state", {}).get("best") if task.best_metric == "accuracy" else None
    return FineTunedTask(
        task=task.name,
        kind=SELECTION if task.selection else CLASSIFICATION if task.labels else REGRESSION,
        labels=None if task.selection else task.labels,
        num_sentences=task.num_sentences or None,
        score_scale=task.score_scale,
        max_sentence_tokens=limit,
        columns=split.input_columns,
        header=split.header,
        metrics={} if accuracy is None else {"valid": {"accuracy": accuracy / 100}},
    )


def kind_of(state: Mapping[str, Any]) -> str | None:
    """Return what kind of task a checkpoint was fine-tuned on, one of `KINDS`; None if it was not."""
    arguments = vars(state["args"])
    kind = _FAIRSEQ_TASKS.get(str(arguments.get("task")))
    return REGRESSION if kind == CLASSIFICATION and arguments.get("regression_target") else kind


def tells_its_task(state: Mapping[str, Any]) -> bool:
    """Whether a checkpoint tells all that a user must know of its task."""
    return state.get(FINE_TUNED_ON) is not None or kind_of(state) == SELECTION


def task_of_checkpoint(
    state: Mapping[str, Any], *, source: Path, labels: Sequence[str] | None = None, score_scale: float | None = None
) -> FineTunedTask:
    """Return what a checkpoint was fine-tuned on, whose content is given; messages name `source`, its path.

    `labels` are names of the classes in the order of the head's outputs, None: those that the checkpoint has; likewise
    `score_scale`, what a regression's scores were divided by.

    Raises:
        UserError: if it was not fine-tuned, or does not tell its labels or scale.
    """
    kind = kind_of(state)
    if kind is None:
        raise UserError(_NO_HEAD.format(source))
    try:
        if state.get(FINE_TUNED_ON) is not None:
            task = FineTunedTask.from_document(state[FINE_TUNED_ON])
        elif kind == SELECTION:
            task = FineTunedTask(task=source.stem, kind=kind, num_sentences=1 + int(vars(state["args"])["num_classes"]))
        elif kind == REGRESSION and score_scale is not None:
            task = FineTunedTask(task=source.stem, kind=kind, score_scale=score_scale)
        elif kind == CLASSIFICATION and labels is not None:
            task = FineTunedTask(task=source.stem, kind=kind, labels=tuple(labels))
        else:
            what, remedy = "labels", "their names in the order of the head's outputs (--labels)"
            if kind == REGRESSION:
                what, remedy = "scale", "what scores were divided by for training, 1 if nothing (--score-scale)"
            raise UserError(f"{source} was fine-tuned before checkpoints told their {what}: give {remedy}")
        return _renamed(task, labels=labels, score_scale=score_scale)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{source}: {error}") from None


def with_head(saved: SavedModel, state: Mapping[str, Any], task: FineTunedTask, *, source: Path) -> SavedModel:
    """Add to an encoder the head that its checkpoint, of this content, has for a task; messages name `source`.

    Raises:
        UserError: if the head is not there, damaged, or not for such a task.
    """
    arguments = vars(state["args"])
    if kind_of(state) is None:
        raise UserError(_NO_HEAD.format(source))
    prefix = f"classification_heads.{arguments.get('classification_head_name', _DEFAULT_HEAD)}."
    weights = {name.removeprefix(prefix): weight for name, weight in state["model"].items() if name.startswith(prefix)}
    try:
        head = build_head(weights, activation=arguments.get("pooler_activation_fn", "tanh")) if weights else None
        check_head(task, head, embed_dim=saved.encoder.config.embed_dim)
    except ValueError as error:
        raise UserError(f"{source}: {error}: give a checkpoint of this task's fine-tuning") from None
    return replace(saved, task=task, head=head)


def relabelled(
    saved: SavedModel, *, source: Path, labels: Sequence[str] | None, score_scale: float | None
) -> SavedModel:
    """Return a model with the label names and the scale that a user gives, if any.

    Raises:
        UserError: if they are none of such a model.
    """
    if labels is None and score_scale is None:
        return saved
    if saved.task is None:
        raise UserError(f"{source} is not fine-tuned: leave --labels and --score-scale out")
    try:
        return replace(saved, task=_renamed(saved.task, labels=labels, score_scale=score_scale))
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def _renamed(task: FineTunedTask, *, labels: Sequence[str] | None, score_scale: float | None) -> FineTunedTask:
    """Return a task with other label names, or another scale.

    Raises:
        ValueError: if they are none of such a task.
    """
    if labels is not None:
        if isinstance(labels, str):
            raise ValueError(f"labels {labels!r} are one text, whose letters would be taken for names: give a list")
        if task.labels is None:
            raise ValueError(f"it was fine-tuned on {task.kind}, which has no label names: leave --labels out")
        if len(labels) != len(task.labels):
            raise ValueError(f"its head has {len(task.labels)} outputs, and {len(labels)} labels are given (--labels)")
        task = replace(task, labels=tuple(labels))
    if score_scale is not None:
        if task.kind != REGRESSION:
            raise ValueError(f"it was fine-tuned on {task.kind}, which has no scores: leave --score-scale out")
        task = replace(task, score_scale=score_scale)
    return task
