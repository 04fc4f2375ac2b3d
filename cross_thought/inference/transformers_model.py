"""The model as the transformers library knows models. An export carries this file as `transformers_cross_thought.py`.

Weights have the names of model.safetensors, so that files, checkpoints of its Trainer and our own loaders agree. The
forwards are those of `rectangle.py`.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from transformers import FillMaskPipeline, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput, SequenceClassifierOutput

from cross_thought.encoder.encoder import POOLINGS, CrossThoughtEncoder, EncoderConfig, pool_slots
from cross_thought.encoder.heads import (
    ACTIVATIONS,
    CLASSIFICATION,
    HEAD_PREFIX,
    KINDS,
    PROBLEM_TYPES,
    REGRESSION,
    ClassificationHead,
    FineTunedTask,
    task_of_config,
)
from cross_thought.encoder.lm_head import LM_HEAD_PREFIX, LMHead
from cross_thought.encoder.rectangle import embed_sentences, encode_sentences, encode_streams, known_ids
from cross_thought.encoder.saved import MODEL_TYPE, check_settings


class CrossThoughtConfig(PretrainedConfig):
    """What config.json holds.

    Args:
        encoder: settings of the encoder, the fields of `EncoderConfig`; None: the published ones.
        pooling: of the slots, for `pooler_output`.

    Raises:
        ValueError: if there is no such setting or pooling, or settings do not fit together.
    """

    model_type = MODEL_TYPE

    def __init__(self, encoder: dict[str, Any] | None = None, pooling: str = POOLINGS[0], **kwargs: Any) -> None:
        if not isinstance(encoder, dict | None):
            raise ValueError(f"encoder is {encoder!r}, not the settings of an encoder: export the model again")
        check_settings(encoder or {}, source="config.json")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is none of {', '.join(POOLINGS)}: export the model again")
        self.encoder = asdict(EncoderConfig(**(encoder or {})))
        self.pooling = pooling
        ids = {f"{name}_token_id": self.encoder[f"{name}_id"] for name in ("pad", "bos", "eos")}
        super().__init__(**{**ids, **kwargs})

    @property
    def encoder_config(self) -> EncoderConfig:
        """The settings of the encoder."""
        return EncoderConfig(**self.encoder)

    @property
    def head_kind(self) -> str | None:
        """What a head of `num_labels` and `problem_type` is for; None: for nothing that is predicted here."""
        if self.problem_type == "multi_label_classification" or (
            self.problem_type == PROBLEM_TYPES[REGRESSION] and self.num_labels != 1
        ):
            return None
        return REGRESSION if self.num_labels == 1 else CLASSIFICATION

    @property
    def task(self) -> FineTunedTask | None:
        """What the model was fine-tuned on; None: nothing is said of it, or its head is to be of another kind.

        Raises:
            ValueError: if that is damaged.
        """
        about = getattr(self, "fine_tuned_on", None)
        others = [kind for kind in KINDS if kind != self.head_kind]
        if isinstance(about, dict) and about.get("kind") in others:
            return None
        names = {str(number): name for number, name in (self.id2label or {}).items()}
        return task_of_config({"fine_tuned_on": about, "id2label": names})

    def without_task(self) -> "CrossThoughtConfig":
        """Return a copy for a model without a classification head."""
        config = deepcopy(self)
        for name in ("fine_tuned_on", "classifier_activation", "classifier_dim"):
            config.__dict__.pop(name, None)
        config.problem_type = config.id2label = None
        config.num_labels = 2  # as in a new config, with the library's names
        return config

    # settings of the encoder, by the library's names
    vocab_size = property(lambda self: self.encoder["vocab_size"])
    hidden_size = property(lambda self: self.encoder["embed_dim"])
    num_hidden_layers = property(lambda self: self.encoder["num_layers"])  # before the two cross layers
    num_attention_heads = property(lambda self: self.encoder["num_heads"])
    max_position_embeddings = property(lambda self: self.encoder["num_positions"] + 2)  # rows of the table
    initializer_range = property(lambda self: self.encoder["init_std"])

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what config.json is to hold: with label names also where they are the library's default ones."""
        document = super().to_diff_dict()
        if "fine_tuned_on" in document:
            document |= {"id2label": self.id2label, "label2id": self.label2id}
        return document


class CrossThoughtPreTrainedModel(PreTrainedModel):
    """An encoder with its layers under the names that files have, and how such models are loaded."""

    config_class = CrossThoughtConfig
    base_model_prefix = MODEL_TYPE
    _supports_sdpa = True
    _new_weights: tuple[str, ...] = ()  # names of weights begin so that a file may lack: they are drawn
    task: FineTunedTask | None = None  # that its head was fine-tuned on
    loaded_head: Sequence[Tensor | None] = ()  # the weights that it was loaded with; None: they are elsewhere

    def __init__(self, config: CrossThoughtConfig) -> None:
        super().__init__(config)
        self.settings = config.encoder_config
        for name, part in CrossThoughtEncoder(self.settings).named_children():
            self.add_module(name, part)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a model, as the library does, but from safetensors alone, and with all its weights.

        Raises:
            ValueError: if weights are missing or not finite.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs["use_safetensors"] = True
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        missing = sorted(name for name in info["missing_keys"] if not name.startswith(cls._new_weights or "\0"))
        if missing:
            raise ValueError(
                f"{model.name_or_path} lacks the weights {missing[0]}: for {cls.__name__}, give an export that has them"
            )
        for name, weight in model.named_parameters():
            if not (weight.is_meta or weight.isfinite().all()):
                raise ValueError(f"{model.name_or_path}: {name} is not finite: the training diverged, take an earlier")
        if info["mismatched_keys"]:
            model.task = None  # a head with other outputs was drawn anew
        head = (weight for name, weight in model.named_parameters() if name.startswith(HEAD_PREFIX))
        model.loaded_head = [None if weight.is_meta else weight.detach().cpu().clone() for weight in head]
        return (model, info) if wants_info else model

    def get_input_embeddings(self) -> torch.nn.Module:
        """Return the embedding of the tokens."""
        return self.embed_tokens

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> torch.nn.Module:
        """Refuse another size.

        Raises:
            ValueError: always, but for the size that there is.
        """
        if new_num_tokens not in (None, self.settings.vocab_size):
            raise ValueError(
                f"the vocabulary of a Cross-Thought encoder is fixed: {self.settings.vocab_size} symbols, symbols of "
                "the tokenizer beyond them stand for <unk>"
            )
        return self.embed_tokens

    def _mask(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return where tokens are; if nobody says, wherever no pad is."""
        return input_ids != self.settings.pad_id if attention_mask is None else attention_mask


class CrossThoughtModel(CrossThoughtPreTrainedModel):
    """Token ids in, slot states and their pooling out: the embeddings of sentences.

    Args:
        config: of the export.
    """

    _keys_to_ignore_on_load_unexpected = (LM_HEAD_PREFIX, HEAD_PREFIX)

    def __init__(self, config: CrossThoughtConfig) -> None:
        super().__init__(config.without_task())
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, return_dict: bool | None = None
    ) -> BaseModelOutputWithPooling | tuple[Tensor, Tensor]:
        """Embed sentences.

        Args:
            input_ids: rows `<s> A </s>`, shape (batch, L).
            attention_mask: nonzero where tokens are, shape (batch, L); None: wherever no pad is.
            return_dict: False: a tuple in place of an object.

        Returns:
            `last_hidden_state`, the k slot states, shape (batch, k, d), whatever L is; and `pooler_output`, the
            embeddings, shape (batch, d), or (batch, k * d) for the pooling `concat`.
        """
        mask = self._mask(input_ids, attention_mask)
        slot_states = embed_sentences(self, self.settings, input_ids, mask)
        embeddings = pool_slots(slot_states, self.config.pooling)
        if return_dict is False:
            return slot_states, embeddings
        return BaseModelOutputWithPooling(last_hidden_state=slot_states, pooler_output=embeddings)


class CrossThoughtForMaskedLM(CrossThoughtPreTrainedModel):
    """Token ids in, scores over the dictionary out: the forward of pre-training, each row a stream of its own.

    The words' start position is drawn anew in each forward while training, as pre-training does, and 1 otherwise.

    Args:
        config: of the export.
    """

    _keys_to_ignore_on_load_unexpected = (HEAD_PREFIX,)

    def __init__(self, config: CrossThoughtConfig) -> None:
        super().__init__(config.without_task())
        is_tied = getattr(config, "tie_word_embeddings", True)
        self.lm_head = LMHead(self.settings.embed_dim, self.settings.vocab_size, is_tied=is_tied)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Tensor, ...]:
        """Score the dictionary at each token.

        Args:
            input_ids: token streams, shape (batch, L), with pads to the right.
            attention_mask: nonzero where tokens are, shape (batch, L); None: wherever no pad is.
            labels: the ids that are to be found, shape (batch, L), -100 where none is.
            return_dict: False: a tuple in place of an object.

        Returns:
            `logits`, shape (batch, L, V), and with labels the `loss`.

        Raises:
            ValueError: if there are pads before tokens.
        """
        mask = self._mask(input_ids, attention_mask) != 0
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError("there are pads before tokens: pad to the right (padding_side='right')")
        start = 1
        if self.training:
            start = int(torch.randint(1, self.settings.max_start_position + 1, ()))
        states = encode_streams(self, self.settings, input_ids, mask, start_position=start)
        logits = self.lm_head(states, self.embed_tokens.weight)
        loss = None
        if labels is not None:
            labels = known_ids(self.settings, labels)
            loss = self.loss_function(logits, labels, vocab_size=self.settings.vocab_size)
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return MaskedLMOutput(loss=loss, logits=logits)


class CrossThoughtForSequenceClassification(CrossThoughtPreTrainedModel):
    """Token ids of single sentences or pairs in, scores of the labels out: the forward of fine-tuning.

    An export that was not fine-tuned has no head: then a new one is drawn, for `num_labels`, to be trained.

    Args:
        config: of the export.
    """

    _new_weights = (HEAD_PREFIX,)
    _keys_to_ignore_on_load_unexpected = (LM_HEAD_PREFIX,)

    def __init__(self, config: CrossThoughtConfig) -> None:
        super().__init__(config)
        width = self.settings.embed_dim
        activation = getattr(config, "classifier_activation", "tanh")
        if activation not in ACTIVATIONS:
            raise ValueError(f"the head's activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
        inner_dim = getattr(config, "classifier_dim", width)
        head = ClassificationHead(width, inner_dim, config.num_labels, activation=activation)
        self.classification_heads = torch.nn.ModuleDict({HEAD_PREFIX.split(".")[1]: head})
        if config.head_kind == REGRESSION:
            config.problem_type = PROBLEM_TYPES[REGRESSION]  # of an export it may be another task's still
        self.task = config.task
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Score the labels.

        Args:
            input_ids: rows `<s> A </s>` or `<s> A </s> <s> B </s>`, shape (batch, L).
            attention_mask: nonzero where tokens are, shape (batch, L); None: wherever no pad is.
            labels: shape (batch,), numbers of labels, or scores for a regression.
            return_dict: False: a tuple in place of an object.

        Returns:
            `logits`, shape (batch, num_labels), for a regression in the task's own scale; with labels the `loss`.
        """
        mask = self._mask(input_ids, attention_mask)
        longest = _longest(self.task)
        slot_states = encode_sentences(self, self.settings, input_ids, mask, max_length=longest)
        (head,) = self.classification_heads.values()
        logits = head(slot_states)
        if self.task and self.task.kind == REGRESSION:
            logits = logits * self.task.score_scale
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Write the model, and into its config what our own loaders ask for of a model with a head.

        The figures of the task are left out: they were another model's, if this one was trained since. So are its name
        and its files' columns if the head was: what it learnt may be another task of as many labels.
        """
        config, ours = self.config, {"task": "a task in transformers"}
        if self.task is not None and self.task.kind == config.head_kind:
            config.fine_tuned_on = {**config.fine_tuned_on, "metrics": {}}
            if self._is_head_trained():
                config.fine_tuned_on |= {**ours, "num_sentences": None, "columns": [], "header": True}
        else:
            # of a head that is for nothing here, our loaders refuse the problem_type
            config.fine_tuned_on = {**ours, "kind": config.head_kind or CLASSIFICATION}
        super().save_pretrained(*args, **kwargs)

    def _is_head_trained(self) -> bool:
        """Whether the head's weights are others than those that it was loaded with, if it was, in whatever type."""
        weights = list(self.classification_heads.parameters())
        if len(weights) != len(self.loaded_head):
            return True
        pairs = zip(weights, self.loaded_head, strict=True)
        return not all(then is None or now.is_meta or torch.equal(now.cpu(), then.to(now.dtype)) for now, then in pairs)


def _longest(task: FineTunedTask | None) -> int | None:
    """Return the tokens of a sentence, `<s>` and `</s>` included, that a task was learnt on; None: all that fit."""
    return None if task is None or task.max_sentence_tokens is None else task.max_sentence_tokens + 1


class CrossThoughtFillMaskPipeline(FillMaskPipeline):
    """The library's own, but `<mask>` in a text is the mask: elsewhere, what looks like a special symbol is text."""

    def preprocess(
        self,
        inputs: Any,
        return_tensors: str | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> Any:
        """Tokenize a text with one or more `<mask>`."""
        options = {"split_special_tokens": False, **(tokenizer_kwargs or {})}
        return super().preprocess(inputs, return_tensors, tokenizer_kwargs=options, **parameters)
