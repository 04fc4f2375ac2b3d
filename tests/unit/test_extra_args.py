"""Flags for fairseq that cannot do what they say in the config."""

from contextlib import suppress

import pytest

from cross_thought.config import load_config
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.extra_args import check_extra_args
from workflow_scripts import finetune, pretrain

CPU, GPU = {"device": "cpu"}, {"device": "cuda"}


@pytest.mark.parametrize(
    ("arguments", "hardware", "finetuning"),
    [
        ([], CPU, True),
        (
            ["--lr-scheduler=polynomial_decay", "--adam-betas", "(0.9, 0.95)", "--end-learning-rate", "-1"],
            CPU,
            True,
        ),
        (["--disable-validation"], CPU, False),
        (["--memory-efficient-fp16"], GPU, True),
        (["--save-interval-minutes", "1"], CPU, True),
        (["--max-tokens", "4400", "--max-epoch=3"], CPU, False),
    ],
)
def test_any_other_flag_is_fairseqs_matter(arguments: list[str], hardware: dict, finetuning: bool) -> None:
    check_extra_args(arguments, place="p", hardware=hardware, finetuning=finetuning)


@pytest.mark.parametrize(
    ("arguments", "hardware", "sentence"),
    [
        (
            ["--lr-shrink", "1", "--save-dir=x"],
            CPU,
            "has --save-dir, which cannot be given there: the workflow says where",
        ),
        (["--finetune-from-model", "x.pt"], CPU, "to pre-train from a checkpoint, set models.NAME.initialize_from; to"),
        (["--finetune-from-model", "x.pt"], CPU, "give a checkpoint by models.NAME.location; leave it out"),
        (["--memory-efficient-fp16"], CPU, "float16 needs hardware.device cuda"),
        (["--disable-validation"], GPU, "fine-tuning keeps the checkpoint that is best in validation"),
        (["--patience=3"], CPU, "set patience; leave it out"),
        (["--no-cross-sequence"], CPU, "set models.NAME.cross_sequence; leave it out"),
        (["--max-epoch", "9"], CPU, "set num_epochs; leave it out"),
        (["--update-freq=2"], CPU, "set batch_size, and max_tokens, which bounds a batch; leave it out"),
        (["--train-subset", "valid"], CPU, "the workflow says what is trained on; leave it out"),
        (["--tpu"], GPU, "there is no support for TPUs"),
        (["--bf16"], CPU, "set hardware.precision; leave it out"),
        (["--checkpoint-activations"], GPU, "set hardware.checkpoint_activations; leave it out"),
        (["--label-smoothing", "0.1"], CPU, "set label_smoothing; leave it out"),
        (["--tensorboard-logdir=x"], CPU, "set tracking to tensorboard; leave it out"),
        (
            ["--clip-norm 1"],
            CPU,
            r'has \'--clip-norm 1\': flag and value are entries of their own: \["--clip-norm", "1"\]',
        ),
    ],
)
def test_what_cannot_work_is_refused(arguments: list[str], hardware: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_extra_args(arguments, place="p", hardware=hardware, finetuning=True)


@pytest.mark.parametrize(
    ("place", "overlay"),
    [
        ("models.mlm.pretraining.extra_args", {"models": {"mlm": {"pretraining": {"extra_args": ["--no-save"]}}}}),
        ("finetuning.extra_args", {"finetuning": {"extra_args": ["--no-save"]}}),
        ("tasks.demo-match.extra_args", {"tasks": {"demo-match": {"extra_args": ["--no-save"]}}}),
    ],
)
def test_they_are_looked_for_wherever_a_config_has_them(place: str, overlay: dict) -> None:
    with pytest.raises(UserError, match=f"config: {place} has --no-save, which cannot be given there"):
        load_config(overlay)


def test_what_the_workflow_says_itself_is_refused_but_for_what_no_key_of_the_config_says() -> None:
    """A flag that a new setting brings is refused, too; or it is named here."""
    free = {"--optimizer", "--adam-betas", "--adam-eps", "--lr-scheduler"}
    model = load_config({"models": {"mlm": {"segment_by": "sentence"}}})["models"]["mlm"]
    model |= dict.fromkeys(("num_layers", "embed_dim", "ffn_dim", "num_heads"), 2) | {"cross_sequence": False}
    hardware = {"device": "cuda", "precision": "bfloat16", "processes": 1}
    model["pretraining"]["patience"] = 3
    assert taken_as_extra(pretrain.training_flags(model, seed=1, hardware=hardware), finetuning=False) == free
    settings = load_config({})["finetuning"] | {"class_weights": [1.0, 2.0], "label_smoothing": 0.1, "patience": 3}
    names = ("learning_rate", "batch_size", "num_updates", "warmup_updates", "validate_interval_updates")
    settings |= dict.fromkeys(names, 1)
    for task in (TASKS["RTE"], TASKS["STS-B"], TASKS["QNLI-answers"]):
        flags = finetune.training_flags(task, model=model, settings=settings, seed=1, hardware=hardware)
        assert taken_as_extra(flags, finetuning=True) == free | {"--clip-norm"}


def taken_as_extra(flags: list[str], *, finetuning: bool) -> set[str]:
    """Return those of a training's flags that `extra_args` may name again."""
    found = set()
    for flag in flags:
        if flag.startswith("--"):
            with suppress(UserError):
                check_extra_args([flag], place="p", hardware=GPU, finetuning=finetuning)
                found.add(flag)
    return found
