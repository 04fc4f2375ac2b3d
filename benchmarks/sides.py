"""The two sides of each measurement, ours and the stock reference, and one timed step of them."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.batches import Batch
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "parity"))

from stock import StockEncoder  # noqa: E402

HEAD_DIM = 64
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Heads(nn.Module):
    """RoBERTa's LM head and classification head, the same on both sides."""

    def __init__(self, embed_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.lm_dense = nn.Linear(embed_dim, embed_dim)
        self.lm_layer_norm = nn.LayerNorm(embed_dim)
        self.lm_bias = nn.Parameter(torch.zeros(vocab_size))
        self.dense = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, 2)

    def score_words(self, states: Tensor, embedding: Tensor) -> Tensor:
        """Score the dictionary at each state, shape (num_scored, V)."""
        return F.linear(self.lm_layer_norm(F.gelu(self.lm_dense(states))), embedding, self.lm_bias)

    def score_classes(self, slots: Tensor) -> Tensor:
        """Score the classes on slot 0 of (batch, k, d), shape (batch, 2)."""
        return self.out_proj(torch.tanh(self.dense(slots[:, 0])))


class Side(nn.Module):
    """An encoder with its heads.

    Args:
        encoder: ours, or the reference.
    """

    def __init__(self, encoder: CrossThoughtEncoder | StockEncoder, *, embed_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = Heads(embed_dim, vocab_size)

    def states(self, batch: Batch) -> Tensor:
        """Return what the head reads: the slots (rows, k, d), or the states of the masked words (num_scored, d)."""
        if batch.scored is None:
            return self.encoder.encode_sentences(batch.tokens)
        start = batch.start_position
        if isinstance(self.encoder, CrossThoughtEncoder):
            return self.encoder.encode_streams(batch.tokens, start_position=start, scored=batch.scored)
        return self.encoder.encode_streams(batch.tokens, start_position=start)[batch.scored]

    def loss(self, batch: Batch) -> Tensor:
        """Return the sum of the losses over rows or masked words."""
        states = self.states(batch)
        if batch.scored is None:
            scores = self.heads.score_classes(states)
        else:
            scores = self.heads.score_words(states, self.encoder.embed_tokens.weight)
        return F.cross_entropy(scores.float(), batch.target, reduction="sum")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the model that is timed; the defaults are the published ones."""

    vocab_size: int = 50265
    num_layers: int = 12
    num_heads: int = 12
    num_slots: int = 5
    segment_length: int = 64

    @property
    def embed_dim(self) -> int:
        return self.num_heads * HEAD_DIM

    @property
    def ffn_dim(self) -> int:
        return 4 * self.embed_dim


def make_side(name: str, sizes: Sizes, *, reference_layers: str, dropout: float, seed: int) -> Side:
    """Build "ours" or "reference"; the same seed gives both the same weights."""
    torch.manual_seed(seed)
    shared = {
        "vocab_size": sizes.vocab_size,
        "num_layers": sizes.num_layers,
        "embed_dim": sizes.embed_dim,
        "ffn_dim": sizes.ffn_dim,
        "num_heads": sizes.num_heads,
        "num_slots": sizes.num_slots,
        "segment_length": sizes.segment_length,
        "dropout": dropout,
        "attention_dropout": dropout,
    }
    encoder: CrossThoughtEncoder | StockEncoder = CrossThoughtEncoder(EncoderConfig(**shared))
    if name == "reference":
        stock = StockEncoder(layers=reference_layers, **shared)
        stock.load_published(encoder.state_dict())
        encoder = stock
    torch.manual_seed(seed)
    return Side(encoder, embed_dim=sizes.embed_dim, vocab_size=sizes.vocab_size)


def pick_reference_layers(wanted: str) -> str:
    """Return "fairseq" where it can be imported, else "torch"; `wanted` other than "auto" is kept."""
    if wanted != "auto":
        return wanted
    try:
        from cross_thought.fairseq import bridge

        bridge.install()
    except ImportError:
        return "torch"
    return "fairseq"


def run_step(side: Side, batch: Batch, step: str) -> Tensor:
    """Run one step; "train" is forward and backward, "infer" forward without gradients. Returns the loss."""
    if step == "train":
        loss = side.loss(batch)
        loss.backward()
        return loss.detach()
    with torch.no_grad():
        return side.loss(batch)


def prepare(side: Side, step: str) -> None:
    """Put the side into the step's mode, without gradients from before."""
    side.train(step == "train")
    side.zero_grad(set_to_none=True)


def wait_for(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def time_step(side: Side, batch: Batch, *, step: str, device: str) -> tuple[float, float]:
    """Return the seconds that one step takes, by the clock and of all threads' processor time."""
    prepare(side, step)
    wait_for(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    run_step(side, batch, step)
    wait_for(device)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    prepare(side, step)  # gives the gradients' memory back before the other side runs
    return seconds, cpu_seconds


def compare_states(reference: Side, ours: Side, batch: Batch) -> float:
    """Return the relative difference (Euclidean) of the two sides' states without dropout: they must do the same."""
    states = []
    for side in (reference, ours):
        prepare(side, "infer")
        with torch.no_grad():
            states.append(side.states(batch).float())
    return float((states[1] - states[0]).norm() / states[0].norm())
