"""Figures: the same bytes for the same numbers, at column width, with every model named."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.cross_attention import CaseStudy
from cross_thought.evaluation.history import read_history
from cross_thought.tables import masked_words
from cross_thought.tables.ablations import ablation_rows
from cross_thought.tables.figures import (
    COLUMN_WIDTH_IN,
    _slanted,
    plot_ablations,
    plot_cross_attention,
    plot_losses,
    plot_masked_words,
    plot_tasks,
)
from cross_thought.tables.tasks import tabulate
from tests.unit.synthetic import Results

FIGURES = ("losses", "tasks", "masked_words", "ablations", "cross_attention")


def draw(results: Results, name: str, folder: Path) -> list[Path]:
    """Draw one figure as SVG and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    if name == "ablations":
        plot_ablations(ablation_rows(results.run), paths)
    elif name == "cross_attention":
        weights = [[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]]
        texts = ["money costs $ 5", "much text " * 30 + "then [mask] and more " * 9, "short"]
        plot_cross_attention(CaseStudy("m", 1, texts, 1, "$", [True, True, False], weights), paths)
    elif name == "masked_words":
        plot_masked_words(masked_words.tabulate(results.run)[0], paths)
    elif name == "losses":
        plot_losses([read_history(path) for path in results.files("pretrain/*/*/history.tsv")], paths)
    else:
        plot_tasks(tabulate(results.run)[0], paths)
    return paths


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_numbers_give_the_same_bytes(name: str, shared_results: Results, tmp_path: Path) -> None:
    first, second = (draw(shared_results, name, tmp_path / place) for place in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_as_wide_as_a_column(name: str, shared_results: Results, tmp_path: Path) -> None:
    svg, png = draw(shared_results, name, tmp_path)
    root = ElementTree.parse(svg).getroot()
    assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(72 * COLUMN_WIDTH_IN)
    assert b"dc:date" not in svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")


def test_one_seed_and_one_model_can_be_drawn(shared_results: Results, tmp_path: Path) -> None:
    history = read_history(shared_results.files("pretrain/mlm/seed-1/history.tsv")[0])
    plot_losses([history], [tmp_path / "one.svg"])
    config = shared_results.config | {"tasks": {"RTE": {}}, "seeds": [1]}
    one = RunResults(config | {"models": {"mlm": config["models"]["mlm"]}}, shared_results.folder)
    plot_tasks(tabulate(one)[0], [tmp_path / "task.svg"])
    plot_masked_words(
        masked_words.tabulate(one)[0], [tmp_path / "words.svg"]
    )  # without cross layer 0, in one condition
    alone = RunResults(one.config | {"ablation": {"cross_sequence": ["mlm"]}}, shared_results.folder)
    plot_ablations(ablation_rows(alone), [tmp_path / "ablation.svg"])
    for name in ("one", "task", "words", "ablation"):
        assert (tmp_path / f"{name}.svg").exists()


def test_settings_that_would_meet_are_slanted() -> None:
    for labels, num_panels, slanted in (
        (["1", "2", "4"], 5, False),
        (["off", "on"], 5, False),
        (["1500", "3000"], 5, True),
        (["1500", "3000"], 2, False),
        (["tokens", "sentence"], 5, True),
    ):
        assert bool(_slanted(labels, num_panels=num_panels)) is slanted, labels
