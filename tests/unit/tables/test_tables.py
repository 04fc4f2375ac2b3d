"""The tables' numbers against hand computation, and that each layout shows them."""

import csv
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cross_thought.data.definitions import METRICS
from cross_thought.data.tasks import TASKS
from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import SplitPredictions, read_predictions
from cross_thought.tables import read_table
from cross_thought.tables.ablations import ablation_page, ablation_rows
from cross_thought.tables.cross_path import cross_path_page, read_cross_path_rows
from cross_thought.tables.layout import csv_text, latex, latex_table, markdown, markdown_table
from cross_thought.tables.pretraining import pretraining_page, pretraining_row, read_pretraining_rows
from cross_thought.tables.tasks import (
    column_name,
    count_notes,
    data_counts,
    reference_rows,
    tabulate,
    task_notes,
    task_page,
    task_rows,
)
from tests.unit.synthetic import MODELS, Results

REFERENCES = REPOSITORY / "resources" / "reference_results.tsv"


@pytest.fixture(scope="session")
def rows(shared_results: Results) -> pd.DataFrame:
    """The task table of the synthetic results."""
    return tabulate(shared_results.run)[0]


def find(rows: pd.DataFrame, model: str, task: str, metric: str, split: str = "valid") -> Any:
    """Return one row."""
    wanted = {"model": model, "task": task, "metric": metric, "split": split}
    (row,) = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)].itertuples()
    return row


def test_mean_and_sd_are_those_of_the_predictions(rows: pd.DataFrame, shared_results: Results) -> None:
    rates = []
    for path in shared_results.files("evaluate/mlm/RTE/seed-*/predictions.tsv"):
        valid = read_predictions(path)["valid"]
        right = sum(a == b for a, b in zip(valid.labels, valid.predictions, strict=True))
        rates.append(100 * right / len(valid.labels))
    mean = sum(rates) / 3
    row = find(rows, "mlm", "RTE", "accuracy")
    assert row.values == pytest.approx(tuple(rates))
    assert row.mean == pytest.approx(mean)
    assert row.sd == pytest.approx(math.sqrt(sum((rate - mean) ** 2 for rate in rates) / 2))
    assert (row.n, row.seeds, row.num_examples) == (3, (1, 2, 3), 277)


def test_difference_best_and_majority(rows: pd.DataFrame) -> None:
    ours, control = find(rows, "cross_thought", "RTE", "accuracy"), find(rows, "mlm", "RTE", "accuracy")
    assert ours.difference == pytest.approx(ours.mean - control.mean)
    assert (ours.best, control.best, ours.control, control.control) == (True, False, "mlm", "")
    assert ours.verdict == "ahead"
    assert ours.ci_low < ours.difference < ours.ci_high
    majority = find(rows, "majority", "RTE", "accuracy")
    assert 50 < majority.mean < 100
    assert math.isnan(find(rows, "majority", "STS-B", "pearson").mean)


def test_mnli_has_two_columns_and_test_sets_without_labels_none(rows: pd.DataFrame) -> None:
    assert set(rows.loc[rows["task"] == "MNLI", "split"]) == {"valid", "valid1"}


def test_markdown_shows_each_number(rows: pd.DataFrame, shared_results: Results) -> None:
    text = markdown(task_page(rows, tasks=shared_results.tasks))
    ours = find(rows, "cross_thought", "MRPC", "f1")
    assert f"**{ours.mean:.1f} ± {ours.sd:.1f} (3)**" in text
    assert f"| {ours.difference:+.1f} " in text
    for part in ("MNLI-m acc.", "MNLI-mm acc.", "Average", "| majority ", "n/a", "roberta.base (cross-encoder)"):
        assert part in text
    # A published figure stands as it was published.
    assert re.search(r"\| bert-base-cased \(cross-encoder\) .*88\.85 ", text)
    assert "MNLI: fine-tuned on 2,000 of its 392,702 training examples." in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert max(map(len, tables)) <= 135


def test_csv_has_one_line_a_number(rows: pd.DataFrame) -> None:
    read = list(csv.DictReader(csv_text(rows).splitlines()))
    assert len(read) == len(rows)
    row = next(r for r in read if r["model"] == "cross_thought" and r["task"] == "STS-B" and r["metric"] == "pearson")
    assert float(row["mean"]) == pytest.approx(find(rows, "cross_thought", "STS-B", "pearson").mean, rel=1e-5)
    assert (row["seeds"], row["best"], row["control"]) == ("1 2 3", "yes", "mlm")


def test_a_csv_file_is_read_back_as_a_frame(rows: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "tasks.csv").write_text(csv_text(rows))
    read = read_table(tmp_path / "tasks.csv")
    assert csv_text(read) == csv_text(rows)
    assert read.dtypes.drop("p_mcnemar").equals(rows.dtypes.drop("p_mcnemar"))
    row = find(read, "mlm", "RTE", "accuracy")
    assert (row.n, row.seeds, row.best, row.verdict) == (3, (1, 2, 3), False, "")
    by_seed = read_table(tmp_path / "tasks.csv", by_seed=True)
    ours = by_seed[(by_seed["kind"] == "model") & (by_seed["task"] == "RTE")]
    means = ours.groupby("model")["value"].mean()
    assert means["mlm"] == pytest.approx(row.mean, rel=1e-5)
    assert list(ours["seed"]) == [1, 2, 3] * 2
    with pytest.raises(UserError, match=r"none\.csv is missing: run `snakemake tables`"):
        read_table(tmp_path / "none.csv")


def tiny_rows(ours: list[str], theirs: list[str], *, labels: list[str], task: str = "RTE") -> pd.DataFrame:
    """Return the rows of two models of one seed each."""
    predictions = {
        ("a", task, 1): {"valid": SplitPredictions(["0"] * len(labels), labels, ours)},
        ("mlm", task, 1): {"valid": SplitPredictions(["0"] * len(labels), labels, theirs)},
    }
    documents = [
        metrics_document(model=model, task=TASKS[task], seed=1, predictions=splits, num_train_examples=None)
        for (model, _, _), splits in predictions.items()
    ]
    return task_rows(documents, predictions, models=["a", "mlm"], tasks={task: TASKS[task]}, control="mlm")


def test_a_task_started_from_another_has_a_footnote(rows: pd.DataFrame, shared_results: Results) -> None:
    tasks = shared_results.tasks | {name: replace(TASKS[name], start_from="MNLI") for name in ("RTE", "MRPC")}
    (note,) = [note for note in task_notes(rows, tasks, {}) if "started from" in note]
    assert note.startswith("RTE, MRPC: started from the model fine-tuned on MNLI with the same seed")
    assert note in markdown(task_page(rows, tasks=tasks))
    assert note in latex(task_page(rows, tasks=tasks))


def test_what_was_left_out_cut_and_not_used_is_said(rows: pd.DataFrame, shared_results: Results) -> None:
    counts = {
        "RTE": {
            "train": {"available": 2490, "used": 1000, "cut": 0, "quoted": 0},
            "valid": {
                "examples": 277,
                "dropped": 3,
                "in_train": 5,
                "empty": 2,
                "cut": 12,
                "tokens": 900,
                "unknown": 310,
                "quoted": 281,
            },
        },
        "MRPC": {"train": {"available": 10, "used": 10}, "valid": {"examples": 10, "dropped": 0, "unlabelled": 10}},
    }
    documents = [{"task": name, "counts": found} for name, found in counts.items()] + [{"task": "MNLI"}]
    page = task_page(rows, tasks=shared_results.tasks, counts=data_counts(documents))
    said = [
        "RTE: fine-tuned on 1,000 of its 2,490 training examples.",
        "RTE (valid): 12 of 554 sentences cut at the positions.",
        "RTE (valid): 34 % of the tokens are unknown to the vocabulary.",
        "RTE (valid): 3 of 280 examples left out.",
        "RTE (valid): 5 of 277 examples stand in the train set, too.",
        "RTE (valid): 2 examples with an empty sentence.",
        "RTE (valid): 281 cells seem to be in quote marks, which were kept as text.",
    ]
    assert [note for note in page.notes if note.startswith("RTE")] == said
    assert [note for note in page.notes if note.startswith("MRPC")] == [
        "MRPC (valid): not scored, for there are no labels in column 1."
    ]
    assert "MNLI: fine-tuned on 2,000 of its 392,702 training examples." in page.notes  # older metrics have no counts
    for note in said:
        assert f"- {note}" in markdown(page)
        assert f"% {note}" in latex(page)
    questions = {"train": {"available": 40, "used": 30}, "test": {"examples": 2702, "dropped": 1398, "cut": 7}}
    assert list(count_notes(TASKS["demo-answer"], questions)) == [
        "demo-answer: fine-tuned on 30 of its 40 questions.",
        "demo-answer (test): 7 sentences cut at the positions.",
        "demo-answer (test): 1,398 of 4,100 questions left out.",
    ]


def test_noise_is_called_noise() -> None:
    labels = ["entailment", "not_entailment"] * 10
    one_off = ["not_entailment", *labels[1:]]
    assert find(tiny_rows(labels, one_off, labels=labels), "a", "RTE", "accuracy").verdict == "inside noise"


def test_undefined_is_not_available() -> None:
    labels = ["1", "2", "3"]
    rows = tiny_rows(["2", "2", "2"], labels, labels=labels, task="STS-B")
    assert find(rows, "a", "STS-B", "pearson").verdict == "n/a"
    text = markdown(task_page(rows, tasks={"STS-B": TASKS["STS-B"]}))
    assert "| a        | n/a " in text
    assert "constant, or not finite (a on STS-B)" in text


def test_other_examples_are_refused(shared_results: Results) -> None:
    predictions = {
        (model, "RTE", 1): {"valid": SplitPredictions(["0"], [label], [label])}
        for model, label in (("a", "entailment"), ("mlm", "not_entailment"))
    }
    splits = {"valid": {"num_examples": 1, "metrics": {"accuracy": 1.0}}}
    documents = [{"model": model, "task": "RTE", "seed": 1, "splits": splits} for model in ("a", "mlm")]
    with pytest.raises(UserError, match=r"a and mlm were evaluated on other RTE examples \(valid\)"):
        task_rows(documents, predictions, models=["a", "mlm"], tasks={"RTE": TASKS["RTE"]}, control="mlm")


def test_each_published_figure_has_a_source_and_a_known_column() -> None:
    columns = [
        {"task": task.name, "split": split, "metric": metric}
        for task in TASKS.values()
        for split in task.splits
        for metric in task.metrics
    ]
    found = reference_rows(REFERENCES, pd.DataFrame(columns))
    assert len(found) == len(REFERENCES.read_text(encoding="utf-8").splitlines()) - 1
    for row in found.itertuples():
        if math.isnan(row.mean):
            assert (row.source, "fill in" in row.note) == ("", True)
        else:
            assert row.source
            assert "(cross-encoder)" in row.model


def test_a_figure_without_a_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "references.tsv"
    header = "model\tcross_encoder\ttask\tsplit\tmetric\tpercent\tsource\tnote\n"
    path.write_text(header + "x\tno\tRTE\tvalid\taccuracy\t70\t\t\n")
    with pytest.raises(UserError, match="line 2: a figure without a source"):
        reference_rows(path, pd.DataFrame())
    path.write_text(header + "x\tno\tRTE\tvalid\taccuracy\t\tsome page\t\n")
    with pytest.raises(UserError, match="line 2: .*a source without a figure: give both"):
        reference_rows(path, pd.DataFrame())
    path.write_text(header + "x\tno\tRTE\tvalid\taccuracy\thigh\tsome page\t\n")
    with pytest.raises(UserError, match="line 2: percent is 'high', no number"):
        reference_rows(path, pd.DataFrame())


def test_a_figure_not_at_hand_is_not_available(rows: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "references.tsv"
    header = "model\tcross_encoder\ttask\tsplit\tmetric\tpercent\tsource\tnote\n"
    path.write_text(header + "the paper\tno\tRTE\tvalid\taccuracy\t\t\tnot at hand\n")
    ours = rows[(rows["kind"] == "model") & (rows["task"] == "RTE")]
    both = pd.concat([ours, reference_rows(path, ours).assign(control="")])
    text = markdown(task_page(both, tasks={"RTE": TASKS["RTE"]}))
    assert re.search(r"\| the paper +\| n/a +\|", text)
    assert "the paper on RTE: not at hand." in text
    assert "Published figures of" not in text


def history(*lines: tuple[str, int, float, float, int | None]) -> pd.DataFrame:
    """Return the history of a run."""
    columns = ["split", "num_updates", "loss", "elapsed_s", "tokens"]
    return pd.DataFrame(lines, columns=columns).astype({"tokens": "Int64"}).assign(model="m", seed=1)


def test_pretraining_row() -> None:
    lines = (
        ("train", 100, 4.0, 50.0, 1000),
        ("valid", 100, 3.5, 60.0, None),
        ("train", 200, 2.5, 3590.0, 2000),
        ("valid", 200, 3.0, 3600.0, None),
    )
    row = pretraining_row(history(*lines))
    ends = ("updates", "tokens", "train_loss_bits", "valid_loss_bits")
    assert tuple(row[name] for name in ends) == (200, 2000, 2.5, 3.0)
    assert row["valid_loss_nats"] == pytest.approx(3 * math.log(2))
    assert (row["valid_perplexity"], row["hours"]) == (8.0, 1.0)


def test_the_hours_of_all_attempts_are_added() -> None:
    # stopped after update 200, gone on from there; a time is counted from the attempt's start
    times = [
        ("train", 100, 36.0),
        ("train", 200, 72.0),
        ("valid", 200, 73.0),
        ("train", 300, 40.0),
        ("valid", 400, 71.0),
    ]
    lines = tuple((split, update, 4.0, elapsed, None) for split, update, elapsed in times)
    assert pretraining_row(history(*lines))["hours"] == pytest.approx((73 + 71) / 3600)


def test_what_was_not_recorded_is_empty() -> None:
    row = pretraining_row(history(("train", 100, 4.0, math.nan, None)))
    assert csv_text(pd.DataFrame([row])).splitlines()[1] == "m,1,100,,4,,,,,"


def test_pretraining_and_cross_path_layouts(shared_results: Results) -> None:
    pretraining = read_pretraining_rows(shared_results.files("pretrain/*/*/history.tsv"))
    assert [(row.model, row.seed) for row in pretraining.itertuples()] == [
        (model, seed) for model in MODELS for seed in (1, 2, 3)
    ]
    text = markdown(pretraining_page(pretraining))
    assert re.search(r"\| cross_thought \| 900 +\| 2,700,000 \| 2\.\d{3} ± 0\.\d{3} \(3\)", text)
    assert "CPU: " in text
    assert "different targets" not in markdown(pretraining_page(pretraining, cuts=["sentence"]))
    assert "different targets" in markdown(pretraining_page(pretraining, cuts=["sentence", "tokens"]))
    assert "drawn weights" not in text
    starts = {"mlm": "../long/model.pt", "cross_thought": "roberta.base"}
    assert (
        "Not from drawn weights, so updates, tokens and hours are those since: `mlm` from `../long/model.pt`, "
        "`cross_thought` from `roberta.base`."
    ) in markdown(pretraining_page(pretraining, starts=starts))
    cross_path = read_cross_path_rows(shared_results.files("cross_path/*/*.json"))
    assert [(row.model, row.condition) for row in cross_path.itertuples()] == [
        ("cross_thought", "on"),
        ("cross_thought", "bypassed"),
        ("cross_thought", "shuffled"),
        ("mlm", "bypassed"),
    ]
    bypassed = list(cross_path.itertuples())[1]
    assert bypassed.mean == pytest.approx(18)
    assert bypassed.sd == pytest.approx(1)
    assert bypassed.guess_rate == pytest.approx(100 / 6)
    assert "| 18.0 ± 1.0 (3) | 16.7 " in markdown(cross_path_page(cross_path))
    assert "- Not of long: a segment of theirs is longer" in markdown(cross_path_page(cross_path, untold=["long"]))


def test_small_layouts() -> None:
    cells = pd.DataFrame({"a": ["1"], "long": ["2"]})
    assert markdown_table(cells) == "| a   | long   |\n|-----|--------|\n| 1   | 2      |"
    cells = pd.DataFrame({"a_b": ["5 % ±", "**1.0 ± 0.5 (3)**†"]})
    assert latex_table(cells, rules=[1]).splitlines()[2:7] == [
        r"a\_b \\",
        r"\midrule",
        r"5 \% $\pm$ \\",
        r"\midrule",
        r"\textbf{1.0\,{\scriptsize$\pm$\,0.5\,(3)}$^\dagger$} \\",
    ]
    assert column_name("SNLI", "test", "accuracy") == "SNLI test acc."
    assert column_name("MNLI", "valid", "accuracy") == "MNLI-m acc."
    assert column_name("MNLI", "test1", "accuracy") == "MNLI-mm test acc."
    assert [column_name("T", "valid", metric) for metric in METRICS] == [
        "T acc.",
        "T F1",
        "T Matthews",
        "T precision",
        "T recall",
        "T macro F1",
        "T macro precision",
        "T macro recall",
        "T Pearson",
        "T Spearman",
        "T MRR",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(rows: pd.DataFrame, shared_results: Results, tmp_path: Path) -> None:
    tables = [
        task_page(rows, tasks=shared_results.tasks),
        pretraining_page(read_pretraining_rows(shared_results.files("pretrain/*/*/history.tsv"))),
        cross_path_page(read_cross_path_rows(shared_results.files("cross_path/*/*.json"))),
        ablation_page(ablation_rows(shared_results.run), demo=True),
    ]
    source = "\\documentclass[landscape]{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\tiny\n"
    (tmp_path / "tables.tex").write_text(
        source + "\n\n".join(map(latex, tables)) + "\n\\end{document}\n", encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000
