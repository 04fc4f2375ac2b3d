"""RoBERTas with random weights and a learnt vocabulary, as Hugging Face's library saves them and as fairseq did."""

import json
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from cross_thought.data.binarize import read_dictionary
from cross_thought.fairseq import bridge
from cross_thought.inference.loading import SPECIALS
from cross_thought.training.roberta import read_merges

bridge.install()

from fairseq.logging.meters import AverageMeter  # noqa: E402


def hugging_face_roberta(
    vocabulary: Path, folder: Path, *, with_head: bool = True, **settings: object
) -> torch.nn.Module:
    """Save a RoBERTa with this vocabulary, weights large enough to make a difference, and return it.

    Args:
        vocabulary: folder of dict.txt, encoder.json and vocab.bpe.
        folder: where it goes.
        with_head: whether it is a masked LM.
        settings: of its config, other than those of a very small one.
    """
    import transformers

    tokens = token_ids(vocabulary)
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
    others = {"max_position_embeddings": 66, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "initializer_range": 0.2}
    config = transformers.RobertaConfig(vocab_size=len(tokens), **(sizes | others | settings))
    torch.manual_seed(3)
    kind = transformers.RobertaForMaskedLM if with_head else transformers.RobertaModel
    roberta = kind(config).eval()
    with torch.no_grad():
        for name, parameter in roberta.named_parameters():
            if parameter.dim() == 1:  # biases and LayerNorms begin as zeros and ones
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            if "token_type" in name:
                parameter.normal_()
    roberta.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(tokens))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *read_merges(vocabulary / "vocab.bpe"), ""]))
    return roberta


def token_ids(vocabulary: Path) -> dict[str, int]:
    """Return the id of each token, as Hugging Face's RoBERTa has it for fairseq's dictionary."""
    text = {str(number): token for token, number in json.loads((vocabulary / "encoder.json").read_text()).items()}
    symbols = [text.get(symbol, symbol) for symbol in read_dictionary(vocabulary / "dict.txt")]
    return {token: number for number, token in enumerate([*SPECIALS, *symbols, "<mask>"])}


def write_old_fairseq(weights: dict[str, torch.Tensor], path: Path, *, num_heads: int = 4) -> None:
    """Write weights, named as today's, as fairseq wrote them in 2019: other names, one projection, meters, no zip."""
    old: dict[str, torch.Tensor] = OrderedDict()
    for name, weight in weights.items():
        if ".self_attn.q_proj." in name:
            parts = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            old[name.replace("q_proj.", "in_proj_").replace("encoder.", "decoder.", 1)] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            old[name.replace("encoder.", "decoder.", 1)] = weight
    old["decoder.lm_head.weight"] = weights["encoder.sentence_encoder.embed_tokens.weight"]
    meter = AverageMeter()
    meter.update(2.5, n=2)
    state = {
        "args": Namespace(arch="roberta_base", task="masked_lm", encoder_attention_heads=num_heads, max_positions=64),
        "model": old,
        "optimizer_history": [
            {
                "criterion_name": "MaskedLmLoss",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 7,
            }
        ],
        "last_optimizer_state": None,
        "extra_state": {
            "train_iterator": {"epoch": 3, "iterations_in_epoch": 0},
            "val_loss": 2.5,
            "train_meters": OrderedDict(train_loss=meter),
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AverageMeter, "__module__", "fairseq.meters")  # where it was then
        torch.save(state, path, _use_new_zipfile_serialization=False)
