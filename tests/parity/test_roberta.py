"""An independent check: with the cross layers left out, the encoder is Hugging Face's RobertaModel on the same weights.

Hugging Face counts positions from 2 by default; here they are always given.
"""

import pytest
import reference
import torch
from comparison import (
    BOS,
    PAD,
    gradient_errors,
    random_sentences,
    random_state,
    random_streams,
    relative_error,
    small_config,
)
from torch import Tensor

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig

transformers = pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")

# name in a published layer -> name in a Hugging Face layer
LAYER_NAMES = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "embed_tokens": "embeddings.word_embeddings",
    "embed_positions": "embeddings.position_embeddings",
    "emb_layer_norm": "embeddings.LayerNorm",
}


def published_to_hugging_face(names: list[str], layers: list[str]) -> dict[str, str]:
    """Map published parameter names to Hugging Face's; `layers[i]` is what Hugging Face's layer i holds."""
    renamed = {}
    for name in names:
        module, _, kind = name.rpartition(".")
        if module in EMBEDDING_NAMES:
            renamed[name] = f"{EMBEDDING_NAMES[module]}.{kind}"
        for index, layer in enumerate(layers):
            if module.startswith(f"{layer}."):
                renamed[name] = f"encoder.layer.{index}.{LAYER_NAMES[module.removeprefix(f'{layer}.')]}.{kind}"
    return renamed


def make_both(
    config: EncoderConfig, layers: list[str]
) -> tuple[CrossThoughtEncoder, "transformers.RobertaModel", dict[str, str]]:
    """The encoder, Hugging Face's model with its weights, and how names map; float64, evaluation mode."""
    encoder = CrossThoughtEncoder(config).double().eval()
    state = random_state(encoder, seed=1)
    encoder.load_state_dict(state)
    names = published_to_hugging_face(list(state), layers)
    roberta = transformers.RobertaModel(
        transformers.RobertaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.embed_dim,
            num_hidden_layers=len(layers),
            num_attention_heads=config.num_heads,
            intermediate_size=config.ffn_dim,
            max_position_embeddings=config.num_positions + 2,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=config.pad_id,
        ),
        add_pooling_layer=False,
    )
    roberta = roberta.double().eval()
    roberta.embeddings.position_embeddings.padding_idx = None  # position 1 is one like any other here: it learns
    weights = {new: state[old] for old, new in names.items()}
    token_type = "embeddings.token_type_embeddings.weight"  # which RoBERTa's own encoder does not have
    weights[token_type] = torch.zeros_like(roberta.get_parameter(token_type))
    missing, unexpected = roberta.load_state_dict(weights, strict=False)
    assert not unexpected
    assert not [name for name in missing if roberta.get_parameter(name) is not None]
    return encoder, roberta, names


def assert_same(
    encoder: CrossThoughtEncoder,
    roberta: "transformers.RobertaModel",
    names: dict[str, str],
    actual: Tensor,
    expected: Tensor,
) -> None:
    """Compare outputs and the gradients of all shared parameters."""
    assert relative_error(actual, expected) < 1e-10
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(expected.shape, generator=generator, dtype=expected.dtype)
    (actual * weights).sum().backward()
    (expected * weights).sum().backward()
    errors = gradient_errors(
        {old: encoder.get_parameter(old).grad for old in names},
        {old: roberta.get_parameter(new).grad for old, new in names.items()},
    )
    assert len(errors) == len(names)
    assert max(errors.values()) < 1e-10, errors


@pytest.mark.parametrize("num_slots", [1, 5])
def test_sentence_slots_equal_hugging_face(num_slots: int) -> None:
    """Fine-tuning before cross layer 0: RoBERTa on the sentence with k - 1 more `<s>`, positions from 1."""
    config = small_config(num_slots=num_slots, num_layers=3)
    encoder, roberta, names = make_both(config, [f"layers.{index}" for index in range(3)])
    tokens = random_sentences([(7,), (0,), (40,), (503,)], vocab_size=config.vocab_size, seed=3)
    extra = torch.full((len(tokens), num_slots - 1), BOS)
    rows = torch.cat([extra, tokens], dim=1)
    is_token = (rows != PAD).long()
    states = roberta(
        input_ids=rows, attention_mask=is_token, position_ids=(is_token.cumsum(1) * is_token)
    ).last_hidden_state
    assert_same(encoder, roberta, names, encoder.embed_sentences(tokens), states[:, :num_slots])


def test_pretraining_words_equal_hugging_face() -> None:
    """Pre-training without cross layer 0: RoBERTa on each segment, cross layer 1 as its last layer."""
    config = small_config(num_slots=5, segment_length=8, num_layers=2, cross_sequence=False)
    encoder, roberta, names = make_both(config, ["layers.0", "layers.1", "crossthought_layers.1"])
    start = 300
    (stream,) = tokens = random_streams([45], vocab_size=config.vocab_size, seed=4)
    rows = reference.fold(stream, num_slots=5, segment_length=8, pad_id=PAD, bos_id=BOS)
    positions = torch.cat([torch.arange(5), torch.arange(8) + 5 + start]).expand(len(rows), -1)
    states = roberta(input_ids=rows, attention_mask=(rows != PAD).long(), position_ids=positions).last_hidden_state
    words = states[:, 5:].reshape(-1, config.embed_dim)[: len(stream)]
    assert_same(encoder, roberta, names, encoder.encode_streams(tokens, start_position=start)[0], words)
