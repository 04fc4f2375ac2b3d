"""What the parity tests share: random weights and rows, gradients, and the norm in which two results are compared."""

from collections.abc import Callable

import torch
from torch import Tensor

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig

BOS, PAD, EOS, FIRST_WORD = 0, 1, 2, 4
NUM_POSITIONS = 512
RELATIVE_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
# A parameter whose gradient is less than this share of all gradients together is compared with that share instead: such
# a gradient is what is left of terms that cancel (all of them, for a key's bias), and rounding does not shrink with it.
GRADIENT_FLOOR = 0.05


def small_config(**changes: object) -> EncoderConfig:
    """A small encoder without dropout; `changes` go over it."""
    sizes = {
        "vocab_size": 37,
        "num_layers": 2,
        "embed_dim": 16,
        "ffn_dim": 32,
        "num_heads": 2,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    return EncoderConfig(**(sizes | changes))


def random_state(encoder: torch.nn.Module, *, seed: int) -> dict[str, Tensor]:
    """Weights with which every part counts: attention far from even, biases and LayerNorm scales not trivial."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in encoder.state_dict().items():
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if name.endswith("norm.weight"):
            noise = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            noise = 0.2 * noise
        elif not name.startswith("embed_"):
            noise = noise * value.shape[1] ** -0.5
        state[name] = noise.to(value.dtype)
    return state


def random_words(length: int, *, vocab_size: int, generator: torch.Generator) -> Tensor:
    """Token ids without special ones, shape (length,)."""
    return torch.randint(FIRST_WORD, vocab_size, (length,), generator=generator)


def random_streams(lengths: list[int], *, vocab_size: int, seed: int) -> Tensor:
    """Streams as fairseq's masked_lm task makes them: `<s>` first, a `</s>` now and then, right-padded; (N, L)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(tokens, lengths, strict=True):
        row[:length] = random_words(length, vocab_size=vocab_size, generator=generator)
        row[:length][torch.rand(length, generator=generator) < 0.1] = EOS
        row[0] = BOS
    return tokens


def random_sentences(lengths: list[tuple[int, ...]], *, vocab_size: int, seed: int) -> Tensor:
    """Rows `<s> A </s>` or `<s> A </s> <s> B </s>` of sentences with these numbers of words, right-padded."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for sample in lengths:
        parts = []
        for length in sample:
            words = random_words(length, vocab_size=vocab_size, generator=generator)
            parts += [torch.tensor([BOS]), words, torch.tensor([EOS])]
        rows.append(torch.cat(parts))
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def trainable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of `state` that collects gradients."""
    return {name: value.clone().requires_grad_() for name, value in state.items()}


def relative_error(actual: Tensor, expected: Tensor, *, floor: float = 0.0) -> float:
    """Norm of the difference over the norm of `expected` (or `floor`, if that is more); both Euclidean, in float64."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    actual, expected = actual.detach().double(), expected.detach().double()
    difference = float((actual - expected).norm())
    return difference / max(float(expected.norm()), floor, torch.finfo(torch.float64).tiny)


def gradient_errors(actual: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> dict[str, float]:
    """Relative error of each parameter's gradient; a gradient that was not touched counts as zero."""
    assert actual.keys() == expected.keys()
    norms = [float(gradient.double().norm()) for gradient in expected.values() if gradient is not None]
    floor = GRADIENT_FLOOR * sum(norm**2 for norm in norms) ** 0.5
    errors = {}
    for name, gradient in actual.items():
        pair = [value for value in (gradient, expected[name]) if value is not None]
        if pair:
            zero = torch.zeros_like(pair[0])
            errors[name] = relative_error(
                zero if gradient is None else gradient,
                zero if expected[name] is None else expected[name],
                floor=floor,
            )
    return errors


def compare(
    encoder: CrossThoughtEncoder,
    state: dict[str, Tensor],
    run_encoder: Callable[[], Tensor],
    run_reference: Callable[[dict[str, Tensor]], Tensor],
    *,
    seed: int,
) -> dict[str, float]:
    """Relative errors of the outputs and of all parameters' gradients, for one random linear loss on the outputs.

    Args:
        encoder: with the weights of `state`.
        run_encoder: gives the encoder's outputs.
        run_reference: gives the reference's outputs on a state dict that collects gradients.

    Returns:
        Error by name; the outputs' under "outputs".
    """
    reference_state = trainable(state)
    expected = run_reference(reference_state)
    actual = run_encoder()
    errors = {"outputs": relative_error(actual, expected)}
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64).to(expected.dtype)
    encoder.zero_grad(set_to_none=True)
    if expected.numel():
        (expected * weights).sum().backward()
        (actual * weights).sum().backward()
    gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    return errors | gradient_errors(gradients, {name: value.grad for name, value in reference_state.items()})


def assert_within(errors: dict[str, float], tolerance: float) -> None:
    """Fail with the names whose error exceeds `tolerance`."""
    too_large = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not too_large, f"relative errors above {tolerance}: {too_large}"


def make_encoder(
    config: EncoderConfig, *, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[CrossThoughtEncoder, dict[str, Tensor]]:
    """An encoder in evaluation mode, and its random weights."""
    encoder = CrossThoughtEncoder(config).to(dtype).eval()
    state = random_state(encoder, seed=seed)
    encoder.load_state_dict(state)
    return encoder, state


def draw_scored(tokens: Tensor, *, kind: str, seed: int) -> Tensor | None:
    """Positions for the LM head to score: "all", which is None, "every word", "some", or "none in the first"."""
    if kind == "all":
        return None
    words = tokens != PAD
    if kind == "every word":
        return words
    generator = torch.Generator().manual_seed(seed)
    scored = words & (torch.rand(tokens.shape, generator=generator) < 0.15)
    if kind == "none in the first":
        scored[0] = False
    return scored


def fit_to_positions(row: Tensor, *, num_slots: int) -> Tensor:
    """Cut one `<s> A </s>` to the positions 1..513 by the documented rule: words go, the final `</s>` stays."""
    longest = NUM_POSITIONS + 1 - (num_slots - 1)
    return row if len(row) <= longest else torch.cat([row[: longest - 1], row[-1:]])
