"""Small checkpoints with random weights and a learnt vocabulary, for tests of what users load."""

from argparse import Namespace
from pathlib import Path

import torch

from cross_thought.data.bpe import train_vocabulary
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.heads import ClassificationHead, FineTunedTask

TEXT = [
    "Ada owns a cat , works as a pilot and lives near the river .",
    "He lives by the stream , flies planes and has a kitten .",
    "naïve café, don't   stop — 😀 at 10,000 words\u2028or so",
    "the quick brown fox jumps over the lazy dog 0123456789",
]


def write_vocabulary(folder: Path, *, text: list[str] = TEXT) -> Path:
    """Learn a vocabulary of some lines and return its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    source = folder.parent / f"{folder.name}.txt"
    source.write_text("\n".join(text * 5) + "\n", encoding="utf-8")
    train_vocabulary(source, folder, vocab_size=320, workers=1)
    return folder


def dictionary_size(vocabulary: Path) -> int:
    """Return the symbols of fairseq's dictionary, the specials and `<mask>` included."""
    return len((vocabulary / "dict.txt").read_text(encoding="utf-8").splitlines()) + 5


def random_state(vocabulary: Path, *, num_positions: int = 512, num_slots: int = 3, segment_length: int = 8) -> dict:
    """Return what a fairseq checkpoint holds: two layers with weights large enough to make a difference."""
    torch.manual_seed(1)
    config = EncoderConfig(
        vocab_size=dictionary_size(vocabulary),
        num_layers=2,
        embed_dim=32,
        ffn_dim=48,
        num_heads=4,
        num_slots=num_slots,
        segment_length=segment_length,
        num_positions=num_positions,
        init_std=0.2,
    )
    weights = CrossThoughtEncoder(config).state_dict()
    return {
        "args": Namespace(
            arch="cross_thought_tiny", task="masked_lm", encoder_attention_heads=4, num_slots=num_slots,
            segment_length=segment_length, num_positions=num_positions, no_cross_sequence=False, lr=[0.1],
        ),
        "model": {f"encoder.sentence_encoder.{name}": weight for name, weight in weights.items()}
        | {"encoder.lm_head.bias": torch.zeros(config.vocab_size)},
    }  # fmt: skip


def write_checkpoint(folder: Path, **sizes: int) -> Path:
    """Write a checkpoint with its vocabulary beside it and return its path."""
    write_vocabulary(folder)
    torch.save(random_state(folder, **sizes), folder / "model.pt")
    return folder / "model.pt"


def add_lm_head(checkpoint: Path) -> None:
    """Give a checkpoint an LM head with random weights."""
    state = torch.load(checkpoint, weights_only=False)
    embedding = state["model"]["encoder.sentence_encoder.embed_tokens.weight"]
    num_symbols, width = embedding.shape
    torch.manual_seed(2)
    weights = {
        "dense.weight": torch.randn(width, width) * 0.3,
        "dense.bias": torch.randn(width) * 0.1,
        "layer_norm.weight": 1 + 0.1 * torch.randn(width),
        "layer_norm.bias": 0.1 * torch.randn(width),
        "weight": embedding,  # tied
        "bias": torch.randn(num_symbols),
    }
    state["model"] |= {f"encoder.lm_head.{name}": weight for name, weight in weights.items()}
    torch.save(state, checkpoint)


def fine_tuned_state(
    vocabulary: Path,
    *,
    labels: tuple[str, ...] | None = ("no", "yes", "maybe"),
    num_sentences: int = 2,
    **about: object,
) -> dict:
    """Return what a checkpoint holds that was fine-tuned here on sentences with these labels, or on scores; or on answers.

    Args:
        vocabulary: its folder.
        labels: None: a regression, or answer selection.
        num_sentences: in a row; three or more: answer selection.
        about: more that it tells of its task.
    """
    state = random_state(vocabulary)
    is_selection = num_sentences > 2
    kind = "answer_selection" if is_selection else "regression" if labels is None else "classification"
    state["args"].task = "answer_selection" if is_selection else "sentence_prediction"
    state["args"].regression_target = kind == "regression"
    state["args"].num_classes = num_sentences - 1 if is_selection else len(labels or "1")
    if not is_selection:
        head = ClassificationHead(32, 24, len(labels or "1"))
        with torch.no_grad():
            for weight in head.parameters():
                weight.normal_(std=0.5)
        prefix = "classification_heads.sentence_classification_head"
        state["model"] |= {f"{prefix}.{name}": weight for name, weight in head.state_dict().items()}
    task = FineTunedTask(
        task="mine",
        kind=kind,
        labels=labels,
        num_sentences=num_sentences,
        columns=tuple("abcdef"[:num_sentences]),
        **about,
    )
    return state | {"fine_tuned_on": task.document()}


def write_fine_tuned(folder: Path, *, without: tuple[str, ...] = (), **about: object) -> Path:
    """Write a fine-tuned checkpoint, maybe without some entries, with its vocabulary beside it, and return its path."""
    state = fine_tuned_state(write_vocabulary(folder), **about)
    torch.save({key: value for key, value in state.items() if key not in without}, folder / "best.pt")
    return folder / "best.pt"
