"""Say how far all trainings of a run are: update, loss, speed, time left.

    python -m cross_thought.progress [RESULTS] [--all]

It reads the logs below RESULTS/logs/ (default: results), so it works from any machine that sees them, and beside a run
on a cluster as well. Needs the standard library only. To watch: `watch -n 10 python -m cross_thought.progress`.
"""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cross_thought.errors import UserError, exit_on_user_error

_RULES = ("pretrain_*", "finetune_*", "tune_embeddings")
_TAIL_BYTES = 1 << 14  # of a log, in which its last line of progress stands
_REPORT = re.compile(
    r"^update (?P<update>\d+)/(?P<total>\d+) \(\d+ %\), loss (?P<loss>\S+?)(?: bits)?"
    r"(?:, (?P<speed>\S+) updates/s, (?P<left>.+) left)?$",
    re.MULTILINE,
)
_HEADER: tuple[str, ...] = ("training", "update", "of", "loss", "updates/s", "left", "last report", "")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is, as its log has it.

    Attributes:
        name: pretrain/MODEL/seed-N, finetune/MODEL/TASK/seed-N, of a sweep finetune/MODEL/TASK/SETTING/seed-N, or
            tune/MODEL/PAIRS/seed-N.
        report: what its last line of progress says, by name; empty before there is one.
        age_s: seconds since it last wrote to its log.
        state: empty while it runs, "done", or "failed".
    """

    name: str
    report: dict[str, str]
    age_s: float
    state: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m cross_thought.progress", description="How far all trainings are.")
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"), help="folder (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="those that have ended as well")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        if not (options.results / "logs").is_dir():
            raise UserError(f"{options.results} has no logs/: start in the folder of the run, or name its results")
        found = sorted(trainings(options.results), key=lambda training: training.name)
        shown = [training for training in found if options.all or not training.state]
        for line in table(shown):
            print(line)
        ended = {state: sum(training.state == state for training in found) for state in ("done", "failed")}
        print(f"{len(found) - sum(ended.values())} running, {ended['done']} done, {ended['failed']} failed")


def trainings(results: Path) -> Iterator[Progress]:
    """Yield the trainings that have a log below a results folder."""
    now = time.time()
    for rule in _RULES:
        for path in (results / "logs").glob(f"{rule}/**/*.log"):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                tail = file.read().decode(errors="replace")
            stage, _, rest = path.relative_to(results / "logs").with_suffix("").as_posix().partition("/")
            reports = list(_REPORT.finditer(tail))
            yield Progress(
                name=f"{stage.partition('_')[0]}/{rest}",
                report=reports[-1].groupdict("") if reports else {},
                age_s=max(0.0, now - path.stat().st_mtime),
                state=_state(tail),
            )


def _state(tail: str) -> str:
    """Return how a training has ended, by the end of its log; empty if it has not."""
    lines = tail.rstrip().splitlines() or [""]
    if lines[-1].startswith("trained in "):
        return "done"
    return "failed" if lines[-1].startswith("error: ") or "Traceback (most recent call last)" in tail else ""


def table(found: Sequence[Progress]) -> Iterator[str]:
    """Return aligned lines, the header first: the name to the left, numbers to the right."""
    rows = [_HEADER] if found else []
    for training in found:
        numbers = [training.report.get(key, "") for key in ("update", "total", "loss", "speed", "left")]
        ago = f"{timedelta(seconds=round(training.age_s))} ago"
        rows.append((training.name, *numbers, ago, training.state))
    return aligned(rows, num_left=1)


def aligned(rows: Sequence[Sequence[str]], *, num_left: int) -> Iterator[str]:
    """Yield rows as lines of aligned columns, the first so many to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        places = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if place < num_left else cell.rjust(width) for place, (cell, width) in places]
        yield "  ".join(cells).rstrip()


if __name__ == "__main__":
    main()
