"""A training run that survives whatever ends it: its checkpoints lie in a folder of its own, and it goes on from them.

The folder is named by `run_key`, after all that defines the run: a changed setting is another run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.training.checkpoints import newest_checkpoint
from cross_thought.training.launch import as_flags, loading_flags, train

LOG = "train.log"


def restore_flags(checkpoint: Path) -> dict[str, object]:
    """Return fairseq's flags for a training that begins with another's weights, and with nothing else of it."""
    resets = ("reset_optimizer", "reset_lr_scheduler", "reset_dataloader", "reset_meters")
    return {"restore_file": checkpoint} | dict.fromkeys(resets, True)


def go_on(
    run: Path,
    data: Path,
    flags: Sequence[str],
    *,
    places: Mapping[str, object],
    start: Mapping[str, object] | None = None,
    total_updates: int,
    threads: int,
    processes: int = 1,
    nodes: int = 1,
    ends_at_total: bool = False,
) -> list[str]:
    """Train to the end, from the newest checkpoint in the run's folder that can be read, or from the start.

    Args:
        run: folder of the run: its checkpoints, and fairseq's output of all attempts.
        data: folder of the binarized data.
        flags: fairseq's flags that define the run.
        places: its flags that do not, for every attempt: what is saved, and when.
        start: those for an attempt that finds no checkpoint: where it starts from.
        total_updates: updates of the whole run.
        threads: CPU threads of each process.
        processes: training processes.
        nodes: nodes that they are spread over.
        ends_at_total: whether a checkpoint of `total_updates` needs no more training.

    Returns:
        The command line of this attempt.

    Raises:
        UserError: if training fails.
    """
    newest, num_updates = newest_checkpoint(run)
    if newest:
        print(f"going on from {newest}, {num_updates} of {total_updates} updates", flush=True)
    own = {
        **(start or {} if newest is None else {"restore_file": newest}),
        "save_dir": run,
        "log_interval": max(1, min(100, total_updates // 40)),
        **places,
        **loading_flags(threads),
    }
    command = [str(data), *as_flags(own), *flags]
    if ends_at_total and num_updates >= total_updates:
        print("trained in 0:00:00: no update is left", flush=True)  # `progress` looks for the beginning
        return command
    return train(command, log=run / LOG, threads=threads, total_updates=total_updates, processes=processes, nodes=nodes)
