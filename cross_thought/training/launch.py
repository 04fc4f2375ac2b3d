"""Run fairseq's training as a process of its own, show its progress, and turn its log into a loss curve.

Needs the standard library only.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from cross_thought.environment import REPOSITORY, slow_bfloat16
from cross_thought.errors import DISK_FULL, READ_ONLY, UserError
from cross_thought.files import file_hash
from cross_thought.jobs import end_with_parent, import_from

HISTORY_COLUMNS = ("split", "num_updates", "loss", "ppl", "accuracy", "learning_rate", "tokens", "elapsed_s")

# in fairseq's log: the tag of what training reports in between, and what starts the tag of a validation
_TRAIN_TAG, _VALID_TAG = "train_inner", "valid"

NO_NUMBER = "the gradient is no finite number"  # what our part of fairseq's training says
_EARLY_STOP = "early stop since valid performance hasn't improved"  # what fairseq's says where --patience ends it
_LOG_INTERVAL_S = 0.1  # between two looks at what training has written
_GRACE_S = 60.0  # for the other processes to end by themselves once one has failed

# For glibc, in bytes: hold on to the memory of an update for the next one. By default each large tensor is mapped anew,
# and the kernel zeroes its pages, which took up to a quarter of a step's time in bfloat16 at base size.
_KEEPING_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_TOP_PAD_": str(2**26)}

_KNOWN_FAILURES = {
    "Minimum loss scale reached": "the loss became infinite in float16: lower learning_rate, or set hardware.precision "
    "to float32",
    NO_NUMBER: "the loss became infinite or no number (NaN): lower learning_rate",
    "exceeds max_tokens limit": "a row is longer than max_tokens: raise it",
    "The dataset is empty": "no stream or row is short enough for a batch: raise max_tokens",
    "CUDA out of memory": "the GPU's memory does not hold a batch: lower batch_size (and raise update_freq), "
    "tokens_per_sample or max_tokens, or set hardware.checkpoint_activations to true",
    "DefaultCPUAllocator": "the memory does not hold a batch: lower batch_size, tokens_per_sample or max_tokens, or "
    "set hardware.checkpoint_activations to true",
    "No space left on device": DISK_FULL,
    "File too large": "a checkpoint would be larger than a file may be here: raise the limit (ulimit -f)",
    "Read-only file system": READ_ONLY,
    "PermissionError": "a file or folder of results/ may not be written: change its permissions",
}


def run_key(arguments: Sequence[str], data: Path, *, start: Path | None = None) -> str:
    """Return a short name for a training run: a hash of the arguments that define it, and of what it reads.

    `data` is a folder of binarized data, `start` the checkpoint that it starts from; None: from scratch.
    """
    digest = hashlib.sha256(json.dumps(list(arguments)).encode())
    # hidden files are no data: Snakemake keeps a time stamp in a folder that a rule has made
    for path in sorted(path for path in data.rglob("[!.]*") if path.is_file()):
        digest.update(path.relative_to(data).as_posix().encode())
        digest.update(bytes.fromhex(file_hash(path)))
    if start is not None:
        digest.update(bytes.fromhex(file_hash(start)))
    return digest.hexdigest()[:16]


def train(
    arguments: Sequence[str], *, log: Path, threads: int, total_updates: int, processes: int = 1, nodes: int = 1
) -> list[str]:
    """Train, with fairseq's own output in a file, and print a line of progress now and then.

    Args:
        arguments: fairseq-train's arguments.
        log: file that fairseq appends its output to, itself: nothing of it is lost where this process is killed.
        threads: CPU threads of each process.
        total_updates: updates of the whole run, for the time left.
        processes: training processes.
        nodes: nodes that they are spread over; more than one within a SLURM job only.

    Returns:
        The command line.

    Raises:
        UserError: if training fails, with what is known about the reason.
    """
    command = [sys.executable, "-m", "cross_thought.fairseq", "train", *arguments, "--log-format", "json"]
    if processes > 1:
        command += ["--distributed-init-method", f"tcp://{_free_address(nodes)}"]
    import_from(str(REPOSITORY))  # Snakemake takes PYTHONPATH away in a conda environment
    environment = _KEEPING_MEMORY | os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    note = slow_bfloat16() if {"--bf16", "--cpu"} <= set(arguments) else None
    if note:
        print(note, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    last_lines: deque[str] = deque(maxlen=200)
    first_update = None
    ended_here: list[subprocess.Popen] = []
    with log.open("ab") as log_file, ExitStack() as stack:
        if log_file.tell():
            log_file.write(b"\n")  # the line that an earlier attempt was killed in ends here
            log_file.flush()
        lines = stack.enter_context(log.open("rb"))
        lines.seek(log_file.tell())
        children = [
            stack.enter_context(
                subprocess.Popen(
                    one, env=environment, stdout=log_file, stderr=subprocess.STDOUT, preexec_fn=end_with_parent
                )
            )
            for one in _process_commands(command, processes=processes, nodes=nodes, threads=threads)
        ]
        if nodes == 1:
            # a scheduler's SIGTERM may reach this process alone: training saves and ends on it. srun would not pass it
            # on but kill; there SLURM itself signals every process.
            signal.signal(signal.SIGTERM, lambda *_: _terminate(children))
        threading.Thread(target=_end_together, args=[children, ended_here], daemon=True).start()
        for line in _new_lines(lines, children):
            last_lines.append(line)
            tag, stats = _parse_line(line)
            if tag:
                os.fsync(log_file.fileno())  # the losses must be as safe as the checkpoints
            if tag == _TRAIN_TAG:
                update = int(stats["num_updates"])
                first_update = first_update or (update, time.monotonic())
                print(progress_line(update, total_updates, f"{stats['loss']} bits", first_update), flush=True)
            elif tag.startswith(_VALID_TAG):
                accuracy = f", accuracy {stats['accuracy']} %" if "accuracy" in stats else ""
                print(f"update {stats['num_updates']}: {tag} loss {stats['loss']} bits{accuracy}", flush=True)
            elif _EARLY_STOP in line:
                print("stopped early, by patience: the last validations were no better than one before", flush=True)
    statuses = [child.returncode for child in children if child not in ended_here]
    if any(statuses):
        # a signal explains the most: the other processes only miss the one that it ended
        raise UserError(_explain(min(statuses) or max(statuses), list(last_lines), log))
    print(f"trained in {timedelta(seconds=round(time.monotonic() - started))}", flush=True)
    return command


def _free_address(nodes: int) -> str:
    """Return a free port on this machine, as HOST:PORT, for the processes to meet at."""
    host = "localhost" if nodes == 1 else socket.gethostname()
    with socket.socket() as probe:
        probe.bind(("", 0))
        return f"{host}:{probe.getsockname()[1]}"


def _process_commands(command: list[str], *, processes: int, nodes: int, threads: int) -> list[list[str]]:
    """Return what to start: a command for each process, or one that starts them all on the nodes of a SLURM job."""
    if processes == 1:
        return [command]
    if nodes == 1:
        return [[*command, "--distributed-rank", str(rank), "--device-id", str(rank)] for rank in range(processes)]
    spread = {"nodes": nodes, "ntasks": processes, "ntasks_per_node": processes // nodes, "cpus_per_task": threads}
    with_rank = 'exec "$@" --distributed-rank "$SLURM_PROCID" --device-id "$SLURM_LOCALID"'
    return [["srun", *as_flags(spread), "sh", "-c", with_rank, "sh", *command]]


def _new_lines(file: BinaryIO, children: Sequence[subprocess.Popen]) -> Iterator[str]:
    """Yield the lines that processes write to a file, as they come, until all have ended."""
    line = b""
    while True:
        all_ended = all(child.poll() is not None for child in children)
        while piece := file.readline():
            line += piece
            if line.endswith(b"\n"):
                yield line.decode(errors="replace")
                line = b""
        if all_ended:
            break
        time.sleep(_LOG_INTERVAL_S)
    if line:
        yield line.decode(errors="replace")


def _terminate(children: Sequence[subprocess.Popen]) -> None:
    for child in children:
        child.terminate()


def _end_together(children: Sequence[subprocess.Popen], ended: list[subprocess.Popen]) -> None:
    """Once one process has failed, end those that wait for it: some of torch's backends wait for ever.

    Those are noted in `ended`; their status says nothing of what went wrong.
    """
    while not any(child.poll() for child in children):
        if all(child.poll() == 0 for child in children):
            return
        time.sleep(1)
    limit = time.monotonic() + _GRACE_S
    for child in children:
        try:
            child.wait(max(0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            ended.append(child)
            child.kill()  # on SIGTERM it would go on waiting, to save after the update


def progress_line(update: int, total: int, loss: str, first: tuple[int, float]) -> str:
    """Return a line of progress, as `cross_thought/progress.py` reads it: updates, loss, speed and time left.

    Args:
        update: that was made.
        total: updates of the whole run.
        loss: with its unit, if it has one.
        first: the first update of this attempt that was heard of, and when, by `time.monotonic`.
    """
    first_update, since = first
    line = f"update {update}/{total} ({100 * update // total} %), loss {loss}"
    if update == first_update:
        return line
    seconds_an_update = (time.monotonic() - since) / (update - first_update)
    left = timedelta(seconds=round((total - update) * seconds_an_update))
    return f"{line}, {1 / seconds_an_update:.2f} updates/s, {left} left"


def _explain(status: int, lines: list[str], log: Path) -> str:
    """Return one sentence on why training stopped."""
    text = "".join(lines)
    for sign, remedy in _KNOWN_FAILURES.items():
        if sign in text:
            return f"fairseq stopped with status {status}: {remedy} (its output: {log})"
    if status == 128 + signal.SIGTERM:
        return f"training was asked to stop and has saved its state: the same command goes on from there ({log})"
    if status == -signal.SIGKILL:
        return f"training was killed, most likely for want of memory: give the job more, or lower batch_size ({log})"
    if status < 0:
        return f"fairseq was ended by signal {-status}; the same command goes on from the last checkpoint ({log})"
    reason = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    return f"fairseq stopped with status {status}: {reason} (its output: {log})"


def _parse_line(line: str) -> tuple[str, dict]:
    """Return the tag and the statistics of a log line, prefixes of validation taken off; ("", {}) for other lines."""
    parts = line.split(" | ", 3)
    if len(parts) != 4 or not parts[3].startswith("{"):
        return "", {}
    tag = parts[2]
    try:
        stats = json.loads(parts[3])
    except json.JSONDecodeError:  # a line that a kill cut short
        return "", {}
    if tag != _TRAIN_TAG and not tag.startswith(_VALID_TAG):
        return "", {}
    return tag, {key.removeprefix(f"{tag}_"): value for key, value in stats.items()}


def write_history(log: Path, history: Path) -> None:
    """Write the loss curves in a fairseq log as a table; of an update that a resumed run repeats, the last time counts.

    Args:
        log: fairseq's output with `--log-format json`, of all attempts at the run.
        history: TSV with `HISTORY_COLUMNS`: loss in bits a token or example as fairseq reports it, accuracy in
            percent, tokens trained on so far, seconds since the attempt's start; empty where fairseq does not
            report it.
    """
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for tag, stats in map(_parse_line, lines):
            if not tag:
                continue
            split = "train" if tag == _TRAIN_TAG else tag
            update = int(stats["num_updates"])
            reported = [stats.get(key, "") for key in ("loss", "ppl", "accuracy", "lr", "wpb", "wall")]
            rows[split, update] = dict(zip(HISTORY_COLUMNS, [split, update, *reported], strict=True))
    tokens, last_update = 0.0, 0
    with history.open("w", encoding="utf-8") as file:
        print(*HISTORY_COLUMNS, sep="\t", file=file)
        for (split, update), row in sorted(rows.items()):
            if split == "train":  # fairseq reports the mean over the updates since its last report
                tokens, last_update = tokens + float(row["tokens"]) * (update - last_update), update
            row["tokens"] = round(tokens) if split == "train" else ""
            print(*row.values(), sep="\t", file=file)


def as_flags(settings: Mapping[str, object]) -> Iterator[str]:
    """Yield command-line flags: `{"lr": 0.1, "cpu": True}` as `--lr 0.1 --cpu`; None and False are left out."""
    for name, value in settings.items():
        if value is None or value is False:
            continue
        yield "--" + name.replace("_", "-")
        if value is not True:
            yield str(value)


def optimizer(precision: str) -> str:
    """Return the optimizer: fairseq's own, which the figures in float32 come from, or the same in one pass."""
    return "fused_adam" if precision == "bfloat16" else "adam"


def hardware_flags(device: str, precision: str, processes: int = 1) -> dict[str, object]:
    """Return fairseq's flags for what a training job runs on."""
    flags: dict[str, object] = {
        "cpu": device == "cpu",
        "fp16": precision == "float16",
        "bf16": precision == "bfloat16",
        "distributed_world_size": processes,
    }
    if processes == 1:
        return flags
    return flags | {
        "distributed_no_spawn": True,  # `train` starts the processes
        "distributed_backend": "gloo" if device == "cpu" else "nccl",
        "ddp_backend": "no_c10d",  # fairseq's default stops at parameters that get no gradient
    }


def loading_flags(threads: int) -> dict[str, object]:
    """Return fairseq's flags for who loads the data: training itself, or a process beside its several threads.

    By default fairseq reads ahead in a thread. While a validation reads ahead too, both draw their masks from numpy's
    one generator: now and then a mask differs, or does not fit its targets, and no two runs are the same.
    """
    return {"num_workers": 0, "data_buffer_size": 0} if threads == 1 else {"num_workers": 1}


def model_flags(model: dict) -> dict[str, object]:
    """Return fairseq's flags for a model of the config."""
    return {
        "arch": model["architecture"],
        "encoder_layers": model.get("num_layers"),
        "encoder_embed_dim": model.get("embed_dim"),
        "encoder_ffn_embed_dim": model.get("ffn_dim"),
        "encoder_attention_heads": model.get("num_heads"),
        "num_slots": model["num_slots"],
        "segment_length": model["segment_length"],
        "segment_by": "sentence" if model["segment_by"] == "sentence" else None,  # no flag for what is published
        "num_positions": model["num_positions"],
        "no_cross_sequence": not model["cross_sequence"],
    }
