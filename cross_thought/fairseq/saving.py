"""Checkpoints that survive whatever ends a training: written whole or not at all, and once more on SIGTERM.

`install()` changes how fairseq's own training saves and goes on; call it on import, after the bridge: spawned workers
need it too.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import torch
from fairseq import checkpoint_utils
from fairseq.data import FairseqDataset, LRUCacheDataset, MaskTokensDataset
from fairseq.file_io import PathManager
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.trainer import Trainer
from fairseq_cli import train as fairseq_train

from cross_thought.files import atomic_file
from cross_thought.training.launch import NO_NUMBER

logger = logging.getLogger(__name__)

STOPPED_STATUS = 128 + signal.SIGTERM  # exit status of a training that SIGTERM ended, after it has saved


class AtomicPathManager(PathManager):
    """fairseq's file access, writing through a temporary sibling, and linking instead of copying."""

    @staticmethod
    def open(path: str, mode: str = "r", **options: object) -> AbstractContextManager[IO]:
        """Open a file; one opened for writing comes into place when it is closed without an error."""
        if "w" not in mode:
            return PathManager.open(path, mode, **options)
        return _written_whole(Path(path), mode, options)

    @staticmethod
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        """Give a checkpoint a second name. They can share their bytes: nothing is ever written in place."""
        with atomic_file(Path(dst_path)) as partial:
            partial.unlink(missing_ok=True)
            os.link(src_path, partial)
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
    fairseq_train.validate_and_save = _saving_on_sigterm(fairseq_train.validate_and_save)
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


def _saving_on_sigterm(validate_and_save: Callable) -> Callable:
    """Wrap what fairseq does after each update: once SIGTERM has come, save and leave.

    Schedulers send SIGTERM some time before they kill a job, at its time limit or when it is preempted.
    """
    received = False

    def note_signal(*_: object) -> None:
        nonlocal received
        received = True
        logger.info("SIGTERM: saving after this update, then stopping")

    signal.signal(signal.SIGTERM, note_signal)

    def wrapped(args: argparse.Namespace, trainer: object, task: object, epoch_itr: object, *what: object) -> object:
        result = validate_and_save(args, trainer, task, epoch_itr, *what)
        if _any_process(received):
            checkpoint_utils.save_checkpoint(args, trainer, epoch_itr, None)
            sys.exit(STOPPED_STATUS)
        return result

    return wrapped


def _any_process(flag: bool) -> bool:
    """Whether the flag is set in any process of the training: all must leave together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return flag
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    flags = torch.tensor([int(flag)], device=device)
    torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
    return bool(flags.item())
