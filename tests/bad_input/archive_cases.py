"""What people give `verify` for an archive of a run: anything that ends in .zip."""

import zipfile
from functools import partial
from pathlib import Path

from tests.bad_input.cases import Case
from tests.bad_input.inference_cases import command

NEEDED = (
    "ro-crate-metadata.json",
    "results/config.yaml",
    "resources/reference_results.tsv",
    "resources/reference_embeddings.tsv",
)


def verify(*names: str, content: str = "{}", size: int | None = None) -> str:
    """Verify a zip of such files, of which the last may claim to have another size."""
    with zipfile.ZipFile("archive.zip", "w") as archive:
        for name in names:
            archive.writestr(name, content)
        if size is not None:
            archive.filelist[-1].file_size = size
    said = command("verify", "archive.zip")
    assert [path.name for path in Path().rglob("*")] == ["archive.zip"]
    return said


def no_zip() -> str:
    """Verify something that is called so."""
    Path("archive.zip").write_text("results\n")
    return command("verify", "archive.zip")


CASES = [
    Case(group="Archives of runs", what="no zip", run=no_zip),
    Case(group="Archives of runs", what="a zip of something else", run=partial(verify, "README.md")),
    Case(group="Archives of runs", what="metadata of something else", run=partial(verify, *NEEDED)),
    Case(
        group="Archives of runs",
        what="a path that leads out of the folder",
        run=partial(verify, *NEEDED, "../../.bashrc"),
    ),
    Case(
        group="Archives of runs",
        what="a zip that fills the disk",
        run=partial(verify, *NEEDED, size=4_000_000_000_000),
    ),
]
