"""The rectangle's forwards compute on no more columns than the encoder has positions for."""

import torch

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.rectangle import embed_sentences


def test_words_beyond_the_positions_are_not_computed_on() -> None:
    config = EncoderConfig(
        vocab_size=9, num_layers=2, embed_dim=8, ffn_dim=8, num_heads=2, num_slots=3, segment_length=8, num_positions=16
    )
    encoder = CrossThoughtEncoder(config).eval()
    shapes = []
    encoder.layers[0].fc1.register_forward_hook(lambda _, inputs, __: shapes.append(tuple(inputs[0].shape)))
    tokens = torch.tensor([[0, *[5] * 298, 2], [0, 6, 2, *[1] * 297], [*[1] * 297, 0, 6, 2]])
    with torch.inference_mode():
        states = embed_sentences(encoder, config, tokens, tokens != 1)
        assert shapes == [(3, config.max_sentence_length + config.num_slots - 1, 8)]
        torch.testing.assert_close(states[1], states[2])
        torch.testing.assert_close(states[:2], encoder.embed_sentences(tokens[:2]))
