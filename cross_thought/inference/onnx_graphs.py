"""A model as ONNX graphs, held against the encoder itself before anybody gets them.

`model.onnx` takes token ids and a mask to embeddings, `classifier.onnx` to the scores of labels. Both take batches and
lengths of any size.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401  (torch writes graphs with it, and says less clearly that it is missing)
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from cross_thought.encoder import CrossThoughtEncoder, pool_slots
from cross_thought.encoder.heads import REGRESSION, ClassificationHead, FineTunedTask
from cross_thought.encoder.rectangle import embed_sentences, encode_sentences
from cross_thought.encoder.saved import SavedModel
from cross_thought.encoder.tokenizer import cut_row
from cross_thought.errors import UserError
from cross_thought.inference.embed import SentenceEncoder
from cross_thought.inference.loading import GRAPH_FILE

OPSET = 18
TOLERANCE = 1e-5  # of the largest number in the outputs, or of 1
CLASSIFIER_GRAPH = "classifier.onnx"
INPUTS = ("input_ids", "attention_mask")

# symbols of the sentences that graphs are held against
_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 500)
_LARGEST_FILE = 2**31  # bytes that one ONNX file may have


class EmbeddingGraph(nn.Module):
    """Token ids to embeddings, as `SentenceEncoder.encode` makes them of sentences.

    Args:
        ours: the encoder with all that comes behind it.
    """

    output = "sentence_embedding"

    def __init__(self, ours: SentenceEncoder) -> None:
        super().__init__()
        self.encoder = ours.encoder
        self.layers = ours.layers
        self.pooling = ours.settings.pooling
        self.width = ours.embedding_dim()
        self.max_length = ours.max_seq_length

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed rows `<s> A </s>`, shape (batch, L), as vectors, shape (batch, width)."""
        slot_states = embed_sentences(
            self.encoder, self.encoder.config, input_ids, attention_mask, max_length=self.max_length
        )
        pooled = pool_slots(slot_states, self.pooling)
        for layer in self.layers:
            pooled = layer(pooled)
        return pooled[:, : self.width]


class ClassifierGraph(nn.Module):
    """Token ids of sentences or pairs to the head's scores; of a regression, in the task's own scale.

    Args:
        encoder: the encoder.
        head: its head.
        task: what it was fine-tuned on.
    """

    output = "logits"

    def __init__(self, encoder: CrossThoughtEncoder, head: ClassificationHead, task: FineTunedTask) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.scale = task.score_scale if task.kind == REGRESSION else 1.0
        longest = encoder.config.max_sentence_length
        self.max_length = min(longest, 1 + (task.max_sentence_tokens or longest))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Score rows `<s> A </s>` or `<s> A </s> <s> B </s>`, shape (batch, L), shape (batch, num_classes)."""
        slot_states = encode_sentences(
            self.encoder, self.encoder.config, input_ids, attention_mask, max_length=self.max_length
        )
        return self.head(slot_states) * self.scale

    def packed(
        self, rows: Sequence[Sequence[Sequence[int]]], pad: Callable[[Sequence[Sequence[int]]], Tensor]
    ) -> Tensor:
        """Score rows of sentences by the packed forward, as it was trained."""
        cut = [[token for sentence in row for token in cut_row(sentence, self.max_length)] for row in rows]
        return self.head(self.encoder.encode_sentences(pad(cut))) * self.scale


def write_graphs(folder: Path, saved: SavedModel, ours: SentenceEncoder, *, int8: bool = False) -> dict[str, str]:
    """Write a model's graphs into a folder, each after it has given what the model gives, which `ours` does on the CPU.

    With `int8`, weights are stored as int8 numbers, and multiplied by; then outputs are close, not equal.

    Returns:
        What was found of each graph, in words, by its file.

    Raises:
        UserError: if a graph would be too large for a file, or gives other numbers than the model.
    """
    num_bytes = sum(weight.numel() * 4 for weight in ours.encoder.state_dict().values())
    if num_bytes >= _LARGEST_FILE:
        raise UserError(
            f"the encoder has {num_bytes / 2**30:.1f} GB of weights, and an ONNX file holds less than 2: give another "
            "format (--format)"
        )
    sentences = _sentences(ours)
    rows = ours.tokenizer.token_ids(sentences)
    found = {}
    graph = EmbeddingGraph(ours)
    write_graph(graph, folder / GRAPH_FILE, int8=int8)
    outputs = _run(folder / GRAPH_FILE, [ours.tokenizer.pad(rows), *(ours.tokenizer.pad([row]) for row in rows[::4])])
    expected = ours.encode(sentences)
    found[GRAPH_FILE] = _compared(GRAPH_FILE, outputs, np.concatenate([expected, expected[::4]]), int8=int8)
    if saved.head is not None and saved.task is not None:
        classifier = ClassifierGraph(saved.encoder, saved.head, saved.task)
        write_graph(classifier, folder / CLASSIFIER_GRAPH, int8=int8)
        is_pair = saved.task.num_sentences != 1
        examples = [[row, rows[-1 - place]] if is_pair else [row] for place, row in enumerate(rows)]
        tokens = ours.tokenizer.pad([[token for sentence in row for token in sentence] for row in examples])
        with torch.inference_mode():
            scores = classifier.packed(examples, ours.tokenizer.pad).numpy()
        found[CLASSIFIER_GRAPH] = _compared(
            CLASSIFIER_GRAPH, _run(folder / CLASSIFIER_GRAPH, [tokens]), scores, int8=int8
        )
    return found


def _sentences(ours: SentenceEncoder) -> list[str]:
    """Return sentences of 1 to 500 symbols drawn from the vocabulary."""
    draw = torch.Generator().manual_seed(1)
    ids = [torch.randint(4, ours.encoder.config.vocab_size - 1, (length,), generator=draw) for length in _LENGTHS]
    return [ours.tokenizer.tokenizer.decode(row.tolist()) for row in ids]


def write_graph(graph: EmbeddingGraph | ClassifierGraph, path: Path, *, int8: bool = False) -> None:
    """Write a graph for any batch and length."""
    tokens = torch.tensor([[0, 4, 4, 2], [0, 4, 2, 1], [0, 2, 1, 1]])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    exact = path.with_suffix(".float32.onnx") if int8 else path
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            graph.eval(),
            (tokens, (tokens != 1).long()),
            exact,
            input_names=INPUTS,
            output_names=[graph.output],
            dynamic_shapes=(sizes, sizes),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            dynamo=True,
        )
        if int8:
            quantize_dynamic(exact, path, weight_type=QuantType.QInt8)
            exact.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what libraries say of their own ways; errors are raised all the same."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _run(path: Path, batches: Sequence[Tensor]) -> np.ndarray:
    """Return a graph's outputs for batches of padded rows, one after the other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate(
        [
            session.run(None, dict(zip(INPUTS, (rows.numpy(), (rows != 1).long().numpy()), strict=True)))[0]
            for rows in batches
        ]
    )


def _compared(name: str, outputs: np.ndarray, expected: np.ndarray, *, int8: bool) -> str:
    """Say how far a graph's outputs are from the model's; refuse a float32 graph that differs."""
    difference = float(np.abs(outputs - expected).max())
    if int8 and name == CLASSIFIER_GRAPH:  # whose rows are no directions: of one number, a cosine is 1 or -1
        same = np.count_nonzero(outputs.argmax(1) == expected.argmax(1))
        labels = f", {same} of {len(outputs)} rows with the same label" if outputs.shape[1] > 1 else ""
        return f"int8 weights; at most {difference:.2g} from the float32 scores{labels}"
    if int8:
        norms = np.linalg.norm(outputs, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = (outputs * expected).sum(1) / norms
        return f"int8 weights; cosines with float32 {cosines.mean():.4f} on average, {cosines.min():.4f} at least"
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= limit:
        raise UserError(
            f"{name} gives numbers that differ from the encoder's by {difference:.1e}, more than {limit:.0e}: "
            "give another format (--format), and report it"
        )
    return f"float32; at most {difference:.0e} from the encoder's numbers"
