"""Say what a run will cost, before it starts: words, operations, hours, disk, memory, jobs.

    python -m cross_thought.plan [CONFIG ...] [--device NAME] [--data-dir FOLDER]

CONFIG are laid over config.yaml as by `snakemake --configfile`. Everything is computed from the config and a few stated
assumptions; nothing is run, and neither torch nor fairseq is needed.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cross_thought.config import load_files
from cross_thought.data.sweeps import grids_of
from cross_thought.data.tasks import tasks_of
from cross_thought.errors import UserError, exit_on_user_error
from cross_thought.plan.cost import (
    Training,
    assumptions,
    disk,
    downloads,
    finetunings,
    jobs,
    memory,
    pretrainings,
    tunings,
)
from cross_thought.plan.devices import Device, find_device, read_devices
from cross_thought.progress import aligned

SHARE = 0.4  # of a device's rate, that trainings reach


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan of a config."""
    parser = argparse.ArgumentParser(
        prog="python -m cross_thought.plan", description="What a run will cost, before it starts."
    )
    parser.add_argument("config", nargs="*", type=Path, help="YAML files to lay over config.yaml")
    parser.add_argument("--device", help="a device of resources/devices.tsv (default: all that fit the config)")
    parser.add_argument(
        "--share", type=float, default=SHARE, help="of the device's rate that trainings reach (default: %(default)s)"
    )
    parser.add_argument("--data-dir", help="folder of your files, as with --config data_dir=FOLDER")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        if not 0 < options.share <= 1:
            raise UserError(f"--share is {options.share}: give a part of the device's rate, more than 0 and at most 1")
        values = {} if options.data_dir is None else {"data_dir": options.data_dir}
        config = load_files(options.config, **values)
        devices = pick_devices(options.device, config["hardware"])
        for line in plan(config, devices=devices, share=options.share):
            print(line)


def pick_devices(name: str | None, hardware: Mapping[str, Any]) -> list[Device]:
    """Return the device asked for, or all that are of the config's kind and compute in its precision.

    Raises:
        UserError: if the device is unknown, of another kind, or does not compute in this precision.
    """
    precision, wants_gpu = hardware["precision"], hardware["device"] == "cuda"
    fitting = [
        device for device in read_devices().values() if device.is_gpu == wants_gpu and precision in device.tflops
    ]
    if name is None:
        return fitting
    device = find_device(name)
    if device not in fitting:
        names = ", ".join(other.name for other in fitting)
        raise UserError(
            f"--device {device.name} does not fit hardware.device {hardware['device']} and hardware.precision "
            f"{precision}: choose one of {names}, or change the config"
        )
    return [device]


def plan(config: Mapping[str, Any], *, devices: Sequence[Device], share: float) -> Iterator[str]:
    """Yield the lines of the plan.

    Args:
        config: the effective config.
        devices: to state hours on.
        share: of a device's rate that trainings reach.
    """
    precision, processes = config["hardware"]["precision"], config["hardware"]["processes"]
    trainings = [*pretrainings(config), *finetunings(config), *tunings(config)]

    def hours(training: Training, device: Device) -> float:
        used = processes if training.stage == "pre-training" else 1
        return training.hours(device, precision=precision, share=share, processes=used)

    header = ["stage", "of", "trainings", "updates", "words", "FLOP", *(f"on {device.name}" for device in devices)]
    rows = [
        [
            training.stage,
            training.name,
            str(training.count),
            f"{training.updates:,}",
            f"{training.words:.1e}",
            f"{training.flops:.1e}",
            *(_time(hours(training, device)) for device in devices),
        ]
        for training in trainings
    ]
    totals = [sum(training.count * hours(training, device) for training in trainings) for device in devices]
    rows.append(
        ["all in turn", "", str(sum(training.count for training in trainings)), "", "", "", *map(_time, totals)]
    )
    yield f"Estimated, not measured: trainings reach {share:.0%} of a device's rate in {precision}."
    yield "Updates, words, FLOP and time are those of one training of its kind."
    yield ""
    yield from aligned([header, *rows], num_left=2)
    yield ""
    yield "jobs: " + ", ".join(f"{count} of {stage}" for stage, count in jobs(config).items() if count)
    sweeps = {name: len(settings) for name, settings in grids_of(tasks_of(config["tasks"]), config).items()}
    if sweeps:
        yield "settings to choose from: " + ", ".join(f"{count} of {name}" for name, count in sweeps.items())
    kinds = {kind: size for kind, size in disk(config).items() if size}
    yield f"disk: {_size(sum(kinds.values()))} (" + ", ".join(f"{kind} {_size(kinds[kind])}" for kind in kinds) + ")"
    missing = downloads(config)
    if missing:
        yield f"to download: {len(missing)} files"
    for name, size in memory(config).items():
        yield f"memory of a pre-training process, {name}: {_size(size)}{_short_of_memory(size, devices)}"
    yield "assumed: " + "; ".join(assumptions(config))


def _short_of_memory(size: float, devices: Sequence[Device]) -> str:
    """Say which devices do not hold it."""
    short = [device.name for device in devices if device.memory_gb is not None and size > device.memory_gb * 1e9]
    return f", more than {', '.join(short)} {'has' if len(short) == 1 else 'have'}" if short else ""


def _time(hours: float) -> str:
    for unit, length in (("h", 1.0), ("min", 60.0)):
        if hours * length >= 1.5:
            return f"{hours * length:,.{1 if hours < 99.95 and unit == 'h' else 0}f} {unit}"
    return f"{hours * 3600:.0f} s"


def _size(size: float) -> str:
    unit, scale = ("GB", 1e9) if size >= 1e9 else ("MB", 1e6)
    amount = size / scale
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"


if __name__ == "__main__":
    main()
