"""Layers computed again in the backward pass: the same numbers in less memory."""

import pytest
import torch
from torch import Tensor

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig

SIZES = EncoderConfig(
    vocab_size=50, num_layers=4, embed_dim=16, ffn_dim=64, num_heads=2, num_slots=2, segment_length=8, num_positions=32
)


def run(step: str, *, checkpointing: bool, bfloat16: bool) -> tuple[Tensor, list[Tensor | None], int]:
    """Return the loss, the gradients, and the bytes kept for the backward pass that are no weights."""
    torch.manual_seed(1)
    encoder = CrossThoughtEncoder(SIZES)
    encoder.checkpoint_activations = checkpointing
    tokens = torch.randint(4, 50, (3, 40))
    tokens[:, 20], tokens[2, 30:] = SIZES.eos_id, SIZES.pad_id
    kept = {weight.data_ptr(): 0 for weight in encoder.parameters()}

    def note(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            if step == "streams":
                scored = torch.rand(tokens.shape) < 0.3
                states = encoder.encode_streams(tokens, start_position=3, scored=scored)
            else:
                states = encoder.encode_sentences(tokens)
        loss = states.float().square().mean() + states[0].sum()
    num_bytes = sum(kept.values())
    loss.backward()
    return loss.detach(), [weight.grad for weight in encoder.parameters()], num_bytes


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("step", ["streams", "sentences"])
def test_numbers_are_the_same_in_less_memory(step: str, bfloat16: bool) -> None:
    loss, gradients, num_bytes = run(step, checkpointing=False, bfloat16=bfloat16)
    same_loss, same_gradients, fewer_bytes = run(step, checkpointing=True, bfloat16=bfloat16)
    assert torch.equal(same_loss, loss)
    for same, gradient in zip(same_gradients, gradients, strict=True):
        assert (same is None) == (gradient is None)
        assert gradient is None or torch.equal(same, gradient)
    assert fewer_bytes < num_bytes / 4
