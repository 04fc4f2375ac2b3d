"""Sentences encoded once for several poolings, where what evaluates them asks for one pooling after the other."""

from collections.abc import Sequence

import numpy as np

from cross_thought.inference.embed import SentenceEncoder


class EncodedOnce:
    """A `SentenceEncoder` that keeps the embeddings of other poolings until they are asked for.

    Args:
        encoder: which encodes.
        poolings: of the slot states, all that will be asked for.

    Attributes:
        num_cut_sentences: so far, as if each pooling had encoded the sentences itself.
    """

    def __init__(self, encoder: SentenceEncoder, poolings: Sequence[str]) -> None:
        self.num_cut_sentences = 0
        self._encoder = encoder
        self._poolings = poolings
        self._kept: dict[tuple[str, ...], tuple[dict[str, np.ndarray], int]] = {}

    def encode(self, sentences: Sequence[str], *, pooling: str) -> np.ndarray:
        """Embed sentences as `SentenceEncoder.encode` does, to the bit, shape (number of sentences, embedding_dim)."""
        key = tuple(sentences)
        if key not in self._kept:
            before = self._encoder.num_cut_sentences
            embeddings = self._encoder.encode_by_poolings(sentences, self._poolings)
            self._kept[key] = embeddings, self._encoder.num_cut_sentences - before
        embeddings, num_cut = self._kept[key]
        self.num_cut_sentences += num_cut
        return embeddings[pooling]

    def forget(self) -> None:
        """Free what is kept."""
        self._kept.clear()
