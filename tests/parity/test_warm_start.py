"""A start from Hugging Face's RoBERTa: before the cross layers, the states are those of Hugging Face's on its own weights.

Fed with the same positions: RoBERTa counts a row's tokens from 2, this encoder from 0.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cross_thought.config import load_config
from cross_thought.encoder import CrossThoughtEncoder
from cross_thought.fairseq.start import start_state
from cross_thought.inference.loading import from_checkpoint
from cross_thought.training.roberta import read_hugging_face
from tests.unit.checkpoints import write_vocabulary
from tests.unit.robertas import hugging_face_roberta

pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
LARGE = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 768}


def started(folder: Path, vocabulary: Path, sizes: dict, **settings: object) -> CrossThoughtEncoder:
    """Return the encoder of a model that starts from a folder."""
    ours = {
        "num_layers": sizes["num_hidden_layers"],
        "embed_dim": sizes["hidden_size"],
        "ffn_dim": sizes["intermediate_size"],
        "num_heads": sizes["num_attention_heads"],
    }
    changes = {"num_slots": 3, "segment_length": 8, "num_positions": 64}
    model = load_config({})["models"]["cross_thought"] | ours | changes | settings
    state = start_state(read_hugging_face(folder), vocabulary, name="mine", model=model, seed=1)
    return from_checkpoint(state, vocabulary, source=folder)[0]


def rows(encoder: CrossThoughtEncoder, lengths: list[int]) -> Tensor:
    """Return sentences of random words, `<s> A </s>`, right-padded."""
    draw = torch.Generator().manual_seed(5)
    tokens = torch.full((len(lengths), max(lengths) + 2), encoder.config.pad_id)
    for row, length in zip(tokens, lengths, strict=True):
        row[0] = encoder.config.bos_id
        row[1 : length + 1] = torch.randint(4, encoder.config.vocab_size, (length,), generator=draw)
        row[length + 1] = encoder.config.eos_id
    return tokens


@pytest.mark.parametrize(("sizes", "eps"), [(SMALL, 1e-5), (LARGE, 1e-5)], ids=["small", "large"])
@pytest.mark.parametrize("num_slots", [1, 3])
def test_states_before_the_cross_layers_are_hugging_faces(
    sizes: dict, eps: float, num_slots: int, tmp_path: Path
) -> None:
    vocabulary = write_vocabulary(tmp_path / "vocabulary")
    roberta = hugging_face_roberta(vocabulary, tmp_path / "roberta", layer_norm_eps=eps, **sizes)
    encoder = started(tmp_path / "roberta", vocabulary, sizes, num_slots=num_slots)
    tokens = rows(encoder, [5, 0, 30, 57])
    with_slots = torch.cat([torch.zeros(len(tokens), num_slots - 1, dtype=torch.long), tokens], dim=1)
    is_token = (with_slots != encoder.config.pad_id).long()
    positions = is_token.cumsum(1) * is_token  # ours, in fine-tuning: from 1 on
    with torch.inference_mode():
        expected = roberta.roberta(
            input_ids=with_slots, attention_mask=is_token, position_ids=positions + 2
        ).last_hidden_state[:, :num_slots]
        found = encoder.embed_sentences(tokens)
        shifted = roberta.roberta(input_ids=with_slots, attention_mask=is_token).last_hidden_state[:, :num_slots]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - shifted).abs().max() > 1e-2  # positions do count


def test_half_the_layers_and_positions_are_every_second_layer_and_the_first_positions(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path / "vocabulary")
    roberta = hugging_face_roberta(vocabulary, tmp_path / "roberta", **SMALL)
    encoder = started(tmp_path / "roberta", vocabulary, SMALL, num_layers=2, num_positions=32)
    layers = roberta.roberta.encoder.layer
    roberta.roberta.encoder.layer = torch.nn.ModuleList([layers[0], layers[2]])
    tokens = rows(encoder, [5, 28])
    with_slots = torch.cat([torch.zeros(2, 2, dtype=torch.long), tokens], dim=1)
    is_token = (with_slots != encoder.config.pad_id).long()
    with torch.inference_mode():
        expected = roberta.roberta(
            input_ids=with_slots, attention_mask=is_token, position_ids=is_token.cumsum(1) * is_token + 2
        ).last_hidden_state[:, :3]
        torch.testing.assert_close(encoder.embed_sentences(tokens), expected, rtol=0, atol=1e-5)
    # the copies are of RoBERTa's last layer, whether that was taken or not
    for cross_layer in encoder.crossthought_layers:
        assert torch.equal(cross_layer.fc1.weight, layers[3].intermediate.dense.weight)


def test_pretraining_words_through_a_copied_cross_layer(tmp_path: Path) -> None:
    """Without cross layer 0, the words' states are those of RoBERTa with its last layer once more, and scored alike."""
    vocabulary = write_vocabulary(tmp_path / "vocabulary")
    roberta = hugging_face_roberta(vocabulary, tmp_path / "roberta", **SMALL)
    encoder = started(tmp_path / "roberta", vocabulary, SMALL, cross_sequence=False)
    roberta.roberta.encoder.layer.append(roberta.roberta.encoder.layer[3])
    words = rows(encoder, [6])  # 8 tokens: one segment
    start_position = 17
    positions = torch.cat([torch.arange(3), torch.arange(8) + 3 + start_position])[None]
    with torch.inference_mode():
        expected = roberta.roberta(
            input_ids=torch.cat([torch.zeros(1, 3, dtype=torch.long), words], dim=1), position_ids=positions + 2
        ).last_hidden_state[:, 3:]
        found = encoder.encode_streams(words, start_position=start_position)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
