"""What was measured, on what, and how it is laid out."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from cross_thought.environment import environment
from cross_thought.plan.devices import read_devices


@dataclass(kw_only=True)
class Result:
    """What was measured for one case and step. Times in seconds, one a pair; `cpu_s` is processor time."""

    case: str
    step: str
    batch_rows: list[int]
    num_tokens: list[int]
    num_padded_tokens: list[int]
    reference_s: list[float]
    ours_s: list[float]
    reference_cpu_s: list[float]
    ours_cpu_s: list[float]
    reference_flops: list[int]
    ours_flops: list[int]
    needed_flops: list[int]
    states_difference: float
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Reference over ours, pair by pair."""
        return [reference / ours for reference, ours in zip(self.reference_s, self.ours_s, strict=True)]

    def summary(self, *, matmul_rate: float) -> dict[str, float]:
        """Medians and ratios; rates are sums over sums."""
        summary = {
            "ratio_median": statistics.median(self.ratios),
            "ratio_lowest": min(self.ratios),
            "ratio_highest": max(self.ratios),
            "ratio_of_sums": sum(self.reference_s) / sum(self.ours_s),
            "ratio_of_cpu_sums": sum(self.reference_cpu_s) / sum(self.ours_cpu_s),
        }
        for side, seconds, flops in (
            ("reference", self.reference_s, self.reference_flops),
            ("ours", self.ours_s, self.ours_flops),
        ):
            summary |= {
                f"{side}_median_s": statistics.median(seconds),
                f"{side}_tokens_per_s": sum(self.num_tokens) / sum(seconds),
                f"{side}_flop_per_s": sum(flops) / sum(seconds),
                f"{side}_share_of_matmul_rate": sum(flops) / sum(seconds) / matmul_rate,
                f"{side}_mfu_of_matmul_rate": sum(self.needed_flops) / sum(seconds) / matmul_rate,
            }
        return summary


def device_name(device: str) -> str:
    """Return the model name of the GPU or of the processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return environment()["cpu"]


def nominal_rate(name: str, precision: str) -> float | None:
    """Return the maker's rate of matrix products in FLOP/s, for a card of resources/devices.tsv."""
    known = [device for device in read_devices().values() if device.tflops.get(precision) and device.matches(name)]
    return known[0].tflops[precision] * 1e12 if known else None


def format_table(results: list[Result], *, matmul_rate: float, nominal: float | None) -> str:
    """Lay the medians out for reading; in pairs the reference stands first."""
    header = [
        "case",
        "step",
        "reference s",
        "ours s",
        "ratio (range)",
        "tokens/s",
        "GFLOP/s",
        "of matmul rate",
        "MFU",
        "memory MB",
    ]
    rows = [header]
    for result in results:
        summary = result.summary(matmul_rate=matmul_rate)

        def pair(key: str, pattern: str, scale: float = 1.0, summary: dict[str, float] = summary) -> str:
            return " / ".join(pattern.format(summary[f"{side}_{key}"] * scale) for side in ("reference", "ours"))

        memory = [result.memory[side]["above_model_mb"] for side in ("reference", "ours")] if result.memory else []
        rows.append(
            [
                result.case,
                result.step,
                f"{summary['reference_median_s']:.3f}",
                f"{summary['ours_median_s']:.3f}",
                f"{summary['ratio_median']:.2f} ({summary['ratio_lowest']:.2f}-{summary['ratio_highest']:.2f})",
                pair("tokens_per_s", "{:.0f}"),
                pair("flop_per_s", "{:.0f}", 1e-9),
                pair("share_of_matmul_rate", "{:.0%}"),
                pair("mfu_of_matmul_rate", "{:.0%}", matmul_rate / (nominal or matmul_rate)),
                " / ".join(f"{peak:.0f}" for peak in memory) or "n/a",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that can be pasted into a README."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))
