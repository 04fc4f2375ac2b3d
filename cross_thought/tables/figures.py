"""Figures at the width of a paper's column, legible in grey, the same to the byte for the same numbers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cross_thought.evaluation.aggregate import AVERAGE, is_development
from cross_thought.evaluation.cross_attention import CaseStudy
from cross_thought.evaluation.history import of_split
from cross_thought.files import atomic_file
from cross_thought.tables.ablations import FACTOR_NAMES, column_title
from cross_thought.tables.masked_words import CONDITIONS, WORDS
from cross_thought.tables.tasks import MAJORITY, column_name

COLUMN_WIDTH_IN = 3.3
_BARS = {"elinewidth": 0.8, "capsize": 1.8}
_GRID = {"linewidth": 0.3, "color": "0.8"}
_LABEL_WIDTH = 40  # characters of a segment's text in a line

# Dark to light, so that they also differ in grey; line styles and markers tell them apart where greys do not.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_STYLE = {
    "font.family": "DejaVu Sans",
    **dict.fromkeys(["font.size", "axes.titlesize", "axes.labelsize"], 7),
    **dict.fromkeys(["legend.fontsize", "xtick.labelsize", "ytick.labelsize"], 6.5),
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "cross-thought",
    "svg.fonttype": "path",
}


def plot_losses(histories: Sequence[pd.DataFrame], paths: Iterable[Path | str]) -> None:
    """Draw training and held-out loss, in bits a token, over updates: a thin line a seed, a thick one for their mean.

    The ending of each path says the format, here and below.
    """
    with _drawn(3.4, paths) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, split, title in zip(panels, ("train", "valid"), ("Training", "Held out"), strict=True):
            lines = pd.concat([of_split(history, split) for history in histories]).astype({"num_updates": int})
            for place, (model, curves) in enumerate(lines.groupby("model", sort=False)):
                style = {"color": _COLOURS[place % len(_COLOURS)], "linestyle": _LINES[place % len(_LINES)]}
                of_seed = curves.pivot(index="num_updates", columns="seed", values="loss")
                if of_seed.shape[1] > 1:
                    for seed in of_seed:
                        axes.plot(of_seed[seed].dropna(), linewidth=0.5, alpha=0.45, **style)
                # at the updates that all seeds have
                axes.plot(of_seed.dropna().mean(axis=1), linewidth=1.5, label=model, **style)
            axes.set_title(title, loc="left")
            axes.set_ylabel("loss (bits a token)")
            axes.grid(axis="y", **_GRID)
        panels[1].set_xlabel("updates")
        _legend_above(figure, panels[0])


def plot_tasks(rows: pd.DataFrame, paths: Iterable[Path | str]) -> None:
    """Draw the task table's development results: a marker a model with its sd, a bar for the majority rate."""
    rows = rows[is_development(rows["split"]) & rows["kind"].isin(["model", MAJORITY])]
    # The average goes last, at the bottom, apart from the tasks it is made of.
    rows = rows.sort_values("task", key=lambda task: task == AVERAGE, kind="stable")
    names = pd.Series([column_name(row.task, row.split, row.metric) for row in rows.itertuples()], dtype=object)
    heights, columns = names.factorize()
    rows = rows.assign(height=heights).dropna(subset="mean")
    ours, majority = rows[rows["kind"] == "model"], rows[rows["kind"] == MAJORITY]
    num_models = ours["model"].nunique()
    with _drawn(0.75 + len(columns) * max(0.24, 0.11 * num_models), paths) as figure:
        axes = figure.subplots()
        for place, (model, points) in enumerate(ours.groupby("model", sort=False)):
            heights = points["height"] + 0.6 * ((place + 0.5) / num_models - 0.5)
            _mark(axes, points, heights, place=place, label=model)
        if len(majority):
            low, high = majority["height"] - 0.4, majority["height"] + 0.4
            axes.vlines(majority["mean"], low, high, colors="0.55", linewidth=2, label="majority label", zorder=0)
        axes.set_yticks(range(len(columns)), columns)
        axes.set_ylim(len(columns) - 0.5, -0.5)
        axes.set_xlabel("score (%): mean and sd over seeds")
        axes.grid(axis="x", **_GRID)
        axes.set_axisbelow(True)
        _legend_above(figure, axes)


def plot_masked_words(rows: pd.DataFrame, paths: Iterable[Path | str]) -> None:
    """Draw how many masked words are told in each condition: a panel for all, one for those said elsewhere."""
    rows = rows[(rows["metric"] == "accuracy") & rows["condition"].isin(list(CONDITIONS))]
    models = list(rows["model"].unique())
    with _drawn(1.2 + 0.4 * len(models), paths) as figure:
        panels = figure.subplots(1, len(WORDS), sharey=True)
        for axes, (words, title) in zip(panels, WORDS.items(), strict=True):
            for place, (condition, label) in enumerate(CONDITIONS.items()):
                points = rows[(rows["words"] == words) & (rows["condition"] == condition)].dropna(subset="mean")
                heights = _places(points["model"], models) + 0.2 * (place - 1)
                _mark(axes, points, heights, place=place, label=label)
            axes.set_title("\n".join(wrap(title, 24)), loc="left")
            axes.set_yticks(range(len(models)), models)
            axes.set_ylim(len(models) - 0.5, -0.5)
            axes.set_xlabel("told (%)")
            axes.grid(axis="x", **_GRID)
            axes.set_axisbelow(True)
        _legend_above(figure, panels[0], ncols=1)


def plot_ablations(rows: pd.DataFrame, paths: Iterable[Path | str]) -> None:
    """Draw the ablation table: a column of panels a factor, a row of panels a measure, mean and sd over seeds."""
    rows = rows.assign(column=list(map(column_title, rows.itertuples())))
    factors, columns = rows["factor"].unique(), rows["column"].unique()
    with _drawn(0.55 + 0.95 * len(columns), paths) as figure:
        # A measure's panels share their axis, so that the effects of the factors can be compared by eye.
        panels = figure.subplots(len(columns), len(factors), sharex="col", sharey="row", squeeze=False)
        for (line, column), (place, factor) in product(zip(panels, columns, strict=True), enumerate(factors)):
            axes, of_factor = line[place], rows[rows["factor"] == factor]
            settings = list(of_factor["setting"].unique())
            points = of_factor[of_factor["column"] == column].dropna(subset="mean")
            places, sd = _places(points["setting"], settings), points["sd"].fillna(0)
            style = {"color": _COLOURS[0], "markersize": 3, "linewidth": 0.8, **_BARS}
            axes.errorbar(places, points["mean"], yerr=sd, fmt="o-", **style)
            axes.set_xticks(range(len(settings)), settings, **_slanted(settings, num_panels=len(factors)))
            axes.set_xlim(-0.5, len(settings) - 0.5)
            axes.grid(axis="y", **_GRID)
            line[0].set_ylabel("\n".join(wrap(column, 16)))
            panels[-1][place].set_xlabel("\n".join(wrap(FACTOR_NAMES[factor], 40 // len(factors))))
        figure.align_ylabels(panels[:, 0])


def plot_cross_attention(study: CaseStudy, paths: Iterable[Path | str]) -> None:
    """Draw what the slots of one segment attend to: a row a segment with its text, a column a slot."""
    num_segments, num_slots = len(study.texts), len(study.weights)
    weights = 100 * np.asarray(study.weights).T
    # Attention that is spread evenly stays light: black is three times as much, or more.
    darkest = max(300 / num_segments, weights.max())
    with _drawn(0.62 + 0.29 * num_segments, paths) as figure:
        axes = figure.subplots()
        axes.imshow(weights, cmap="Greys", vmin=0, vmax=darkest, aspect="auto")
        for (segment, slot), weight in np.ndenumerate(weights):
            colour = "white" if weight > 0.55 * darkest else "black"
            axes.text(slot, segment, f"{weight:.0f}", ha="center", va="center", color=colour)
        axes.set_yticks(range(num_segments), [_row_label(study, segment) for segment in range(num_segments)])
        axes.set_xticks(range(num_slots), [str(slot + 1) for slot in range(num_slots)])
        axes.tick_params(length=0)
        axes.set_xlabel("slot")
        axes.spines[:].set_visible(False)
        # The segment that asks: a frame, for its weights on itself say nothing about other segments.
        axes.add_patch(Rectangle((-0.5, study.query - 0.5), num_slots, 1, fill=False, linewidth=0.8, clip_on=False))
        word = study.word if len(study.word) <= 20 else study.word[:19] + "…"
        title = (
            "Attention (%) of the framed segment's slots in cross layer 0,\n“"
            + word.replace("$", r"\$")
            + "” masked there; * segments that have this word"
        )
        figure.suptitle(title, fontsize=_STYLE["axes.titlesize"], horizontalalignment="left", x=0.01)


def _row_label(study: CaseStudy, segment: int) -> str:
    """Return a segment's text in at most two lines, with a star if it has the masked word."""
    text, is_query = study.texts[segment], segment == study.query
    # The word that it is about stays in sight where the text has to be shortened.
    word = text.find("[mask]" if is_query else study.word) if is_query or study.repeats[segment] else 0
    if len(text) > 2 * _LABEL_WIDTH and word > _LABEL_WIDTH:
        text = "… " + text[word - _LABEL_WIDTH // 2 :].partition(" ")[2]
    star = "* " if study.repeats[segment] and not is_query else ""
    return "\n".join(wrap(star + text, _LABEL_WIDTH, max_lines=2, placeholder=" …")).replace("$", r"\$")


def _slanted(labels: Sequence[str], *, num_panels: int) -> dict[str, Any]:
    """Return how labels are set below one of several panels in a row: slanted where they would meet."""
    room = 18 * (COLUMN_WIDTH_IN - 0.7) / num_panels  # characters
    if (1 + max(map(len, labels))) * len(labels) < room:
        return {}
    return {"rotation": 40, "rotation_mode": "anchor", "horizontalalignment": "right"}


def _places(names: pd.Series, order: Sequence[str]) -> pd.Series:
    """Return at which place each name stands in an order."""
    return names.map(order.index).astype(float)  # none at all would be text


def _mark(axes: Any, points: pd.DataFrame, heights: pd.Series, *, place: int, label: str) -> None:
    """Draw means with their sd, in the style of the `place`-th series."""
    colour = _COLOURS[place % len(_COLOURS)]
    face = colour if place % 2 == 0 else "white"
    style = {"color": colour, "markerfacecolor": face, "markersize": 4, "markeredgewidth": 0.8, "linestyle": "none"}
    marker, sd = _MARKERS[place % len(_MARKERS)], points["sd"].fillna(0)
    axes.errorbar(points["mean"], heights, xerr=sd, fmt=marker, label=label, **style, **_BARS)


def _legend_above(figure: Figure, axes: Any, *, ncols: int = 3) -> None:
    """Name what the axes show; outside them, so that no name ever hides a curve."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=ncols, frameon=False)


@contextmanager
def _drawn(height: float, paths: Iterable[Path | str]) -> Iterator[Figure]:
    """Give a figure of that height in inches in our style, and save it, where the caller has drawn it, to each path."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH_IN, height), layout="constrained")
        yield figure
        for path in map(Path, paths):
            kind = path.suffix.removeprefix(".")
            # Neither the date nor the library's version: the same numbers give the same bytes.
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            with atomic_file(path) as partial:
                figure.savefig(partial, format=kind, dpi=300, metadata=metadata)
