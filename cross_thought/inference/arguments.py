"""What callers give: refused where it would be taken for something else in silence."""

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, TypeVar

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


def check_whole(value: Any, *, name: str, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number in such a range, ends included; None: it has no upper end.

    Raises:
        ValueError: naming the value.
    """
    is_whole = isinstance(value, Integral) and value is not True and value is not False
    if not is_whole or int(value) < least or (most is not None and int(value) > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} {value!r} is no whole number {bounds}: give one")
