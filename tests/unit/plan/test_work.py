"""What a model computes and keeps: the formulas against PyTorch's counters, on the encoder itself."""

from argparse import Namespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import kept_bytes
from benchmarks.sides import Heads
from cross_thought.config import SCHEMA
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.plan.work import ARCHITECTURES, ModelSizes
from cross_thought.yaml_text import read_yaml

SIZES = {"num_layers": 3, "embed_dim": 32, "ffn_dim": 96, "num_heads": 4, "num_slots": 3, "segment_length": 10}


def build(attention_dropout: float = 0.0, **changes: object) -> tuple[ModelSizes, CrossThoughtEncoder, Heads]:
    """Return sizes, and the encoder and heads that have them."""
    sizes = SIZES | {"vocab_size": 60, "num_positions": 40, "cross_sequence": True} | changes
    encoder = CrossThoughtEncoder(EncoderConfig(**sizes, attention_dropout=attention_dropout))
    return ModelSizes(**sizes), encoder, Heads(sizes["embed_dim"], sizes["vocab_size"])


def stream(length: int, num_scored: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    scored = torch.zeros(1, length, dtype=torch.bool)
    scored[0, torch.randperm(length, generator=generator)[:num_scored]] = True
    return torch.randint(4, 60, (1, length), generator=generator), scored


@pytest.mark.parametrize("length", [50, 53])
@pytest.mark.parametrize("changes", [{}, {"cross_sequence": False}, {"num_slots": 1, "num_layers": 1}])
def test_operations_of_pretraining(length: int, changes: dict) -> None:
    sizes, encoder, heads = build(**changes)
    tokens, scored = stream(length, 8)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        heads.score_words(
            encoder.eval().encode_streams(tokens, start_position=2, scored=scored), encoder.embed_tokens.weight
        )
    assert sizes.stream_flops(length, scored=8 / length) == counter.get_total_flops()


@pytest.mark.parametrize("lengths", [(9,), (7, 12)])
def test_operations_of_finetuning(lengths: tuple[int, ...]) -> None:
    sizes, encoder, heads = build()
    row = [token for length in lengths for token in (0, *[5] * (length - 2), 2)]
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        heads.score_classes(encoder.eval().encode_sentences(torch.tensor([row])))
    assert sizes.sentences_flops(lengths, num_classes=2) == counter.get_total_flops()


def test_a_word_at_the_published_size() -> None:
    published = ModelSizes(
        vocab_size=50265, **ARCHITECTURES["cross_thought_base"], num_slots=5, segment_length=64, num_positions=512
    )
    assert published.stream_flops(32000, scored=0.15) / 32000 == pytest.approx(204.5e6, rel=1e-3)


def test_parameters() -> None:
    sizes, encoder, heads = build()
    head = [heads.lm_dense, heads.lm_layer_norm]
    weights = [*encoder.parameters(), *nn.ModuleList(head).parameters(), heads.lm_bias]
    assert sizes.num_parameters == sum(weight.numel() for weight in weights)


@pytest.mark.parametrize("on_gpu", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_memory_that_a_forward_keeps(precision: str, on_gpu: bool) -> None:
    """Against the count of saved tensors."""
    sizes, encoder, _ = build(0.0 if on_gpu else 0.1, segment_length=30, num_positions=60)
    tokens, scored = stream(600, 90)
    counted = kept_bytes(encoder, tokens, scored, precision=precision, on_gpu=on_gpu)
    assert sizes.kept_bytes(600, scored=0.15, precision=precision, on_gpu=on_gpu) == pytest.approx(counted, rel=0.03)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_memory_where_layers_are_computed_again(on_gpu: bool) -> None:
    sizes, encoder, _ = build(0.0 if on_gpu else 0.1, segment_length=30, num_positions=60)
    tokens, scored = stream(600, 90)
    settings = {"precision": "float32", "on_gpu": on_gpu, "recompute": True}
    counted = kept_bytes(encoder, tokens, scored, **settings)
    assert sizes.kept_bytes(600, scored=0.15, **settings) == pytest.approx(counted, rel=0.05)
    whole = {
        again: sizes.step_bytes(600, streams=9, scored=0.15, **settings | {"recompute": again}) for again in (0, 1)
    }
    assert whole[True] < whole[False]


@pytest.mark.parametrize("name", read_yaml(SCHEMA)["$defs"]["model"]["properties"]["architecture"]["enum"])
def test_architectures_are_those_that_fairseq_knows(name: str) -> None:
    pytest.importorskip("fairseq_cli", reason="fairseq is not installed")
    from cross_thought.fairseq import bridge

    bridge.install()
    from cross_thought.fairseq import model

    args = Namespace()
    getattr(model, name)(args)
    assert ARCHITECTURES[name] == {
        "num_layers": args.encoder_layers,
        "embed_dim": args.encoder_embed_dim,
        "ffn_dim": args.encoder_ffn_embed_dim,
        "num_heads": args.encoder_attention_heads,
    }
