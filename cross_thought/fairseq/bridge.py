"""What fairseq 0.10.0 needs to run on Python 3.11+ and on the numpy and torch of today.

`install()` must run before anything imports fairseq, in every process: workers that training spawns import the main
module anew, so a main module calls it on import.
"""

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from cross_thought.training.checkpoints import allow_checkpoint_types


def install() -> None:
    """Make fairseq importable and import it. Calling it again does nothing."""
    if "fairseq" in sys.modules:
        return
    _restore_numpy_aliases()
    _restore_getargspec()
    allow_checkpoint_types()
    _leave_the_compiler_unloaded()
    with _hashable_fairseq_dataclasses(), _without_transformers():
        from fairseq.dataclass.utils import FairseqDataclass

        FairseqDataclass._get_type = _unwrapped_type
        import fairseq
        import fairseq.options  # noqa: F401  (the dataclasses behind the command line)


def _restore_numpy_aliases() -> None:
    """numpy 1.24 took away these names of Python's own types; fairseq's datasets still use them."""
    for name, builtin in (("float", float), ("int", int), ("bool", bool), ("object", object)):
        if name not in np.__dict__:
            setattr(np, name, builtin)


def _restore_getargspec() -> None:
    """Python 3.11 took it away; fairseq's wrapper for several GPUs asks it for argument names only."""
    vars(inspect).setdefault("getargspec", inspect.getfullargspec)


def _leave_the_compiler_unloaded() -> None:
    """torch's optimizers load its compiler, for 1.5 s, to have methods left uncompiled; nothing is compiled here."""
    for method in vars(torch.optim.Optimizer).values():
        if function := getattr(method, "__wrapped__", None):
            function.__dynamo_disable = function


@contextmanager
def _hashable_fairseq_dataclasses() -> Iterator[None]:
    """While fairseq is imported, give its dataclasses a hash: Python 3.11 refuses unhashable ones as defaults."""
    dataclass = dataclasses.dataclass

    def with_hash(cls: type | None = None, /, **options: bool) -> Any:
        if cls is None:
            return partial(with_hash, **options)
        if cls.__module__.partition(".")[0] == "fairseq":
            options["unsafe_hash"] = True
        return dataclass(cls, **options)

    replacement: Any = with_hash
    dataclasses.dataclass = replacement
    try:
        yield
    finally:
        dataclasses.dataclass = dataclass


@contextmanager
def _without_transformers() -> Iterator[None]:
    """While fairseq is imported, hide `transformers`: its wrapper of GPT-2 would load it, in 2 s, for nobody here."""
    if "transformers" in sys.modules:
        yield
        return
    hidden: Any = None  # what Python takes for "not installed"
    sys.modules["transformers"] = hidden
    try:
        yield
    finally:
        del sys.modules["transformers"]


def _unwrapped_type(self: Any, attribute_name: str) -> object:
    """Return the type of a dataclass field, X for Optional[X]: fairseq recognises only the spelling of Python 3.8."""
    declared = self.__dataclass_fields__[attribute_name].type
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        inner = [option for option in typing.get_args(declared) if option is not type(None)]
        if len(inner) == 1:
            return inner[0]
    return declared
