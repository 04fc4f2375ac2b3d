"""What the benchmark's numbers rest on: batches as fairseq draws them, counted operations, two sides that agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from comparison import random_sentences, random_streams

from benchmarks.batches import Batch, draw_streams, draw_task_batches
from benchmarks.results import Result, format_table, nominal_rate
from benchmarks.sides import Sizes, compare_states, make_side, run_step
from benchmarks.work import executed_flops, needed_flops


class CountingBpe:
    """Stands in for the BPE: a text is a number, and encodes to that many words."""

    vocab_size = 50
    mask_id = 49

    def encode(self, text: str) -> list[int]:
        return [4 + place % 40 for place in range(int(text))] + [2]


def test_batches_are_those_of_fairseq() -> None:
    pytest.importorskip("fairseq_cli", reason="fairseq is not installed")
    from cross_thought.fairseq import bridge

    bridge.install()
    from fairseq.data.data_utils import batch_by_size

    seed = 3
    lengths = np.random.default_rng(0).integers(1, 200, (500, 2))
    sizes = lengths.sum(1) + 4  # <s> A </s> <s> B </s>
    order = np.lexsort([np.random.RandomState(seed).permutation(len(sizes))])
    expected = batch_by_size(order, lambda index: sizes[index], max_tokens=4400, max_sentences=32)
    rows = [[str(first), str(second)] for first, second in lengths]
    drawn = list(draw_task_batches(rows, CountingBpe(), num_batches=8, max_rows=32, max_tokens=4400, seed=seed))
    assert len(drawn) == 8
    for batch, indices in zip(drawn, expected, strict=False):
        assert (batch.tokens != 1).sum(1).tolist() == [sizes[index] for index in indices]


def test_streams_are_masked_as_published(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("300\n\n7\n" * 60)
    streams = list(draw_streams(text, CountingBpe(), num_streams=2, stream_tokens=9000, last_start=442, seed=4))
    for batch in streams:
        assert batch.tokens.shape == batch.scored.shape == (1, 9000)
        assert len(batch.target) == int(batch.scored.sum())
        assert len(batch.target) / 9000 == pytest.approx(0.15, abs=0.01)
        scored = batch.tokens[batch.scored]
        assert float((scored == CountingBpe.mask_id).float().mean()) == pytest.approx(0.8, abs=0.05)
        assert float((scored == batch.target).float().mean()) == pytest.approx(0.1, abs=0.05)
        assert 1 <= batch.start_position <= 442


def test_without_padding_the_reference_executes_what_the_model_needs() -> None:
    """Two counts of the same thing: PyTorch's counter on small models, and the formula."""
    sizes = Sizes(vocab_size=50, num_layers=3, num_heads=3, segment_length=8)
    counting = {"reference_layers": "torch", "dropout": 0.0, "dtype": torch.float32}
    pairs = Batch(random_sentences([(9, 9), (9, 9)], vocab_size=50, seed=1), torch.tensor([0, 1]))
    tokens = random_streams([40], vocab_size=50, seed=2)
    scored = torch.zeros_like(tokens, dtype=torch.bool)
    scored[0, 5:12] = True
    stream = Batch(tokens, tokens[scored], scored, 7)
    for batch in (pairs, stream):
        needed = needed_flops(batch, sizes, step="infer")
        assert executed_flops("reference", batch, sizes, step="infer", **counting) == needed
        assert executed_flops("ours", batch, sizes, step="infer", **counting) < needed


def test_both_sides_compute_the_same() -> None:
    sizes = Sizes(vocab_size=50, num_layers=2, num_heads=1)
    sides = [make_side(name, sizes, reference_layers="torch", dropout=0.1, seed=5) for name in ("reference", "ours")]
    batch = Batch(random_sentences([(3, 40), (9, 9)], vocab_size=50, seed=1), torch.tensor([0, 1]))
    assert compare_states(*sides, batch) < 1e-5
    losses = [float(run_step(side, batch, "infer")) for side in sides]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_results_are_summed_up_and_laid_out() -> None:
    result = Result(
        case="rte",
        step="train",
        batch_rows=[2, 2, 2],
        num_tokens=[10, 20, 30],
        num_padded_tokens=[20, 30, 40],
        reference_s=[2.0, 4.0, 9.0],
        ours_s=[1.0, 1.0, 3.0],
        reference_cpu_s=[4.0, 8.0, 18.0],
        ours_cpu_s=[2.0, 2.0, 1.0],
        reference_flops=[100] * 3,
        ours_flops=[50] * 3,
        needed_flops=[60] * 3,
        states_difference=0.0,
    )
    summary = result.summary(matmul_rate=100.0)
    assert summary["ratio_median"] == 3.0
    assert summary["ratio_of_sums"] == 3.0
    assert summary["ratio_of_cpu_sums"] == 6.0
    assert summary["ours_tokens_per_s"] == 12.0
    assert summary["ours_share_of_matmul_rate"] == pytest.approx(0.3)
    assert summary["ours_mfu_of_matmul_rate"] == pytest.approx(0.36)
    table = format_table([result], matmul_rate=100.0, nominal=200.0)
    assert "3.00 (2.00-4.00)" in table
    assert "6% / 18%" in table
    assert nominal_rate("NVIDIA H100 80GB HBM3", "bfloat16") == pytest.approx(989e12)
    assert nominal_rate("NVIDIA GeForce RTX 4090", "float16") == pytest.approx(165.2e12)
    assert nominal_rate("Tesla V100-SXM2-32GB", "bfloat16") is None
