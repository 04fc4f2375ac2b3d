"""Names on the hub, told from paths."""

import pytest

from cross_thought.data.hub_names import hub_name


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("user/model", ("user/model", None)),
        ("FacebookAI/roberta-base@v1.0", ("FacebookAI/roberta-base", "v1.0")),
        *((path, None) for path in ("model", "a/b/c", "/user/model", "./model", "../model", "user/.hidden", "user/")),
        *((f"user/model{ending}", None) for ending in (".pt", ".pth", ".bin", ".safetensors", ".tar.gz", ".tgz", "@")),
        ("jürgen/modell", None),
    ],
)
def test_names_and_paths(place: str, parts: tuple[str, str | None] | None) -> None:
    found = hub_name(place)
    assert (found and (found["name"], found["revision"])) == parts
