"""Checkpoints that survive whatever ends a training: written whole or not at all, every few minutes, and on SIGTERM.

`install()` changes how fairseq's own training saves and goes on; call it on import, after the bridge: spawned workers
need it too.
"""

import argparse
import logging
import os
import pickle
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import torch
from fairseq import checkpoint_utils, options
from fairseq.data import FairseqDataset, LRUCacheDataset, MaskTokensDataset
from fairseq.file_io import PathManager
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.trainer import Trainer
from fairseq_cli import train as fairseq_train

from cross_thought.errors import UserError
from cross_thought.files import atomic_file
from cross_thought.training.checkpoints import unreadable
from cross_thought.training.launch import NO_NUMBER

logger = logging.getLogger(__name__)

_MISFIT = "Cannot load model parameters from checkpoint"  # fairseq's words
STOPPED_STATUS = 128 + signal.SIGTERM  # exit status of a training that SIGTERM ended, after it has saved


class AtomicPathManager(PathManager):
    """fairseq's file access, writing through a temporary sibling, and linking instead of copying where it can."""

    @staticmethod
    def open(path: str, mode: str = "r", **options: object) -> AbstractContextManager[IO]:
        """Open a file; one opened for writing comes into place when it is closed without an error."""
        if "w" not in mode:
            return PathManager.open(path, mode, **options)
        return _written_whole(Path(path), mode, options)

    @staticmethod
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        """Give a checkpoint a second name. They can share their bytes: nothing is ever written in place."""
        try:
            with atomic_file(Path(dst_path)) as partial:
                partial.unlink(missing_ok=True)
                os.link(src_path, partial)
        except OSError:  # many a file system has no such thing: FAT, some network disks, some containers
            with open(src_path, "rb") as source, _written_whole(Path(dst_path), "wb", {}) as copy:
                shutil.copyfileobj(source, copy)
        return True


@contextmanager
def _written_whole(path: Path, mode: str, options: dict) -> Iterator[IO]:
    with atomic_file(path) as partial, open(partial, mode, **options) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def install() -> None:
    """Let fairseq's training save through here, and go on with the data where it stopped."""
    checkpoint_utils.PathManager = AtomicPathManager
    # fairseq's own swallows errors after a third try: a full disk would go unnoticed until a resume
    checkpoint_utils.torch_persistent_save = torch.save
    options.get_training_parser = _with_interval(options.get_training_parser)
    checkpoint_utils.load_checkpoint = _as_left(checkpoint_utils.load_checkpoint)
    Trainer.save_checkpoint = _with_patience(Trainer.save_checkpoint)
    fairseq_train.validate_and_save = _saving_in_between(fairseq_train.validate_and_save)
    Trainer.clip_grad_norm = _refusing_nan(Trainer.clip_grad_norm)
    MaskedLMTask.load_dataset = _as_if_uninterrupted(MaskedLMTask.load_dataset)
    MaskTokensDataset.set_epoch = _forgetting(MaskTokensDataset.set_epoch)


def _as_if_uninterrupted(load_dataset: Callable) -> Callable:
    """Wrap how a task loads data, so that a training that goes on sees what one without a break sees.

    fairseq shuffles the examples when it loads them, by seed and epoch. A training that goes on in epoch 5 would sort
    them into other batches than the one that has had them in memory since epoch 1, and see some twice and some never.
    And it masks other words in each validation, by their number since the process started, so that losses could be
    compared neither with each other nor with those of another attempt: here all validations mask the same words.
    """

    def wrapped(self: MaskedLMTask, split: str, epoch: int = 1, combine: bool = False, **options: object) -> None:
        # data in several parts are loaded anew for each epoch, so there the epoch's own order is right
        load_dataset(self, split, epoch if self.has_sharded_data(split) else 1, combine, **options)
        if split != self.args.train_subset:
            self.datasets[split].set_epoch = partial(_set_first_epoch, self.datasets[split])

    return wrapped


def _forgetting(set_epoch: Callable) -> Callable:
    """Wrap how masking goes on to another epoch, so that none of the last one's masks is used again.

    fairseq remembers the last few masked examples by their number, whatever the epoch: with a batch of few streams that
    ends one epoch and begins the next, they would be masked as before, but not in a training that starts in between.
    """

    def wrapped(self: MaskTokensDataset, epoch: int, **unused: object) -> None:
        set_epoch(self, epoch, **unused)
        for kind in (MaskTokensDataset, LRUCacheDataset):
            kind.__getitem__.cache_clear()

    return wrapped


def _set_first_epoch(dataset: FairseqDataset, _: int) -> None:
    """Stand in for a dataset's `set_epoch`: whatever the epoch, it is the first."""
    type(dataset).set_epoch(dataset, 1)


def _refusing_nan(clip_grad_norm: Callable) -> Callable:
    """Wrap the gradient norm of an update: one that is no number ends the training before it spoils the weights.

    fairseq would go on for ever, and save the spoilt weights over the good ones. In float16 it sees to it itself.
    """

    def wrapped(self: Trainer, clip_norm: float) -> torch.Tensor:
        norm = clip_grad_norm(self, clip_norm)
        if not self.args.fp16 and not torch.isfinite(norm):
            raise ArithmeticError(f"{NO_NUMBER} in update {self.get_num_updates() + 1}")
        return norm

    return wrapped


def _with_interval(get_training_parser: Callable) -> Callable:
    """Wrap how the flags of training are made, so that saving can go by the clock: fairseq's own goes by updates."""

    def wrapped(*arguments: object, **options: object) -> argparse.ArgumentParser:
        parser = get_training_parser(*arguments, **options)
        parser.add_argument(
            "--save-interval-minutes",
            type=float,
            default=0,
            metavar="M",
            help="write checkpoint_last.pt, from which training goes on, whenever M minutes have passed since the last "
            "time, without validation and whatever --no-last-checkpoints and --no-save-optimizer-state say (0: never); "
            "SIGTERM has it written in any case",
        )
        return parser

    return wrapped


def _with_patience(save_checkpoint: Callable) -> Callable:
    """Wrap how a checkpoint is written, so that `--patience` counts on after a break; fairseq's own begins anew."""

    def wrapped(self: Trainer, filename: str, extra_state: dict) -> None:
        save_checkpoint(self, filename, extra_state | {"early_stop": dict(vars(fairseq_train.should_stop_early))})

    return wrapped


def _as_left(load_checkpoint: Callable) -> Callable:
    """Wrap how training finds its state: it counts on with its patience, and knows the best checkpoint's score.

    That one may be newer than the checkpoint that training goes on from, and is replaced only by one no worse. Where
    training begins with another's weights (`--finetune-from-model`), at update 0, there is nothing to count on with.
    What had lost its patience when it was saved has ended: the process ends, too.
    """

    def wrapped(args: argparse.Namespace, trainer: Trainer, **options: object) -> tuple[dict | None, object]:
        try:
            extra_state, epoch_itr = load_checkpoint(args, trainer, **options)
        except Exception as error:
            path = getattr(args, "finetune_from_model", None) or args.restore_file
            if isinstance(error, pickle.UnpicklingError):
                raise UserError(unreadable(path, error)) from None
            if _MISFIT in str(error):
                raise UserError(_misfit(path, error)) from None
            raise
        best = Path(args.save_dir, "checkpoint_best.pt")
        if extra_state is not None and trainer.get_num_updates() > 0 and not args.reset_meters:
            patience = extra_state.get("early_stop", {})
            vars(fairseq_train.should_stop_early).update(patience)
            if 0 < getattr(args, "patience", 0) <= patience.get("num_runs", 0):
                logger.info("early stop, as it was when the checkpoint was saved")
                sys.exit()
            if best.exists():
                state = checkpoint_utils.load_checkpoint_to_cpu(str(best))
                checkpoint_utils.save_checkpoint.best = state["extra_state"]["best"]
        return extra_state, epoch_itr

    return wrapped


def _misfit(path: str, error: Exception) -> str:
    """Say what of a checkpoint does not fit the model: behind fairseq's error is torch's, with a line for each kind."""
    reasons = [line.strip() for line in str(error.__context__).splitlines()[1:]] or [str(error.__context__)]
    if any("Missing key" in line and ".crossthought_layers." in line for line in reasons):
        return (
            f"{path} has no cross layers: if it is a RoBERTa, the workflow makes a start of it "
            f"(`initialize_from: {path}` in a model's entry of the config)"
        )
    reason = re.sub(r"(in state_dict: \"[^\"]+\").*", r"\1", reasons[0])  # the first of many names
    return f"{path} does not fit the model ({reason.rstrip('.')}): give --arch and the sizes that it was trained with"


def _saving_in_between(validate_and_save: Callable) -> Callable:
    """Wrap what fairseq does after each update: save when it is time, and once SIGTERM has come, save and leave.

    Schedulers send SIGTERM some time before they kill a job, at its time limit or when it is preempted.
    """
    nothing, save, save_and_leave = range(3)
    received = False
    last_saved = time.monotonic()

    def note_signal(*_: object) -> None:
        nonlocal received
        received = True
        logger.info("SIGTERM: saving after this update, then stopping")

    signal.signal(signal.SIGTERM, note_signal)

    def wrapped(args: argparse.Namespace, trainer: object, task: object, epoch_itr: object, *what: object) -> object:
        nonlocal last_saved
        result = validate_and_save(args, trainer, task, epoch_itr, *what)
        interval_s = 60 * getattr(args, "save_interval_minutes", 0)
        is_due = 0 < interval_s <= time.monotonic() - last_saved
        wish = _largest(save_and_leave if received else save if is_due else nothing)
        if wish != nothing:
            _save_all(args, trainer, epoch_itr)
            last_saved = time.monotonic()
        if wish == save_and_leave:
            sys.exit(STOPPED_STATUS)
        return result

    return wrapped


def _save_all(args: argparse.Namespace, trainer: object, epoch_itr: object) -> None:
    """Write checkpoint_last.pt with all that training goes on with, whatever else is not to be written."""
    given = {name: vars(args)[name] for name in ("no_last_checkpoints", "no_save_optimizer_state")}
    vars(args).update(dict.fromkeys(given, False))
    try:
        checkpoint_utils.save_checkpoint(args, trainer, epoch_itr, None)
    finally:
        vars(args).update(given)


def _largest(wish: int) -> int:
    """Return the largest of the wishes of all processes of the training: all must save, and leave, together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return wish
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    wishes = torch.tensor([wish], device=device)
    torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
    return int(wishes.item())
