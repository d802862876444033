#!/usr/bin/env python3
"""Compares ONNX files by what they mean: `onnx_equal.py A B [A B ...]`, or lines of
`examples/roundtrip --into FOLDER` on standard input (those that begin with `equal` are compared).

Each message must be equal after tensors are brought to one storage (`raw_data`), unset fields and explicit defaults
are told apart no longer, and fields that the standard does not have are dropped. Exits with 1 where a pair differs."""

import os
import sys

import numpy
import onnx
from google.protobuf.message import Message
from onnx import TensorProto, external_data_helper, numpy_helper

STORAGES = ["float_data", "int32_data", "int64_data", "double_data", "uint64_data"]


def normalise_tensor(tensor, folder):
    """Everything inline, in raw_data."""
    if external_data_helper.uses_external_data(tensor):
        external_data_helper.load_external_data_for_tensor(tensor, folder)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    if tensor.data_type == TensorProto.STRING:
        return
    if not tensor.HasField("raw_data"):
        packed = any(len(getattr(tensor, s)) for s in STORAGES)
        array = numpy_helper.to_array(tensor) if packed else numpy.zeros(0, numpy.uint8)
        raw = numpy_helper.from_array(array).raw_data if packed else b""
        for storage in STORAGES:
            tensor.ClearField(storage)
        tensor.raw_data = raw


def normalise(message, folder):
    """The message with one spelling of everything, in place."""
    if isinstance(message, TensorProto):
        normalise_tensor(message, folder)
    message.DiscardUnknownFields()
    for field, value in message.ListFields():
        if field.message_type:
            for part in [value] if isinstance(value, Message) else value:
                normalise(part, folder)
        elif not isinstance(value, (str, bytes, int, float)):
            continue  # a repeated scalar
        elif value == field.default_value and message.DESCRIPTOR.name != "AttributeProto" and not field.containing_oneof:
            message.ClearField(field.name)


def read(path):
    model = onnx.load(path, load_external_data=False)
    normalise(model, os.path.dirname(path))
    return model.SerializeToString(deterministic=True)


def main():
    paths = sys.argv[1:]
    if not paths:
        lines = (line.split() for line in sys.stdin)
        paths = [p for words in lines if words[:1] == ["equal"] for p in words[1:3]]
    if len(paths) % 2:
        sys.exit(__doc__)
    different = [(a, b) for a, b in zip(paths[::2], paths[1::2]) if read(a) != read(b)]
    for a, b in different:
        print(f"{a} and {b} differ")
    print(f"{len(paths) // 2 - len(different)} equal, {len(different)} different")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
