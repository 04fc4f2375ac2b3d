"""Predictions of a fine-tuned fairseq checkpoint on the binarized splits of its task."""

from collections.abc import Iterator
from pathlib import Path

import torch

from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from cross_thought.fairseq.checkpoints import load_checkpoint

bridge.install()

from fairseq import checkpoint_utils, utils  # noqa: E402

import cross_thought.fairseq.model  # noqa: E402, F401

BATCH_SIZE, MAX_TOKENS = 64, 8800  # examples, padded tokens


class Predictor:
    """A fine-tuned model with its task.

    Args:
        checkpoint: fairseq checkpoint with a classification head.
        data: binarized task: input0, input1, label.
        device: "cpu" or "cuda".

    Raises:
        UserError: if the checkpoint cannot be read, or was not fine-tuned.
    """

    def __init__(self, checkpoint: Path, data: Path, *, device: str) -> None:
        if getattr(load_checkpoint(checkpoint)["args"], "task", None) != "sentence_prediction":
            raise UserError(
                f"{checkpoint} has no classification head: give a checkpoint that was fine-tuned on the task"
            )
        models, arguments, self._task = checkpoint_utils.load_model_ensemble_and_task(
            [str(checkpoint)], arg_overrides={"data": str(data), "no_shuffle": True}
        )
        self._head = arguments.classification_head_name
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
        dataset = self._task.load_dataset(split)
        if len(dataset) == 0:
            raise UserError(f"split {split!r} of the task has no example: check its data file")
        scores = [None] * len(dataset)
        for sample in self._batches(dataset):
            output, _ = self._model(**sample["net_input"], features_only=True, classification_head_name=self._head)
            for index, row in zip(sample["id"].tolist(), output.float().cpu(), strict=True):
                scores[index] = row
        return torch.stack(scores)

    def _batches(self, dataset: object) -> Iterator[dict]:
        iterator = self._task.get_batch_iterator(
            dataset, max_tokens=MAX_TOKENS, max_sentences=BATCH_SIZE, max_positions=self._task.max_positions()
        )
        for sample in iterator.next_epoch_itr(shuffle=False):
            yield utils.move_to_cuda(sample) if self._device == "cuda" else sample
