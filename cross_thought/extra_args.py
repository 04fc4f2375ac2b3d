"""fairseq flags in the config's `extra_args`: those that cannot do there what they say are refused before any job.

Needs the standard library only. What only fairseq knows, such as the names of all its flags, it says itself.
"""

from collections.abc import Mapping, Sequence

from cross_thought.errors import UserError

# what the workflow itself says, or relies on
_OWN = {
    **dict.fromkeys(("--save-dir", "--checkpoint-suffix"), "the workflow says where checkpoints go"),
    **dict.fromkeys(
        ("--restore-file", "--finetune-from-model"),
        "the workflow says where a training starts: to pre-train from a checkpoint, set models.NAME.initialize_from; "
        "to fine-tune one as it is, give a checkpoint by models.NAME.location",
    ),
    **dict.fromkeys(
        ("--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader"),
        "a training that was stopped would go on without its state",
    ),
    **dict.fromkeys(
        ("--no-save", "--no-save-optimizer-state", "--no-last-checkpoints"),
        "a training that is stopped goes on from its checkpoints, and its result is one",
    ),
    **dict.fromkeys(("--log-format", "--no-progress-bar"), "the loss curves are read from what fairseq prints"),
    **dict.fromkeys(("--task", "--criterion", "--forward-mode", "--num-classes"), "the workflow sets it"),
    **dict.fromkeys(("--regression-target", "--init-token", "--separator-token"), "the workflow sets it"),
    **dict.fromkeys(("--max-positions", "--required-batch-size-multiple"), "the workflow sets it"),
    **dict.fromkeys(("--train-subset", "--valid-subset", "--gen-subset"), "the workflow says what is trained on"),
}
# flags that a key of the config stands for: given twice, the last would count, and the plan and tables tell the other
_KEYS = {
    "--seed": "seeds or pretraining_seed",
    "--tensorboard-logdir": "tracking to tensorboard",
    **dict.fromkeys(("--fp16", "--bf16", "--memory-efficient-bf16"), "hardware.precision"),
    "--checkpoint-activations": "hardware.checkpoint_activations",
    **dict.fromkeys(("--cpu", "--device-id"), "hardware.device"),
    **dict.fromkeys(("--distributed-world-size", "--distributed-no-spawn"), "hardware.processes"),
    "--started-from": "models.NAME.initialize_from",
    **dict.fromkeys(("--arch", "-a"), "models.NAME.architecture"),
    "--no-cross-sequence": "models.NAME.cross_sequence",
    "--num-slots": "models.NAME.num_slots",
    "--num-positions": "models.NAME.num_positions",
    "--segment-length": "models.NAME.segment_length",
    "--segment-by": "models.NAME.segment_by",
    "--encoder-layers": "models.NAME.num_layers",
    "--encoder-embed-dim": "models.NAME.embed_dim",
    "--encoder-ffn-embed-dim": "models.NAME.ffn_dim",
    "--encoder-attention-heads": "models.NAME.num_heads",
    "--lr": "learning_rate",
    "--warmup-updates": "warmup_updates",
    "--batch-size": "batch_size",
    "--weight-decay": "weight_decay",
    "--dropout": "dropout",
    "--attention-dropout": "attention_dropout",
    "--patience": "patience",
    "--class-weights": "class_weights",
    "--label-smoothing": "label_smoothing",
}
_PRETRAINING_KEYS = {
    **dict.fromkeys(("--max-update", "--total-num-update"), "max_updates"),
    "--update-freq": "update_freq",
    "--sample-break-mode": "sample_break_mode",
    "--tokens-per-sample": "tokens_per_sample",
    "--clip-norm": "clip_norm",
    "--mask-prob": "mask_prob",
    "--leave-unmasked-prob": "leave_unmasked_prob",
    "--random-token-prob": "random_token_prob",
    "--init-std": "init_std",
    "--query-key-init-std": "query_key_init_std",
    "--save-interval-updates": "save_interval_updates",
}
_FINETUNING_KEYS = {
    "--max-epoch": "num_epochs",
    "--total-num-update": "num_updates",
    "--update-freq": "batch_size, and max_tokens, which bounds a batch",
    "--max-tokens": "max_tokens",
    **dict.fromkeys(("--best-checkpoint-metric", "--maximize-best-checkpoint-metric"), "metrics"),
    **dict.fromkeys(("--save-interval-updates", "--keep-interval-updates"), "validate_interval_updates"),
}
# what this software cannot do
_UNSUPPORTED = {
    "--tpu": "there is no support for TPUs",
    "--model-parallel-size": "the encoder is not split over GPUs",
    "--pipeline-model-parallel": "the encoder is not split over GPUs",
    "--encoder-layerdrop": "this encoder has no LayerDrop",
    "--encoder-layers-to-keep": "this encoder has no LayerDrop",
    "--quant-noise-pq": "this encoder has no quantization noise",
    "--quant-noise-scalar": "this encoder has no quantization noise",
    "--activation-fn": "this encoder has GELU",
}


def check_all_extra_args(config: Mapping) -> None:
    """Refuse, by a UserError for the first, what `check_extra_args` refuses, wherever a config has such flags."""
    hardware = config["hardware"]
    for name, model in config["models"].items():
        arguments, place = model["pretraining"]["extra_args"], f"models.{name}.pretraining.extra_args"
        check_extra_args(arguments, place=place, hardware=hardware, finetuning=False)
    entries = {"finetuning": config["finetuning"]} | {f"tasks.{name}": task for name, task in config["tasks"].items()}
    for key, entry in entries.items():
        arguments, place = entry.get("extra_args", []), f"{key}.extra_args"
        check_extra_args(arguments, place=place, hardware=hardware, finetuning=True)


def check_extra_args(arguments: Sequence[str], *, place: str, hardware: Mapping[str, object], finetuning: bool) -> None:
    """Refuse flags that the workflow sets itself, that the config has a key for, or that cannot work.

    Args:
        arguments: as fairseq's command line has them.
        place: key of the config that they stand under.
        hardware: that entry of the config.
        finetuning: whether it is a fine-tuning that gets them.

    Raises:
        UserError: for the first one.
    """
    for argument in arguments:
        flag = argument.partition("=")[0]
        if not flag.startswith("-"):
            continue
        if " " in flag:
            words = ", ".join(f'"{word}"' for word in argument.split())
            raise UserError(f"config: {place} has {argument!r}: flag and value are entries of their own: [{words}]")
        reason = _OWN.get(flag) or _UNSUPPORTED.get(flag)
        if key := (_KEYS | (_FINETUNING_KEYS if finetuning else _PRETRAINING_KEYS)).get(flag):
            reason = f"set {key}"
        if flag == "--memory-efficient-fp16" and hardware["device"] == "cpu":
            reason = "float16 needs hardware.device cuda"
        if flag == "--disable-validation" and finetuning:
            reason = "fine-tuning keeps the checkpoint that is best in validation"
        if reason:
            raise UserError(f"config: {place} has {flag}, which cannot be given there: {reason}; leave it out")
