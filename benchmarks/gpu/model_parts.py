"""The parts that need torch alone: speed of the encoder, where a step's time goes, losses in 16 bits beside float32."""

import os
import statistics
import sys
from pathlib import Path

import torch

from benchmarks.batches import Batch, random_pairs, random_stream
from benchmarks.gpu.part import Outcome, Settings, Skip, longest_that_fits, need
from benchmarks.results import Result, device_name, nominal_rate
from benchmarks.sides import PRECISIONS, make_side, pick_reference_layers
from benchmarks.step import ALL_KINDS, profile_step, run_step
from benchmarks.timing import WARMUP, published_dropout, time_sides
from benchmarks.work import measure_matmul_rate, measure_memory

PAIRS = 3
WORDS_A_SENTENCE = 34  # RTE's, without <s> and </s>


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def encoder(settings: Settings) -> Outcome:
    """A step of the encoder beside the stock reference, as `python -m benchmarks.encoder` times it."""
    sizes, outcome = (
        settings.sizes,
        Outcome(
            header=[
                "case",
                "step",
                "precision",
                "reference s",
                "ours s",
                "ratio (range)",
                "tokens/s",
                "MFU",
                "memory MB",
            ]
        ),
    )
    layers = "torch" if settings.small else pick_reference_layers("auto")
    for precision in settings.half_precisions:
        rate = measure_matmul_rate(device=settings.device, dtype=PRECISIONS[precision], sizes=sizes)
        nominal = nominal_rate(device_name(settings.device), precision)
        outcome.figures[f"{precision} matmul FLOP/s"] = rate
        outcome.notes.append(
            f"{precision}: matrix products at {rate / 1e12:.3g} TFLOP/s; MFU against "
            + (f"the maker's {nominal / 1e12:.0f}" if nominal else "that")
        )
        for case, steps in (("pairs", ["train", "infer"]), ("stream", ["train"])):

            def time_case(tokens: int, case: str = case, steps: list[str] = steps, precision: str = precision) -> list:
                batches = [_draw(case, tokens, settings, seed) for seed in range(PAIRS)]
                return time_sides(
                    case,
                    batches,
                    sizes,
                    steps=steps,
                    dtype=PRECISIONS[precision],
                    device=settings.device,
                    reference_layers=layers,
                    warmup=WARMUP[settings.device],
                    seed=1,
                    report=_say,
                )

            results, tokens = longest_that_fits(settings.stream_tokens, time_case)
            for result in results:
                memory = _memory(result, _draw(case, tokens, settings, 0), settings, precision)
                outcome.rows.append(_row(result, tokens, precision, rate, nominal, memory))
                outcome.figures[f"{case} {result.step} {precision}"] = result.summary(matmul_rate=rate)
    outcome.notes.append(f"reference on {layers}'s layers; words are random")
    return outcome


def _draw(case: str, tokens: int, settings: Settings, seed: int) -> Batch:
    """Draw a batch like RTE's, or a stream."""
    vocab_size = settings.sizes.vocab_size
    if case == "stream":
        return random_stream(tokens, vocab_size=vocab_size, seed=seed).to(settings.device)
    rows, words = (4, 8) if settings.small else (32, WORDS_A_SENTENCE)
    return random_pairs(rows, words=words, vocab_size=vocab_size, seed=seed).to(settings.device)


def _memory(result: Result, batch: Batch, settings: Settings, precision: str) -> float | None:
    """Return the peak of our step above the loaded model, in MB; on a CPU it takes a process of its own."""
    if settings.device == "cpu":
        return None
    dropout = published_dropout(result.case)
    side = make_side("ours", settings.sizes, reference_layers="torch", dropout=dropout, seed=1)
    side.to(device=settings.device, dtype=PRECISIONS[precision])
    return measure_memory(side, batch, step=result.step, device=settings.device)["above_model_mb"]


def _row(
    result: Result, tokens: int, precision: str, rate: float, nominal: float | None, memory: float | None
) -> list[str]:
    summary = result.summary(matmul_rate=rate)
    return [
        f"pre-training, {tokens} tokens" if result.case == "stream" else "pairs as RTE's",
        result.step,
        precision,
        f"{summary['reference_median_s']:.4f}",
        f"{summary['ours_median_s']:.4f}",
        f"{summary['ratio_median']:.2f} ({summary['ratio_lowest']:.2f}-{summary['ratio_highest']:.2f})",
        f"{summary['ours_tokens_per_s']:,.0f}",
        f"{summary['ours_mfu_of_matmul_rate'] * rate / (nominal or rate):.0%}",
        "n/a" if memory is None else f"{memory:,.0f}",
    ]


def step(settings: Settings) -> Outcome:
    """Where a pre-training step's time goes, as `python -m benchmarks.step` prints it."""
    precisions = ["float32", *(["bfloat16"] if "bfloat16" in settings.half_precisions else [])]

    def run(tokens: int) -> dict[str, dict[str, float]]:
        return {
            precision: profile_step(
                sizes=settings.sizes, tokens=tokens, device=settings.device, precision=precision, steps=2
            )
            for precision in precisions
        }

    kinds, tokens = longest_that_fits(settings.stream_tokens, run)
    outcome = Outcome(header=["kind of operation", *(f"{name}, ms" for name in precisions)], figures=kinds)
    outcome.rows = [[kind, *(f"{kinds[name][kind] * 1e3:.2f}" for name in precisions)] for kind in ALL_KINDS]
    outcome.rows.append(["all", *(f"{sum(kinds[name].values()) * 1e3:.2f}" for name in precisions)])
    outcome.notes.append(f"a stream of {tokens} tokens, forward, backward and fused AdamW")
    return outcome


def losses(settings: Settings) -> Outcome:
    """The losses of the same updates in bfloat16 and in float32, both with float32 weights."""
    if "bfloat16" not in settings.half_precisions:
        raise Skip("this GPU has no bfloat16")
    updates, tokens = (6, 160) if settings.small else (60, 4096)
    found: dict[str, list[float]] = {}
    for precision in ("float32", "bfloat16"):
        side = make_side("ours", settings.sizes, reference_layers="torch", dropout=0.0, seed=1).to(settings.device)
        optimizer = torch.optim.AdamW(side.train().parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
        found[precision] = []
        for update in range(updates):
            batch = random_stream(tokens, vocab_size=settings.sizes.vocab_size, seed=update).to(settings.device)
            loss = run_step(side, batch, optimizer, precision)
            found[precision].append(float(loss) / len(batch.target))
    differences = [abs(half - full) for full, half in zip(*found.values(), strict=True)]
    outcome = Outcome(header=["update", "float32", "bfloat16", "difference"], figures=found)
    for update in sorted({0, updates // 4, updates // 2, updates - 1}):
        pair = [losses[update] for losses in found.values()]
        outcome.rows.append([str(update + 1), *(f"{loss:.4f}" for loss in pair), f"{differences[update]:.4f}"])
    outcome.rows.append(["largest, median", "", "", f"{max(differences):.4f}, {statistics.median(differences):.4f}"])
    outcome.notes.append(f"{updates} updates on streams of {tokens} random words, nats a masked word, no dropout")
    return outcome


def embedding(settings: Settings) -> Outcome:
    """`SentenceEncoder.encode` beside Sentence Transformers, as `python -m benchmarks.embedding` times it."""
    need("sentence_transformers", "tokenizers")
    if settings.data is None or not (settings.data / "gpt2_bpe").is_dir() or not (settings.data / "glue").is_dir():
        raise Skip("it needs --data FOLDER with glue/{RTE,MRPC,SST-2} and gpt2_bpe/")
    os.environ["HF_HUB_OFFLINE"] = "1"
    from benchmarks.embedding import compare

    count, pairs = (12, 1) if settings.small else (3000, 3)
    outcome = Outcome(header=["precision", "Sentence Transformers, sentences/s", "ours", "ratio (range)"])
    for precision in settings.half_precisions:
        figures = compare(
            Path(settings.data),
            sentences=count,
            pairs=pairs,
            precision=precision,
            device=settings.device,
            num_layers=settings.sizes.num_layers,
        )
        outcome.figures[precision] = figures
        ratios = figures["ratios"]
        outcome.rows.append(
            [
                precision,
                f"{figures['theirs_per_s']:.0f}",
                f"{figures['ours_per_s']:.0f}",
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
            ]
        )
    outcome.notes.append(f"{count} sentences of RTE, MRPC and SST-2, {settings.sizes.num_layers} layers of 768")
    return outcome
