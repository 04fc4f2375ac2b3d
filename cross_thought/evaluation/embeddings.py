"""Sentence embeddings as they are, without fine-tuning: similarity against human scores, and retrieval of a partner.

Similarity (as in SemEval and SentEval): Spearman and Pearson correlation of the cosine of a pair's embeddings with the
pair's score, over all pairs of a split.

Retrieval: the queries are the distinct first sentences of the positive pairs, the candidates all distinct second
sentences of the split; right are those that stand in a positive pair with the query. Candidates are ranked by cosine;
cosines that are equal to six decimals are ties, in which wrong candidates go before right ones, so that no luck helps.
BM25, which ranks without embeddings, is held to the same, with its scores in place of cosines.
A sentence is no candidate for itself. Then, over the queries: accuracy@1 is the share whose first candidate is right,
mrr the mean of 1 / rank of the first right one, recall@k the mean share of the right ones among the first k.
Pairs without a positive label count as wrong, even where their sentences mean the same.

Everything is computed from `pairs.tsv`, one line a pair: its scores and its cosine, or the rank of its second sentence.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import sparse, stats

from cross_thought.data.definitions import BM25, SIMILARITY, TF_IDF, EmbeddingTask
from cross_thought.data.prepared import Example, read_prepared
from cross_thought.errors import UserError
from cross_thought.files import atomic_file

# rows of cosines that are held at once have this many numbers together: 128 MB
BLOCK_NUMBERS = 1 << 24
COSINE_DECIMALS = 6

# from n sentences to a matrix (n, d), dense or sparse
Encode = Callable[[list[str]], np.ndarray | sparse.csr_matrix]
# from the queries and the pool of candidates to each query's scores of all candidates, shape (P,), in turn
Rank = Callable[[list[str], list[str]], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Similarities:
    """The pairs of one split: the row in the prepared file, the human score, the cosine of the embeddings."""

    row: list[int]
    score: list[float]
    cosine: list[float]

    def metrics(self) -> dict[str, float | None]:
        """Return both correlations; None where the scores or the cosines are all the same."""
        if len(self.row) < 2 or np.ptp(self.score) == 0 or np.ptp(self.cosine) == 0:
            return {"spearman": None, "pearson": None}
        return {
            "spearman": float(stats.spearmanr(self.score, self.cosine).statistic),
            "pearson": float(stats.pearsonr(self.score, self.cosine).statistic),
        }

    def chance(self) -> dict[str, float]:
        """Return what cosines that know nothing of the scores can expect."""
        return {"spearman": 0.0, "pearson": 0.0}

    def sizes(self) -> dict[str, int]:
        """Return how much was evaluated."""
        return {"num_examples": len(self.row)}


@dataclass(frozen=True)
class Rankings:
    """The distinct positive pairs of one split.

    Attributes:
        row: of the pair in the prepared file, the first if it stands there more than once.
        query: the row that its first sentence first makes a query in; the same for all pairs of a query.
        candidates: how many sentences were ranked for the query.
        rank: of the pair's second sentence among them, from 1.
        cosine: of the pair's embeddings, or BM25's score; rounded as ranked.
    """

    row: list[int]
    query: list[int]
    candidates: list[int]
    rank: list[int]
    cosine: list[float]

    def metrics(self) -> dict[str, float]:
        """Return the means over the queries."""
        _, query, num_right = np.unique(self.query, return_inverse=True, return_counts=True)
        ranks = np.asarray(self.rank)
        first = np.full(len(num_right), np.iinfo(np.int64).max)
        np.minimum.at(first, query, ranks)

        def recall(k: int) -> float:
            return float(np.mean(np.bincount(query, weights=ranks <= k, minlength=len(num_right)) / num_right))

        return {
            "accuracy@1": float(np.mean(first == 1)),
            "mrr": float(np.mean(1 / first)),
            **{f"recall@{k}": recall(k) for k in (1, 5, 10)},
        }

    def chance(self) -> dict[str, float]:
        """Return what a random order can expect."""
        _, first, num_right = np.unique(self.query, return_index=True, return_counts=True)
        candidates = np.asarray(self.candidates)[first]
        return {
            "accuracy@1": float(np.mean(num_right / candidates)),
            "mrr": float(np.mean([_random_mrr(*sizes) for sizes in zip(candidates, num_right, strict=True)])),
            **{f"recall@{k}": float(np.mean(np.minimum(1, k / candidates))) for k in (1, 5, 10)},
        }

    def sizes(self) -> dict[str, int]:
        """Return how much was evaluated; of the candidates, the most that a query has."""
        return {
            "num_examples": len(self.row),
            "num_queries": len(set(self.query)),
            "num_candidates": max(self.candidates),
        }


ScoredPairs = Similarities | Rankings


@lru_cache(maxsize=4096)
def _random_mrr(candidates: int, num_right: int) -> float:
    """Return the expected 1 / rank of the first of `num_right` right candidates in a random order."""
    drawn = np.arange(candidates - num_right + 1)
    none_right = np.cumprod((candidates - num_right - drawn) / (candidates - drawn))  # after 1, 2, ... draws
    first_right = np.append(1.0, none_right[:-1]) - none_right
    return float(np.sum(first_right / (drawn + 1)))


def evaluate_split(task: EmbeddingTask, examples: Sequence[Example], encode: Encode) -> ScoredPairs:
    """Embed the sentences of one split and score its pairs.

    Args:
        task: the task.
        examples: all rows of the split.
        encode: gives the sentences' embeddings.

    Raises:
        UserError: if the split has no positive pair, or an embedding is not finite.
    """
    examples = _stripped(examples)
    if task.evaluation == SIMILARITY:
        return _similarities(examples, encode)
    return _rankings(task, examples, by_cosine(encode))


def _stripped(examples: Iterable[Example]) -> list[Example]:
    return [Example(label, tuple(map(str.strip, sentences))) for label, sentences in examples]


def _similarities(examples: Sequence[Example], encode: Encode) -> Similarities:
    embeddings, places = _embed([sentence for example in examples for sentence in example.sentences], encode)
    pairs = np.asarray([[places[sentence] for sentence in example.sentences] for example in examples])
    cosines = []
    for start in range(0, len(pairs), 1024):
        left, right = (embeddings[pairs[start : start + 1024, column]] for column in (0, 1))
        products = left * right if isinstance(left, np.ndarray) else left.multiply(right)
        cosines += np.asarray(products.sum(axis=1), dtype=np.float64).ravel().tolist()
    return Similarities(list(range(len(examples))), [float(example.label) for example in examples], cosines)


def _rankings(task: EmbeddingTask, examples: Iterable[Example], rank: Rank) -> Rankings:
    pool: dict[str, int] = {}  # each candidate's place
    pairs: dict[str, dict[str, int]] = {}  # query -> right candidate -> its row
    for row, (label, (first, second)) in enumerate(examples):
        pool.setdefault(second, len(pool))
        if first != second and task.positive_label in (None, label):
            pairs.setdefault(first, {}).setdefault(second, row)
    if not pairs:
        raise UserError(
            f"{task.name} has no pair of two sentences with the label {task.positive_label!r}: mend the files, or the "
            "positive_label in the config"
        )
    ranked = Rankings([], [], [], [], [])
    for name, scores in zip(pairs, rank(list(pairs), list(pool)), strict=True):
        scores = np.round(scores.astype(np.float64), COSINE_DECIMALS)
        right = [pool[answer] for answer in pairs[name]]
        rows = list(pairs[name].values())
        ranked.row.extend(rows)
        ranked.query.extend([rows[0]] * len(rows))
        ranked.candidates.extend([len(pool) - (name in pool)] * len(rows))
        ranked.rank.extend(rank_right(scores, right, left_out=pool.get(name)))
        ranked.cosine.extend(scores[right].tolist())
    return ranked


def by_cosine(encode: Encode) -> Rank:
    """Return what ranks candidates by the cosine of their embeddings with the query's."""

    def rank(queries: list[str], pool: list[str]) -> Iterator[np.ndarray]:
        embeddings, places = _embed([*queries, *pool], encode)
        candidates = embeddings[[places[sentence] for sentence in pool]]
        block = max(1, BLOCK_NUMBERS // len(pool))
        for start in range(0, len(queries), block):
            names = queries[start : start + block]
            cosines = embeddings[[places[name] for name in names]] @ candidates.T
            yield from cosines if isinstance(cosines, np.ndarray) else cosines.toarray()

    return rank


def by_bm25(queries: list[str], pool: list[str]) -> Iterator[np.ndarray]:
    """Rank candidates by BM25 over the pool, with bm25s's defaults (Lucene's form, k1 = 1.5, b = 0.75).

    Words are those of `tf_idf`.
    """
    import bm25s  # no model's job needs it

    candidates = [_words(sentence) for sentence in pool]
    if not any(candidates):
        yield from np.zeros((len(queries), len(pool)))
        return
    index = bm25s.BM25()
    index.index(candidates, show_progress=False)
    known = {word for words in candidates for word in words}
    for query in queries:
        words = [word for word in _words(query) if word in known]
        yield index.get_scores(words) if words else np.zeros(len(pool))


def _words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())


def rank_right(cosines: np.ndarray, right: Sequence[int], *, left_out: int | None = None) -> list[int]:
    """Rank the right candidates of one query.

    Args:
        cosines: of all candidates, shape (P,).
        right: the places of the right ones, in 0..P-1.
        left_out: the place of a candidate that does not count: the query itself.

    Returns:
        The rank of each right one, from 1. At equal cosines wrong ones go before right ones, and of right ones the one
        that stands earlier in the pool goes first.
    """
    is_wrong = np.ones(len(cosines), dtype=bool)
    is_wrong[right] = False
    if left_out is not None:
        is_wrong[left_out] = False
    wrong = cosines[is_wrong]
    ordered = sorted(right, key=lambda place: (-cosines[place], place))
    ranks = {place: number + int(np.count_nonzero(wrong >= cosines[place])) for number, place in enumerate(ordered, 1)}
    return [ranks[place] for place in right]


def _embed(sentences: Iterable[str], encode: Encode) -> tuple[np.ndarray | sparse.csr_matrix, dict[str, int]]:
    """Embed each distinct sentence once, at unit length; the second value is each sentence's row.

    An embedding of zeros, as a sentence without a known word has, stays as it is: its cosines are 0.
    """
    places = {sentence: place for place, sentence in enumerate(dict.fromkeys(sentences))}
    embeddings = encode(list(places))
    if not isinstance(embeddings, np.ndarray):
        lengths = np.sqrt(np.asarray(embeddings.multiply(embeddings).sum(axis=1))).ravel()
        return sparse.diags_array(1 / np.where(lengths > 0, lengths, 1)) @ embeddings, places
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        sentence = list(places)[int(np.argmin(np.isfinite(lengths[:, 0])))]
        raise UserError(
            f"the embedding of {sentence!r} is not finite: the checkpoint is damaged, train the model again"
        )
    return embeddings / np.where(lengths > 0, lengths, 1), places


def tf_idf(sentences: list[str]) -> sparse.csr_matrix:
    """Embed sentences as bags of words, weighted by how rare a word is among them: what needs no training.

    Words are runs of letters and digits, in lower case; weights are scikit-learn's defaults.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import: no model's job needs it

    vectorizer = TfidfVectorizer(token_pattern=r"\w+")
    if not any(map(vectorizer.build_analyzer(), sentences)):
        return sparse.csr_matrix((len(sentences), 1))
    return vectorizer.fit_transform(sentences)


def evaluate_task(
    task: EmbeddingTask, prepared: Path, encode: Encode, *, num_cut: Callable[[], int] = lambda: 0
) -> tuple[dict[str, ScoredPairs], dict[str, dict[str, int]]]:
    """Score the pairs of every split of a task whose labels are known.

    Args:
        task: the task.
        prepared: folder of its TSV files.
        encode: gives the sentences' embeddings.
        num_cut: tells how many sentences `encode` has cut so far.

    Returns:
        The scored pairs of each split, and its counts for `embeddings_document`.
    """
    pairs, counts = {}, {}
    for split in task.splits:
        before = num_cut()
        sizes: list[int] = []

        def counted(sentences: list[str], sizes: list[int] = sizes) -> np.ndarray | sparse.csr_matrix:
            sizes.append(len(sentences))
            return encode(sentences)

        pairs[split] = evaluate_split(task, list(read_prepared(prepared / f"{split}.tsv")), counted)
        counts[split] = {"sentences": sum(sizes), "cut": num_cut() - before}
    return pairs, counts


def embeddings_document(
    *,
    model: str,
    task: EmbeddingTask,
    seed: int | None,
    pooling: str | None,
    pairs: Mapping[str, ScoredPairs],
    counts: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, object]:
    """Assemble what `metrics.json` says: each split's metrics, what chance would give, and how much was evaluated.

    `counts` has of each split the distinct `sentences` that were embedded, and how many were `cut` at the positions;
    None where nothing is cut.
    """
    document: dict[str, object] = {
        "model": model,
        "task": task.name,
        "seed": seed,
        "evaluation": task.evaluation,
        "pooling": pooling,
        "splits": {
            split: {**scored.sizes(), "metrics": scored.metrics(), "chance": scored.chance()}
            for split, scored in pairs.items()
        },
    }
    return document if counts is None else document | {"counts": counts}


def evaluate_words(task: EmbeddingTask, prepared: Path) -> dict[str, dict[str, ScoredPairs]]:
    """Score the pairs of a task by what needs no training: method -> split -> pairs."""
    found = {TF_IDF: evaluate_task(task, prepared, tf_idf)[0]}
    if BM25 in task.lexical:
        found[BM25] = {
            split: _rankings(task, _stripped(read_prepared(prepared / f"{split}.tsv")), by_bm25)
            for split in task.splits
        }
    return found


def write_pairs(path: Path, pairs: Mapping[str, ScoredPairs]) -> None:
    """Write `pairs.tsv`, whole or not at all."""
    columns = _columns(type(next(iter(pairs.values()))))
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        print("split", *columns, sep="\t", file=file)
        for split, scored in pairs.items():
            for values in zip(*(getattr(scored, column) for column in columns), strict=True):
                print(split, *values, sep="\t", file=file)


def read_pairs(path: Path) -> dict[str, ScoredPairs]:
    """Read `pairs.tsv`, split by split.

    Raises:
        UserError: if the file is missing or has another form.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        kind = next(kind for kind in (Similarities, Rankings) if header.split("\t") == ["split", *_columns(kind)])
        columns = _columns(kind)
        parse = [float if column in ("score", "cosine") else int for column in columns]
        pairs: dict[str, ScoredPairs] = {}
        for line in lines:
            split, *values = line.split("\t")
            scored = pairs.setdefault(split, kind(*([] for _ in parse)))
            for column, convert, value in zip(columns, parse, values, strict=True):
                getattr(scored, column).append(convert(value))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake {path}` to make it") from None
    except (ValueError, StopIteration):
        raise UserError(f"{path} is no file of scored pairs: delete it and run `snakemake {path}`") from None
    return pairs


def _columns(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]
