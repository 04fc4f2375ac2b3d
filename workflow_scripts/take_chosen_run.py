"""Copy the runs of the setting that was chosen to where a task without a sweep has its own."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.evaluation.choice import chosen_setting, setting_and_seed
from cross_thought.files import atomic_file
from cross_thought.jobs import logged_job


def take_chosen_run(choice: Path, files: Mapping[str, Sequence[Path]], places: Mapping[str, Path]) -> None:
    """Copy each file of one seed's run.

    Args:
        choice: the model's choice.json.
        files: by kind, that file of each setting's run.
        places: by kind, where the chosen one goes.
    """
    chosen = chosen_setting(choice)
    for kind, place in places.items():
        (source,) = (path for path in files[kind] if setting_and_seed(path)[0] == chosen)
        with atomic_file(place) as partial:
            shutil.copyfile(source, partial)
        print(f"{place}: {source}")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        places = {kind: Path(path) for kind, path in snakemake.output.items()}
        files = {kind: list(map(Path, snakemake.input.get(kind))) for kind in places}
        take_chosen_run(Path(snakemake.input.choice), files, places)
