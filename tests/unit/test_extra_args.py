"""Flags for fairseq that cannot do what they say in the config."""

import pytest

from cross_thought.config import load_config
from cross_thought.errors import UserError
from cross_thought.extra_args import check_extra_args

CPU, GPU = {"device": "cpu"}, {"device": "cuda"}


@pytest.mark.parametrize(
    ("arguments", "hardware", "finetuning"),
    [
        ([], CPU, True),
        (["--patience", "3", "--update-freq=2", "--adam-betas", "(0.9, 0.95)", "--end-learning-rate", "-1"], CPU, True),
        (["--disable-validation"], CPU, False),
        (["--memory-efficient-fp16"], GPU, True),
        (["--save-interval-minutes", "1"], CPU, True),
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
