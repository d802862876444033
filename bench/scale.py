#!/usr/bin/env python3
"""Time and memory of the analysis over decoders of growing size: does it scale, and does it leave weights on disk?

usage: bench/scale.py [--out DIR] [--bin SPARSEC] [--params 1e7 1e8 1e9]

Writes decoders (RMSNorm, grouped-query attention with rotary halves, gated MLP, tied head) whose weights are holes in
a sparse external file, so that a billion parameters cost no disk, and prints a Markdown table of `sparsec inspect`.
Needs the `onnx` package.
"""
import argparse, json, os, pathlib, subprocess
import onnx
from onnx import TensorProto, helper


class Writer:
    """A graph whose large weights lie one after the other in a file that is never written."""

    def __init__(self, data):
        self.nodes, self.weights, self.data, self.offset, self.count = [], [], data, 0, 0

    def weight(self, name, *dims):
        t = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
        size = 4
        for d in dims:
            size *= d
        for key, value in (("location", self.data), ("offset", self.offset), ("length", size)):
            t.external_data.add(key=key, value=str(value))
        self.weights.append(t)
        self.offset += size
        self.count += size // 4
        return name

    def ints(self, *values):
        name = f"ints_{len(self.weights)}"
        self.weights.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def op(self, op, *inputs, **attrs):
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attrs))
        return name


def decoder(folder, layers, d, heads, groups, hidden, vocabulary, length=64):
    w, e = Writer("weights.bin"), d // heads
    table = w.weight("embed", vocabulary, d)
    x = w.op("Gather", table, "tokens")
    cos, sin = w.weight("cos", 1, 1, length, e), w.weight("sin", 1, 1, length, e)

    def norm(x, name):
        square = w.op("Mul", x, x)
        mean = w.op("ReduceMean", square, w.ints(-1), keepdims=1)
        return w.op("Mul", w.op("Div", x, w.op("Sqrt", mean)), w.weight(name, d))

    def apart(x, count):
        return w.op("Transpose", w.op("Reshape", x, w.ints(0, length, count, e)), perm=[0, 2, 1, 3])

    def rotate(x):
        low = w.op("Slice", x, w.ints(0), w.ints(e // 2), w.ints(3))
        high = w.op("Slice", x, w.ints(e // 2), w.ints(e), w.ints(3))
        turned = w.op("Concat", w.op("Neg", high), low, axis=3)
        return w.op("Add", w.op("Mul", x, cos), w.op("Mul", turned, sin))

    def widen(x):
        wide = w.op("Expand", w.op("Unsqueeze", x, w.ints(2)), w.ints(1, groups, heads // groups, length, e))
        return w.op("Reshape", wide, w.ints(0, heads, length, e))

    for i in range(layers):
        at = f"layers.{i}."
        h = norm(x, at + "norm1")
        q = rotate(apart(w.op("MatMul", h, w.weight(at + "q", d, heads * e)), heads))
        k = widen(rotate(apart(w.op("MatMul", h, w.weight(at + "k", d, groups * e)), groups)))
        v = widen(apart(w.op("MatMul", h, w.weight(at + "v", d, groups * e)), groups))
        p = w.op("Softmax", w.op("MatMul", q, w.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
        flat = w.op("Reshape", w.op("Transpose", w.op("MatMul", p, v), perm=[0, 2, 1, 3]), w.ints(0, length, heads * e))
        x = w.op("Add", x, w.op("MatMul", flat, w.weight(at + "o", heads * e, d)))
        h = norm(x, at + "norm2")
        gate = w.op("MatMul", h, w.weight(at + "gate", d, hidden))
        up = w.op("MatMul", h, w.weight(at + "up", d, hidden))
        act = w.op("Mul", w.op("Mul", gate, w.op("Sigmoid", gate)), up)
        x = w.op("Add", x, w.op("MatMul", act, w.weight(at + "down", hidden, d)))
    w.op("MatMul", norm(x, "norm"), w.op("Transpose", table, perm=[1, 0]))
    w.nodes[-1].output[0] = "logits"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(w.nodes, "decoder", [info("tokens", TensorProto.INT64, ["batch", length])],
                              [info("logits", TensorProto.FLOAT, ["batch", length, vocabulary])], w.weights)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx")
    with open(folder / "weights.bin", "wb") as f:
        f.truncate(w.offset)
    return w.count


def shape(params):
    """Sizes of a decoder of about so many parameters, in the proportions that such models have."""
    width = next(d for d in range(128, 1 << 14, 128) if 12 * d * d * max(2, d // 85) + 32000 * d >= params)
    heads = width // 64
    return {"layers": max(2, width // 85), "d": width, "heads": heads, "groups": heads // 2, "hidden": 8 * width // 3 // 64 * 64}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("scale"))
    p.add_argument("--bin", default="sparsec")
    p.add_argument("--params", type=float, nargs="+", default=[1e7, 3e7, 1e8, 3e8, 1e9])
    a = p.parse_args()
    print("| parameters | layers | can leave | slots | analysis | per million slots | whole command | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for params in a.params:
        sizes, folder = shape(params), a.out / f"{params:.0e}"
        count = decoder(folder, vocabulary=32000, **sizes)
        read, write = os.pipe()
        child = subprocess.Popen([a.bin, "inspect", folder / "model.onnx", "--times", "--json", "-q"], stdout=write)
        os.close(write)
        start = os.times().elapsed
        with os.fdopen(read) as f:
            r = json.load(f)
        _, _, usage = os.wait4(child.pid, 0)
        seconds = os.times().elapsed - start
        slots = r["slots"] / 1e6
        print(f"| {count / 1e6:.0f} M | {sizes['layers']} | {100 * r['params_prunable'] / r['params']:.1f} % | {slots:.2f} M "
              f"| {r['analysis_ms']:.0f} ms | {r['analysis_ms'] / 1e3 / slots:.3f} s | {seconds:.1f} s "
              f"| {usage.ru_maxrss / 1024:.0f} MiB |", flush=True)


main()
