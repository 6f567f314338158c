"""Record what transformers' pipelines make of small BERTs with random weights.

Run it in an environment that has PyTorch and transformers (2.14 and 5.24 made the files that are
kept here)::

    python tests/recordings/record_pipelines.py

It writes into ``pipelines/`` beside itself. The tests need the files and neither of the two
packages. Nothing here imports ``numpy_transformer``.

Three folders, each of a model in float32 and its tokenizer: ``masked_lm`` (``BertForMaskedLM``),
``classifier`` (``BertForSequenceClassification``, three classes) and ``text_encoder``
(``BertModel``). Each model draws from a generator of its own, seeded by its name, so two runs write
the same numbers.

``results.json`` holds a list of calls, in the order in which they were made: the folder, the task,
what the pipeline was called with (``inputs`` and ``settings``), and its ``result``.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    pipeline,
)

FOLDER = Path(__file__).parent / "pipelines"
POSITIONS = 16

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = (
    "return the value values of a an function list lists is not an't it does do n't 's m "
    "if x y print file open un ##able ##read ##s ##ing ##ed naive . , ! ? ' ( ) = -"
)
VOCABULARY = SPECIAL + list(dict.fromkeys(WORDS.split()))

MODELS = {
    "masked_lm": (BertForMaskedLM, "fill-mask", {}),
    "classifier": (
        BertForSequenceClassification,
        "text-classification",
        {"id2label": {0: "noun", 1: "verb", 2: "neither"}},
    ),
    "text_encoder": (BertModel, "feature-extraction", {}),
}

MASKED = "Return the [MASK] of x."
PAIR = {"text": "Return the value.", "text_pair": "It isn't a list?"}
LONG = "the value of the list is not the value of a function if x is not y !"
LONG_PAIR = {"text": LONG, "text_pair": "a list of values ( open ) is not an open file , is it ?"}

CALLS = [
    ("masked_lm", MASKED, {}),
    ("masked_lm", MASKED, {"top_k": 2}),
    ("masked_lm", MASKED, {"top_k": len(VOCABULARY)}),
    ("masked_lm", MASKED, {"targets": "value"}),
    ("masked_lm", MASKED, {"targets": ["list", "##s", "value", "list"]}),
    ("masked_lm", MASKED, {"targets": ["list", "##s", "value"], "top_k": 2}),
    ("masked_lm", [MASKED], {"top_k": 2}),
    ("masked_lm", [MASKED, "[MASK] (x) = y, qqq!"], {"top_k": 3}),
    ("masked_lm", "The [MASK]s of [MASK], isn't it?", {"top_k": 2}),
    ("masked_lm", ["the [MASK] [MASK]", "un[MASK]able"], {"top_k": 2}),
    ("masked_lm", ["the [MASK] [MASK]"], {"top_k": 2}),
    ("masked_lm", "the [MASK] of [SEP] x", {"top_k": 2}),
    ("classifier", "Return the value.", {}),
    ("classifier", "", {}),
    ("classifier", ["Return the value."], {}),
    ("classifier", ["Return the value.", "print"], {}),
    ("classifier", "Return the value.", {"top_k": 1}),
    ("classifier", "Return the value.", {"top_k": 2}),
    ("classifier", "Return the value.", {"top_k": None}),
    ("classifier", ["Return the value.", "print"], {"top_k": None}),
    ("classifier", PAIR, {}),
    ("classifier", PAIR, {"top_k": None}),
    ("classifier", [PAIR, {"text": "open"}], {}),
    ("classifier", [PAIR], {"top_k": 2}),
    ("classifier", "print x", {"function_to_apply": "softmax", "top_k": None}),
    ("classifier", "print x", {"function_to_apply": "sigmoid", "top_k": None}),
    ("classifier", "print x", {"function_to_apply": "none", "top_k": None}),
    ("classifier", LONG, {"truncation": True, "top_k": None}),
    ("classifier", LONG_PAIR, {"truncation": True, "top_k": None}),
    ("text_encoder", "Print the value", {}),
    ("text_encoder", ["Print", "unreadable files"], {}),
    ("text_encoder", LONG, {"truncation": True}),
]


def write_tokenizer(folder: Path) -> None:
    """The tokenizer as the folders of BERT have it."""
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY))
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": POSITIONS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def record_model(name: str) -> None:
    """Make a model, with weights so large that texts differ, and save it as transformers does."""
    kind, _, changes = MODELS[name]
    settings = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=POSITIONS,
        **changes,
    )
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    model = kind(settings)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            values = rng.standard_normal(shape)
            if "embeddings" not in parameter_name and len(shape) == 2:  # (out, in)
                values *= 2 / np.sqrt(shape[1])
            elif len(shape) == 1:
                norm = parameter_name.endswith("LayerNorm.weight")
                values = 1 + 0.3 * values if norm else 0.3 * values
            parameter.copy_(torch.tensor(values))
    model.save_pretrained(FOLDER / name)
    write_tokenizer(FOLDER / name)


def main() -> None:
    """Write the folders and the results."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pipelines = {}
    for name, (_, task, _) in MODELS.items():
        record_model(name)
        pipelines[name] = pipeline(task, model=str(FOLDER / name), device="cpu")
    results = [
        {
            "folder": name,
            "task": MODELS[name][1],
            "inputs": inputs,
            "settings": settings,
            "result": pipelines[name](inputs, **settings),
        }
        for name, inputs, settings in CALLS
    ]
    lines = ",\n".join(json.dumps(result) for result in results)
    (FOLDER / "results.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
