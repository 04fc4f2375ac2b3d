"""The registered model: what its flags do, what it refuses, and what its start positions depend on."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch

from cross_thought.fairseq import bridge

bridge.install()

from fairseq.data import Dictionary  # noqa: E402

from cross_thought.fairseq.model import CrossThoughtModel, cross_thought_tiny  # noqa: E402


def build(**flags: object) -> CrossThoughtModel:
    args = Namespace(tokens_per_sample=24, dropout=0.0, seed=1, **flags)
    cross_thought_tiny(args)
    dictionary = Dictionary()
    for word in range(300):
        dictionary.add_symbol(str(word))
    return CrossThoughtModel.build_model(args, SimpleNamespace(source_dictionary=dictionary))


def test_the_initial_spread_is_what_the_flags_say() -> None:
    torch.manual_seed(1)
    model = build(init_std=0.15, query_key_init_std=0.4)
    layer = model.encoder.sentence_encoder.layers[0]
    spreads = {
        0.15: (layer.fc1.weight, layer.self_attn.v_proj.weight, model.encoder.lm_head.dense.weight),
        0.4: (layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight),
    }
    for expected, weights in spreads.items():
        for weight in weights:
            assert weight.std().item() == pytest.approx(expected, rel=0.05)
    assert model.encoder.lm_head.weight is model.encoder.sentence_encoder.embed_tokens.weight


def test_without_the_flags_the_spread_is_robertas() -> None:
    torch.manual_seed(1)
    layer = build().encoder.sentence_encoder.layers[0]
    for weight in (layer.fc1.weight, layer.self_attn.q_proj.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"activation_fn": "relu"}, "--activation-fn relu is not supported by this encoder: leave the flag out"),
        ({"encoder_layerdrop": 0.1}, "--encoder-layerdrop 0.1 is not supported"),
        ({"num_positions": 8}, "segment_length 12 with num_slots 2 does not fit num_positions 8"),
    ],
)
def test_what_the_encoder_does_not_do_is_refused(flags: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**flags)


def test_what_has_no_use_is_refused() -> None:
    tokens = torch.tensor([[0, 5, 6, 2]])
    with pytest.raises(ValueError, match="return_all_hiddens is not supported"):
        build().encoder(tokens, return_all_hiddens=True)
    with pytest.raises(ValueError, match="--forward-mode finetune has no use for the LM head"):
        build(task="sentence_prediction").encoder(tokens)


def test_start_positions_depend_on_seed_update_and_batch_alone() -> None:
    def draws(encoder: torch.nn.Module, update: int, count: int = 4) -> list[int]:
        encoder.set_num_updates(update)
        return [encoder._draw_start_position() for _ in range(count)]

    once, again = build().encoder, build().encoder
    assert draws(once, 1) + draws(once, 2) == draws(again, 1) + draws(again, 2)
    resumed = build().encoder
    assert draws(resumed, 7) == draws(once, 7)
    assert len({tuple(draws(once, update)) for update in range(10, 20)}) > 1
    # validation draws alike each time, and does not disturb training
    first = [draws(once.eval(), update) for update in (30, 30)]
    assert first[0] == draws(again.eval(), 40)
    assert draws(once.train(), 31) == draws(again.train(), 31)
