"""Answer selection through fairseq: its batches, and candidates embedded beforehand against all computed together."""

import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from cross_thought.data.binarize import DatasetWriter
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from cross_thought.inference.fine_tuned import FineTunedModel, describe, rankings
from cross_thought.inference.loading import load_fine_tuned
from workflow_scripts.evaluate import token_rows

bridge.install()

NUM_SYMBOLS, NUM_CANDIDATES, EMPTY = 30, 4, [2]
FLAGS = [
    "--task",
    "answer_selection",
    "--criterion",
    "answer_selection",
    "--arch",
    "cross_thought_tiny",
    "--num-classes",
    "4",
    "--max-positions",
    "200",
    "--optimizer",
    "fused_adam",
    "--lr-scheduler",
    "fixed",
    "--lr",
    "0.001",
    "--cpu",
]


def write_data(folder: Path, questions: list[list[list[int]]], answers: list[int | tuple[int, ...]]) -> None:
    """Write a binarized split `train`: for each question its sentences, and the place of the right candidate, or places."""
    symbols = {f"input{number}": [str(symbol) for symbol in range(NUM_SYMBOLS)] for number in range(1 + NUM_CANDIDATES)}
    columns = dict(zip(symbols, zip(*questions, strict=True), strict=True))
    symbols["label"] = [str(number + 1) for number in range(NUM_CANDIDATES)]
    columns["label"] = [[*(np.atleast_1d(answer) + 4).astype(int).tolist(), 2] for answer in answers]
    for name, items in columns.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in symbols[name]))
        with DatasetWriter(folder / name / "train", dictionary_size=4 + len(symbols[name])) as writer:
            writer.write(np.concatenate(items), np.array([len(item) for item in items]))


def random_questions(number: int) -> tuple[list[list[list[int]]], list[int]]:
    """Questions whose candidates are drawn out of 20 sentences of 1 to 11 words; every third lacks one or two."""
    generator = np.random.default_rng(1)
    pool = [[*generator.integers(4, NUM_SYMBOLS, generator.integers(1, 12)).tolist(), 2] for _ in range(20)]
    questions = []
    for index in range(number):
        candidates = [pool[place] for place in generator.choice(len(pool), NUM_CANDIDATES, replace=False)]
        if index % 3 == 0:
            candidates[-1] = EMPTY
        if index % 6 == 0:
            candidates[1] = EMPTY
        questions.append([pool[generator.integers(len(pool))], *candidates])
    return questions, [0] * number


def set_up(data: Path) -> tuple[Namespace, object, torch.nn.Module]:
    """Return arguments, task and model as `fairseq train` has them, the attention far from even."""
    from fairseq import options, tasks

    import cross_thought.fairseq.answer_selection
    import cross_thought.fairseq.model  # noqa: F401

    args = options.parse_args_and_arch(options.get_training_parser(), [str(data), *FLAGS])
    task = tasks.setup_task(args)
    torch.manual_seed(1)
    model = task.build_model(args)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3 if "proj" in name else 0.1)
    return args, task, model


def test_a_batch_holds_each_question_with_its_candidates(tmp_path: Path) -> None:
    questions = [
        [[5, 6, 2], [7, 2], [8, 9, 2], EMPTY, [10, 2]],
        [[11, 2], [12, 2], EMPTY, EMPTY, [13, 14, 15, 2]],
    ]
    write_data(tmp_path, [*questions, questions[0]], [(1, 3), 3, ()])
    dataset = set_up(tmp_path)[1].load_dataset("train")
    batch = dataset.collater([dataset[1], dataset[0]])
    assert batch["net_input"]["src_tokens"].tolist() == [
        [[0, 11, 2, 1, 1], [0, 12, 2, 1, 1], [1] * 5, [1] * 5, [0, 13, 14, 15, 2]],
        [[0, 5, 6, 2, 1], [0, 7, 2, 1, 1], [0, 8, 9, 2, 1], [1] * 5, [0, 10, 2, 1, 1]],
    ]
    assert batch["target"].tolist() == [[False, False, False, True], [False, True, False, True]]
    assert sorted(dataset.ordered_indices()) == [
        0,
        1,
    ]  # from the third, which has no right candidate, nothing is learnt
    assert (batch["nsentences"], batch["ntokens"]) == (2, 11 + 14)
    assert dataset.sizes[:2].tolist() == [4 + 3 + 4 + 2 + 3, 3 + 3 + 2 + 2 + 5]


def test_too_few_inputs_are_refused(tmp_path: Path) -> None:
    write_data(tmp_path, [[[5, 2]] * 5], [0])
    (tmp_path / "input3" / "train.idx").unlink()
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/input3 has no train: --num-classes 4 needs as many")):
        set_up(tmp_path)[1].load_dataset("train")


def test_candidates_embedded_beforehand_rank_as_those_computed_together(tmp_path: Path) -> None:
    write_data(tmp_path / "data", *random_questions(150))
    args, task, model = set_up(tmp_path / "data")
    history = {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}
    state = {"args": args, "model": model.state_dict(), "optimizer_history": [history]}
    torch.save(state | {"extra_state": {"train_iterator": None}}, tmp_path / "model.pt")

    def answer_weights(precision: str) -> torch.Tensor:
        answers = TASKS["demo-answer"]
        model = FineTunedModel(load_fine_tuned(tmp_path / "model.pt", describe(answers)), precision=precision)
        return torch.cat(list(model.outputs(token_rows(tmp_path / "data", "train", answers, bos_id=0))))

    beforehand = answer_weights("float32")

    dataset = task.load_dataset("train")
    batch = dataset.collater([dataset[index] for index in range(len(dataset))])
    with torch.inference_mode():
        together, _ = model.eval()(**batch["net_input"])
    assert together.isneginf().sum() == 50 + 25
    torch.testing.assert_close(beforehand, together, rtol=1e-6, atol=1e-6)
    assert rankings(beforehand) == rankings(together)
    assert (together.exp().max(1).values > 0.5).any()  # the weights do tell candidates apart

    rounded = answer_weights("bfloat16")
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, beforehand)
    assert torch.equal(rounded.isneginf(), beforehand.isneginf())
    torch.testing.assert_close(rounded.exp(), beforehand.exp(), rtol=0.1, atol=0.02)


def test_rankings_leave_out_who_is_no_candidate() -> None:
    log_alpha = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.3, 0.0, 0.7, 0.0]]).log()
    assert rankings(log_alpha) == ["2 4 3 1", "3 1"]
