"""A user's session with exports where transformers is, and neither this package nor fairseq; run by test_transformers.

The folder that it runs in holds the exports. What comes out goes to its found.json.
"""

import json
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    pipeline,
)

FOLDER = Path.cwd()
texts = json.loads((FOLDER / "texts.json").read_text())
pairs = [{"text": text, "text_pair": pair} for text, pair in zip(texts, texts[::-1], strict=True)]
base, labels, scores = (str(FOLDER / name) for name in ("base", "labels", "scores"))
trust = {"trust_remote_code": True}
found = {"missing": []}
for name in ("cross_thought", "fairseq", "sentence_transformers"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        found["missing"].append(name)


def train(model: torch.nn.Module, rows: list[dict], collator: object, name: str) -> None:
    """Train some steps and save."""
    arguments = TrainingArguments(
        output_dir=str(FOLDER / f"run-{name}"), max_steps=3, per_device_train_batch_size=2, learning_rate=1e-2,
        report_to="none", save_steps=3, use_cpu=True, disable_tqdm=True, seed=1,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator)
    trainer.train()
    trainer.save_model(str(FOLDER / name))
    tokenizer.save_pretrained(FOLDER / name)


with torch.no_grad():
    tokenizer = AutoTokenizer.from_pretrained(base, **trust)
    config = AutoConfig.from_pretrained(base, **trust)
    found["config"] = [config.model_type, config.vocab_size, config.hidden_size, config.num_hidden_layers]
    rows = tokenizer(texts, padding=True, return_tensors="pt")
    outputs = AutoModel.from_pretrained(base, **trust)(**rows)
    found["slots"], found["embeddings"] = outputs.last_hidden_state.tolist(), outputs.pooler_output.tolist()
    found["features"] = pipeline("feature-extraction", base, device="cpu", **trust)(texts[0])

    found["logits"] = AutoModelForMaskedLM.from_pretrained(base, **trust)(**rows).logits.tolist()
    fill = pipeline("fill-mask", base, device="cpu", **trust)
    found["filled"] = fill("Ada owns a <mask> , works")
    found["ids"] = tokenizer(pairs[0]["text"], pairs[0]["text_pair"])["input_ids"]

    of_pairs = tokenizer(texts, texts[::-1], padding=True, return_tensors="pt")
    found["labels"] = AutoModelForSequenceClassification.from_pretrained(labels, **trust)(**of_pairs).logits.tolist()
    found["answers"] = pipeline("text-classification", labels, device="cpu", top_k=None, **trust)(pairs)
    found["scores"] = pipeline("text-classification", scores, device="cpu", **trust)(pairs)

model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, **trust)
rows = [tokenizer(**pair) | {"labels": place % 3} for place, pair in enumerate(pairs)]
train(model, rows, DataCollatorWithPadding(tokenizer), "trained")
tokens = tokenizer(texts, padding=True, return_tensors="pt")
again = AutoModelForSequenceClassification.from_pretrained(FOLDER / "trained", **trust)
found["reloaded"] = float((model.eval()(**tokens).logits - again(**tokens).logits).abs().max())
found["trained"] = torch.softmax(again(**of_pairs).logits, dim=1).tolist()

model = AutoModelForMaskedLM.from_pretrained(base, **trust)
before = model.embed_tokens.weight.detach().clone()
collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
train(model, [tokenizer(text, truncation=True, max_length=40) for text in texts * 2], collator, "pretrained")
found["moved"] = float((model.embed_tokens.weight - before).abs().max())
again = AutoModelForMaskedLM.from_pretrained(FOLDER / "pretrained", **trust)
found["reloaded lm"] = float((model.eval()(**tokens).logits - again(**tokens).logits).abs().max())
found["tuned"] = AutoModel.from_pretrained(FOLDER / "pretrained", **trust)(**tokens).pooler_output.tolist()

found["refused"] = {}
for name in json.loads((FOLDER / "hostile.json").read_text()):
    try:
        AutoModelForMaskedLM.from_pretrained(FOLDER / name, **trust)
        found["refused"][name] = "loaded"
    except Exception as error:  # whichever the library has made of it
        found["refused"][name] = f"{type(error).__name__}: {error}"
(FOLDER / "found.json").write_text(json.dumps(found))
