"""The case study of cross layer 0: its weights against the layer itself, and what it is shown on."""

from dataclasses import replace

import pytest

from cross_thought.errors import UserError
from cross_thought.evaluation.cross_attention import choose_segments, choose_token, cross_attention

torch = pytest.importorskip("torch")
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig  # noqa: E402

SIZES = {"vocab_size": 31, "num_layers": 1, "embed_dim": 8, "ffn_dim": 8, "num_heads": 2, "num_slots": 3}
CONFIG = EncoderConfig(**SIZES, segment_length=4, num_positions=12, init_std=0.5)


def encoder(config: EncoderConfig = CONFIG) -> CrossThoughtEncoder:
    """Return an encoder whose attention is far from uniform."""
    torch.manual_seed(1)
    return CrossThoughtEncoder(config).eval()


def test_weights_give_what_the_layer_computes() -> None:
    model, tokens = encoder(), torch.randint(4, 31, (5, 4))
    calls = []
    attention = model.crossthought_layers[0].self_attn
    attention.register_forward_hook(lambda _, arguments, output: calls.append((arguments[1], output)))
    weights = cross_attention(model, tokens)
    assert weights.shape == (3, 2, 5, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 5))
    assert weights.std() > 0.05
    ((states, attended),) = calls
    with torch.inference_mode():
        values = attention.v_proj(states).view(3, 5, 2, 4).transpose(1, 2)  # (k, B, H, d / H) to (k, H, B, d / H)
        expected = (weights @ values).transpose(1, 2).reshape(15, 8)
    torch.testing.assert_close(attended, expected)


def test_the_encoder_is_left_as_it_was() -> None:
    model = encoder()
    cross_attention(model, torch.randint(4, 31, (5, 4)))
    assert not model.crossthought_layers[0]._forward_pre_hooks


def test_the_control_is_refused() -> None:
    config = EncoderConfig(**SIZES, segment_length=4, num_positions=12, cross_sequence=False)
    with pytest.raises(ValueError, match="leaves cross layer 0 out"):
        cross_attention(encoder(config), torch.randint(4, 31, (5, 4)))


def documents(*lengths: int) -> list[torch.Tensor]:
    """Return documents of these lengths, each of one number from 3 on."""
    return [torch.full((length,), 3 + number) for number, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("lengths", "chosen", "num_segments"),
    [
        ((3, 40, 90), 4, 8),  # the first that fills the figure
        ((3, 9, 14, 12), 5, 3),  # else the longest, whole segments
    ],
)
def test_choice_of_a_document(lengths: tuple[int, ...], chosen: int, num_segments: int) -> None:
    segments = choose_segments(documents(*lengths), encoder())
    assert segments.tolist() == [[chosen] * 4] * num_segments


def test_short_documents_are_read_on() -> None:
    assert choose_segments(documents(3, 3, 3), encoder()).tolist() == [[3, 3, 3, 4], [4, 4, 5, 5]]
    for lengths in ((), (3, 4)):
        with pytest.raises(UserError, match="no two segments of 4"):
            choose_segments(documents(*lengths), encoder())


def test_segments_that_are_sentences() -> None:
    model = encoder(replace(CONFIG, segment_by="sentence"))
    document = torch.tensor([0, 9, 2, 7, 8, 7, 8, 2, 6, 2])
    segments = choose_segments([torch.tensor([0, 5, 2]), document], model)
    assert segments.tolist() == [[0, 9, 2, 1], [7, 8, 7, 8], [2, 1, 1, 1], [6, 2, 1, 1]]
    assert cross_attention(model, segments).shape == (3, 2, 4, 4)
    # a document of whole sentences comes first, though it has fewer segments
    whole = torch.tensor([0, 5, 2, 6, 2])
    assert choose_segments([document, whole], model).tolist() == [[0, 5, 2, 1], [6, 2, 1, 1]]


def test_the_rarest_shared_word_is_masked() -> None:
    counts = [0, 0, 0, 0, 900, 50, 20, 10, 5, 3]
    segments = torch.tensor([[4, 5, 9, 6], [4, 8, 6, 7], [4, 7, 6, 5]])
    # 9 and 8 are rarer, but in one segment each; 7 is shared
    assert choose_token(segments, counts=counts, is_word=lambda token: True) == (1, 3)
    assert choose_token(segments, counts=counts, is_word=lambda token: token != 7) == (0, 3)
    assert choose_token(segments, counts=counts, is_word=lambda token: False) == (0, 2)
