"""Cross-Thought as a fairseq model: importing this module registers `cross_thought` and its architectures.

Everything around the encoder is fairseq's RoBERTa: the LM head, the classification heads, how checkpoints load.
Import it after `bridge.install()`.
"""

import argparse
import logging
import random
from contextlib import AbstractContextManager

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqEncoder, register_model, register_model_architecture
from fairseq.models.roberta.model import RobertaLMHead, RobertaModel, base_architecture
from fairseq.tasks import FairseqTask
from torch import Tensor

import cross_thought.fairseq.optimizer  # noqa: F401  (a checkpoint that it trained cannot be loaded without it)
from cross_thought.encoder import SEGMENTATIONS, CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.layers import round_up
from cross_thought.environment import slow_bfloat16

logger = logging.getLogger(__name__)

# what RoBERTa's flags may say, and this encoder does not do
_FIXED = {
    "activation_fn": "gelu",
    "encoder_layerdrop": 0.0,
    "encoder_layers_to_keep": None,
    "quant_noise_pq": 0,
    "quant_noise_scalar": 0,
}


@register_model("cross_thought")
class CrossThoughtModel(RobertaModel):
    """RoBERTa with the Cross-Thought encoder inside."""

    @staticmethod
    def add_args(parser: argparse.ArgumentParser) -> None:
        """Add RoBERTa's flags and those of the encoder."""
        RobertaModel.add_args(parser)
        parser.add_argument("--num-slots", type=int, metavar="K", help="sentence slots before each segment")
        parser.add_argument("--segment-length", type=int, metavar="T", help="tokens in a pre-training segment")
        parser.add_argument(
            "--segment-by",
            choices=SEGMENTATIONS,
            help="where streams are cut into segments: after each T tokens, or after each sentence too "
            "(then the task is masked_sentences, which leaves the sentences' ends unmasked)",
        )
        parser.add_argument(
            "--num-positions", type=int, metavar="P", help="position range; the table has two rows more"
        )
        parser.add_argument(
            "--forward-mode",
            choices=["pretrain", "finetune"],
            help="pretrain: token streams cut into segments; finetune: rows of one or two sentences "
            "(default: finetune for the tasks sentence_prediction and answer_selection, else pretrain)",
        )
        parser.add_argument(
            "--no-cross-sequence", action="store_true", help="leave cross layer 0 out of pre-training (the MLM control)"
        )
        parser.add_argument("--started-from", metavar="NAME", help="what its first weights are of; noted, nothing else")
        parser.add_argument("--init-std", type=float, metavar="S", help="standard deviation of the initial weights")
        parser.add_argument(
            "--query-key-init-std", type=float, metavar="S", help="the same for query and key projections"
        )
        parser.add_argument(
            "--checkpoint-activations",
            action="store_true",
            help="compute each layer again in the backward pass instead of keeping its inner states: less memory, more "
            "time, the same numbers",
        )

    @classmethod
    def build_model(cls, args: argparse.Namespace, task: FairseqTask) -> "CrossThoughtModel":
        """Build the model for a task.

        Raises:
            ValueError: if a flag asks for what the encoder does not do, or sizes do not fit together.
        """
        cross_thought_base(args)  # an old checkpoint's arguments may lack ours
        for name, value in _FIXED.items():
            if getattr(args, name, value) != value:
                flag = "--" + name.replace("_", "-")
                raise ValueError(f"{flag} {getattr(args, name)} is not supported by this encoder: leave the flag out")
        note = slow_bfloat16() if args.bfloat16 and getattr(args, "cpu", False) else None
        if note:
            logger.warning(note)
        if args.forward_mode is None:
            is_finetuning = getattr(args, "task", None) in ("sentence_prediction", "answer_selection")
            args.forward_mode = "finetune" if is_finetuning else "pretrain"
        if not hasattr(args, "max_positions"):
            args.max_positions = args.tokens_per_sample
        return cls(args, RegisteredEncoder(args, task.source_dictionary))

    def __init__(self, args: argparse.Namespace, encoder: "RegisteredEncoder") -> None:
        super().__init__(args, encoder)  # sets every weight by RoBERTa's own rule, N(0, 0.02)
        if args.init_std != 0.02 or args.query_key_init_std is not None:
            encoder.sentence_encoder.reset_parameters()
            torch.nn.init.normal_(encoder.lm_head.dense.weight, std=args.init_std)


class RegisteredEncoder(FairseqEncoder):
    """The encoder and the LM head, as fairseq's criteria call them.

    Args:
        args: fairseq's arguments.
        dictionary: fairseq's dictionary, `<mask>` included.
    """

    def __init__(self, args: argparse.Namespace, dictionary: Dictionary) -> None:
        super().__init__(dictionary)
        self.args = args
        self.sentence_encoder = CrossThoughtEncoder(
            EncoderConfig(
                vocab_size=len(dictionary),
                num_layers=args.encoder_layers,
                embed_dim=args.encoder_embed_dim,
                ffn_dim=args.encoder_ffn_embed_dim,
                num_heads=args.encoder_attention_heads,
                num_slots=args.num_slots,
                segment_length=args.segment_length,
                segment_by=args.segment_by,
                num_positions=args.num_positions,
                cross_sequence=not args.no_cross_sequence,
                dropout=args.dropout,
                attention_dropout=args.attention_dropout,
                activation_dropout=args.activation_dropout,
                pad_id=dictionary.pad(),
                bos_id=dictionary.bos(),
                eos_id=dictionary.eos(),
                init_std=args.init_std,
                query_key_init_std=args.query_key_init_std,
            )
        )
        self.sentence_encoder.checkpoint_activations = args.checkpoint_activations
        self.lm_head = RobertaLMHead(
            embed_dim=args.encoder_embed_dim,
            output_dim=len(dictionary),
            activation_fn=args.activation_fn,
            weight=None if getattr(args, "untie_weights_roberta", False) else self.sentence_encoder.embed_tokens.weight,
        )
        self._num_updates = 0
        self._drawn: tuple[str, int] = ("", 0)  # the step that start positions were last drawn for, and how many

    def set_num_updates(self, num_updates: int) -> None:
        """Take note of the update that the coming batches belong to."""
        self._num_updates = num_updates

    def autocast(self) -> AbstractContextManager:
        """Return the context that encoder and LM head compute in: with `--bf16`, matrix products in bfloat16."""
        device = self.lm_head.weight.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.args.bfloat16)

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        masked_tokens: Tensor | None = None,
        **unused: object,
    ) -> tuple[Tensor, dict]:
        """Compute scores over the dictionary, or the features that a classification head reads.

        Args:
            src_tokens: token ids, shape (batch, L): streams to pre-train on, or sentences to fine-tune on; or, for
                answer selection, questions with their candidates, shape (batch, 1 + N, L).
            features_only: leave out the LM head.
            return_all_hiddens: not supported.
            masked_tokens: the positions to score, shape (batch, L); None: all.

        Returns:
            Scores, shape (num_masked, V) or (batch, L, V); or features, shape (batch, L, d) when pre-training and
            (batch, k, d) when fine-tuning; or the candidates' log attention weights, shape (batch, N). And an empty
            dict, where fairseq's own encoders put inner states.

        Raises:
            ValueError: if all hidden states are asked for, or the LM head in fine-tuning.
        """
        with self.autocast():
            return self._forward(src_tokens, features_only, return_all_hiddens, masked_tokens), {}

    def _forward(
        self, src_tokens: Tensor, features_only: bool, return_all_hiddens: bool, masked_tokens: Tensor | None
    ) -> Tensor:
        if return_all_hiddens:
            raise ValueError("the inner states of this encoder are packed: return_all_hiddens is not supported")
        if self.args.forward_mode == "finetune":
            if src_tokens.dim() == 3:
                return self.sentence_encoder.weigh_candidates(src_tokens)
            if not features_only:
                raise ValueError("--forward-mode finetune has no use for the LM head: pretrain scores masked words")
            return self.sentence_encoder.encode_sentences(src_tokens)
        states = self.sentence_encoder.encode_streams(
            src_tokens,
            start_position=self._draw_start_position(),
            scored=None if features_only else masked_tokens,
        )
        if features_only:
            return states
        return self.lm_head(states) if masked_tokens is None else self.lm_head(round_up(states))[: states.size(0)]

    def _draw_start_position(self) -> int:
        """Draw where the words of this batch start, the same in a repeated or resumed run.

        The draw depends on the seed, the update and the batch's number within the update over all processes, so that
        two processes see what one process with twice the update frequency sees. Validation draws alike each time.
        """
        step = f"update {self._num_updates}" if self.training else "validation"
        last_step, count = self._drawn
        count = count if step == last_step else 0
        self._drawn = (step, count + 1)
        rank, world_size = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        batch_number = count * world_size + rank
        draw = random.Random(f"seed {getattr(self.args, 'seed', 1)}, {step}, batch {batch_number}")
        return draw.randint(1, self.sentence_encoder.config.max_start_position)

    def max_positions(self) -> int:
        """Return the longest input that fairseq may pass, in tokens."""
        return self.args.max_positions


@register_model_architecture("cross_thought", "cross_thought_base")
def cross_thought_base(args: argparse.Namespace) -> None:
    """Fill in the published sizes: RoBERTa base, 5 slots, segments of 64 tokens."""
    base_architecture(args)
    args.num_slots = getattr(args, "num_slots", 5)
    args.segment_length = getattr(args, "segment_length", 64)
    args.segment_by = getattr(args, "segment_by", "tokens")
    args.num_positions = getattr(args, "num_positions", 512)
    args.forward_mode = getattr(args, "forward_mode", None)
    args.no_cross_sequence = getattr(args, "no_cross_sequence", False)
    args.init_std = getattr(args, "init_std", 0.02)
    args.query_key_init_std = getattr(args, "query_key_init_std", None)
    args.checkpoint_activations = getattr(args, "checkpoint_activations", False)
    args.bfloat16 = getattr(args, "bfloat16", False)


@register_model_architecture("cross_thought", "cross_thought_tiny")
def cross_thought_tiny(args: argparse.Namespace) -> None:
    """Fill in the demo's sizes: one layer of 64, 2 slots, segments of 12 tokens."""
    args.encoder_layers = getattr(args, "encoder_layers", 1)
    args.encoder_embed_dim = getattr(args, "encoder_embed_dim", 64)
    args.encoder_ffn_embed_dim = getattr(args, "encoder_ffn_embed_dim", 256)
    args.encoder_attention_heads = getattr(args, "encoder_attention_heads", 4)
    args.num_slots = getattr(args, "num_slots", 2)
    args.segment_length = getattr(args, "segment_length", 12)
    args.num_positions = getattr(args, "num_positions", 32)
    cross_thought_base(args)
