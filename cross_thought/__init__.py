"""Cross-Thought: the sentence encoder of Wang et al. (EMNLP 2020), reproduced.

What users import stands here and is loaded on first use, so that the workflow can read task definitions from
`cross_thought.data` where torch is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
    from cross_thought.inference.classifier import SentenceClassifier
    from cross_thought.inference.embed import SentenceEncoder

__version__ = "0.1.0"

_HOME = {
    "CrossThoughtEncoder": "cross_thought.encoder",
    "EncoderConfig": "cross_thought.encoder",
    "SentenceClassifier": "cross_thought.inference.classifier",
    "SentenceEncoder": "cross_thought.inference.embed",
}

__all__ = ["CrossThoughtEncoder", "EncoderConfig", "SentenceClassifier", "SentenceEncoder", "__version__"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'cross_thought' has no attribute {name!r}")
