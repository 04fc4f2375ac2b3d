"""Predictions of a fine-tuned fairseq checkpoint on the binarized splits of its task."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from cross_thought.training.checkpoints import load_checkpoint
from cross_thought.training.devices import usable_device

bridge.install()

from fairseq import checkpoint_utils, utils  # noqa: E402

import cross_thought.fairseq.answer_selection  # noqa: E402
import cross_thought.fairseq.classification  # noqa: E402
import cross_thought.fairseq.model  # noqa: E402, F401

BATCH_SIZE, MAX_TOKENS = 64, 8800  # examples, padded tokens


class Predictor:
    """A fine-tuned model with its task.

    Args:
        checkpoint: fairseq checkpoint, with a classification head but for answer selection.
        data: binarized task: input0, input1, ..., label.
        device: "cpu" or "cuda".
        precision: "bfloat16": matrix products in that, on float32 weights; any other: all in float32.

    Raises:
        UserError: if torch cannot use the device, the checkpoint cannot be read, or was not fine-tuned.
    """

    def __init__(self, checkpoint: Path, data: Path, *, device: str, precision: str = "float32") -> None:
        usable_device(device)
        task = getattr(load_checkpoint(checkpoint)["args"], "task", None)
        if task not in ("sentence_prediction", "answer_selection"):
            raise UserError(
                f"{checkpoint} has no classification head: give a checkpoint that was fine-tuned on the task"
            )
        models, arguments, self._task = checkpoint_utils.load_model_ensemble_and_task(
            [str(checkpoint)],
            arg_overrides={"data": str(data), "no_shuffle": True, "bfloat16": precision == "bfloat16"},
        )
        self._head = getattr(arguments, "classification_head_name", None)
        self._device = device
        self._model = models[0].to(device).eval()

    @torch.inference_mode()
    def scores(self, split: str) -> torch.Tensor:
        """Compute the head's output for each example of a split.

        Args:
            split: name of a binarized split.

        Returns:
            Scores in the order of the data file, shape (examples, classes), on the CPU.

        Raises:
            UserError: if the split is not there or empty.
        """
        dataset = self._load(split)
        scores: dict[int, torch.Tensor] = {}
        for sample in self._batches(dataset):
            output, _ = self._model(**sample["net_input"], features_only=True, classification_head_name=self._head)
            for index, row in zip(sample["id"].tolist(), output.float().cpu(), strict=True):
                scores[index] = row
        return torch.stack([scores[index] for index in range(len(dataset))])

    @torch.inference_mode()
    def answer_weights(self, split: str) -> torch.Tensor:
        """Compute how a split's questions share their attention out among their candidates.

        Every sentence is embedded once, however many questions have it among their candidates.

        Args:
            split: name of a binarized split.

        Returns:
            Log alpha in the order of the data file, shape (questions, N), on the CPU; -inf for no candidate.

        Raises:
            UserError: if the split is not there or empty.
        """
        dataset = self._load(split)
        encoder = self._model.encoder.sentence_encoder
        numbers: dict[tuple[int, ...], int] = {}  # of the distinct sentences; () is no candidate
        rows = [
            [numbers.setdefault(tuple(sentence.tolist()), len(numbers)) for sentence in dataset[index]["sentences"]]
            for index in range(len(dataset))
        ]
        slots = self._embed([torch.tensor(sentence) for sentence in numbers])
        is_sentence = torch.tensor([len(sentence) > 0 for sentence in numbers])
        log_alphas = []
        for batch in torch.tensor(rows).split(BATCH_SIZE):
            states, present = slots[batch].to(self._device), is_sentence[batch].to(self._device)
            with self._model.encoder.autocast():
                log_alpha = encoder.attend_to_candidates(states[:, 0], states[:, 1:], present[:, 1:])
            log_alphas.append(log_alpha.float().cpu())
        return torch.cat(log_alphas)

    def _embed(self, sentences: list[torch.Tensor]) -> torch.Tensor:
        """Return the sentences' slot states, shape (sentences, k, d), on the CPU; zeros for an empty one."""
        encoder = self._model.encoder.sentence_encoder
        config = encoder.config
        slots = torch.zeros(len(sentences), config.num_slots, config.embed_dim, dtype=next(encoder.parameters()).dtype)
        by_length = sorted(
            (place for place, sentence in enumerate(sentences) if len(sentence)),
            key=lambda place: len(sentences[place]),
        )
        for start in range(0, len(by_length), BATCH_SIZE):
            places = by_length[start : start + BATCH_SIZE]
            tokens = torch.nn.utils.rnn.pad_sequence(
                [sentences[place] for place in places], batch_first=True, padding_value=config.pad_id
            )
            with self._model.encoder.autocast():
                slots[places] = encoder.embed_sentences(tokens.to(self._device)).cpu()
        return slots

    def _load(self, split: str) -> Any:
        """Return a split's data set, which has an example."""
        dataset = self._task.load_dataset(split)
        if len(dataset) == 0:
            raise UserError(f"split {split!r} of the task has no example: check its data file")
        return dataset

    def _batches(self, dataset: object) -> Iterator[dict]:
        iterator = self._task.get_batch_iterator(
            dataset, max_tokens=MAX_TOKENS, max_sentences=BATCH_SIZE, max_positions=self._task.max_positions()
        )
        for sample in iterator.next_epoch_itr(shuffle=False):
            yield utils.move_to_cuda(sample) if self._device == "cuda" else sample
