#!/usr/bin/env python3
"""Time and peak memory of whole compilations, beside one dense pass of the same runtime over the same samples.

usage: bench/whole.py [--out DIR] [--bin SPARSEC] [--threads N] [--samples N] [--only resnet50|encoder] [-- ARGS OF COMPILE]

Writes ResNet-50 at 224x224 (256 images) and an encoder of 110 million parameters (512 sequences of 128 tokens) with random
weights, compiles each to half its multiply-accumulates, and times one pass of the dense model with `sparsec eval` (against
labels that say nothing). The store of a compilation is deleted before. Prints a Markdown table. Needs the `onnx` package.
"""
import argparse, math, os, pathlib, shutil, subprocess, sys, time
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Nodes and random weights of a graph."""

    def __init__(self):
        self.nodes, self.weights, self.draw = [], [], np.random.default_rng(1)

    def const(self, array):
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *dims, gain=1.0):
        inputs = dims[0] if len(dims) == 2 else int(np.prod(dims[1:]))
        return self.const((self.draw.standard_normal(dims) * gain / math.sqrt(inputs)).astype(np.float32))

    def op(self, op, *inputs, **attrs):
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attrs))
        return name

    def save(self, path, inputs, output, dims):
        self.nodes[-1].output[0] = output
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, dims)
        graph = helper.make_graph(self.nodes, path.parent.name, inputs, [out], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def resnet50(path):
    w = Writer()

    def conv(x, cin, cout, k, stride=1, gain=math.sqrt(2)):
        bias = w.const(np.zeros(cout, np.float32))
        return w.op("Conv", x, w.weight(cout, cin, k, k, gain=gain), bias, strides=[stride] * 2, pads=[k // 2] * 4)

    x = w.op("MaxPool", w.op("Relu", conv("image", 3, 64, 7, 2)), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    cin = 64
    for stage, (blocks, mid) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for b in range(blocks):
            stride = 2 if b == 0 and stage else 1
            h = w.op("Relu", conv(w.op("Relu", conv(x, cin, mid, 1)), mid, mid, 3, stride))
            h = conv(h, mid, 4 * mid, 1, gain=0.5)
            x = w.op("Relu", w.op("Add", h, conv(x, cin, 4 * mid, 1, stride) if b == 0 else x))
            cin = 4 * mid
    x = w.op("Flatten", w.op("GlobalAveragePool", x))
    w.op("Gemm", x, w.weight(2048, 1000), w.const(np.zeros(1000, np.float32)))
    w.save(path, [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])], "logits", ["n", 1000])


def encoder(path, layers=12, d=768, heads=12, hidden=3072, vocabulary=30522, length=128):
    w = Writer()

    def linear(x, a, b, gain=1.0):
        return w.op("Add", w.op("MatMul", x, w.weight(a, b, gain=gain)), w.const(np.zeros(b, np.float32)))

    def norm(x):
        scale, shift = w.const(np.ones(d, np.float32)), w.const(np.zeros(d, np.float32))
        return w.op("LayerNormalization", x, scale, shift, axis=-1)

    def apart(x, perm):
        shape = w.const(np.array([0, length, heads, d // heads]))
        return w.op("Transpose", w.op("Reshape", x, shape), perm=perm)

    x = w.op("Add", w.op("Gather", w.weight(vocabulary, d, gain=math.sqrt(vocabulary)), "tokens"), w.weight(length, d))
    x = norm(x)
    for _ in range(layers):
        q, k, v = (apart(linear(x, d, d), p) for p in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        scores = w.op("Mul", w.op("MatMul", q, k), w.const(np.float32(1 / math.sqrt(d // heads))))
        mixed = w.op("Transpose", w.op("MatMul", w.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        mixed = w.op("Reshape", mixed, w.const(np.array([0, length, d])))
        x = norm(w.op("Add", linear(mixed, d, d), x))
        x = norm(w.op("Add", linear(w.op("Gelu", linear(x, d, hidden)), hidden, d), x))
    w.op("ReduceMean", x, w.const(np.array([1])), keepdims=0)
    w.save(path, [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", length])], "y", ["n", d])


def images(draw):
    return {"image": draw.integers(0, 256, (256, 3, 224, 224), dtype=np.uint8)}


CASES = {
    "resnet50": (resnet50, images, ["--scale", "1/255"]),
    "encoder": (encoder, lambda draw: {"tokens": draw.integers(0, 30522, (512, 128))}, []),
}


def timed(command, log):
    """Seconds on the clock and peak MiB of a command."""
    start = time.time()
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 4):
        sys.exit(f"{' '.join(command)}\n{pathlib.Path(log).read_text()[-2000:]}")
    return time.time() - start, usage.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("/tmp/sparsec-whole"))
    p.add_argument("--bin", default="target/release/sparsec")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--samples", type=int, help="fewer samples than the case has")
    p.add_argument("--only", choices=CASES)
    p.add_argument("rest", nargs="*", help="arguments of compile in place of --max-macs 50%%")
    args = p.parse_args()
    print("| model | samples | dense pass, s | compile, s | ratio | peak of the pass, MiB | of compile, MiB |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, (build, data, options) in CASES.items():
        if args.only not in (None, name):
            continue
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        model, samples = folder / "model.onnx", folder / f"samples-{args.samples or 'all'}.npz"
        if not model.exists():
            build(model)
        if not samples.exists():
            arrays = data(np.random.default_rng(2))
            arrays = {k: v[: args.samples] for k, v in arrays.items()}
            count = len(next(iter(arrays.values())))
            np.savez(samples, label=np.zeros(count, np.int64), **arrays)
        count = len(np.load(samples)["label"])
        base = [args.bin, "--threads", str(args.threads)]
        dense, low = timed([*base, "eval", str(model), "--data", str(samples), *options, "--metric", "top1"], folder / "eval.log")
        shutil.rmtree(folder / "out", ignore_errors=True)
        limits = args.rest or ["--max-macs", "50%"]
        compile = [*base, "compile", str(model), "-o", str(folder / "out"), "--data", str(samples), *options, *limits]
        whole, high = timed(compile, folder / "compile.log")
        print(f"| {name} | {count} | {dense:.1f} | {whole:.1f} | {whole / dense:.1f} | {low:.0f} | {high:.0f} |", flush=True)


if __name__ == "__main__":
    main()
