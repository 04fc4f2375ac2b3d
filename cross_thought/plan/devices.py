"""Rates and memory of known cards: `resources/devices.tsv`."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError
from cross_thought.files import read_lines

TABLE = REPOSITORY / "resources" / "devices.tsv"
PRECISIONS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a card, or a processor, can do.

    Attributes:
        name: as in the table.
        tflops: for each precision that it computes in, dense matrix products a second, in TFLOP/s.
        memory_gb: its own memory; None: the machine's.
        source: where the figures are from.
    """

    name: str
    tflops: dict[str, float]
    memory_gb: float | None
    source: str

    @property
    def is_gpu(self) -> bool:
        """Whether it is a card of its own."""
        return self.memory_gb is not None

    def matches(self, model: str) -> bool:
        """Whether a driver's name of a model ("NVIDIA H100 80GB HBM3") is this device's."""
        words = re.split(r"[^A-Z0-9]+", model.upper())
        return set(self.name.upper().split("-")) <= set(words)


@cache
def read_devices(path: Path = TABLE) -> dict[str, Device]:
    """Read the table, by name.

    Raises:
        UserError: if a line has not one field for each column, or a figure is no number.
    """
    header, *lines = read_lines(path)
    columns = header.split("\t")
    devices = {}
    for number, line in enumerate(lines, start=2):
        fields = dict(zip(columns, line.split("\t"), strict=False))
        try:
            tflops = {name: float(fields[f"{name}_tflops"]) for name in PRECISIONS if fields[f"{name}_tflops"]}
            memory = float(fields["memory_gb"]) if fields["memory_gb"] else None
            devices[fields["name"]] = Device(
                name=fields["name"], tflops=tflops, memory_gb=memory, source=fields["source"]
            )
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}, line {number}: {error} is amiss; each line needs {', '.join(columns)}") from None
    return devices


def find_device(name: str) -> Device:
    """Return a device by its name, however its letters are cased.

    Raises:
        UserError: if it is unknown.
    """
    devices = read_devices()
    known = {known.lower(): device for known, device in devices.items()}
    device = known.get(name.lower().replace(" ", "-"))
    if device is None:
        raise UserError(
            f"--device {name} is unknown: choose one of {', '.join(devices)}, or add a line to resources/devices.tsv"
        )
    return device
