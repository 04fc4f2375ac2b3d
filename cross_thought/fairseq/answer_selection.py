"""Answer selection as a fairseq task and criterion: importing this module registers both as `answer_selection`.

The data lie as those of fairseq's `sentence_ranking`: the question in input0, candidate i in input<i>, and the number
of the right one in label; an empty sentence is no candidate. Import it after `bridge.install()`.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionCriterion
from fairseq.data import FairseqDataset, data_utils
from fairseq.tasks import register_task
from fairseq.tasks.sentence_prediction import SentencePredictionTask
from torch import Tensor, nn
from torch.nn import functional as F

from cross_thought.errors import UserError


class QuestionDataset(FairseqDataset):
    """Questions with their candidates.

    Args:
        inputs: binarized sentences: the questions, and for each i the i-th candidates.
        answers: for each question the places of the right candidates, from 0; None where unknown.
        bos_id: id of `<s>`, put before each sentence.
        pad_id: id of the pads.
        order: the order that batches are made in, shape (questions,), or of fewer; those left out are in none.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        answers: Sequence[np.ndarray] | None,
        *,
        bos_id: int,
        pad_id: int,
        order: np.ndarray,
    ) -> None:
        self._inputs = inputs
        self._answers = answers
        self._bos_id = bos_id
        self._pad_id = pad_id
        self._order = order
        # tokens of all sentences of a question, with `<s>`
        self.sizes = np.sum([np.array(sentences.sizes) + 1 for sentences in inputs], axis=0)

    def __getitem__(self, index: int) -> dict:
        return {"id": index, "sentences": [self._with_bos(sentences[index]) for sentences in self._inputs]}

    def __len__(self) -> int:
        return len(self._inputs[0])

    def collater(self, samples: list[dict]) -> dict:
        """Make a batch: `net_input.src_tokens`, shape (Q, 1 + N, L), and `target`, who is right, shape (Q, N)."""
        rows = [sentence for sample in samples for sentence in sample["sentences"]]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self._pad_id)
        ids = [sample["id"] for sample in samples]
        batch: dict[str, Any] = {
            "id": torch.tensor(ids),
            "net_input": {"src_tokens": tokens.view(len(samples), len(self._inputs), -1)},
            "nsentences": len(samples),
            "ntokens": sum(map(len, rows)),
        }
        if self._answers is not None:
            batch["target"] = torch.zeros(len(ids), len(self._inputs) - 1, dtype=torch.bool)
            for row, index in enumerate(ids):
                batch["target"][row, self._answers[index]] = True
        return batch

    def _with_bos(self, sentence: Tensor) -> Tensor:
        """Put `<s>` before a sentence; one of nothing but `</s>` is none, and becomes empty."""
        return F.pad(sentence.long(), (1, 0), value=self._bos_id) if len(sentence) > 1 else sentence[:0].long()

    def num_tokens(self, index: int) -> int:
        """Return the tokens of a question and its candidates."""
        return self.sizes[index]

    size = num_tokens  # what fairseq holds against `--max-positions`

    def ordered_indices(self) -> np.ndarray:
        """Return the order that batches are made in."""
        return self._order


@register_task("answer_selection")
class AnswerSelectionTask(SentencePredictionTask):
    """Choose the right one of a question's candidate answers; `--num-classes` is the number of candidates."""

    def load_dataset(self, split: str, combine: bool = False, **unused: object) -> QuestionDataset:
        """Load a split; a question without a right candidate is in no batch, for there is nothing to learn from it.

        Raises:
            UserError: if an input is not there.
        """

        def load(name: str, dictionary: object) -> Any:
            path = os.path.join(self.args.data, name, split)
            return data_utils.load_indexed_dataset(path, dictionary, self.args.dataset_impl, combine=combine)

        inputs = [load(f"input{number}", self.source_dictionary) for number in range(1 + self.args.num_classes)]
        if None in inputs:
            raise UserError(
                f"{self.args.data}/input{inputs.index(None)} has no {split}: --num-classes {self.args.num_classes} "
                "needs as many candidates"
            )
        labels = load("label", self.label_dictionary)
        answers = None
        if labels is not None:
            first_symbol = self.label_dictionary.nspecial
            answers = [labels[index].numpy()[:-1] - first_symbol for index in range(len(labels))]  # less `</s>`
        with data_utils.numpy_seed(self.args.seed):
            order = np.random.permutation(len(inputs[0]))
        if self.args.no_shuffle:
            order = np.arange(len(order))
        if answers is not None:
            order = order[[len(answers[index]) > 0 for index in order]]
        self.datasets[split] = QuestionDataset(
            inputs,
            answers,
            bos_id=self.source_dictionary.bos(),
            pad_id=self.source_dictionary.pad(),
            order=order,
        )
        return self.datasets[split]

    def build_model(self, args: argparse.Namespace) -> nn.Module:
        """Build the model; the attention weights are its answer, so it gets no classification head."""
        from fairseq import models

        return models.build_model(args, self)


@register_criterion("answer_selection")
class AnswerSelectionCriterion(SentencePredictionCriterion):
    """-log of the attention weight on the right candidate; accuracy: how often it has the largest.

    Where several are right, -log of the sum of their weights. The paper has one right candidate, so this choice is
    ours, after the attention-sum reader (Kadlec et al., 2016, arXiv 1603.01547), which sums up the attention on all
    places of an answer: it asks for some right candidate, not for each to have the same weight.
    """

    def __init__(self, task: AnswerSelectionTask) -> None:
        super().__init__(task, classification_head_name=None, regression_target=False)

    @staticmethod
    def add_args(parser: argparse.ArgumentParser) -> None:
        """There are no flags: what the model hands out is the probability itself."""

    def forward(self, model: nn.Module, sample: dict, reduce: bool = True) -> tuple[Tensor, int, dict]:
        """Return the sum of the losses, the number of questions, and what fairseq logs."""
        log_alpha, _ = model(**sample["net_input"])
        target = sample["target"]
        loss = -log_alpha.masked_fill(~target, float("-inf")).logsumexp(1).sum()
        return (
            loss,
            len(target),
            {
                "loss": loss.data,
                "ntokens": sample["ntokens"],
                "nsentences": len(target),
                "sample_size": len(target),
                "ncorrect": target.gather(1, log_alpha.argmax(1, keepdim=True)).sum(),
            },
        )
