"""The ablation table: which numbers are compared, and how they are laid out."""

import statistics

import pandas as pd
import pytest

from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.evaluation.history import of_split, read_history
from cross_thought.tables.ablations import ablation_notes, ablation_page, ablation_rows, factors_of
from cross_thought.tables.layout import latex, markdown
from tests.unit.synthetic import Results


@pytest.fixture(scope="session")
def rows(shared_results: Results) -> pd.DataFrame:
    """The ablation table of the synthetic results: cross layer 0 off and on."""
    return ablation_rows(shared_results.run)


def test_numbers_are_those_of_the_runs(rows: pd.DataFrame, shared_results: Results) -> None:
    found = {(row.model, row.task, row.metric): row for row in rows.itertuples()}
    histories = map(read_history, shared_results.files("pretrain/mlm/*/history.tsv"))
    losses = [of_split(history, "valid")["loss"].iloc[-1] for history in histories]
    loss = found["mlm", "", "valid_loss_bits"]
    assert (loss.mean, loss.sd, loss.n) == (statistics.fmean(losses), statistics.stdev(losses), 3)
    assert found["cross_thought", "", "cross_path"].mean == pytest.approx(95)  # cross layer 0 on
    assert found["mlm", "", "cross_path"].mean == pytest.approx(18)  # it never had one
    scores = [
        document["splits"]["valid"]["metrics"]["accuracy"]
        for document in read_metrics(shared_results.metrics)
        if (document["model"], document["task"]) == ("mlm", "MRPC")
    ]
    assert found["mlm", "MRPC", "accuracy"].mean == pytest.approx(100 * statistics.fmean(scores))
    assert ("mlm", "MRPC", "f1") not in found  # the main metric alone
    assert list(rows.loc[rows["metric"] == "cross_path", "setting"]) == ["off", "on"]


def test_layouts(rows: pd.DataFrame) -> None:
    lines = markdown(ablation_page(rows, demo=True)).splitlines()
    header, _, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert header[:5] == ["factor", "setting", "model", "loss (bits)", "cross path (%)"]
    assert [cells[:3] for cells in body] == [["cross layer 0", "off", "mlm"], ["", "on", "cross_thought"]]
    assert "±" in body[0][3]
    text = latex(ablation_page(rows, demo=True))
    assert "cross layer 0 & off & mlm" in text
    assert "cross\\_thought" in text


def test_a_rule_between_factors_and_what_is_missing() -> None:
    rows = [
        ("num_slots", "1", "a", "", "valid_loss_bits", 2.5, None, 1, (1,)),
        ("num_slots", "1", "a", "", "cross_path", 90.0, None, 1, (1,)),
        ("segment_length", "24", "b", "", "valid_loss_bits", 1.25, None, 1, (1,)),
    ]
    columns = ["factor", "setting", "model", "task", "metric", "mean", "sd", "n", "seeds"]
    rows = pd.DataFrame(rows, columns=columns)
    lines = latex(ablation_page(rows, demo=True)).splitlines()
    assert lines[5:8] == [
        "slots k & 1 & a & 2.500 (1) & 90.0 (1) \\\\",
        "\\midrule",
        "segment T & 24 & b & 1.250 (1) & n/a \\\\",
    ]
    assert any("exactly 12 tokens" in note for note in ablation_notes(rows, demo=True))
    assert not any("exactly 12 tokens" in note for note in ablation_notes(rows, demo=False))


def test_what_a_factor_changes_besides_is_said() -> None:
    def notes(factor: str) -> str:
        rows = [(factor, "x", "a", "", "valid_loss_bits", 2.5, None, 1, (1,))]
        columns = ["factor", "setting", "model", "task", "metric", "mean", "sd", "n", "seeds"]
        return " ".join(ablation_notes(pd.DataFrame(rows, columns=columns), demo=False))

    assert "Segments of T tokens cut through sentences" in notes("segment_length")
    assert "are of different targets" in notes("segment_by")
    assert "cut through sentences" not in notes("num_slots")
    assert "are of different targets" not in notes("segment_length")


def test_settings_are_looked_up() -> None:
    config = {"models": {"a": {"num_slots": 2}, "b": {"num_slots": 5}}, "ablation": {"num_slots": ["b", "a"]}}
    assert factors_of(config) == {"num_slots": {"b": 5, "a": 2}}
