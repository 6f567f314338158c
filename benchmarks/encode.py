"""Sentences to vectors beside PyTorch: an encoder of MiniLM's shape, mean pooling, length 1.

    python benchmarks/encode.py                  one and two threads
    python benchmarks/encode.py --threads 1      one row
    python benchmarks/encode.py --rounds 3       quicker, and noisier

Both sides encode the same 256 sentences with the same random weights in float32: 6 layers, D 384,
F 1536, 12 heads, 30,522 words, post-norm, exact GELU. The sentences are random ids, 8 to 64 tokens
long, most of them short; sorted by length and taken 32 at a time, so that little is padding. The
vector of a sentence is the mean of those of its tokens, divided by its length.

PyTorch (eager, inference mode) has two models, and the faster one is what the ratio is taken with:
BERT made of PyTorch's own fast parts (query, key and value in one product, fused scaled dot-product
attention), and ``BertModel`` of Hugging Face's ``transformers``, if there is one. All take turns in
one process, batch by batch; the time of a side is the sum of the medians of its batches. The
threads have a process of their own each. Without PyTorch only the times of this project are
printed.

The columns: the ratio (below 1: faster than PyTorch); sentences a second of ours and of both models
in PyTorch; the largest difference between an entry of our vectors and theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

N, D, F, HEADS, V, LONGEST = 6, 384, 1536, 12, 30522, 64
SENTENCES, BATCH = 256, 32
EPS = 1e-12  # of the layer norms


def batches():
    """The sentences, sorted by length: each batch is ``ids (B, T)``, padded with 0."""
    import numpy as np

    rng = np.random.default_rng(0)
    # Log-normal, as the lengths of sentences are: half of them below 20 tokens.
    lengths = np.clip(rng.lognormal(np.log(20), 0.5, SENTENCES), 8, LONGEST).astype(int)
    lengths.sort()
    rows = [rng.integers(1, V, length) for length in lengths]
    found = []
    for start in range(0, SENTENCES, BATCH):
        part = rows[start : start + BATCH]
        ids = np.zeros((len(part), len(part[-1])), int)
        for row, tokens in zip(ids, part):
            row[: len(tokens)] = tokens
        found.append(ids)
    return found


def weights():
    """The settings and the parameters of this project's encoder."""
    import numpy as np

    from numpy_transformer import parameters
    from numpy_transformer.models import text_encoder

    rng = np.random.default_rng(0)
    config = text_encoder.Config(V, N=N, d_model=D, d_ff=F, h=HEADS, max_length=LONGEST)
    params = text_encoder.init(rng, config)
    for _, array in parameters.items(params):
        if array.ndim == 1:  # biases, which are 0, and the weights of norms, which are 1
            array += 0.1 * rng.standard_normal(array.shape)
    return config, params


def ours():
    """A function that encodes a batch with this project: ``ids (B, T)`` to ``(B, D)``."""
    import numpy as np

    from numpy_transformer.models import text_encoder_inference
    from numpy_transformer.ops import pooling
    from numpy_transformer.training.memory import keep_freed_memory

    keep_freed_memory()
    config, params = weights()

    def encode(ids):
        h = text_encoder_inference.encode(ids, None, params, config)  # (B, T, D)
        y, _ = pooling.forward(h, ids != config.pad_id)  # (B, D)
        return y / np.sqrt((y * y).sum(axis=-1, keepdims=True))

    return encode


def pytorch(model, threads: int):
    """A function that encodes a batch with ``model(ids, mask)``, which returns ``(B, T, D)``."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)

    def encode(ids):
        with torch.inference_mode():
            ids = torch.from_numpy(ids)
            mask = ids != 0  # (B, T)
            h = model(ids, mask)
            mean = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return functional.normalize(mean).numpy()

    return encode


def plain():
    """The encoder in PyTorch, made of its fast parts, with our weights."""
    import numpy as np
    import torch
    from torch.nn import functional

    _, params = weights()

    def tensors(*linears):
        """Weight (out, in) and bias of linear maps of the same input, as one."""
        return [
            torch.from_numpy(np.ascontiguousarray(np.concatenate([m[name].T for m in linears])))
            for name in ("weight", "bias")
        ]

    def norm(x, tree):
        return functional.layer_norm(x, (D,), *map(torch.from_numpy, tree.values()), eps=EPS)

    layers = []
    for layer in params["encoder"]["layers"].values():
        attention, network = layer["self_attention"], layer["feed_forward"]
        layers.append(
            {
                "query, key, value": tensors(*(attention[n] for n in ("query", "key", "value"))),
                "output": tensors(attention["output"]),
                "up": tensors(network["hidden"]),
                "down": tensors(network["output"]),
                "norms": (layer["self_attention_norm"], layer["feed_forward_norm"]),
            }
        )
    tokens, positions, segments = (
        torch.from_numpy(params[name]["weight"]) for name in ("embedding", "positions", "segments")
    )

    def forward(ids, mask):
        B, T = ids.shape
        mask = mask[:, None, None, :]
        x = functional.embedding(ids, tokens) + positions[:T] + segments[0]
        x = norm(x, params["embedding_norm"])
        for layer in layers:
            heads = functional.linear(x, *layer["query, key, value"])
            heads = heads.view(B, T, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(*heads, attn_mask=mask)
            y = functional.linear(y.transpose(1, 2).reshape(B, T, D), *layer["output"])
            x = norm(x + y, layer["norms"][0])
            h = functional.gelu(functional.linear(x, *layer["up"]))
            x = norm(x + functional.linear(h, *layer["down"]), layer["norms"][1])
        return x

    return forward


def hugging_face():
    """``BertModel`` of the same shape, with random weights of its own."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=V,
        hidden_size=D,
        num_hidden_layers=N,
        num_attention_heads=HEADS,
        intermediate_size=F,
        max_position_embeddings=LONGEST,
    )
    model = BertModel(config, add_pooling_layer=False).eval()

    def forward(ids, mask):
        return model(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    return forward


def measure(threads: int, rounds: int) -> dict:
    """Take turns: the seconds of each side, and how far our vectors are from the plain model's."""
    sentences = batches()
    sides, difference = {"ours": ours()}, None
    try:
        sides["plain"] = pytorch(plain(), threads)
        difference = max(float(abs(sides["ours"](b) - sides["plain"](b)).max()) for b in sentences)
        sides["hugging face"] = pytorch(hugging_face(), threads)
    except ImportError:
        pass
    times = {side: [[] for _ in sentences] for side in sides}
    for turn in range(rounds + 1):
        for number, ids in enumerate(sentences):
            for side, encode in sides.items():
                start = time.perf_counter()
                encode(ids)
                if turn:  # the first only warms up
                    times[side][number].append(time.perf_counter() - start)
    sums = {side: sum(map(statistics.median, of_side)) for side, of_side in times.items()}
    return {"times": sums, "difference": difference}


def in_a_process(threads: int, rounds: int) -> dict:
    """Run this script again with so many threads, as they can be set only before the start."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, __file__, "--one", json.dumps([threads, rounds])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    print("threads ratio  sentences/s: ours  PyTorch  BertModel  difference")
    for threads in options.threads:
        found = in_a_process(threads, options.rounds)
        times, difference = found["times"], found["difference"]
        theirs = [times[side] for side in ("plain", "hugging face") if side in times]
        ratio = f"{times['ours'] / min(theirs):5.2f}" if theirs else "    -"
        ours, *others = (
            f"{SENTENCES / times[side]:.0f}" if side in times else "-"
            for side in ("ours", "plain", "hugging face")
        )
        difference = "-" if difference is None else f"{difference:.0e}"
        row = f"{threads:7} {ratio} {ours:>18} {others[0]:>8} {others[1]:>10}  {difference}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
