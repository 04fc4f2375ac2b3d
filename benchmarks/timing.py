"""Both sides timed in turn on the same batches."""

from collections.abc import Callable, Sequence

import torch

from benchmarks.batches import Batch
from benchmarks.results import Result
from benchmarks.sides import Side, Sizes, compare_states, make_side, time_step
from benchmarks.work import executed_flops, needed_flops

WARMUP = {"cpu": 1, "cuda": 3}  # untimed steps of each side


def published_dropout(case: str) -> float:
    """Dropout of the published commands: 0.1 in pre-training, none in fine-tuning."""
    return 0.1 if case == "stream" else 0.0


def time_sides(
    case: str,
    batches: Sequence[Batch],
    sizes: Sizes,
    *,
    steps: Sequence[str],
    dtype: torch.dtype,
    device: str,
    reference_layers: str,
    warmup: int,
    seed: int,
    report: Callable[[str], None],
) -> list[Result]:
    """Time all steps of one case.

    Args:
        case: "stream" for pre-training, else the name of a task.
        batches: one for each pair of runs, on the device.
        sizes: of the model.
        steps: "train", "infer" or both.
        dtype: of the whole model.
        device: "cpu" or "cuda".
        reference_layers: "fairseq" or "torch".
        warmup: untimed steps of each side.
        seed: of the weights.
        report: takes a line of progress.

    Raises:
        RuntimeError: if the two sides do not compute the same in float32.
    """
    dropout = published_dropout(case)

    def make(name: str) -> Side:
        side = make_side(name, sizes, reference_layers=reference_layers, dropout=dropout, seed=seed)
        return side.to(device=device, dtype=dtype)

    reference, ours = make("reference"), make("ours")
    difference = compare_states(reference, ours, min(batches, key=lambda batch: batch.tokens.numel()))
    report(f"{case}: relative difference of the states {difference:.1e}")
    if dtype == torch.float32 and difference > 1e-4:
        raise RuntimeError(f"{case}: ours differs by {difference:.1e} from the reference: not the same computation")
    results = []
    for step in steps:
        result = Result(
            case=case,
            step=step,
            batch_rows=[len(batch.tokens) for batch in batches],
            num_tokens=[batch.num_tokens for batch in batches],
            num_padded_tokens=[batch.tokens.numel() for batch in batches],
            reference_s=[],
            ours_s=[],
            reference_cpu_s=[],
            ours_cpu_s=[],
            reference_flops=[],
            ours_flops=[],
            needed_flops=[needed_flops(batch, sizes, step=step) for batch in batches],
            states_difference=difference,
        )
        counting = {"step": step, "reference_layers": reference_layers, "dropout": dropout, "dtype": dtype}
        for side in (reference, ours):
            for _ in range(warmup):
                time_step(side, batches[0], step=step, device=device)
        for number, batch in enumerate(batches):
            sides = [
                (reference, result.reference_s, result.reference_cpu_s),
                (ours, result.ours_s, result.ours_cpu_s),
            ]
            for side, clock_times, cpu_times in sides if number % 2 == 0 else reversed(sides):
                seconds, cpu_seconds = time_step(side, batch, step=step, device=device)
                clock_times.append(seconds)
                cpu_times.append(cpu_seconds)
            result.reference_flops.append(executed_flops("reference", batch, sizes, **counting))
            result.ours_flops.append(executed_flops("ours", batch, sizes, **counting))
            report(
                f"{case} {step} {number + 1}/{len(batches)}: reference {result.reference_s[-1]:.3f} s, "
                f"ours {result.ours_s[-1]:.3f} s, ratio {result.ratios[-1]:.2f} "
                f"(of processor time {result.reference_cpu_s[-1] / result.ours_cpu_s[-1]:.2f})"
            )
        results.append(result)
    return results
