"""Names of models on Hugging Face's hub, told from paths."""

import re

ARCHIVES = (".tar.gz", ".tgz")
_CHECKPOINTS = (".pt", ".pth", ".bin", ".safetensors", *ARCHIVES)  # what is a path, though there is no such file
_ON_THE_HUB = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w.-]+))?", re.ASCII)


def hub_name(place: str) -> re.Match[str] | None:
    """Return the `name`, and the `revision` or None, of `OWNER/NAME` or `OWNER/NAME@REVISION`; None for a path."""
    return None if place.endswith(_CHECKPOINTS) else _ON_THE_HUB.fullmatch(place)
