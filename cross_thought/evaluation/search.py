"""The nearest passages of a collection by the inner product of embeddings, which at unit length is their cosine.

The embeddings stay on disk and are read a block at a time; an exact search holds one block, and an approximate index
the whole collection, in float16.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from cross_thought.data.definitions import EXACT
from cross_thought.errors import UserError

BLOCK_NUMBERS = 1 << 25  # of a block: 128 MB
# faiss asks for 39 vectors or more to learn a cluster from, and takes 256 at most
_LEAST_OF_CLUSTER, _OF_CLUSTER = 39, 64
_SEED = 1


def nearest(
    queries: np.ndarray, passages: np.ndarray, depth: int, *, index: str = EXACT, num_probes: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Search a collection for the `depth` passages nearest to each query, by faiss.

    Index EXACT compares each query with all passages. IVF, approximate, groups the passages into some 4 * sqrt(P)
    clusters, learnt from a sample, and compares with those of the `num_probes` nearest clusters.

    Args:
        queries: embeddings, shape (Q, d).
        passages: embeddings, shape (P, d), float16 or float32; may be mapped from disk.

    Returns:
        Inner products and the places of their passages, best first, shapes (Q, K) with K = min(depth, P); a place is -1
        where the clusters had too few.

    Raises:
        UserError: if an embedding is not finite, or faiss is not there.
    """
    try:
        import faiss
        from faiss.contrib.exhaustive_search import knn_ground_truth
    except ImportError:
        raise UserError(
            "searching a collection needs faiss-cpu: pip install --requirement requirements-retrieval.txt, or run with "
            "--use-conda"
        ) from None
    depth = min(depth, len(passages))
    queries = _finite(queries)
    if index == EXACT:
        return knn_ground_truth(queries, _blocks(passages), depth, metric_type=faiss.METRIC_INNER_PRODUCT, ngpu=0)
    num_clusters = int(max(1, min(4 * len(passages) ** 0.5, len(passages) // _LEAST_OF_CLUSTER)))
    found: Any = faiss.index_factory(passages.shape[1], f"IVF{num_clusters},SQfp16", faiss.METRIC_INNER_PRODUCT)
    size = min(len(passages), _OF_CLUSTER * num_clusters)
    sample = np.sort(np.random.default_rng(_SEED).choice(len(passages), size, replace=False))
    found.train(_finite(passages[sample]))
    for block in _blocks(passages):
        found.add(block)
    found.nprobe = num_probes
    return found.search(queries, depth)


def _blocks(passages: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, BLOCK_NUMBERS // passages.shape[1])
    for start in range(0, len(passages), rows):
        yield _finite(passages[start : start + rows])


def _finite(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings as faiss takes them."""
    block = np.ascontiguousarray(embeddings, dtype=np.float32)
    if not np.isfinite(block).all():
        raise UserError(
            "an embedding of the collection is not finite: the checkpoint is damaged, train the model again"
        )
    return block
