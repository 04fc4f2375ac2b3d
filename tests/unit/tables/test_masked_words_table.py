"""The table of masked words: means over words and seeds, the paired tests, what has no value."""

from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from cross_thought.errors import UserError
from cross_thought.tables.layout import latex, markdown, read_table, write_table
from cross_thought.tables.masked_words import masked_words_page, read_masked_words_rows

HEADER = "split document segment column symbol elsewhere right_on loss_on right_shuffled loss_shuffled"
CONTROL_HEADER = "split document segment column symbol elsewhere right_bypassed loss_bypassed"


def write(folder: Path, model: str, seed: int, *lines: str) -> Path:
    """Write a words.tsv; cells are separated by spaces."""
    path = folder / model / f"seed-{seed}" / "words.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("".join("\t".join(line.split()) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two seeds of a model with cross layer 0, two words in each of three documents; one seed of one without."""
    seeds = [["1 0", "1 0", "0 1", "1 0", "1 1", "0 0"], ["1 0", "0 0", "1 0", "1 1", "1 0", "1 1"]]
    found = []
    for seed, words in enumerate(seeds, start=1):
        lines = []
        for number, (on, shuffled) in enumerate(map(str.split, words)):
            place = f"test {number // 2} 0 {number % 2} 9 {int(number in (0, 1, 4))}"
            loss = 0.6931472 * (number // 2 + 1) / 2  # half a bit, one, one and a half
            lines.append(f"{place} {on} {loss} {shuffled} 1.3862944")
        found.append(write(tmp_path, "ct", seed, HEADER, *lines))
    found.append(write(tmp_path, "mlm", 1, CONTROL_HEADER, *["test 0 0 0 9 0 1 2.079442"] * 2))
    return found


def rows_of(paths: list[Path]) -> dict[tuple[str, ...], pd.Series]:
    rows = read_masked_words_rows(paths)
    return {(row["model"], row["words"], row["condition"], row["metric"]): row for _, row in rows.iterrows()}


def test_means_are_over_words_and_then_over_seeds(paths: list[Path]) -> None:
    of = rows_of(paths)
    told = of["ct", "all", "on", "accuracy"]
    assert told["values"] == pytest.approx((100 * 4 / 6, 100 * 5 / 6))
    assert (told["mean"], told["n"], told["seeds"], told["num_words"], told["num_documents"]) == (
        pytest.approx(75), 2, (1, 2), 6, 3
    )  # fmt: skip
    assert of["ct", "all", "on", "bits"]["mean"] == pytest.approx(1, abs=1e-5)
    assert of["ct", "all", "shuffled", "bits"]["mean"] == pytest.approx(2, abs=1e-5)
    assert of["ct", "elsewhere", "on", "accuracy"]["values"] == pytest.approx((100, 100 * 2 / 3))
    assert of["mlm", "all", "bypassed", "bits"]["mean"] == pytest.approx(3, abs=1e-5)
    assert ("mlm", "all", "on - shuffled", "accuracy") not in of


def test_differences_are_tested_over_documents_and_over_seeds(paths: list[Path]) -> None:
    difference = rows_of(paths)["ct", "all", "on - shuffled", "accuracy"]
    # of both seeds, of each document: the mean over its two words
    documents = [100 * (2 + 1) / 4, 100 * (0 + 1) / 4, 100 * (0 + 1) / 4]
    test = stats.ttest_1samp(documents, 0)
    assert difference["values"] == pytest.approx((100 * 2 / 6, 100 * 3 / 6))
    assert difference["mean"] == pytest.approx(sum(documents) / 3)
    assert difference["p_documents"] == pytest.approx(test.pvalue)
    interval = test.confidence_interval(0.95)
    assert (difference["ci_low"], difference["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert difference["p_seeds"] == pytest.approx(stats.ttest_1samp([100 * 2 / 6, 100 * 3 / 6], 0).pvalue)


def test_documents_with_more_words_count_more(tmp_path: Path) -> None:
    words = [(0, 1, 0), (0, 1, 0), (0, 1, 0), (1, 0, 0), (2, 0, 1)]
    lines = [f"test {document} 0 0 9 1 {on} 0.5 {shuffled} 0.5" for document, on, shuffled in words]
    difference = rows_of([write(tmp_path, "ct", 1, HEADER, *lines)])["ct", "elsewhere", "on - shuffled", "accuracy"]
    assert difference["mean"] == pytest.approx(100 * 2 / 5)
    assert difference["ci_low"] < difference["mean"] < difference["ci_high"]
    assert (difference["ci_low"] + difference["ci_high"]) / 2 == pytest.approx(difference["mean"])
    assert pd.isna(difference["p_seeds"])


def test_the_page_and_its_files(paths: list[Path], tmp_path: Path) -> None:
    rows = read_masked_words_rows(paths)
    page = masked_words_page(rows)
    text = markdown(page)
    assert "| ct      | cross layer 0 on                   | 75.0 ± 11.8 (2) | 1.000 ± 0.000 (2)" in text
    assert "| ct      | all       | accuracy | +41.7" in text
    assert "all: 6 in 3 documents of `test` (ct); elsewhere: 3 in 2 documents of `test` (ct)" in text
    assert "ct & all & bits & -1.000 & -2.242 to +0.242" in latex(page)
    files = {form: str(tmp_path / f"masked_words.{form}") for form in ("csv", "markdown", "latex")}
    write_table(rows, page, files=files)
    seeds = read_table(files["csv"], by_seed=True)
    assert list(seeds.loc[seeds["condition"] == "shuffled", "seed"].unique()) == [1, 2]


def test_text_without_words_is_said(tmp_path: Path) -> None:
    page = masked_words_page(read_masked_words_rows([write(tmp_path, "ct", 1, HEADER)]))
    assert (page.sections[0].cells["accuracy, all"] == "n/a").all()
    assert any("no two documents of two segments" in note for note in page.notes)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is missing: run `snakemake "):
        read_masked_words_rows([tmp_path / "ct/seed-1/words.tsv"])
    with pytest.raises(UserError, match=r"is no file of masked words \(.*split.*\): delete it"):
        read_masked_words_rows([write(tmp_path, "ct", 1, "a b", "1 2")])
