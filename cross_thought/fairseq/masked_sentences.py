"""Masked sentences as a fairseq task: `masked_lm` with `<s>` and `</s>` left as they are, registered on import.

Segments that are sentences (`--segment-by sentence`) end where `</s>` stands, so the encoder must see it. Import it
after `bridge.install()`.
"""

from typing import Any

from fairseq.tasks import register_task
from fairseq.tasks.masked_lm import MaskedLMTask
from torch import Tensor


@register_task("masked_sentences")
class MaskedSentencesTask(MaskedLMTask):
    """fairseq's masked_lm, which draws marks as it draws words; those drawn are put back, and not scored."""

    def train_step(self, sample: dict, *arguments: Any, **options: Any) -> tuple:
        """Compute loss and gradients of a batch."""
        return super().train_step(self._with_marks(sample), *arguments, **options)

    def valid_step(self, sample: dict, *arguments: Any, **options: Any) -> tuple:
        """Compute the loss of a batch."""
        return super().valid_step(self._with_marks(sample), *arguments, **options)

    def _with_marks(self, sample: dict) -> dict:
        """Return a batch with the masked marks put back; where no word is drawn, its marks are scored as they are.

        For without any target, the criterion on a GPU would score every column, pads as well, which have no state.
        """
        pad = self.dictionary.pad()
        tokens, target = sample["net_input"]["src_tokens"], sample["target"]
        tokens = tokens.where(~self._is_mark(target), target)
        words = target.masked_fill(self._is_mark(target), pad)
        marks = tokens.masked_fill(~self._is_mark(tokens), pad)
        return sample | {
            "net_input": sample["net_input"] | {"src_tokens": tokens},
            "target": words.where((words != pad).any(), marks),  # no GPU is asked, and waited for
        }

    def _is_mark(self, tokens: Tensor) -> Tensor:
        """Tell where `<s>` and `</s>` stand."""
        return (tokens == self.dictionary.bos()) | (tokens == self.dictionary.eos())
