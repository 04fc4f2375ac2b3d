"""Sentence embeddings as they are, without fine-tuning: similarity against human scores, and retrieval of a partner.

Similarity (as in SemEval and SentEval): Spearman and Pearson correlation of the cosine of a pair's embeddings with the
pair's score, over all pairs of a split. Of a year of SemEval's STS that is over the pairs of all its parts together
("all", as SBERT and SimCSE report it); the mean of the parts' own Spearman correlations ("mean") is said beside it.

Retrieval: the queries are the distinct first sentences of the positive pairs, the candidates all distinct second
sentences of the split but the query; right are those in a positive pair with the query. Candidates are ranked by
cosine, or by BM25; scores that are equal to six decimals are ties, in which wrong candidates go before right ones, so
that no luck helps. Then, over the queries: accuracy@1 is the share whose first candidate is right, mrr the mean of
1 / rank of the first right one, recall@k the mean share of the right ones among the first k.

A probe (`probes.py`) is a classifier on embeddings.

Everything is computed from `pairs.tsv`, one line a pair: its scores and its cosine, or the rank of its second sentence;
of a probe, an example's label and prediction.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import get_args

import numpy as np
from scipy import sparse

from cross_thought.data.definitions import BM25, PROBE, SIMILARITY, SPEARMAN_MEAN, TF_IDF, EmbeddingTask
from cross_thought.data.prepared import Example, read_prepared, read_summary
from cross_thought.errors import UserError
from cross_thought.evaluation.probes import Probes, evaluate_probe, probe_scores
from cross_thought.evaluation.result_files import result_file
from cross_thought.files import atomic_file, split_lines

# rows of cosines that are held at once have this many numbers together: 128 MB
BLOCK_NUMBERS = 1 << 24
COSINE_DECIMALS = 6
RECALL_AT = (1, 5, 10)

# from n sentences to a matrix (n, d), dense or sparse
Encode = Callable[[list[str]], np.ndarray | sparse.csr_matrix]
# from the queries and the pool of candidates to each query's scores of all candidates, shape (P,), in turn
Rank = Callable[[list[str], list[str]], Iterator[np.ndarray]]


def correlation(kind: str, first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float | None:
    """Correlate two sides, by `spearman` or `pearson`; None where one of them is all the same."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    from scipy import stats  # late: it takes half a second, and not all tasks have scores

    return float({"spearman": stats.spearmanr, "pearson": stats.pearsonr}[kind](first, second).statistic)


@dataclass(frozen=True)
class Similarities:
    """The pairs of one split: the row in the prepared file, the human score, the cosine of the embeddings."""

    row: list[int]
    score: list[float]
    cosine: list[float]

    def metrics(self) -> dict[str, float | None]:
        """Return both correlations; None where the scores or the cosines are all the same."""
        return {name: correlation(name, self.score, self.cosine) for name in ("spearman", "pearson")}

    def chance(self) -> dict[str, float]:
        """Return what cosines that know nothing of the scores can expect."""
        return {"spearman": 0.0, "pearson": 0.0}

    def sizes(self) -> dict[str, int]:
        """Return how much was evaluated."""
        return {"num_examples": len(self.row)}


@dataclass(frozen=True)
class PartedSimilarities(Similarities):
    """The pairs of a split that is made of parts, those of each together."""

    part: list[str]  # its name

    def metrics(self) -> dict[str, float | None]:
        """Return both correlations over all pairs, and the mean of the parts' Spearman; None if one has none."""
        part, score, cosine = map(np.asarray, (self.part, self.score, self.cosine))
        places = [part == name for name in dict.fromkeys(self.part)]
        of_parts = [correlation("spearman", score[place], cosine[place]) for place in places]
        known = [value for value in of_parts if value is not None]
        return super().metrics() | {SPEARMAN_MEAN: fmean(known) if len(known) == len(of_parts) else None}

    def chance(self) -> dict[str, float]:
        """Return what cosines that know nothing of the scores can expect."""
        return super().chance() | {SPEARMAN_MEAN: 0.0}


@dataclass(frozen=True)
class Rankings:
    """The distinct positive pairs of one split."""

    row: list[int]  # of the pair in the prepared file, the first if it stands there more than once
    query: list[int]  # the row that its first sentence first makes a query in; the same for all pairs of a query
    candidates: list[int]  # how many sentences were ranked for the query
    rank: list[int]  # of the pair's second sentence among them, from 1
    cosine: list[float]  # of the pair's embeddings, or BM25's score; rounded as ranked

    def metrics(self) -> dict[str, float]:
        """Return the means over the queries."""
        _, query, num_right = np.unique(self.query, return_inverse=True, return_counts=True)
        ranks = np.asarray(self.rank)
        first = np.full(len(num_right), np.iinfo(np.int64).max)
        np.minimum.at(first, query, ranks)
        found = {k: np.bincount(query, weights=ranks <= k) / num_right for k in RECALL_AT}
        recall = {f"recall@{k}": float(np.mean(shares)) for k, shares in found.items()}
        return {"accuracy@1": float(np.mean(first == 1)), "mrr": float(np.mean(1 / first)), **recall}

    def chance(self) -> dict[str, float]:
        """Return what a random order can expect."""
        _, first, num_right = np.unique(self.query, return_index=True, return_counts=True)
        candidates = np.asarray(self.candidates)[first]
        mrr = float(np.mean(list(map(_random_mrr, candidates, num_right))))
        recall = {f"recall@{k}": float(np.mean(np.minimum(1, k / candidates))) for k in RECALL_AT}
        return {"accuracy@1": float(np.mean(num_right / candidates)), "mrr": mrr, **recall}

    def sizes(self) -> dict[str, int]:
        """Return how much was evaluated; of the candidates, the most that a query has."""
        num_queries, num_candidates = len(set(self.query)), max(self.candidates)
        return {"num_examples": len(self.row), "num_queries": num_queries, "num_candidates": num_candidates}


ScoredPairs = Similarities | Rankings | Probes


@lru_cache(maxsize=4096)
def _random_mrr(candidates: int, num_right: int) -> float:
    """Return the expected 1 / rank of the first of `num_right` right candidates in a random order."""
    drawn = np.arange(candidates - num_right + 1)
    none_right = np.cumprod((candidates - num_right - drawn) / (candidates - drawn))  # after 1, 2, ... draws
    first_right = np.append(1.0, none_right[:-1]) - none_right
    return float(np.sum(first_right / (drawn + 1)))


def evaluate_split(
    task: EmbeddingTask, examples: Sequence[Example], encode: Encode, *, parts: Mapping[str, int] | None = None
) -> ScoredPairs:
    """Embed the sentences of one split, with all its rows, and score its pairs.

    `parts` are how many examples each part has of a split that is made of such, in their order.
    A UserError says that the split has no positive pair, or that an embedding is not finite.
    """
    if task.evaluation == SIMILARITY:
        found = _similarities(examples, encode)
        names = [name for name, number in (parts or {}).items() for _ in range(number)]
        return PartedSimilarities(**vars(found), part=names) if names else found
    return _rankings(task, examples, by_cosine(encode))


def _similarities(examples: Sequence[Example], encode: Encode) -> Similarities:
    sentences = [sentence.strip() for example in examples for sentence in example.sentences]
    embeddings, places = _embed(sentences, encode)
    pairs = np.asarray([places[sentence] for sentence in sentences]).reshape(-1, 2)
    cosines = []
    for rows in np.split(pairs, range(1024, len(pairs), 1024)):
        left, right = embeddings[rows[:, 0]], embeddings[rows[:, 1]]
        products = left * right if isinstance(left, np.ndarray) else left.multiply(right)
        cosines += np.asarray(products.sum(axis=1), dtype=np.float64).ravel().tolist()
    return Similarities(list(range(len(examples))), [float(example.label) for example in examples], cosines)


def _rankings(task: EmbeddingTask, examples: Iterable[Example], rank: Rank) -> Rankings:
    pool: dict[str, int] = {}  # each candidate's place
    pairs: dict[str, dict[int, int]] = {}  # query -> right candidate's place -> its row
    for row, (label, sentences) in enumerate(examples):
        first, second = map(str.strip, sentences)
        place = pool.setdefault(second, len(pool))
        if first != second and task.positive_label in (None, label):
            pairs.setdefault(first, {}).setdefault(place, row)
    if not pairs:
        raise UserError(
            f"{task.name} has no pair of two sentences with the label {task.positive_label!r}: mend the files, or the "
            "positive_label in the config"
        )
    found: list[tuple] = []
    for query, scores in zip(pairs, rank(list(pairs), list(pool)), strict=True):
        scores = np.round(scores.astype(np.float64), COSINE_DECIMALS)
        right, rows = list(pairs[query]), list(pairs[query].values())
        ranks = rank_right(scores, right, left_out=pool.get(query))
        num_candidates = len(pool) - (query in pool)
        for row, *ranked in zip(rows, ranks, scores[right].tolist(), strict=True):
            found.append((row, rows[0], num_candidates, *ranked))
    return Rankings(*map(list, zip(*found, strict=True)))


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


def by_bm25(queries: Iterable[str], pool: Iterable[str]) -> Iterator[np.ndarray]:
    """Rank candidates by BM25 over the pool, with bm25s's defaults (Lucene's form, k1 = 1.5, b = 0.75).

    Words are those of `tf_idf`. Of the pool, numbers are held in place of words, so that it may be large.
    """
    import bm25s  # no model's job needs it

    known: dict[str, int] = {}  # word -> its number
    candidates = [array("i", [known.setdefault(word, len(known)) for word in _words(text)]) for text in pool]
    index = bm25s.BM25()
    if known:
        index.index((candidates, dict(known)), show_progress=False)
    for query in queries:
        words = [known[word] for word in _words(query) if word in known]
        yield index.get_scores(words) if words else np.zeros(len(candidates))


def _words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())


def rank_right(cosines: np.ndarray, right: Sequence[int], *, left_out: int | None = None) -> list[int]:
    """Rank the right candidates of one query, from 1.

    `cosines` are those of all candidates, shape (P,), `right` the places of the right ones, in 0..P-1, and `left_out`
    that of the query itself, which does not count. At equal cosines wrong ones go before right ones, and of right ones
    the one that stands earlier in the pool goes first.
    """
    wrong = np.delete(cosines, [*right] if left_out is None else [*right, left_out])
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
    for sentence, length in zip(places, lengths[:, 0], strict=True):
        if not np.isfinite(length):
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
    task: EmbeddingTask, prepared: Path, encode: Encode, *, tally: Callable[[], Counter[str]] = Counter
) -> tuple[dict[str, ScoredPairs], dict[str, dict[str, int]]]:
    """Score the pairs of every split of a task whose labels are known, from the folder of its prepared TSV files.

    `tally` tells what `encode` has read so far: `cut` sentences, `tokens`, and those `unknown`; nothing where it reads
    whole words.

    Returns:
        The scored pairs of each split, and its counts for `embeddings_document`.
    """
    sizes: list[int] = []

    def read_since(before: Counter[str]) -> dict[str, int]:
        """Return what was read since then; tokens where some are unknown."""
        found = tally() - before
        counts = {"sentences": sizes[-1], "cut": found["cut"]}
        return counts | ({key: found[key] for key in ("tokens", "unknown")} if found["unknown"] else {})

    def counted(sentences: list[str]) -> np.ndarray | sparse.csr_matrix:
        sizes.append(len(sentences))
        return encode(sentences)

    def read(split: str) -> list[Example]:
        return list(read_prepared(prepared / f"{split}.tsv"))

    summary = read_summary(prepared)
    pairs: dict[str, ScoredPairs] = {}
    counts: dict[str, dict[str, int]] = {}
    before = tally()
    if task.evaluation == PROBE:
        splits = ("train", *task.splits)
        pairs |= evaluate_probe(task, {split: read(split) for split in splits}, counted)
        counts[", ".join(splits)] = read_since(before)
        odd = {split: _odd(summary.get(split, {}), "in_train", "empty", "quoted") for split in task.splits}
        counts |= {split: found for split, found in odd.items() if found}
        train = summary.get("train", {})
        if train and train["used"] < train["examples"]:
            counts["train"] = {"used": train["used"], "available": train["examples"]}
        return pairs, counts
    for split in task.splits:
        before, rows, examples = tally(), summary.get(split, {}), read(split)
        pairs[split] = evaluate_split(task, examples, counted, parts=rows.get("parts") if task.has_parts else None)
        counts[split] = read_since(before)
        counts[split] |= _odd(rows, "empty", "quoted")  # nothing is learnt, so what train has is of no interest
        if dropped := sum(rows.get("dropped", {}).values()):
            counts[split] |= {"pairs": len(examples) + dropped, "dropped": dropped}
    return pairs, counts


def _odd(rows: Mapping[str, int], *keys: str) -> dict[str, int]:
    """Return counts of a split's summary, those that are not 0."""
    return {key: rows[key] for key in keys if rows.get(key)}


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

    `counts`, None where nothing is cut, has of each split the distinct `sentences` that were embedded, and how many
    were `cut` at the positions; if any are `unknown`, of how many `tokens`; of left out pairs, how many were `dropped`
    of all `pairs`; of a probe's `train`, how many examples were `used` of those `available`.
    """
    known = {"model": model, "task": task.name, "seed": seed, "evaluation": task.evaluation, "pooling": pooling}
    splits = {}
    for split, scored in pairs.items():
        if isinstance(scored, Probes):
            splits[split] = {**scored.sizes(), **probe_scores(task, scored)}
        else:
            splits[split] = {**scored.sizes(), "metrics": scored.metrics(), "chance": scored.chance()}
    return known | {"splits": splits} | ({} if counts is None else {"counts": counts})


def evaluate_words(task: EmbeddingTask, prepared: Path) -> dict[str, dict[str, ScoredPairs]]:
    """Score the pairs of a task by what needs no training: method -> split -> pairs."""
    found = {TF_IDF: evaluate_task(task, prepared, tf_idf)[0]}
    if BM25 in task.lexical:
        examples = {split: read_prepared(prepared / f"{split}.tsv") for split in task.splits}
        found[BM25] = {split: _rankings(task, of_split, by_bm25) for split, of_split in examples.items()}
    return found


def write_pairs(path: Path, pairs: Mapping[str, ScoredPairs]) -> None:
    """Write `pairs.tsv`, whole or not at all."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        print("split", *vars(next(iter(pairs.values()))), sep="\t", file=file)
        for split, scored in pairs.items():
            for values in zip(*vars(scored).values(), strict=True):
                print(split, *values, sep="\t", file=file)


# by a column that others have not; the first that fits
_KINDS: dict[str, type[ScoredPairs]] = {"part": PartedSimilarities, "score": Similarities, "prediction": Probes}


def read_pairs(path: Path) -> dict[str, ScoredPairs]:
    """Read `pairs.tsv`, split by split; a UserError says that it is missing or has another form."""
    pairs: dict[str, ScoredPairs] = {}
    with result_file(path, "file of scored pairs"):
        header, *lines = (line.split("\t") for line in split_lines(path.read_bytes().decode("utf-8")))
        kind = next((kind for mark, kind in _KINDS.items() if mark in header), Rankings)
        types = {field.name: get_args(field.type)[0] for field in fields(kind)}
        if header != ["split", *types]:
            raise ValueError(f"its columns are {', '.join(header)}")
        for split, part in groupby(lines, key=itemgetter(0)):
            _, *columns = zip(*part, strict=True)
            pairs[split] = kind(*(list(map(*column)) for column in zip(types.values(), columns, strict=True)))
    return pairs
