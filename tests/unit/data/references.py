"""The second source of truth on BPE ids: tiktoken on the same files."""

from pathlib import Path

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def tiktoken_encoding(vocabulary: Path) -> tiktoken.Encoding:
    """Return tiktoken's encoding with GPT-2's files."""
    files = {"vocab_bpe_file": str(vocabulary / "vocab.bpe"), "encoder_json_file": str(vocabulary / "encoder.json")}
    ranks = data_gym_to_mergeable_bpe_ranks(**files)
    return tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
