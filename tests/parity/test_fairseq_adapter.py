"""Through fairseq: its own tasks and criteria on the registered model give the reference's loss and gradients."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest
import reference
import torch
from comparison import BOS, EOS, PAD, gradient_errors, random_sentences, random_streams, relative_error, trainable
from torch import Tensor, nn
from torch.nn import functional as F

pytest.importorskip("fairseq_cli", reason="fairseq is not installed")

NUM_WORDS = 40  # symbols of the dictionary file; fairseq adds 4 special ones and <mask>
VOCAB_SIZE = NUM_WORDS + 5
NUM_SLOTS, SEGMENT_LENGTH, NUM_HEADS = 3, 8, 2
ENCODER = "encoder.sentence_encoder."

MODEL_FLAGS = (
    "--arch cross_thought_base --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
    f"--encoder-attention-heads {NUM_HEADS} --num-slots {NUM_SLOTS} --segment-length {SEGMENT_LENGTH} "
    "--dropout 0 --attention-dropout 0 --pooler-dropout 0 --optimizer adam --lr-scheduler fixed --lr 0.001 --cpu"
).split()


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `fairseq train` would set up, without its training loop."""

    args: Namespace
    task: object
    model: nn.Module
    criterion: nn.Module


def set_up(data: Path, *flags: str) -> Training:
    """Set up task, model (weights that matter, float32) and criterion from a command line."""
    from cross_thought.fairseq import bridge

    bridge.install()
    from fairseq import options, tasks

    import cross_thought.fairseq.answer_selection
    import cross_thought.fairseq.masked_sentences
    import cross_thought.fairseq.model  # noqa: F401  (registers the architectures)

    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [str(data), *MODEL_FLAGS, *flags])
    task = tasks.setup_task(args)
    model = task.build_model(args)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return Training(args=args, task=task, model=model, criterion=task.build_criterion(args))


def write_dictionary(folder: Path, symbols: list[str]) -> None:
    """Write a dictionary as fairseq reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in symbols))


def split_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The model's weights that collect gradients of their own: all, and the encoder's by their published names.

    The tied embedding is one tensor under both of its names.
    """
    tied = f"{ENCODER}embed_tokens.weight", "encoder.lm_head.weight"
    state = trainable({name: value for name, value in model.state_dict().items() if name != tied[1]})
    state[tied[1]] = state[tied[0]]
    encoder = {name.removeprefix(ENCODER): value for name, value in state.items() if name.startswith(ENCODER)}
    return state, encoder


def assert_same(training: Training, loss: Tensor, expected: Tensor, state: dict[str, Tensor]) -> None:
    """Compare loss and gradients."""
    assert relative_error(loss, expected) < 1e-5
    loss.backward()
    expected.backward()
    parameters = dict(training.model.named_parameters())
    errors = gradient_errors(
        {name: parameter.grad for name, parameter in parameters.items()},
        {name: state[name].grad for name in parameters},
    )
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("control", [False, True], ids=["cross_thought", "mlm"])
@pytest.mark.parametrize("lengths", [[45], [45, 30, 9]], ids=["published", "batch"])
def test_masked_lm_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int], control: bool) -> None:
    write_dictionary(tmp_path, [str(symbol) for symbol in range(NUM_WORDS)])
    flags = ["--task", "masked_lm", "--criterion", "masked_lm"] + ["--no-cross-sequence"] * control
    training = set_up(tmp_path, *flags)
    encoder = training.model.encoder.sentence_encoder
    start_positions = []
    encode_streams = encoder.encode_streams

    def note_start_position(*args: Tensor, start_position: int, **kwargs: Tensor) -> Tensor:
        start_positions.append(start_position)
        return encode_streams(*args, start_position=start_position, **kwargs)

    monkeypatch.setattr(encoder, "encode_streams", note_start_position)

    tokens = random_streams(lengths, vocab_size=VOCAB_SIZE - 1, seed=2)
    masked = (torch.rand(tokens.shape, generator=torch.Generator().manual_seed(3)) < 0.15) & (tokens != PAD)
    target = tokens.masked_fill(~masked, PAD)
    source = tokens.masked_fill(masked, training.task.mask_idx)
    sample = {
        "net_input": {"src_tokens": source, "src_lengths": torch.tensor(lengths)},
        "target": target,
        "nsentences": len(lengths),
        "ntokens": sum(lengths),
    }
    loss, sample_size, _ = training.criterion(training.model, sample)

    state, encoder_state = split_state(training.model)
    (start_position,) = start_positions
    features = reference.pretrain_forward(
        encoder_state,
        source,
        num_slots=NUM_SLOTS,
        segment_length=SEGMENT_LENGTH,
        num_heads=NUM_HEADS,
        start_position=start_position,
        cross_sequence=not control,
    )
    logits = reference.lm_logits(state, features[masked], prefix="encoder.lm_head.")
    expected = F.cross_entropy(logits, target[masked], reduction="sum")
    assert int(sample_size) == int(masked.sum()) > 0
    assert 1 <= start_position <= 512 - NUM_SLOTS - SEGMENT_LENGTH - 1
    assert_same(training, loss, expected, state)


def test_masked_sentences_spares_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dictionary(tmp_path, [str(symbol) for symbol in range(NUM_WORDS)])
    training = set_up(tmp_path, "--task", "masked_sentences", "--criterion", "masked_lm", "--segment-by", "sentence")
    tokens = random_streams([45, 30, 9], vocab_size=VOCAB_SIZE - 1, seed=2)
    drawn = (torch.rand(tokens.shape, generator=torch.Generator().manual_seed(3)) < 0.5) & (tokens != PAD)
    masked = drawn & (tokens != BOS) & (tokens != EOS)
    assert masked.sum() < drawn.sum()
    mask = training.task.mask_idx

    def sample(masked: Tensor) -> dict:
        return {
            "net_input": {"src_tokens": tokens.masked_fill(masked, mask), "src_lengths": (tokens != PAD).sum(1)},
            "target": tokens.masked_fill(~masked, PAD),
            "nsentences": 3,
            "ntokens": 84,
        }

    loss, sample_size, _ = training.task.valid_step(sample(drawn), training.model, training.criterion)
    assert int(sample_size) == int(masked.sum())
    for none in (torch.zeros_like(drawn), drawn & ~masked):  # nothing drawn, or marks alone
        seen = training.task._with_marks(sample(none))
        assert torch.equal(seen["net_input"]["src_tokens"], tokens)
        assert torch.equal(seen["target"], tokens.masked_fill((tokens != BOS) & (tokens != EOS), PAD))
        _, sample_size, _ = training.task.valid_step(sample(none), training.model, training.criterion)
        assert int(sample_size) == int(((tokens == BOS) | (tokens == EOS)).sum()) > 0

    _, encoder_state = split_state(training.model)
    monkeypatch.setattr(training.model.encoder, "_draw_start_position", lambda: 7)
    loss, _, _ = training.task.valid_step(sample(drawn), training.model, training.criterion)
    features = reference.pretrain_forward(
        encoder_state,
        tokens.masked_fill(masked, mask),
        num_slots=NUM_SLOTS,
        segment_length=SEGMENT_LENGTH,
        num_heads=NUM_HEADS,
        start_position=7,
        segment_by="sentence",
    )
    state, _ = split_state(training.model)
    logits = reference.lm_logits(state, features[masked], prefix="encoder.lm_head.")
    expected = F.cross_entropy(logits, tokens[masked], reduction="sum")
    assert relative_error(loss, expected) < 1e-5


@pytest.mark.parametrize("regression", [False, True], ids=["classes", "regression"])
@pytest.mark.parametrize("rows", [[(5, 8), (20, 2), (0, 3)], [(5,), (21,), (0,)]], ids=["pairs", "single sentences"])
def test_sentence_prediction_loss(tmp_path: Path, rows: list[tuple[int, ...]], regression: bool) -> None:
    write_dictionary(tmp_path / "input0", [str(symbol) for symbol in range(NUM_WORDS)])
    write_dictionary(tmp_path / "label", ["yes", "no", "maybe"])
    flags = ["--task", "sentence_prediction", "--criterion", "sentence_prediction", "--max-positions", "512"]
    flags += ["--init-token", "0", "--separator-token", "0"]
    flags += ["--regression-target", "--num-classes", "1"] if regression else ["--num-classes", "3"]
    training = set_up(tmp_path, *flags)

    tokens = random_sentences(rows, vocab_size=VOCAB_SIZE - 1, seed=4)
    target = torch.tensor([0.2, 0.9, 0.4]) if regression else torch.tensor([[2], [0], [1]])
    sample = {
        "net_input": {"src_tokens": tokens, "src_lengths": (tokens != PAD).sum(1)},
        "target": target,
        "nsentences": len(rows),
        "ntokens": int((tokens != PAD).sum()),
    }
    loss, sample_size, _ = training.criterion(training.model, sample)

    state, encoder_state = split_state(training.model)
    features = reference.finetune_forward(encoder_state, tokens, num_slots=NUM_SLOTS, num_heads=NUM_HEADS)
    logits = reference.classification_logits(state, features)
    if regression:
        expected = (logits.flatten() - target).square().sum()
    else:
        expected = F.cross_entropy(logits, target.flatten(), reduction="sum")
    assert sample_size == len(rows)
    assert_same(training, loss, expected, state)


@pytest.mark.parametrize("answers", [[[2], [0]], [[0, 2], [0, 1]]], ids=["one right", "several right"])
def test_answer_selection_loss(answers: list[list[int]], tmp_path: Path) -> None:
    write_dictionary(tmp_path / "input0", [str(symbol) for symbol in range(NUM_WORDS)])
    write_dictionary(tmp_path / "label", ["1", "2", "3"])
    flags = ["--task", "answer_selection", "--criterion", "answer_selection", "--max-positions", "512"]
    training = set_up(tmp_path, *flags, "--num-classes", "3")

    lengths = [(5,), (8,), (20,), (2,), (9,), (4,), (0,), (11,)]  # two questions, each with three candidates
    tokens = random_sentences(lengths, vocab_size=VOCAB_SIZE - 1, seed=4).view(2, 4, -1)
    tokens[1, 3] = PAD  # but the second has only two
    target = torch.zeros(2, 3, dtype=torch.bool)
    for row, places in enumerate(answers):
        target[row, places] = True
    sample = {"net_input": {"src_tokens": tokens}, "target": target, "nsentences": 2, "ntokens": 8}
    loss, sample_size, logged = training.criterion(training.model, sample)

    state, encoder_state = split_state(training.model)
    apply_layer = reference.plain_layers(encoder_state, num_heads=NUM_HEADS)
    expected, num_right = 0.0, 0
    for rows, places in zip(tokens, answers, strict=True):
        sentences = [row[row != PAD] for row in rows if (row != PAD).any()]
        slots = reference.sentence_states(encoder_state, apply_layer, sentences, num_slots=NUM_SLOTS).transpose(0, 1)
        weights = reference.answer_weights(encoder_state, slots[0], slots[1:], num_heads=NUM_HEADS)
        expected = expected - weights[places].sum().log()
        num_right += int(weights.argmax()) in places
    assert sample_size == 2
    assert int(logged["ncorrect"]) == num_right
    assert_same(training, loss, expected, state)
