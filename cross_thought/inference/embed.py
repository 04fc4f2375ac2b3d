"""Sentences to embeddings: `SentenceEncoder` for Python, `embed_file` for files of any size."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from cross_thought.data.documents import check_sentences
from cross_thought.encoder import CrossThoughtEncoder, pool_slots, pooled_dim
from cross_thought.encoder.tokenizer import SentenceTokenizer, cut_row
from cross_thought.errors import UserError
from cross_thought.files import atomic_file, check_output, count_lines, is_read_once, read_lines
from cross_thought.inference.arguments import as_list, check_whole
from cross_thought.inference.batches import token_batches
from cross_thought.inference.hub import fetched
from cross_thought.inference.loading import load_export, load_pretrained
from cross_thought.inference.settings import Dense, EmbeddingSettings, Normalize, Recipe, read_settings
from cross_thought.inference.tally import Reader
from cross_thought.training.devices import usable_device

PRECISIONS = ("float32", "bfloat16", "float16")  # of the computation
FILE_PRECISIONS = ("float32", "float16")

_BLOCK_SENTENCES = 1 << 14  # sentences that are in memory at once and sorted by length together
_CHUNK_BYTES = 1 << 16  # a pipe may be slow
_RANKED_SCORES = 1 << 24  # attention scores that are in memory at once


class SentenceEncoder(Reader):
    """A trained encoder for whoever wants embeddings.

    Args:
        encoder: of `load_pretrained`.
        tokenizer: with the encoder's ids.
        settings: how embeddings are made of slot states, where `encode` is not told otherwise.
        device: where it computes; None: a GPU if there is one, else the CPU.
        precision: of weights and states, out of `PRECISIONS`; embeddings are float32 in any case.

    Attributes:
        num_cut_sentences, num_empty_sentences, num_tokens, num_unknown_tokens: what it has read so far: `Reader`.

    Raises:
        UserError: if there is no such device or precision, or the settings do not fit the encoder.
    """

    def __init__(
        self,
        encoder: CrossThoughtEncoder,
        tokenizer: SentenceTokenizer,
        *,
        settings: EmbeddingSettings | None = None,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
        self.device = usable_device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
        self.encoder = encoder.to(device=self.device, dtype=getattr(torch, precision)).eval()
        self.tokenizer = tokenizer
        self.settings = settings or EmbeddingSettings()
        self.layers = nn.ModuleList(self.settings.layers).to(self.device).eval()  # in float32: they are small
        longest = encoder.config.max_sentence_length
        self._max_seq_length = min(self.settings.max_seq_length or longest, longest)
        try:
            self.embedding_dim()
        except ValueError as error:
            raise UserError(str(error)) from None

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        vocabulary: str | Path | None = None,
        revision: str | None = None,
        device: str | None = None,
        precision: str = "float32",
    ) -> "SentenceEncoder":
        """Load a model from disk, or fetch it from Hugging Face's hub; nothing in it can run code.

        Args:
            path: a fairseq checkpoint of ours or of the authors, or a folder that `cross_thought export` wrote. What
                such a folder says of pooling, prompts, lengths and modules behind the encoder is applied. Where there
                is no such path, `user/model` is an export on the hub, of which data alone is fetched.
            vocabulary: for a checkpoint, the folder of dict.txt, encoder.json and vocab.bpe; None: where they are
                found, beside it or in the results folder that it lies in.
            revision: of an export on the hub: a branch, a tag or a commit; None: the newest.
            device, precision: as above.

        Raises:
            UserError: if a file is missing, damaged or does not fit the others, or the device is not there.
        """
        if device is not None:
            usable_device(device)  # before the time that loading takes
        path = fetched(Path(path), revision)
        if path.is_dir():
            saved, tokenizer = load_export(path, None if vocabulary is None else Path(vocabulary))
            encoder, settings = saved.encoder, read_settings(path, pooling=saved.pooling)
        else:
            encoder, tokenizer = load_pretrained(path, None if vocabulary is None else Path(vocabulary))
            settings = EmbeddingSettings()
        return cls(encoder, tokenizer, settings=settings, device=device, precision=precision)

    @property
    def max_seq_length(self) -> int:
        """Tokens that a sentence may have, its `<s>` and `</s>` included: as many as there are positions, or fewer.

        Raises:
            ValueError: if it is set to anything else.
        """
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, length: int) -> None:
        longest = self.encoder.config.max_sentence_length
        check_whole(length, name="max_seq_length", least=2, most=longest)
        self._max_seq_length = length

    def embedding_dim(self, pooling: str | None = None) -> int:
        """Return the width of embeddings: d, or k * d for the pooling `concat`, unless a folder's modules change it.

        Raises:
            ValueError: if there is no such pooling, or a module behind the encoder takes another width.
        """
        pooling = self.settings.pooling if pooling is None else pooling
        width = pooled_dim(self.encoder.config, pooling)
        for layer in self.layers:
            if isinstance(layer, Dense):
                if layer.in_features != width:
                    raise ValueError(
                        f"pooling {pooling!r} gives {width} numbers, but the Dense behind the encoder takes "
                        f"{layer.in_features}: leave pooling as the export has it"
                    )
                width = layer.out_features
        return min(width, self.settings.truncate_dim or width)

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        pooling: str | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress: bool = False,
    ) -> np.ndarray:
        """Embed sentences by their slot states after the encoder layers, before any cross layer.

        What is not told is as the export has it, if the model is one.

        Args:
            sentences: one, or any number. Words beyond `max_seq_length` are cut, before `</s>`.
            pooling: of the k slot states: `mean` (that of a checkpoint), `concat` or `slot0`.
            normalize: scale each embedding to length 1; False: leave out a Normalize that ends the export's modules.
            prompt: put before each sentence; "": none.
            prompt_name: the prompt by its name in the export.
            batch_tokens: tokens computed at once; None: what suits the device. It changes speed and memory alone.
            show_progress: draw a bar on stderr.

        Returns:
            float32 embeddings in the order of the sentences, shape (num_sentences, embedding_dim(pooling)); for a
            single string, shape (embedding_dim(pooling),).

        Raises:
            TypeError: if a sentence is no string, or they go by names, as a dict or a data frame does.
            ValueError: if there is no such pooling or prompt, a sentence or the prompt holds half a surrogate pair, or
                `batch_tokens` is no whole number of at least 1.

        Source: method.md, what the paper adds.
        """
        recipe = self._recipe(pooling=pooling, normalize=normalize, prompt=prompt, prompt_name=prompt_name)
        if batch_tokens is not None:
            check_whole(batch_tokens, name="batch_tokens", least=1)
        if isinstance(sentences, str):
            return self._encode([sentences], [recipe], batch_tokens, show_progress=False)[0][0]
        listed = as_list(sentences, what="sentences")
        return self._encode(listed, [recipe], batch_tokens, show_progress=show_progress)[0]

    def encode_by_poolings(self, sentences: Iterable[str], poolings: Sequence[str]) -> dict[str, np.ndarray]:
        """Embed sentences by each of several poolings, in one pass of the encoder: what `encode` gives, to the bit."""
        recipes = [self._recipe(pooling=pooling) for pooling in poolings]
        return dict(zip(poolings, self._encode(list(sentences), recipes, None, show_progress=False), strict=True))

    def _recipe(
        self,
        *,
        pooling: str | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
    ) -> Recipe:
        """Lay what the user says over what the folder says."""
        pooling = self.settings.pooling if pooling is None else pooling
        prompt = self.settings.prompt_for(prompt, prompt_name)
        layers = list(self.layers)
        if normalize is False and layers and isinstance(layers[-1], Normalize):
            layers.pop()
        return Recipe(
            pooling=pooling, layers=layers, normalize=bool(normalize), prompt=prompt, width=self.embedding_dim(pooling)
        )

    def _encode(
        self, sentences: Sequence[str], recipes: Sequence[Recipe], batch_tokens: int | None, *, show_progress: bool
    ) -> list[np.ndarray]:
        embeddings = [np.empty((len(sentences), recipe.width), np.float32) for recipe in recipes]
        with _progress(len(sentences), show_progress) as progress:
            for start in range(0, len(sentences), _BLOCK_SENTENCES):
                block = slice(start, start + _BLOCK_SENTENCES)
                found = self._encode_block(sentences[block], recipes, batch_tokens, progress, first=start)
                for whole, vectors in zip(embeddings, found, strict=True):
                    whole[block] = vectors
        return embeddings

    @torch.inference_mode()
    def _encode_block(
        self,
        sentences: Sequence[str],
        recipes: Sequence[Recipe],
        batch_tokens: int | None,
        progress: tqdm,
        *,
        first: int = 0,
    ) -> list[np.ndarray]:
        """Embed sentences by length, longest first, equal ones once, by recipes that have the same prompt."""
        numbers: dict[tuple[int, ...], int] = {}
        places = []
        for ids in self.tokenizer.token_ids(sentences, prompt=recipes[0].prompt, first=first):
            self.num_cut_sentences += len(ids) > self.max_seq_length
            row = tuple(cut_row(ids, self.max_seq_length))
            self.num_tokens += len(row) - 1  # without `<s>`
            places.append(numbers.setdefault(row, len(numbers)))
        self.num_empty_sentences += sum(not sentence.strip() for sentence in sentences)
        rows = list(numbers)
        copies = np.bincount(places, minlength=len(rows))
        found = [np.empty((len(rows), recipe.width), np.float32) for recipe in recipes]
        for batch in token_batches(rows, batch_tokens, device=self.device.type):
            tokens = self.tokenizer.pad([rows[number] for number in batch])
            num_unknown = (tokens == self.tokenizer.unk_id).sum(dim=1).numpy()  # here, for a GPU would be waited for
            self.num_unknown_tokens += int(num_unknown @ copies[batch])
            slot_states = self.encoder.embed_sentences(tokens.to(self.device)).float()
            for recipe, vectors in zip(recipes, found, strict=True):
                pooled = pool_slots(slot_states, recipe.pooling)
                for layer in recipe.layers:
                    pooled = layer(pooled)
                pooled = pooled[:, : recipe.width]
                vectors[batch] = (F.normalize(pooled) if recipe.normalize else pooled).cpu().numpy()
            progress.update(int(copies[batch].sum()))
        return [vectors[places] for vectors in found]

    @overload
    def rank(  # type: ignore[overload-overlap]  # a string is a sequence of strings
        self, questions: str, candidates: Sequence[str] | np.ndarray
    ) -> list[tuple[int, float]]: ...

    @overload
    def rank(
        self, questions: Sequence[str], candidates: Sequence[str] | np.ndarray
    ) -> list[list[tuple[int, float]]]: ...

    def rank(
        self, questions: str | Sequence[str], candidates: Sequence[str] | np.ndarray
    ) -> list[tuple[int, float]] | list[list[tuple[int, float]]]:
        """Rank candidate answers by the weight that cross layer 0 gives them when the question attends to them.

        It is for a model that was fine-tuned on answer selection.

        Args:
            questions: one, or several that choose from the same candidates.
            candidates: texts, or their embeddings, `encode(texts, pooling="concat")`, computed beforehand.

        Returns:
            The candidates' indices with their weights, the best first; weights of a question sum to 1. For several
            questions, a list of that.

        Raises:
            ValueError: if there are no candidates, or embeddings of another shape, or modules behind the encoder, a
                prompt or a truncation change what `encode` returns.

        Source: method.md, what the paper adds: answer selection.
        """
        if len(self.layers) or self.settings.default_prompt or self.settings.truncate_dim:
            raise ValueError(
                "the export has modules behind its encoder, a default prompt or a truncation, and ranking needs the "
                "slot states as they are: rank with its checkpoint, or with an export without them"
            )
        if isinstance(questions, str):
            return self._rank([questions], candidates)[0]
        return self._rank(questions, candidates)

    @torch.inference_mode()
    def _rank(self, questions: Sequence[str], candidates: Sequence[str] | np.ndarray) -> list[list[tuple[int, float]]]:
        if not isinstance(candidates, np.ndarray):
            candidates = self.encode(candidates, pooling="concat")
        width = self.embedding_dim("concat")
        if candidates.ndim != 2 or candidates.shape[1] != width or not len(candidates):
            raise ValueError(
                f"candidates of shape {candidates.shape} must be one or more embeddings of pooling 'concat', "
                f"shape (num_candidates, {width})"
            )
        candidate_slots = self._slot_states(candidates).unsqueeze(0)
        question_slots = self._slot_states(self.encode(questions, pooling="concat"))
        config = self.encoder.config
        scores_each = len(candidates) * config.num_slots * config.num_heads
        ranked = []
        for part in question_slots.split(max(1, _RANKED_SCORES // scores_each)):
            weights = self.encoder.attend_to_candidates(part, candidate_slots).exp()
            values, order = weights.sort(dim=1, descending=True, stable=True)
            ranked += [list(zip(*pair, strict=True)) for pair in zip(order.tolist(), values.tolist(), strict=True)]
        return ranked

    def _slot_states(self, embeddings: np.ndarray) -> Tensor:
        """Return slot states, shape (n, k, d), of embeddings of pooling `concat`."""
        weight = self.encoder.embed_tokens.weight
        # torch takes neither a view that runs backwards nor other bytes, and warns of what may not be written
        plain = np.require(embeddings, np.float32, ["C", "W"])
        states = torch.from_numpy(plain).to(device=weight.device, dtype=weight.dtype)
        return states.unflatten(1, (self.encoder.config.num_slots, -1))


def embed_file(
    encoder: SentenceEncoder,
    source: Path,
    output: Path | Mapping[str, Path],
    *,
    pooling: str | None = None,
    normalize: bool | None = None,
    prompt: str | None = None,
    prompt_name: str | None = None,
    batch_tokens: int | None = None,
    precision: str = "float32",
    show_progress: bool = False,
) -> int:
    """Embed the lines of a file of any size, a block at a time; the output is written whole or not at all.

    Args:
        encoder: of `SentenceEncoder.from_pretrained`.
        source: UTF-8 text, a sentence a line; an empty line is an empty sentence.
        output: the .npy file to write, shape (num_lines, embedding_dim(pooling)); or one for each of several poolings,
            which take one pass.
        pooling, normalize, prompt, prompt_name, batch_tokens, show_progress: as of `SentenceEncoder.encode`.
        precision: of the numbers in the file, out of `FILE_PRECISIONS`.

    Returns:
        The number of lines.

    Raises:
        UserError: if the text is missing or not UTF-8, the output cannot be written or is the text itself, or there is
            no such pooling, prompt, number of tokens or precision.
    """
    if precision not in FILE_PRECISIONS:
        raise UserError(f"precision {precision!r} of a file is none of {', '.join(FILE_PRECISIONS)}")
    outputs = {**output} if isinstance(output, Mapping) else {pooling: output}
    for path in outputs.values():
        check_output(path, sources=[source])
    check_sentences(source)
    told: dict[str, Any] = {"normalize": normalize, "prompt": prompt, "prompt_name": prompt_name}
    try:
        if batch_tokens is not None:
            check_whole(batch_tokens, name="batch_tokens", least=1)
        recipes = [encoder._recipe(pooling=name, **told) for name in outputs]
    except ValueError as error:
        raise UserError(str(error)) from None
    num_sentences = 0
    lines = read_lines(source, chunk_bytes=_CHUNK_BYTES)
    total = None if is_read_once(source) else count_lines(source)
    dtype = np.dtype(precision).newbyteorder("<")
    with ExitStack() as stack:
        partials = [stack.enter_context(atomic_file(path)) for path in outputs.values()]
        files = [stack.enter_context(open(partial, "wb")) for partial in partials]
        progress = stack.enter_context(_progress(total, show_progress))
        for file, recipe in zip(files, recipes, strict=True):
            _write_header(file, (0, recipe.width), dtype)
        while block := list(islice(lines, _BLOCK_SENTENCES)):
            for file, vectors in zip(files, encoder._encode_block(block, recipes, batch_tokens, progress), strict=True):
                file.write(vectors.astype(dtype, copy=False).tobytes())
            num_sentences += len(block)
        for file, recipe in zip(files, recipes, strict=True):
            file.seek(0)
            # of equal size: numpy leaves room for any number of rows
            _write_header(file, (num_sentences, recipe.width), dtype)
    return num_sentences


def _write_header(file: Any, shape: tuple[int, int], dtype: np.dtype) -> None:
    npy_format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})


def _progress(total: int | None, show: bool) -> tqdm:
    return tqdm(total=total, unit=" sentences", disable=not show, mininterval=0.5)
