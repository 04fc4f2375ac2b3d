"""Masked sentences as a fairseq task: `masked_lm` with `<s>` and `</s>` left as they are, registered on import.

Segments that are sentences (`--segment-by sentence`) end where `</s>` stands, so the encoder must see it. Import it
after `bridge.install()`.
"""

from typing import Any

from fairseq.tasks import register_task
from fairseq.tasks.masked_lm import MaskedLMTask


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
        """Return a batch with the masked marks put back."""
        tokens, target = sample["net_input"]["src_tokens"], sample["target"]
        is_mark = (target == self.dictionary.bos()) | (target == self.dictionary.eos())
        tokens = tokens.where(~is_mark, target)
        return sample | {
            "net_input": sample["net_input"] | {"src_tokens": tokens},
            "target": target.masked_fill(is_mark, self.dictionary.pad()),
        }
