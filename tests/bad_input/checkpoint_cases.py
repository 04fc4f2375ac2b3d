"""Given checkpoints that are none, or do not fit: the script that fine-tunes looks before it trains."""

import argparse
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from cross_thought.config import load_config
from cross_thought.data.tasks import task_from_config
from cross_thought.encoder.heads import FineTunedTask
from cross_thought.fairseq import bridge
from cross_thought.inference.loading import load_fine_tuned
from cross_thought.training.checkpoints import newest_checkpoint
from cross_thought.training.launch import model_flags
from tests.bad_input.cases import Case, refusal
from workflow_scripts.finetune import finetune

bridge.install()

from fairseq import checkpoint_utils, options, tasks  # noqa: E402
from fairseq.data import Dictionary  # noqa: E402
from fairseq.models import ARCH_CONFIG_REGISTRY  # noqa: E402
from fairseq.trainer import Trainer  # noqa: E402

from cross_thought.fairseq import saving  # noqa: E402
from cross_thought.fairseq.model import CrossThoughtModel, RegisteredEncoder  # noqa: E402

GIVEN = Path("given.pt")
NUM_SYMBOLS = 20


class RunsCode:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch it-ran",)


def checkpoint(*, num_symbols: int = NUM_SYMBOLS, **changes: object) -> dict:
    """Return a checkpoint as fairseq writes it, of the demo's model with some sizes changed."""
    args = argparse.Namespace(**{key: value for key, value in model_flags(demo_model() | changes).items() if value})
    args.no_cross_sequence = False
    ARCH_CONFIG_REGISTRY[args.arch](args)
    args.max_positions = args.num_positions
    dictionary = Dictionary()
    for number in range(num_symbols):
        dictionary.add_symbol(str(number))
    dictionary.add_symbol("<mask>")
    model = CrossThoughtModel(args, RegisteredEncoder(args, dictionary))
    history = [{"num_updates": 7, "criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}}]
    return {"args": args, "model": model.state_dict(), "optimizer_history": history, "extra_state": {"epoch": 1}}


def demo_model() -> dict:
    """Return the demo's model, as one that is given."""
    return load_config({})["models"]["cross_thought"] | {"source": "path", "location": str(GIVEN)}


def fine_tune(write: Callable[[Path], None]) -> str:
    """Fine-tune from what is written; the data have a dictionary of their own and nothing else."""
    write(GIVEN)
    data = Path("data/input0")
    data.mkdir(parents=True)
    (data / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(NUM_SYMBOLS)))
    entry = {"files": {"train": "a", "valid": "a"}, "input_columns": [1], "label_column": 2, "labels": ["a", "b"]}
    sentence = refusal(
        lambda: finetune(
            Path("data"),
            GIVEN,
            task=task_from_config("mine", entry),
            model_name="mine",
            model=demo_model(),
            settings={},
            seed=1,
            hardware={},
            checkpoint=Path("results/best.pt"),
            history=Path("results/history.tsv"),
            command_record=Path("results/command.json"),
        )
    )
    assert not Path("it-ran").exists()
    assert not Path("results").exists()
    return sentence


def write(path: Path, *, without: str | None = None, **changes: object) -> None:
    """Write a checkpoint with sizes changed, or without an entry or all weights of some name."""
    state = checkpoint(**changes)
    state["model"] = {key: weight for key, weight in state["model"].items() if not without or without not in key}
    torch.save({key: value for key, value in state.items() if key != without}, path)


def write_without_slots(path: Path) -> None:
    """Write a checkpoint whose arguments lack the number of slots, which the authors' code took from elsewhere."""
    state = checkpoint()
    del state["args"].num_slots
    torch.save(state, path)


def write_object(path: Path, *, content: object, zipped: bool = True) -> None:
    """Write any object as torch does."""
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def write_cut(path: Path) -> None:
    """Write the first half of a checkpoint."""
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_damaged(path: Path) -> None:
    """Write a checkpoint with one wrong byte among the weights."""
    write(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def write_text(path: Path) -> None:
    """Write the page that a host gives in place of a file."""
    path.write_text("<!doctype html><title>Quota exceeded</title>\n")


def restore(write: Callable[[Path], None]) -> str:
    """Start from what is written by a flag of fairseq's own command line."""
    write(GIVEN)
    Path("data").mkdir()
    (Path("data") / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(NUM_SYMBOLS)))
    flags = ["--arch", "cross_thought_tiny", "--task", "masked_lm", "--criterion", "masked_lm", "--optimizer", "adam"]
    flags += ["--cpu", "--finetune-from-model", str(GIVEN)]
    args = options.parse_args_and_arch(options.get_training_parser(), ["data", *flags])
    task = tasks.setup_task(args)
    trainer = Trainer(args, task, task.build_model(args), task.build_criterion(args))
    sentence = refusal(lambda: saving._as_left(checkpoint_utils.load_checkpoint)(args, trainer))
    assert not Path("it-ran").exists()
    return sentence


def predict_without_head() -> str:
    """Predict with a model that was never fine-tuned."""
    write(GIVEN)
    return refusal(lambda: load_fine_tuned(GIVEN, FineTunedTask(task="RTE", kind="regression")))


def clock_jump() -> str:
    """Go on from a run whose newest checkpoints seem the oldest."""
    for number, num_updates in enumerate((20, 100, 9), start=1):
        state = checkpoint() | {"last_optimizer_state": {}}
        state["optimizer_history"][-1]["num_updates"] = num_updates
        path = Path(f"checkpoint_1_{num_updates}.pt")
        torch.save(state, path)
        os.utime(path, (number, random.Random(number).randrange(10**9)))
    path, num_updates = newest_checkpoint(Path())
    assert path == Path("checkpoint_1_100.pt")
    return f"going on from {path}, {num_updates} of 900 updates"


_CODE = {"args": argparse.Namespace(), "model": RunsCode()}
_RUNS = ("code that would run (`os.system`)", partial(write_object, content=_CODE))
_WIDTH = ("another width", partial(write, embed_dim=32))
_ROBERTA = ("another encoder, RoBERTa's: no cross layers", partial(write, without="crossthought_layers"))
WAYS = [
    ("not there", lambda path: None),
    ("cut", write_cut),
    ("a wrong byte among the weights", write_damaged),
    ("a page of the host in place of the file", write_text),
    _RUNS,
    ("the same in torch's old format", partial(write_object, content=_CODE, zipped=False)),
    ("weights alone, not fairseq's", partial(write_object, content={"weight": torch.ones(1)})),
    ("without the history of its training", partial(write, without="optimizer_history")),
    ("other layers", partial(write, num_layers=3)),
    _WIDTH,
    ("another feed-forward width", partial(write, ffn_dim=32)),
    ("other positions", partial(write, num_positions=40)),
    ("other slots", partial(write, num_slots=1)),
    ("other heads", partial(write, num_heads=8)),
    ("other slots, the number of which it does not have, as the authors'", write_without_slots),
    ("another dictionary", partial(write, num_symbols=30)),
    _ROBERTA,
    ("without LM head", partial(write, without="lm_head")),
]
CASES = [
    *(Case(group="Checkpoints", what=what, run=partial(fine_tune, way)) for what, way in WAYS),
    *(
        Case(group="Checkpoints", what=f"{what}, for fairseq's own command line", run=partial(restore, way))
        for what, way in (_ROBERTA, _WIDTH, _RUNS)
    ),
    Case(group="Checkpoints", what="without classification head, to predict with", run=predict_without_head),
    Case(group="Checkpoints", what="a clock that jumped back", run=clock_jump, refused=False),
]
