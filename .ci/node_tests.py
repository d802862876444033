#!/usr/bin/env python3
"""Writes the node tests of the onnx package for `crates/ops/examples/node_tests`: `node_tests.py FOLDER`.

FOLDER gets `NAME.onnx` for each case and, where it has operands that could state sizes, `NAME.given.onnx` with these as
initializers. Types of computed values are left out. `FOLDER/expected` has a line for each result that is a tensor:
file, value, element type, sizes; the sizes are those of the results that ship with the case.
"""

import sys
import warnings
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

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


def write(model: onnx.ModelProto, path: Path) -> None:
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.ClearField("type")
    path.write_bytes(model.SerializeToString())


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    folder.mkdir(parents=True, exist_ok=True)
    lines, cases = [], 0
    for case in sorted(collect_testcases(None), key=lambda c: c.name):
        cases += 1
        inputs, outputs = case.data_sets[0]
        expected = []
        for info, value in zip(case.model.graph.output, outputs, strict=True):
            tensor = tensor_of(value) if info.type.HasField("tensor_type") else None
            if tensor is not None:
                elem = info.type.tensor_type.elem_type
                expected.append(f"{info.name}\t{text_type(elem)}\t{','.join(map(str, tensor.dims))}")
        if not expected:
            continue
        given = onnx.ModelProto()
        given.CopyFrom(case.model)
        kept = []
        for info, value in zip(case.model.graph.input, inputs, strict=True):
            tensor = tensor_of(value) if info.type.HasField("tensor_type") else None
            small = tensor is not None and len(tensor.dims) <= 1 and numpy.prod(tensor.dims, dtype=int) <= MAX_GIVEN
            if small and tensor.data_type == info.type.tensor_type.elem_type:
                constant = given.graph.initializer.add()
                constant.CopyFrom(tensor)
                constant.name = info.name
            else:
                kept.append(info)
        paths = [folder / f"{case.name}.onnx"]
        if given.graph.initializer and len(kept) < len(case.model.graph.input):
            paths.append(folder / f"{case.name}.given.onnx")
            del given.graph.input[:]
            given.graph.input.extend(kept)
            write(given, paths[1])
        write(case.model, paths[0])
        lines += [f"{path}\t{line}\n" for path in paths for line in expected]
    (folder / "expected").write_text("".join(lines))
    print(f"{cases} cases of onnx {onnx.__version__}, operator set {onnx.defs.onnx_opset_version()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
