"""Which other segments does a slot attend to? A case study of cross layer 0 on one held-out document, of any corpus.

One word of the document is masked, one that other segments repeat: the slots of its segment have something to look for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cross_thought.errors import UserError
from cross_thought.evaluation.result_files import read_json, result_file

if TYPE_CHECKING:  # this module stays importable without torch
    from collections.abc import Callable

    from torch import Tensor

    from cross_thought.encoder import CrossThoughtEncoder
    from cross_thought.encoder.layers import SelfAttention

MAX_SEGMENTS = 8  # rows that a figure of a column's width shows legibly
MAX_DOCUMENTS = 1000  # looked through for one long enough


@dataclass(frozen=True)
class CaseStudy:
    """What the slots of one segment attend to."""

    model: str
    seed: int  # of the pre-training
    texts: list[str]  # of the segments, with `[mask]` for the masked word
    query: int  # the segment with the masked word
    word: str
    repeats: list[bool]  # for each segment whether it has that word, masked or not
    # of the query's slots, the mean over heads: for each slot, each segment's; their sum is 1
    weights: list[list[float]]


def read_case_study(path: Path | str) -> CaseStudy:
    """Read a case study as `write_json(path, asdict(study))` writes it."""
    with result_file(path, "case study"):
        return CaseStudy(**read_json(path))


def choose_segments(documents: "Iterable[Tensor]", encoder: "CrossThoughtEncoder") -> "Tensor":
    """Choose the segments to show: those of the first document, shape (L,), that has enough, or else of the longest.

    Where segments are sentences, documents whose sentences are all whole come first. If none has two segments,
    documents are read on into each other, as in the streams of pre-training. A UserError says that there are no two.

    Returns:
        Token ids, shape (B, T), 2 <= B <= MAX_SEGMENTS; whole segments, right-padded if they are sentences.
    """
    import torch

    def cut(document: "Tensor") -> "Tensor":
        segments = encoder.cut_streams(document.unsqueeze(0))[0][0]
        if encoder.config.segment_by == "sentence":
            return segments
        return segments[(segments != encoder.config.pad_id).all(1)]

    def worth(segments: "Tensor") -> tuple[bool, int]:
        is_whole = encoder.config.segment_by == "tokens" or bool((segments == encoder.config.eos_id).any(1).all())
        return len(segments) > 1 and is_whole, len(segments)

    candidates, longest = [], torch.empty(0, encoder.config.segment_length)
    for document in islice(documents, MAX_DOCUMENTS):
        candidates.append(document)
        longest = max(longest, cut(document), key=worth)
        if worth(longest) >= (True, MAX_SEGMENTS):
            break
    if len(longest) < 2 and candidates:
        longest = cut(torch.cat(candidates))
    if len(longest) < 2:
        raise UserError(
            f"the held-out text has {sum(map(len, candidates))} tokens, which are no two segments of "
            f"{encoder.config.segment_length}: raise corpus.valid_fraction, or lower segment_length"
        )
    return longest[:MAX_SEGMENTS]


def choose_token(segments: "Tensor", *, counts: Sequence[int], is_word: "Callable[[int], bool]") -> tuple[int, int]:
    """Choose what to mask: of the words that two segments or more have, the rarest in the corpus, where it is first.

    If they share no word, the rarest symbol of all. `segments` has the shape (B, T); `counts` is how often each id
    occurs in the corpus. Returned are segment and column.
    """
    rows = segments.tolist()
    tokens = {token for row in rows for token in row if counts[token]}
    shared = {token for token in tokens if is_word(token) and sum(token in row for row in rows) > 1}
    rarest = min(shared or tokens, key=lambda token: (counts[token], token))
    return next((place, row.index(rarest)) for place, row in enumerate(rows) if rarest in row)


def cross_attention(encoder: "CrossThoughtEncoder", tokens: "Tensor") -> "Tensor":
    """Compute the attention weights of cross layer 0 in the pre-training forward of one stream.

    The layer itself uses fused attention, which hands out no weights; they are computed again from what goes in, the
    token ids of whole segments, shape (B, T). A ValueError says that cross layer 0 is off.

    Returns:
        Weights, shape (k, H, B, B): how slot j of a segment attends to slot j of each segment; they sum to 1.
    """
    import torch

    if not encoder.config.cross_sequence:
        raise ValueError("this model leaves cross layer 0 out of pre-training: it has no attention across segments")
    layer = encoder.crossthought_layers[0]
    inputs: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    try:
        with torch.inference_mode():
            # the first start position is in the range of every model
            encoder.eval().encode_streams(tokens.view(1, -1), start_position=1)
    finally:
        hook.remove()
    attention = cast("SelfAttention", layer.self_attn)
    states = inputs[0].view(encoder.config.num_slots, len(tokens), -1)  # sequence by sequence: (k, B, d)

    def heads(projected: "Tensor") -> "Tensor":
        return projected.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # (k, H, B, d / H)

    with torch.inference_mode():
        queries, keys = heads(attention.q_proj(states)), heads(attention.k_proj(states))
        return (queries @ keys.transpose(2, 3) / queries.size(-1) ** 0.5).softmax(-1)
