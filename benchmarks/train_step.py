"""One step of training beside PyTorch: forward, backward and Adam.

    python benchmarks/train_step.py                  all shapes, one and two threads
    python benchmarks/train_step.py --shapes 1 2     some of them
    python benchmarks/train_step.py --rounds 5       quicker, and noisier

Both sides train the same model on the same batch in float32, tied output, Adam: the encoder-decoder
(shapes 1 to 5, pre-norm, ReLU), the language model (6 and 7, pre-norm, GELU with tanh, as GPT-2) or
the masked language model (8, post-norm, exact GELU, dropout where BERT has it; 15 % of the tokens
are chosen, and both sides put these alone through the head). The model in PyTorch (eager) is made
of its own fast parts: query, key and value of self-attention in one product, fused scaled
dot-product attention, fused Adam. The two take turns in one process, a few steps each, and the
ratio is that of the medians. Each (shape, threads, dropout) runs in a process of its own. Without
PyTorch only the times of this project are printed.

The columns: the ratio (below 1: faster than PyTorch); milliseconds of both sides, to give an idea;
the share of our step that the matrix products alone would take, measured by doing just those; the
most memory that each side takes in a process of its own beyond what importing it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# Architecture, D, F, layers (of the encoder-decoder N + N), V, B, T (= S), heads
PAIR, CAUSAL, MASKED = "encoder-decoder", "language model", "masked language model"
CHOSEN = 0.15  # of the tokens of a masked language model
IGNORED = -100  # the target of all others
SHAPES = {
    1: (PAIR, 32, 128, 1, 64, 8, 12, 4),
    2: (PAIR, 64, 256, 2, 64, 16, 16, 4),
    3: (PAIR, 128, 512, 2, 64, 32, 20, 4),
    4: (PAIR, 256, 1024, 3, 512, 32, 64, 4),
    5: (PAIR, 512, 2048, 3, 8192, 16, 64, 8),
    6: (CAUSAL, 64, 256, 4, 65, 16, 32, 4),
    7: (CAUSAL, 256, 1024, 4, 512, 16, 128, 4),
    8: (MASKED, 256, 1024, 6, 8192, 16, 128, 4),
}
ROUNDS = {1: 40, 2: 30, 3: 20, 4: 9, 5: 9, 6: 30, 7: 9, 8: 9}  # turns of each side, by default


def our_step(shape, dropout):
    """A function that does one step of this project's training."""
    import numpy as np

    from numpy_transformer import parameters
    from numpy_transformer.models import (
        causal_lm,
        causal_lm_loss,
        encoder_decoder,
        encoder_decoder_loss,
        masked_lm,
        masked_lm_loss,
        text_encoder,
    )
    from numpy_transformer.training.memory import keep_freed_memory
    from numpy_transformer.training.optimizers import Adam

    keep_freed_memory()
    kind, D, F, N, V, B, T, H = shape
    settings = {"N": N, "d_model": D, "d_ff": F, "h": H, "max_length": T}
    rates = ["P_drop", "attention_dropout"] + ["activation_dropout"] * (kind != MASKED)
    settings |= dict.fromkeys(rates, dropout)
    if kind == MASKED:
        config = text_encoder.Config(vocab=V, **settings)
        model, loss_module = masked_lm, masked_lm_loss
    elif kind == CAUSAL:
        config = causal_lm.Config(vocab=V, **settings)
        model, loss_module = causal_lm, causal_lm_loss
    else:
        config = encoder_decoder.Config(V, V, epsilon_ls=0.1, **settings)
        model, loss_module = encoder_decoder, encoder_decoder_loss
    rng = np.random.default_rng(0)
    weights, params = parameters.pack(model.init(rng, config))
    gradient = np.empty_like(weights)
    adam = Adam(weights.size)
    ids = batch(shape)

    def step():
        loss, cache = loss_module.forward(*ids, params, config, rng)
        dparams = loss_module.backward(1.0, cache)
        parameters.gather(dparams, out=gradient)
        adam.step(weights, gradient, lr=1e-4)
        return float(loss)

    return step


def batch(shape):
    """Random ids, without padding: what the loss takes before the parameters.

    ``source (B, T)``, if any, and ``target (B, T + 1)``; or ``ids (B, T)``, no segments, and
    ``targets (B, T)``.
    """
    import numpy as np

    V, B, T = shape[4:7]
    rng = np.random.default_rng(1)
    if shape[0] == MASKED:
        ids, targets = rng.integers(4, V, (2, B, T))
        return ids, None, np.where(rng.random((B, T)) < CHOSEN, targets, IGNORED)
    ids = rng.integers(4, V, (B, T)), rng.integers(4, V, (B, T + 1))
    return ids[1:] if shape[0] == CAUSAL else ids


def torch_step(shape, dropout, threads):
    """A function that does one step of the same training in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    kind, D, F, N, V, B, T, H = shape
    pair = kind == PAIR

    def heads(x):
        return x.view(B, -1, H, D // H).transpose(1, 2)

    class Attention(nn.Module):
        def __init__(self, cross):
            super().__init__()
            self.cross = cross
            self.query = nn.Linear(D, D if cross else 3 * D)
            self.key_value = nn.Linear(D, 2 * D) if cross else None
            self.output = nn.Linear(D, D)

        def forward(self, x, memory=None, causal=False):
            if self.cross:
                query, (key, value) = self.query(x), self.key_value(memory).chunk(2, -1)
            else:
                query, key, value = self.query(x).chunk(3, -1)
            rate = dropout if self.training else 0.0
            y = functional.scaled_dot_product_attention(
                heads(query), heads(key), heads(value), dropout_p=rate, is_causal=causal
            )
            return self.output(y.transpose(1, 2).reshape(B, -1, D))

    class Layer(nn.Module):
        def __init__(self, cross):
            super().__init__()
            self.attention = Attention(False)
            self.cross = Attention(True) if cross else None
            self.hidden, self.output = nn.Linear(D, F), nn.Linear(F, D)
            self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(3 if cross else 2))

        def drop(self, x):
            return functional.dropout(x, dropout, self.training) if dropout else x

        def forward(self, x, memory=None, causal=False):
            x = x + self.drop(self.attention(self.norms[0](x), causal=causal))
            if self.cross is not None:
                x = x + self.drop(self.cross(self.norms[1](x), memory))
            h = self.hidden(self.norms[-1](x))
            h = self.drop(functional.relu(h) if pair else functional.gelu(h, approximate="tanh"))
            return x + self.drop(self.output(h))

    class PostNormLayer(Layer):
        def forward(self, x):
            x = self.norms[0](x + self.drop(self.attention(x)))
            h = functional.gelu(self.hidden(x))
            return self.norms[1](x + self.drop(self.output(h)))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(V, D), nn.Embedding(V, D)
            self.encoder = nn.ModuleList(Layer(False) for _ in range(N))
            self.decoder = nn.ModuleList(Layer(True) for _ in range(N))
            self.norms = nn.ModuleList([nn.LayerNorm(D), nn.LayerNorm(D)])
            angle = torch.arange(T)[:, None] / 10000 ** (torch.arange(0, D, 2) / D)
            table = torch.stack([angle.sin(), angle.cos()], -1).reshape(T, D)
            self.register_buffer("positions", table)

        def embed(self, ids, table):
            x = table(ids) * D**0.5 + self.positions
            return functional.dropout(x, dropout, self.training) if dropout else x

        def forward(self, source, target):
            memory = self.embed(source, self.source)
            for layer in self.encoder:
                memory = layer(memory)
            memory = self.norms[0](memory)
            x = self.embed(target, self.target)
            for layer in self.decoder:
                x = layer(x, memory, causal=True)
            return functional.linear(self.norms[1](x), self.target.weight)

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
            self.layers = nn.ModuleList(Layer(False) for _ in range(N))
            self.norm = nn.LayerNorm(D)
            self.register_buffer("place", torch.arange(T))

        def forward(self, ids):
            x = self.tokens(ids) + self.positions(self.place)
            x = functional.dropout(x, dropout, self.training) if dropout else x
            for layer in self.layers:
                x = layer(x, causal=True)
            return functional.linear(self.norm(x), self.tokens.weight)

    class MaskedLanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
            self.segments = nn.Embedding(2, D)
            self.layers = nn.ModuleList(PostNormLayer(False) for _ in range(N))
            self.norms = nn.ModuleList([nn.LayerNorm(D), nn.LayerNorm(D)])
            self.dense, self.bias = nn.Linear(D, D), nn.Parameter(torch.zeros(V))
            self.register_buffer("place", torch.arange(T))

        def forward(self, ids, chosen):
            x = self.tokens(ids) + self.positions(self.place) + self.segments.weight[0]
            x = self.norms[0](x)
            x = functional.dropout(x, dropout, self.training) if dropout else x
            for layer in self.layers:
                x = layer(x)
            x = self.norms[1](functional.gelu(self.dense(x[chosen])))
            return functional.linear(x, self.tokens.weight, self.bias)

    models = {PAIR: Transformer, CAUSAL: LanguageModel, MASKED: MaskedLanguageModel}
    model = models[kind]()
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    *ids, target = (array if array is None else torch.from_numpy(array) for array in batch(shape))
    settings = {"ignore_index": 0, "label_smoothing": 0.1} if pair else {}

    def step():
        adam.zero_grad(set_to_none=True)
        if kind == MASKED:
            chosen = target != IGNORED
            logits, expected = model(ids[0], chosen), target[chosen]
        else:
            logits, expected = model(*ids, target[:, :-1]), target[:, 1:]
        loss = functional.cross_entropy(logits.reshape(-1, V), expected.reshape(-1), **settings)
        loss.backward()
        adam.step()
        return loss.item()

    return step


def products(shape):
    """A function that does the matrix products of one of our steps, and nothing else."""
    import numpy as np

    kind, D, F, N, V, B, T, H = shape
    attentions, networks = (3 * N, 2 * N) if kind == PAIR else (N, N)
    rng = np.random.default_rng(0)

    def array(*extents):
        return rng.standard_normal(extents, dtype=np.float32)

    rows = B * T
    linears = [(rows, D, D, 4 * attentions), (rows, D, F, networks), (rows, F, D, networks)]
    if kind == MASKED:
        M = round(CHOSEN * rows)
        linears += [(M, D, D, 1), (M, D, V, 1)]
    else:
        linears += [(rows, D, V, 1)]
    linears = [(array(n, i), array(i, o), array(n, o), count) for n, i, o, count in linears]
    head = array(B, T, H, D // H).transpose(0, 2, 1, 3)
    weights = array(B, H, T, T)
    out = np.empty_like(head)

    def step():
        for x, weight, y, count in linears:
            for _ in range(count):
                np.matmul(x, weight, out=y)
                np.matmul(y, weight.T)
                np.matmul(x.T, y)
        for _ in range(attentions):
            for _ in range(2):  # scores and dweights
                np.matmul(head, head.swapaxes(-1, -2), out=weights)
            for left in (weights, weights, weights.swapaxes(-1, -2), weights.swapaxes(-1, -2)):
                np.matmul(left, head, out=out)

    return step


def peak_memory(side, shape, dropout) -> float:
    """The memory in MB that three steps of one side take at the most, beyond the imports."""
    import resource

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    # Import everything and do one tiny step first.
    tiny = (shape[0], 8, 8, 1, 8, 1, 2, 1)
    make = (lambda s: our_step(s, dropout)) if side == "ours" else (
        lambda s: torch_step(s, dropout, 1)
    )
    make(tiny)()
    before = peak()
    step = make(shape)
    for _ in range(3):
        step()
    return peak() - before


def seconds(step, repeat) -> float:
    """The time of one step, the mean of ``repeat`` in a row."""
    start = time.perf_counter()
    for _ in range(repeat):
        step()
    return (time.perf_counter() - start) / repeat


def measure(shape, threads, dropout, rounds) -> dict:
    """Take turns, and return the median times; in a process with its threads already set."""
    sides = {"ours": our_step(shape, dropout), "products": products(shape)}
    try:
        sides["torch"] = torch_step(shape, dropout, threads)
    except ImportError:
        pass
    for step in sides.values():
        seconds(step, 3)
    repeat = max(1, int(0.1 / seconds(sides["ours"], 1)))
    times = {side: [] for side in sides}
    for _ in range(rounds):
        for side, step in sides.items():
            times[side].append(seconds(step, repeat))
    return {side: statistics.median(values) for side, values in times.items()}


def in_a_process(threads, *arguments):
    """Run this script again with so many threads, as they can be set only before the start."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, __file__, "--one", json.dumps([threads, *arguments])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", type=int, nargs="+", default=list(SHAPES), metavar="N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--rounds", type=int, help="turns of each side")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        threads, what, number, dropout, rounds = json.loads(options.one)
        if what == "time":
            print(json.dumps(measure(SHAPES[number], threads, dropout, rounds)))
        else:
            try:
                print(json.dumps(peak_memory(what, SHAPES[number], dropout)))
            except ImportError:
                print("null")
        return
    print(f"{'shape':<42} threads dropout ratio     ours    torch products  memory MB")
    for number in options.shapes:
        kind, D, F, N, V, B, T, H = SHAPES[number]
        layers = f"{N}+{N}" if kind == PAIR else f"{N} layers"
        label = f"D {D}, F {F}, {layers}, V {V}, B {B}, T {T}"
        for threads in options.threads:
            for dropout in options.dropout:
                rounds = options.rounds or ROUNDS[number]
                t = in_a_process(threads, "time", number, dropout, rounds)
                memory = [
                    in_a_process(threads, side, number, dropout, 0) for side in ("ours", "torch")
                ]
                torch = t.get("torch")
                ratio = f"{t['ours'] / torch:5.2f}" if torch else "    -"
                torch = f"{1e3 * torch:6.1f}" if torch else "     -"
                memory = " / ".join("-" if m is None else f"{m:.0f}" for m in memory)
                ours, products = 1e3 * t["ours"], t["products"] / t["ours"]
                print(
                    f"{label:<42} {threads:7} {dropout:7.1f} {ratio} {ours:8.1f} {torch:>8} "
                    f"{products:8.0%}  {memory}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
