"""Figures at the width of a paper's column, legible in grey, the same to the byte for the same numbers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import wrap

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cross_thought.evaluation.aggregate import AVERAGE, is_development
from cross_thought.evaluation.cross_attention import CaseStudy
from cross_thought.evaluation.history import History
from cross_thought.files import atomic_file
from cross_thought.tables.ablations import FACTOR_NAMES, AblationRow, column_title, columns_of
from cross_thought.tables.tables import MAJORITY, TaskRow, column_name

COLUMN_WIDTH_IN = 3.3
_LABEL_WIDTH = 40  # characters of a segment's text in a line

# Dark to light, so that they also differ in grey; line styles and markers tell them apart where greys do not.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "cross-thought",
    "svg.fonttype": "path",
}


def plot_losses(histories: Sequence[History], paths: Iterable[Path | str]) -> None:
    """Draw training and held-out loss over updates: a thin line a seed, a thick one for their mean.

    Args:
        histories: of any number of models and seeds; losses in bits a token.
        paths: files to write; the ending says the format.
    """
    models = list(dict.fromkeys(history.model for history in histories))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH_IN, 3.4), layout="constrained")
        panels = figure.subplots(2, 1, sharex=True)
        for axes, split, title in zip(panels, ("train", "valid"), ("Training", "Held out"), strict=True):
            for place, model in enumerate(models):
                style = {"color": _COLOURS[place % len(_COLOURS)], "linestyle": _LINES[place % len(_LINES)]}
                curves = [_curve(history, split) for history in histories if history.model == model]
                if len(curves) > 1:
                    for curve in curves:
                        axes.plot(*_points(curve), linewidth=0.5, alpha=0.45, **style)
                axes.plot(*_points(_mean_curve(curves)), linewidth=1.5, label=model, **style)
            axes.set_title(title, loc="left")
            axes.set_ylabel("loss (bits a token)")
            axes.grid(axis="y", linewidth=0.3, color="0.8")
        panels[1].set_xlabel("updates")
        # Outside the axes, so that it never hides a curve.
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        _save(figure, paths)


def plot_tasks(rows: Sequence[TaskRow], paths: Iterable[Path | str]) -> None:
    """Draw the development results: a marker a model with its standard deviation, a bar for the majority rate.

    Args:
        rows: the task table's; published references are left out.
        paths: files to write; the ending says the format.
    """
    rows = [row for row in rows if is_development(row.split) and row.kind in ("model", MAJORITY)]
    columns = list(dict.fromkeys(row.column for row in rows))
    # The average goes last, at the bottom, apart from the tasks it is made of.
    columns.sort(key=lambda column: column[0] == AVERAGE)
    models = list(dict.fromkeys(row.model for row in rows if row.kind == "model"))
    with matplotlib.rc_context(_STYLE):
        height = 0.75 + len(columns) * max(0.24, 0.11 * len(models))
        figure = Figure(figsize=(COLUMN_WIDTH_IN, height), layout="constrained")
        axes = figure.subplots()
        for place, model in enumerate(models):
            shift = 0.6 * ((place + 0.5) / len(models) - 0.5)
            points = [(row.mean, columns.index(row.column) + shift, row.sd) for row in rows if row.model == model]
            points = [point for point in points if point[0] is not None]
            axes.errorbar(
                [mean for mean, _, _ in points],
                [height for _, height, _ in points],
                xerr=[sd or 0 for _, _, sd in points],
                fmt=_MARKERS[place % len(_MARKERS)],
                color=_COLOURS[place % len(_COLOURS)],
                markerfacecolor=_COLOURS[place % len(_COLOURS)] if place % 2 == 0 else "white",
                markersize=4,
                markeredgewidth=0.8,
                elinewidth=0.8,
                capsize=1.8,
                linestyle="none",
                label=model,
            )
        majority = [(row.mean, columns.index(row.column)) for row in rows if row.kind == MAJORITY]
        majority = [point for point in majority if point[0] is not None]
        if majority:
            axes.vlines(
                [mean for mean, _ in majority],
                [height - 0.4 for _, height in majority],
                [height + 0.4 for _, height in majority],
                colors="0.55",
                linewidth=2,
                label="majority label",
                zorder=0,
            )
        axes.set_yticks(range(len(columns)), [column_name(*column).strip() for column in columns])
        axes.set_ylim(len(columns) - 0.5, -0.5)
        axes.set_xlabel("score (%): mean and sd over seeds")
        axes.grid(axis="x", linewidth=0.3, color="0.8")
        axes.set_axisbelow(True)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        _save(figure, paths)


def plot_ablations(rows: Sequence[AblationRow], paths: Iterable[Path | str]) -> None:
    """Draw the ablations: a column of panels a factor, a row of panels a measure, mean and sd over seeds.

    Args:
        rows: the ablation table's.
        paths: files to write; the ending says the format.
    """
    factors = list(dict.fromkeys(row.factor for row in rows))
    columns = columns_of(rows)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH_IN, 0.55 + 0.95 * len(columns)), layout="constrained")
        # A measure's panels share their axis, so that the effects of the factors can be compared by eye.
        panels = figure.subplots(len(columns), len(factors), sharex="col", sharey="row", squeeze=False)
        for line, column in zip(panels, columns, strict=True):
            for axes, factor in zip(line, factors, strict=True):
                settings = list(dict.fromkeys(row.setting for row in rows if row.factor == factor))
                points = [row for row in rows if row.factor == factor and row.column == column and row.mean is not None]
                axes.errorbar(
                    [settings.index(row.setting) for row in points],
                    [row.mean for row in points],
                    yerr=[row.sd or 0 for row in points],
                    fmt="o-",
                    color=_COLOURS[0],
                    markersize=3,
                    linewidth=0.8,
                    elinewidth=0.8,
                    capsize=1.8,
                )
                axes.set_xticks(range(len(settings)), settings)
                axes.set_xlim(-0.5, len(settings) - 0.5)
                axes.grid(axis="y", linewidth=0.3, color="0.8")
            line[0].set_ylabel(column_title(*column).replace(" (", "\n(").strip())
        for axes, factor in zip(panels[-1], factors, strict=True):
            axes.set_xlabel(FACTOR_NAMES[factor])
        figure.align_ylabels(panels[:, 0])
        _save(figure, paths)


def plot_cross_attention(study: CaseStudy, paths: Iterable[Path | str]) -> None:
    """Draw what the slots of one segment attend to: a row a segment with its text, a column a slot.

    Args:
        study: weights and texts.
        paths: files to write; the ending says the format.
    """
    num_segments, num_slots = len(study.texts), len(study.weights)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH_IN, 0.62 + 0.29 * num_segments), layout="constrained")
        axes = figure.subplots()
        weights = [[100 * of_slot[segment] for of_slot in study.weights] for segment in range(num_segments)]
        # Attention that is spread evenly stays light: black is three times as much, or more.
        darkest = max(300 / num_segments, max(max(row) for row in weights))
        axes.imshow(weights, cmap="Greys", vmin=0, vmax=darkest, aspect="auto")
        for segment, row in enumerate(weights):
            for slot, weight in enumerate(row):
                colour = "white" if weight > 0.55 * darkest else "black"
                axes.text(slot, segment, f"{weight:.0f}", ha="center", va="center", color=colour)
        axes.set_yticks(range(num_segments), [_row_label(study, segment) for segment in range(num_segments)])
        axes.set_xticks(range(num_slots), [str(slot + 1) for slot in range(num_slots)])
        axes.tick_params(length=0)
        axes.set_xlabel("slot")
        axes.spines[:].set_visible(False)
        # The segment that asks: a frame, for its weights on itself say nothing about other segments.
        axes.add_patch(Rectangle((-0.5, study.query - 0.5), num_slots, 1, fill=False, linewidth=0.8, clip_on=False))
        figure.suptitle(
            f"Attention (%) of the framed segment's slots in cross layer 0,\n"
            f"“{_shortened(study.word, 20)}” masked there; * segments that have this word",
            fontsize=_STYLE["axes.titlesize"],
            horizontalalignment="left",
            x=0.01,
        )
        _save(figure, paths)


def _row_label(study: CaseStudy, segment: int) -> str:
    """Return a segment's text in at most two lines, with a star if it has the masked word."""
    text, is_query = study.texts[segment], segment == study.query
    # The word that it is about stays in sight where the text has to be shortened.
    word = text.find("[mask]" if is_query else study.word) if is_query or study.repeats[segment] else 0
    if len(text) > 2 * _LABEL_WIDTH and word > _LABEL_WIDTH:
        text = "… " + text[word - _LABEL_WIDTH // 2 :].partition(" ")[2]
    star = "* " if study.repeats[segment] and not is_query else ""
    return "\n".join(wrap(star + text, _LABEL_WIDTH, max_lines=2, placeholder=" …")).replace("$", r"\$")


def _shortened(text: str, length: int) -> str:
    return (text if len(text) <= length else text[: length - 1] + "…").replace("$", r"\$")


def _curve(history: History, split: str) -> dict[int, float]:
    return {line.num_updates: line.loss for line in history.of_split(split)}


def _mean_curve(curves: Sequence[dict[int, float]]) -> dict[int, float]:
    """Average curves at the updates that all of them have."""
    shared = set.intersection(*map(set, curves)) if curves else set()
    return {update: fmean(curve[update] for curve in curves) for update in sorted(shared)}


def _points(curve: dict[int, float]) -> tuple[list[int], list[float]]:
    return list(curve), list(curve.values())


def _save(figure: Figure, paths: Iterable[Path | str]) -> None:
    for path in map(Path, paths):
        kind = path.suffix.removeprefix(".")
        # Neither the date nor the library's version: the same numbers give the same bytes.
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        with atomic_file(path) as partial:
            figure.savefig(partial, format=kind, dpi=300, metadata=metadata)
