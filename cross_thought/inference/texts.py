"""What callers give as text: refused where it would be taken for something else in silence."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

_Item = TypeVar("_Item")


def as_list(items: Iterable[_Item], *, what: str) -> list[_Item]:
    """Return a list of what was given.

    Raises:
        TypeError: if that would be names: the keys of a dict, the columns of a data frame.
    """
    is_table = hasattr(items, "keys") and getattr(items, "ndim", 1) == 2
    if isinstance(items, Mapping) or is_table:
        raise TypeError(f"{type(items).__name__} goes by names, which would be taken for {what}: give a list of {what}")
    return list(items)
