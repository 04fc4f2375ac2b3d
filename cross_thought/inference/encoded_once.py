"""Sentences encoded once for several poolings, where what evaluates them asks for one pooling after the other."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cross_thought.inference.embed import SentenceEncoder
from cross_thought.inference.tally import tally


class EncodedOnce:
    """A `SentenceEncoder` that keeps the embeddings of other poolings until they are asked for.

    Args:
        encoder: which encodes.
        poolings: of the slot states, all that will be asked for.

    Attributes:
        read: what `tally` tells, as if each pooling had encoded the sentences itself.
    """

    def __init__(self, encoder: SentenceEncoder, poolings: Sequence[str]) -> None:
        self.read: Counter[str] = Counter()
        self._encoder = encoder
        self._poolings = poolings
        self._kept: dict[tuple[str, ...], tuple[dict[str, np.ndarray], Counter[str]]] = {}

    def encode(self, sentences: Sequence[str], *, pooling: str) -> np.ndarray:
        """Embed sentences as `SentenceEncoder.encode` does, to the bit, shape (number of sentences, embedding_dim)."""
        key = tuple(sentences)
        if key not in self._kept:
            before = tally(self._encoder)
            embeddings = self._encoder.encode_by_poolings(sentences, self._poolings)
            self._kept[key] = embeddings, tally(self._encoder) - before
        embeddings, read = self._kept[key]
        self.read = self.read + read  # another one, for who holds the last
        return embeddings[pooling]

    def forget(self) -> None:
        """Free what is kept."""
        self._kept.clear()
