"""Sentences encoded once for several poolings, where what evaluates them asks for one pooling after the other."""

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
        num_cut_sentences, num_tokens, num_unknown_tokens: as of the encoder, as if each pooling had encoded the
            sentences itself.
    """

    def __init__(self, encoder: SentenceEncoder, poolings: Sequence[str]) -> None:
        self.num_cut_sentences = self.num_tokens = self.num_unknown_tokens = 0
        self._encoder = encoder
        self._poolings = poolings
        self._kept: dict[tuple[str, ...], tuple[dict[str, np.ndarray], dict[str, int]]] = {}

    def encode(self, sentences: Sequence[str], *, pooling: str) -> np.ndarray:
        """Embed sentences as `SentenceEncoder.encode` does, to the bit, shape (number of sentences, embedding_dim)."""
        key = tuple(sentences)
        if key not in self._kept:
            before = tally(self._encoder)
            embeddings = self._encoder.encode_by_poolings(sentences, self._poolings)
            self._kept[key] = embeddings, {name: number - before[name] for name, number in tally(self._encoder).items()}
        embeddings, read = self._kept[key]
        self.num_cut_sentences += read["cut"]
        self.num_tokens += read["tokens"]
        self.num_unknown_tokens += read["unknown"]
        return embeddings[pooling]

    def forget(self) -> None:
        """Free what is kept."""
        self._kept.clear()
