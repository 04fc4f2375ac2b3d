"""`--bf16`: matrix products in bfloat16, all else in float32, without a TPU."""

import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cross_thought.data.binarize import DatasetWriter
from cross_thought.environment import slow_bfloat16
from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from cross_thought.training.checkpoints import load_checkpoint

bridge.install()

from fairseq import options  # noqa: E402
from fairseq.data import Dictionary  # noqa: E402

from cross_thought.fairseq.checks import check_arguments  # noqa: E402
from cross_thought.fairseq.model import CrossThoughtModel, cross_thought_tiny  # noqa: E402
from cross_thought.fairseq.optimizer import FusedAdam  # noqa: E402

REPOSITORY = Path(__file__).parents[3]
NUM_WORDS = 40


def build(*, bfloat16: bool, dropout: float = 0.1) -> CrossThoughtModel:
    args = Namespace(
        tokens_per_sample=64, dropout=dropout, attention_dropout=dropout, seed=1, bfloat16=bfloat16, init_std=0.15
    )
    cross_thought_tiny(args)
    dictionary = Dictionary()
    for word in range(NUM_WORDS):
        dictionary.add_symbol(str(word))
    torch.manual_seed(1)
    return CrossThoughtModel.build_model(args, SimpleNamespace(source_dictionary=dictionary))


def draw_batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return streams whose words follow one another by a rule, shape (8, 48), and which are to be guessed."""
    generator = torch.Generator().manual_seed(number)
    first = torch.randint(NUM_WORDS, (8, 1), generator=generator)
    words = (first + 3 * torch.arange(48)) % NUM_WORDS + 4
    return words, torch.rand(words.shape, generator=generator) < 0.15


def loss_of(model: CrossThoughtModel, number: int) -> torch.Tensor:
    """Return the loss of a batch, as fairseq's criterion computes it."""
    words, masked = draw_batch(number)
    logits, _ = model(words.masked_fill(masked, 3), masked_tokens=masked)
    return F.nll_loss(F.log_softmax(logits, dim=-1, dtype=torch.float32), words[masked])


def test_only_matrix_products_take_bfloat16() -> None:
    model = build(bfloat16=True)
    outputs: dict[str, set[torch.dtype]] = {}
    for module in model.modules():
        module.register_forward_hook(
            lambda module, _, output: outputs.setdefault(type(module).__name__, set()).add(
                getattr(output, "dtype", None)
            )
        )
    loss = loss_of(model, 1)
    loss.backward()
    assert loss.dtype == torch.float32
    assert outputs["Linear"] == {torch.bfloat16}
    assert outputs["Embedding"] == {torch.float32}
    assert outputs["TransformerLayer"] == {torch.float32}
    encoder = model.encoder.sentence_encoder
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in encoder.parameters()} == {torch.float32}
    # a head's scores decide on ties, so they are float32
    model.args.forward_mode = "finetune"
    vars(model.args).update(quant_noise_pq=0, quant_noise_pq_block_size=8)  # defaults of fairseq's own flags
    model.register_classification_head("head", num_classes=2)
    rows = torch.tensor([[0, 5, 6, 2, 0, 7, 2], [0, 8, 2, 1, 1, 1, 1]])
    scores, _ = model(rows, features_only=True, classification_head_name="head")
    assert scores.dtype == torch.float32


def test_losses_stay_beside_those_of_float32() -> None:
    losses = {}
    for bfloat16 in (False, True):
        model = build(bfloat16=bfloat16)
        flags = {"lr": [3e-3], "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.01}
        optimizer = FusedAdam(Namespace(**flags), list(model.parameters()))
        losses[bfloat16] = []
        for update in range(60):
            model.train()
            model.set_num_updates(update)
            torch.manual_seed(update)
            optimizer.zero_grad()
            loss = loss_of(model, update)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses[bfloat16] = [float(loss_of(model, number)) for number in range(100, 110)]
    assert np.mean(losses[False]) < 3.2  # of 3.7 by guessing: something was learnt
    assert np.mean(losses[True]) == pytest.approx(np.mean(losses[False]), rel=0.05)
    assert losses[True] != losses[False]


def run_fairseq(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "cross_thought.fairseq", "train", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)


def write_streams(folder: Path) -> None:
    """Write a binarized corpus of 60 lines."""
    folder.mkdir()
    (folder / "dict.txt").write_text("".join(f"{word} 1\n" for word in range(NUM_WORDS)))
    generator = np.random.default_rng(1)
    lines = [np.append(generator.integers(4, 4 + NUM_WORDS, 30), 2) for _ in range(60)]
    for split in ("train", "valid"):
        with DatasetWriter(folder / split, dictionary_size=4 + NUM_WORDS) as writer:
            writer.write(np.concatenate(lines), np.array([len(line) for line in lines]))


TRAINING = shlex.split(
    "--task masked_lm --criterion masked_lm --arch cross_thought_tiny --tokens-per-sample 62 --batch-size 4 "
    "--optimizer fused_adam --lr-scheduler fixed --lr 0.001 --dropout 0.1 --max-update 8 --save-interval-updates 4 "
    "--disable-validation --no-epoch-checkpoints --num-workers 0 --data-buffer-size 0 --log-format json --cpu"
)


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--task", "masked_sentences", "--segment-by", "sentence"]])
def test_a_training_goes_on_to_the_same_bits(tmp_path: Path, more: list[str]) -> None:
    write_streams(tmp_path / "data")
    more = ["--bf16", *more]
    finished = run_fairseq(tmp_path / "data", *TRAINING, *more, "--save-dir", tmp_path / "whole")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    whole = load_checkpoint(tmp_path / "whole" / "checkpoint_last.pt")
    assert {weight.dtype for weight in whole["model"].values()} == {torch.float32}
    states = whole["last_optimizer_state"]["state"].values()
    assert {state["exp_avg_sq"].dtype for state in states} == {torch.float32}
    assert (whole["args"].bfloat16, whole["args"].bf16, whole["args"].tpu) == (True, False, False)

    (half,) = (tmp_path / "whole").glob("checkpoint_*_4.pt")
    # memory that is short half-way changes nothing either
    flags = [*more, "--restore-file", half, "--checkpoint-activations", "--save-dir", tmp_path / "resumed"]
    finished = run_fairseq(tmp_path / "data", *TRAINING, *flags)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    resumed = load_checkpoint(tmp_path / "resumed" / "checkpoint_last.pt")
    assert resumed["optimizer_history"][-1]["num_updates"] == 8
    assert all(torch.equal(resumed["model"][name], weight) for name, weight in whole["model"].items())


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> object:
    """Return the training's parser as `python -m cross_thought.fairseq train` has it."""
    from cross_thought.fairseq import precision

    monkeypatch.setattr(options, "get_parser", precision._with_bfloat16(options.get_parser))
    return options.get_training_parser()


@pytest.mark.parametrize("flag", ["--bf16", "--memory-efficient-bf16"])
def test_the_flag_asks_for_no_tpu(parser: object, flag: str) -> None:
    given = ["data", "--arch", "cross_thought_tiny", "--task", "masked_lm", "--optimizer", "adam"]
    args = options.parse_args_and_arch(parser, [*given, flag])
    assert (args.bfloat16, args.bf16, args.memory_efficient_bf16, args.tpu) == (True, False, False, False)
    assert "no TPU, no torch_xla" in " ".join(parser.format_help().split())
    assert not options.parse_args_and_arch(options.get_training_parser(), given).bfloat16


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--arch", "roberta_base"], "--bf16 is for cross_thought's architectures, not for roberta_base: leave it out"),
        (["--arch", "cross_thought_tiny", "--fp16"], "--fp16 and --bf16 exclude each other: leave one of them out"),
    ],
)
def test_what_would_be_ignored_is_refused(parser: object, tmp_path: Path, flags: list[str], message: str) -> None:
    given = [str(tmp_path), *flags, "--task", "masked_lm", "--optimizer", "adam", "--bf16"]
    with pytest.raises(UserError, match=message):
        check_arguments(options.parse_args_and_arch(parser, given))


@pytest.mark.parametrize(
    ("cpuinfo", "is_slow"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("processor: 0\nflags\t\t: fpu avx2\nmodel name: x\n", True),
        ("nothing known\n", False),
    ],
)
def test_one_line_says_where_float32_is_faster(tmp_path: Path, cpuinfo: str, is_slow: bool) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    note = slow_bfloat16(tmp_path / "cpuinfo")
    assert (note is not None) == is_slow
    assert note is None or ("float32 is faster here" in note and "\n" not in note)
    assert slow_bfloat16(tmp_path / "missing") is None
