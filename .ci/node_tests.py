#!/usr/bin/env python3
"""Writes the tests of the onnx package for `crates/ops/examples/node_tests`: `node_tests.py FOLDER`.

The tests are the node tests, the small models that the package ships in files, and the node tests in the spelling of
earlier operator sets, as far as the package can convert them. FOLDER gets `NAME.onnx` for each and, where it has
operands that could state sizes, `NAME.given.onnx` with these and the results of its `Constant` nodes as initializers.
Types of computed values are left out. `FOLDER/expected` has a line for each result that is a tensor: file, value,
element type, sizes; the sizes are those of the results that ship with the test.
"""

import sys
import warnings
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, numpy_helper

# Operator sets that a node test is converted to, each from the one before.
EARLIER = [21, 18, 13, 12, 11, 10, 9, 8, 7, 6, 5]
# What the package converts wrongly: before version 9 `Scan` has a batch axis, before version 7 `PRelu` has a slope for
# each channel, not for each slot of the last axis.
WRONG = {"test_scan9_multi_state.8", "test_scan9_scalar.8", "test_scan9_sum.8", "test_prelu_broadcast.6"}
# Operands with more elements, or of a higher rank, do not speak of sizes.
MAX_GIVEN = 64


def tensor_of(value) -> TensorProto | None:
    if isinstance(value, TensorProto):
        return value
    if isinstance(value, (list, tuple, dict)) or value is None:
        return None
    return numpy_helper.from_array(numpy.asarray(value))


def text_type(elem: int) -> str:
    return {TensorProto.FLOAT: "float", TensorProto.DOUBLE: "double"}.get(elem) or TensorProto.DataType.Name(elem).lower()


def constant_of(node: onnx.NodeProto) -> TensorProto | None:
    """The tensor of a `Constant` node."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return attribute.t
        if attribute.name in ("value_float", "value_floats"):
            value = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            return numpy_helper.from_array(numpy.array(value, numpy.float32))
        if attribute.name in ("value_int", "value_ints"):
            value = attribute.i if attribute.name == "value_int" else list(attribute.ints)
            return numpy_helper.from_array(numpy.array(value, numpy.int64))
    return None


def with_constants(model: onnx.ModelProto, inputs: list) -> onnx.ModelProto | None:
    """The model with what may state sizes as initializers; `None` where nothing may."""
    given = onnx.ModelProto()
    given.CopyFrom(model)
    kept, nodes = [], []
    for info, value in zip(model.graph.input, inputs):
        tensor = tensor_of(value) if info.type.HasField("tensor_type") else None
        small = tensor is not None and len(tensor.dims) <= 1 and numpy.prod(tensor.dims, dtype=int) <= MAX_GIVEN
        if small and tensor.data_type == info.type.tensor_type.elem_type:
            constant = given.graph.initializer.add()
            constant.CopyFrom(tensor)
            constant.name = info.name
        else:
            kept.append(info)
    for node in model.graph.node:
        tensor = constant_of(node) if node.op_type == "Constant" else None
        if tensor is None:
            nodes.append(node)
        else:
            constant = given.graph.initializer.add()
            constant.CopyFrom(tensor)
            constant.name = node.output[0]
    if len(given.graph.initializer) == len(model.graph.initializer):
        return None
    del given.graph.input[:], given.graph.node[:]
    given.graph.input.extend(kept + list(model.graph.input)[len(inputs) :])
    given.graph.node.extend(nodes)
    return given


def earlier(model: onnx.ModelProto):
    """The model in earlier operator sets, where its spelling changes, and where the package can convert it."""
    before, nodes = model, [n.SerializeToString() for n in model.graph.node]
    for version in EARLIER:
        if len(model.opset_import) != 1 or model.opset_import[0].version <= version:
            continue
        try:
            before = onnx.version_converter.convert_version(before, version)
            onnx.checker.check_model(before)
        except Exception:  # the converter raises what it likes
            return
        now = [n.SerializeToString() for n in before.graph.node]
        if now != nodes or since(before) != since(model):
            yield version, before
        nodes = now


def since(model: onnx.ModelProto) -> list[int]:
    """The versions of the model's operators."""
    version = model.opset_import[0].version
    return [onnx.defs.get_schema(n.op_type, version, n.domain).since_version for n in model.graph.node]


def shipped():
    """Name, model, inputs and outputs of the models in files."""
    for folder in sorted((Path(onnx.__file__).parent / "backend/test/data").glob("*/*/test_data_set_0")):
        def read(kind: str) -> list:
            files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda f: int(f.stem.split("_")[1]))
            return [onnx.load_tensor(f) for f in files]

        path = folder.parent / "model.onnx"
        try:
            yield f"{path.parts[-3]}-{path.parts[-2]}", onnx.load(path), read("input"), read("output")
        except Exception:  # a sequence, not a tensor
            continue


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []

    def add(name: str, model: onnx.ModelProto, inputs: list, outputs: list) -> None:
        expected = []
        for info, value in zip(model.graph.output, outputs):
            tensor = tensor_of(value) if info.type.HasField("tensor_type") else None
            if tensor is not None:
                elem = info.type.tensor_type.elem_type
                expected.append(f"{info.name}\t{text_type(elem)}\t{','.join(map(str, tensor.dims))}")
        if not expected:
            return
        for kind, variant in [("", model), (".given", with_constants(model, inputs))]:
            if variant is None:
                continue
            del variant.graph.value_info[:]
            for output in variant.graph.output:
                output.ClearField("type")
            path = folder / f"{name}{kind}.onnx"
            path.write_bytes(variant.SerializeToString())
            lines.extend(f"{path}\t{line}\n" for line in expected)

    def copy(model: onnx.ModelProto) -> onnx.ModelProto:
        out = onnx.ModelProto()
        out.CopyFrom(model)
        return out

    cases = sorted(collect_testcases(None), key=lambda c: c.name)
    files, old = list(shipped()), 0
    for case in cases:
        inputs, outputs = case.data_sets[0]
        add(case.name, copy(case.model), inputs, outputs)
        for version, model in earlier(case.model):
            if (name := f"{case.name}.{version}") not in WRONG:
                add(name, copy(model), inputs, outputs)
                old += 1
    for file in files:
        add(*file)
    (folder / "expected").write_text("".join(lines))
    print(f"onnx {onnx.__version__}: {len(cases)} node tests, {old} in earlier spellings, {len(files)} models in files")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
