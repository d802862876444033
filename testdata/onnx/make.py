#!/usr/bin/env python3
"""Writes the files of this folder with the onnx package (1.23.2). They are committed: tests need no Python."""

import os

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

HERE = os.path.dirname(os.path.abspath(__file__))
OPSETS = [h.make_opsetid("", 21)]


def value(name, elem=T.FLOAT, shape=("batch", 3)):
    return h.make_tensor_value_info(name, elem, shape)


def model(graph, ir_version=11, **more):
    return h.make_model(graph, ir_version=ir_version, opset_imports=more.pop("opset_imports", OPSETS), **more)


def write(name, m):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(m.SerializeToString(deterministic=True))


def meta(message, key):
    entry = message.metadata_props.add()
    entry.key, entry.value = key, f"value of {key}"


def raw(name, elem, dims, data):
    return T(name=name, data_type=elem, dims=dims, raw_data=data)


def subgraphs():
    """If with captured names in two levels, and a Loop."""
    inner = h.make_graph(
        [h.make_node("Add", ["x", "w"], ["deep"])], "inner", [], [h.make_tensor_value_info("deep", T.FLOAT, None)]
    )
    other = h.make_graph([h.make_node("Neg", ["x"], ["e"])], "other", [], [h.make_tensor_value_info("e", T.FLOAT, None)])
    then = h.make_graph(
        [h.make_node("If", ["flag"], ["t"], then_branch=inner, else_branch=other)],
        "then", [], [h.make_tensor_value_info("t", T.FLOAT, None)],
    )
    otherwise = h.make_graph(
        [h.make_node("Mul", ["x", "local"], ["o"])], "else", [], [h.make_tensor_value_info("o", T.FLOAT, None)],
        initializer=[h.make_tensor("local", T.FLOAT, [1], [2.0])],
    )
    body = h.make_graph(
        [h.make_node("Identity", ["go"], ["go_on"]), h.make_node("Add", ["carried", "w"], ["next"])],
        "body",
        [value("i", T.INT64, ()), value("go", T.BOOL, ()), value("carried")],
        [value("go_on", T.BOOL, ()), value("next")],
    )
    return model(h.make_graph(
        [
            h.make_node("If", ["flag"], ["chosen"], then_branch=then, else_branch=otherwise),
            h.make_node("Loop", ["count", "", "chosen"], ["y"], body=body),
        ],
        "subgraphs", [value("x"), value("flag", T.BOOL, ())], [value("y")],
        initializer=[h.make_tensor("w", T.FLOAT, [3], [1, 2, 3]), h.make_tensor("count", T.INT64, [], [4])],
    ))


def functions():
    """Local functions: default attributes, reference attributes, an overload, opsets of their own, metadata."""
    def attribute(name, of, kind):
        a = onnx.AttributeProto(name=name, ref_attr_name=of, type=kind, doc_string="passed on")
        return a
    leaky = h.make_node("LeakyRelu", ["in"], ["mid"])
    leaky.attribute.append(attribute("alpha", "slope", onnx.AttributeProto.FLOAT))
    trans = h.make_node("Transpose", ["mid"], ["out"])
    trans.attribute.append(attribute("perm", "order", onnx.AttributeProto.INTS))
    f = h.make_function("local", "Act", ["in"], ["out"], [leaky, trans], OPSETS, ["order"],
                        [h.make_attribute("slope", 0.25, doc_string="of the negative side")], doc_string="an activation")
    f.value_info.append(h.make_tensor_value_info("mid", T.FLOAT, ["n", "m"]))
    meta(f, "function")
    g = h.make_function("local", "Act", ["in"], ["out"], [h.make_node("Relu", ["in"], ["out"])], [h.make_opsetid("", 18)],
                        overload="plain")
    call = h.make_node("Act", ["x"], ["a"], domain="local", order=[1, 0])
    plain = h.make_node("Act", ["a"], ["y"], domain="local", overload="plain")
    graph = h.make_graph([call, plain], "functions", [value("x")], [value("y", shape=(3, "batch"))])
    return model(graph, functions=[f, g], opset_imports=[*OPSETS, h.make_opsetid("local", 1)])


def types():
    """One initialiser of every element type: typed fields where the standard allows, raw data for the others."""
    tensors = []
    for name, code in T.DataType.items():
        if name == "UNDEFINED":
            continue
        if name == "STRING":
            tensors.append(T(name=name, data_type=code, dims=[3], string_data=[b"a", b"", b"\xff not utf-8"]))
        elif name in ("FLOAT", "COMPLEX64"):
            n = 4 if name == "FLOAT" else 2
            tensors.append(T(name=name, data_type=code, dims=[n], float_data=[1.5, -0.0, float("inf"), 3e-45]))
        elif name in ("DOUBLE", "COMPLEX128"):
            n = 4 if name == "DOUBLE" else 2
            tensors.append(T(name=name, data_type=code, dims=[n], double_data=[1.5, -0.0, float("-inf"), 5e-324]))
        elif name == "INT64":
            tensors.append(T(name=name, data_type=code, dims=[2], int64_data=[-(2**63), 7]))
        elif name in ("UINT32", "UINT64"):
            tensors.append(T(name=name, data_type=code, dims=[2], uint64_data=[2**32 - 1, 7]))
        elif name == "INT32":
            tensors.append(T(name=name, data_type=code, dims=[2], int32_data=[-(2**31), 7]))
        elif name in ("UINT4", "INT4", "FLOAT4E2M1"):
            tensors.append(T(name=name, data_type=code, dims=[5], int32_data=[0x21, 0x43, 0x05]))
        elif name in ("UINT2", "INT2"):
            tensors.append(T(name=name, data_type=code, dims=[5], int32_data=[0xE4, 0x01]))
        elif name.startswith("FLOAT6"):
            tensors.append(T(name=name, data_type=code, dims=[5], int32_data=[1, 2, 3, 4, 63]))
        elif name in ("INT8", "INT16"):
            tensors.append(T(name=name, data_type=code, dims=[3], int32_data=[-128, 127, -1]))
        elif name == "BOOL":
            tensors.append(T(name=name, data_type=code, dims=[2], int32_data=[1, 0]))
        else:
            tensors.append(T(name=name, data_type=code, dims=[2], int32_data=[0x3C, 0x80]))
    packed = [raw("raw_int4", T.INT4, [3], b"\x21\x03"), raw("raw_f16", T.FLOAT16, [2], b"\x00\x3c\x00\xc0"),
              raw("raw_empty", T.FLOAT, [0, 4], b""), raw("scalar", T.BFLOAT16, [], b"\x80\x3f")]
    graph = h.make_graph([h.make_node("Identity", ["x"], ["y"])], "types", [value("x")], [value("y")],
                         initializer=tensors + packed)
    return model(graph, ir_version=13, opset_imports=[h.make_opsetid("", 25)])


def everything_else():
    """Metadata at every level, documentation, denotations, annotations, training, devices, sparse tensors, types."""
    sparse = h.make_sparse_tensor(h.make_tensor("sp", T.FLOAT, [2], [1, 2]), h.make_tensor("sp_at", T.INT64, [2], [1, 5]), [2, 3])
    w = raw("w", T.FLOAT, [3], np.ones(3, np.float32).tobytes())
    w.doc_string = "a weight"
    meta(w, "tensor")
    x = h.make_tensor_value_info("x", T.FLOAT, ["batch", None, 3, "2*batch+1"], "documented", ["N", "", "C", ""])
    x.type.denotation = "IMAGE"
    meta(x, "value")
    mid = h.make_tensor_value_info("mid", T.FLOAT, None)
    meta(mid, "mid")
    const = h.make_node("Constant", [], ["c"], value=raw("named_constant", T.FLOAT, [1], b"\0\0\x80?"))
    const.attribute[0].doc_string = "why this constant"
    scon = h.make_node("Constant", [], ["sc"])
    scon.attribute.append(h.make_attribute("sparse_value", sparse))
    node = h.make_node("Clip", ["x", "", "c"], ["mid"], name="clip", doc_string="upper bound only", domain="ai.onnx")
    meta(node, "node")
    d = node.device_configurations.add(configuration_id="two", pipeline_stage=1)
    d.sharding_spec.add(tensor_name="x", device=[0, 1]).sharded_dim.add(axis=0).simple_sharding.add(dim_param="batch", num_shards=2)
    odd = h.make_node("Odd", ["mid", "sp", "listed"], ["", "y", ""], domain="com.example", f=1.5, i=-3, s=b"\xff", fs=[0.5, -1.0],
                      ints=[1, -2], strings=[b"a", b"\xfe"], ts=[raw("t0", T.UINT8, [1], b"\1"), raw("", T.UINT8, [1], b"\2")])
    odd.attribute.append(h.make_attribute("tp", h.make_tensor_type_proto(T.FLOAT, ["n"])))
    odd.attribute.append(onnx.AttributeProto(name="none", type=onnx.AttributeProto.INTS))
    odd.attribute.append(onnx.AttributeProto(name="tps", type=onnx.AttributeProto.TYPE_PROTOS,
                                             type_protos=[h.make_optional_type_proto(h.make_tensor_type_proto(T.INT64, []))]))
    odd.attribute.append(onnx.AttributeProto(name="sts", type=onnx.AttributeProto.SPARSE_TENSORS, sparse_tensors=[sparse]))
    seq = h.make_value_info("seq", h.make_sequence_type_proto(h.make_tensor_type_proto(T.FLOAT, None)))
    opt = h.make_value_info("opt", h.make_optional_type_proto(h.make_sequence_type_proto(h.make_tensor_type_proto(T.INT64, [1]))))
    mp = h.make_value_info("mp", h.make_map_type_proto(T.STRING, h.make_tensor_type_proto(T.FLOAT, None)))
    st = h.make_value_info("st", h.make_sparse_tensor_type_proto(T.FLOAT, [2, "k"]))
    opaque = onnx.ValueInfoProto(name="opaque")
    opaque.type.opaque_type.domain, opaque.type.opaque_type.name = "com.example", "Thing"
    untyped = onnx.ValueInfoProto(name="listed")
    graph = h.make_graph([const, scon, node, odd], "everything", [x, seq, opt, mp, st, opaque, untyped],
                         [value("y"), onnx.ValueInfoProto(name="sc")], doc_string="graph doc",
                         initializer=[w, h.make_tensor("listed", T.INT32, [], [5])], value_info=[mid, value("nowhere"), value("c", shape=(1,))])
    graph.sparse_initializer.append(sparse)
    meta(graph, "graph")
    a = graph.quantization_annotation.add(tensor_name="mid")
    e = a.quant_parameter_tensor_names.add()
    e.key, e.value = "SCALE_TENSOR", "w"
    m = model(graph, producer_name="make.py", producer_version="", domain="org.example", doc_string="model doc", model_version=0,
              opset_imports=[*OPSETS, h.make_opsetid("com.example", 1)])
    meta(m, "model")
    t = m.training_info.add()
    t.initialization.CopyFrom(h.make_graph([h.make_node("RandomNormal", [], ["r"], shape=[3])], "init", [], [value("r", shape=(3,))]))
    t.initialization_binding.add(key="w", value="r")
    m.configuration.add(name="two", num_devices=2, device=["cpu:0", "cpu:1"])
    return m


def ordinary(nodes=None, inits=(), inputs=None, outputs=None):
    return model(h.make_graph(nodes or [h.make_node("Relu", ["x"], ["y"])], "g", inputs or [value("x")], outputs or [value("y")],
                              initializer=list(inits)))


def old():
    """IR version 3: initialisers listed among the inputs, in another order."""
    g = h.make_graph([h.make_node("Gemm", ["x", "w", "b"], ["y"])], "old",
                     [value("b", shape=(2,)), value("x"), value("w", shape=(3, 2))], [value("y", shape=("batch", 2))],
                     initializer=[raw("w", T.FLOAT, [3, 2], bytes(24)), raw("b", T.FLOAT, [2], bytes(8))])
    return model(g, ir_version=3, opset_imports=[h.make_opsetid("", 8)])


def external():
    data = np.arange(6, dtype=np.float32).tobytes()
    with open(os.path.join(HERE, "external.bin"), "wb") as f:
        f.write(bytes(16) + data + np.ones(2, np.float32).tobytes())
    def refer(name, dims, **entries):
        t = T(name=name, data_type=T.FLOAT, dims=dims, data_location=T.EXTERNAL)
        for k, v in entries.items():
            e = t.external_data.add()
            e.key, e.value = k, str(v)
        return t
    write("external.onnx", ordinary(inits=[refer("w", [2, 3], location="external.bin", offset=16, length=24, checksum="none"),
                                           refer("tail", [2], location="external.bin", offset=40)]))
    bad = {"outside": dict(location="../external.onnx"), "absolute": dict(location="/etc/hostname"), "missing": dict(location="no.bin"),
           "range": dict(location="../external.bin"), "nowhere": {}, "number": dict(location="w.bin", offset="-1")}
    for name, entries in bad.items():
        write(f"hostile/external_{name}.onnx", ordinary(inits=[refer("w", [2], **entries)]))
    with open(os.path.join(HERE, "hostile", "w.bin"), "wb") as f:
        f.write(bytes(8))
    write("hostile/external_range.onnx", ordinary(inits=[refer("w", [2], location="w.bin", offset=2**63, length=2**63)]))
    write("hostile/external_length.onnx", ordinary(inits=[refer("w", [3], location="w.bin", length=8)]))


def hostile():
    def put(name, m):
        write(f"hostile/{name}.onnx", m)
    put("dims_lie", ordinary(inits=[raw("w", T.FLOAT, [4], bytes(12))]))
    put("dims_overflow", ordinary(inits=[raw("w", T.FLOAT, [2**62, 2**62, 4], bytes(4))]))
    put("dims_negative", ordinary(inits=[raw("w", T.FLOAT, [-1], bytes(4))]))
    put("strings_lie", ordinary(inits=[T(name="w", data_type=T.STRING, dims=[2**40], string_data=[b"a"])]))
    put("sixths_lie", ordinary(inits=[T(name="w", data_type=T.FLOAT6E2M3, dims=[4], int32_data=[1, 2, 3])]))
    put("element_type", ordinary(inits=[raw("w", 99, [1], bytes(4))]))
    put("element_range", ordinary(inits=[T(name="w", data_type=T.UINT8, dims=[1], int32_data=[256])]))
    put("two_storages", ordinary(inits=[T(name="w", data_type=T.FLOAT, dims=[1], float_data=[1], raw_data=bytes(4))]))
    put("segment", ordinary(inits=[T(name="w", data_type=T.FLOAT, dims=[1], raw_data=bytes(4), segment=T.Segment(begin=0, end=1))]))
    put("initializer_twice", ordinary(inits=[raw("w", T.FLOAT, [1], bytes(4))] * 2))
    put("initializer_unnamed", ordinary(inits=[raw("", T.FLOAT, [1], bytes(4))]))
    put("input_twice", ordinary(inputs=[value("x"), value("x")]))
    put("result_twice", ordinary([h.make_node("Relu", ["x"], ["y"]), h.make_node("Neg", ["x"], ["y"])]))
    put("result_is_input", ordinary([h.make_node("Relu", ["x"], ["x"]), h.make_node("Neg", ["x"], ["y"])]))
    put("undefined", ordinary([h.make_node("Relu", ["ghost"], ["y"], name="user")]))
    put("undefined_output", ordinary(outputs=[value("ghost")]))
    put("cycle", ordinary([h.make_node("Add", ["x", "b"], ["a"], name="first"), h.make_node("Relu", ["a"], ["b"], name="second"),
                           h.make_node("Neg", ["b"], ["y"], name="after")]))
    branch = h.make_graph([h.make_node("Neg", ["y"], ["b"])], "branch", [], [value("b")])
    put("cycle_by_capture", ordinary([h.make_node("If", ["x"], ["y"], name="itself", then_branch=branch, else_branch=branch)]))
    twice = h.make_node("Elu", ["x"], ["y"], name="elu", alpha=1.0)
    twice.attribute.append(h.make_attribute("alpha", 2.0))
    put("attribute_twice", ordinary([twice]))
    typeless = h.make_node("Elu", ["x"], ["y"], name="elu")
    typeless.attribute.append(onnx.AttributeProto(name="alpha", type=0))
    put("attribute_type", ordinary([typeless]))
    hollow = h.make_node("Constant", [], ["y"], name="c")
    hollow.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR))
    put("attribute_value", ordinary([hollow]))
    for field in ("graph", "ir_version", "opset_import"):
        m = ordinary()
        m.ClearField(field)
        put(f"no_{field}", m)


def unsorted():
    """Acyclic, but not in topological order; one use is by a subgraph."""
    branch = h.make_graph([h.make_node("Neg", ["late"], ["b"])], "branch", [], [value("b")])
    return ordinary([h.make_node("Add", ["middle", "chosen"], ["y"], name="last"),
                     h.make_node("If", ["x"], ["chosen"], name="if", then_branch=branch, else_branch=branch),
                     h.make_node("Relu", ["late"], ["middle"], name="second"), h.make_node("Neg", ["x"], ["late"], name="first")])


def weights(name, *shape, seed=0):
    return raw(name, T.FLOAT, shape, (np.random.RandomState(seed).randn(*shape) * 0.3).astype("f4").tobytes())


def layers(x=T.FLOAT, first=None, middle=None, inits=None, info=(), **more):
    """Two convolutions that channels are cut between."""
    nodes = [first or h.make_node("Conv", ["x", "w", "b"], ["a"], "first", pads=[1] * 4),
             middle or h.make_node("Relu", ["a"], ["r"], "middle"), h.make_node("Conv", ["r", "v"], ["y"], "last")]
    inits = inits or [weights("w", 8, 3, 3, 3), weights("b", 8), weights("v", 4, 8, 1, 1)]
    more.setdefault("opset_imports", [h.make_opsetid("", 17)])
    return model(h.make_graph(nodes, "g", [value("x", x, (1, 3, 6, 6))], [value("y", shape=(1, 4, 6, 6))], initializer=inits,
                              value_info=list(info)), ir_version=8, **more)


def nested(depth):
    last = h.make_graph([h.make_node("Identity", ["x"], ["r"])], "last", [], [h.make_tensor_value_info("r", T.FLOAT, None)])
    for i in range(depth):
        node = h.make_node("If", ["c"], [f"r{i}"], then_branch=last, else_branch=last if i == 0 else h.make_graph(
            [h.make_node("Neg", ["x"], [f"n{i}"])], "else", [], [h.make_tensor_value_info(f"n{i}", T.FLOAT, None)]))
        last = h.make_graph([node], f"level{i}", [], [h.make_tensor_value_info(f"r{i}", T.FLOAT, None)])
    return last.node[0]


def odd():
    """Files that are legal and odd, or wrong in what their nodes mean: what each deserves is in crates/sparsec/tests/hostile.rs."""
    def put(name, m):
        with open(os.path.join(HERE, "hostile", f"{name}.onnx"), "wb") as f:
            f.write(m if isinstance(m, bytes) else m.SerializeToString(deterministic=True))
    whole = layers().SerializeToString(deterministic=True)
    put("truncated", whole[:len(whole) * 6 // 10])
    put("truncated_varint", bytes([0x08, 0x0a, 0x3a, 0xff]))
    put("wrong_wire_type", bytes([0x08, 0x0a, 0x38, 0x01]))
    put("not_protobuf", b"\x89PNG\r\n\x1a\n" + bytes(range(64)))
    put("empty_file", b"")
    put("nodes_of_one_name", layers(first=h.make_node("Conv", ["x", "w", "b"], ["a"], "last", pads=[1] * 4)))
    put("huge_constant", model(h.make_graph(
        [h.make_node("ConstantOfShape", ["s"], ["c"]), h.make_node("ReduceSum", ["c"], ["t"], keepdims=0),
         h.make_node("Add", ["x", "t"], ["y"])], "g", [value("x", shape=(4,))], [value("y", shape=(4,))],
        initializer=[h.make_tensor("s", T.INT64, [3], [1000] * 3)])))
    deep = nested(30)
    put("sizes_overflow", model(h.make_graph(
        [h.make_node("Concat", ["a", "b", "c"], ["y"], axis=0)], "g", [value(n, shape=(2**63 - 1,)) for n in "abc"],
        [value("y", shape=("n",))])))
    sides = [f"s{i}" for i in range(16)]
    put("sizes_of_many_terms", model(h.make_graph(
        [h.make_node("Pad", ["x", "p"], ["h"]), h.make_node("Reshape", ["h", "m"], ["y"])], "g", [value("x", shape=sides)],
        [value("y", shape=("n",))], initializer=[h.make_tensor("p", T.INT64, [32], [1] * 32), h.make_tensor("m", T.INT64, [1], [-1])])))
    squares = [h.make_node("Mul", [f"n{i}"] * 2, [f"n{i + 1}"]) for i in range(40)]
    put("sizes_squared", model(h.make_graph(
        [h.make_node("Shape", ["x"], ["n0"], start=0, end=1), *squares, h.make_node("Cast", ["n40"], ["f"], to=T.FLOAT),
         h.make_node("Add", ["x", "f"], ["y"])], "g", [value("x", shape=("batch", 2**40))], [value("y", shape=("batch", 2**40))])))
    put("deep_if", model(h.make_graph([deep], "g", [value("x"), value("c", T.BOOL, ())],
                                      [h.make_tensor_value_info(deep.output[0], T.FLOAT, None)])))
    again = h.make_function("local", "Again", ["p"], ["q"], [h.make_node("Again", ["p"], ["q"], domain="local")],
                            [h.make_opsetid("local", 1)])
    put("recursive_function", layers(middle=h.make_node("Again", ["a"], ["r"], domain="local"), functions=[again],
                                     opset_imports=[h.make_opsetid("", 17), h.make_opsetid("local", 1)]))
    mystery = h.make_node("Mystery", ["a"], ["r"], domain="org.example", depth=3)
    put("unknown_operator", layers(middle=mystery, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("org.example", 7)]))
    put("domain_not_imported", layers(middle=mystery))
    put("future_opset", layers(opset_imports=[h.make_opsetid("", 999)]))
    sick = np.ones((8, 3, 3, 3), np.float32)
    sick[1, 2] = np.nan
    put("nan_weights", layers(inits=[raw("w", T.FLOAT, sick.shape, sick.tobytes()), weights("b", 8), weights("v", 4, 8, 1, 1)]))
    put("empty_graph", model(h.make_graph([], "g", [value("x")], [value("x")])))
    put("zero_sized", model(h.make_graph(
        [h.make_node("Concat", ["x", "none"], ["c"], axis=0), h.make_node("MatMul", ["c", "w"], ["y"])], "g",
        [value("x", shape=(2, 3))], [value("y", shape=(2, 4))], initializer=[raw("none", T.FLOAT, [0, 3], b""), weights("w", 3, 4)])))
    thin = h.make_graph([h.make_node("MatMul", ["x", "w"], ["h"]), h.make_node("Relu", ["h"], ["r"]), h.make_node("MatMul", ["r", "v"], ["y"])],
                        "g", [value("x", shape=(2, 6))], [value("y", shape=(2, 3))], initializer=[weights("v", 8, 3)])
    at = [i for i in range(48) if i % 3]
    thin.sparse_initializer.append(h.make_sparse_tensor(h.make_tensor("w", T.FLOAT, [len(at)], [0.1 * i - 2 for i in at]),
                                                        h.make_tensor("w_at", T.INT64, [len(at)], at), [6, 8]))
    put("sparse_initialiser", model(thin))
    beyond = h.make_graph([h.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x", shape=(2, 6))], [value("y", shape=(2, 3))])
    beyond.sparse_initializer.append(h.make_sparse_tensor(h.make_tensor("w", T.FLOAT, [1], [1]), h.make_tensor("w_at", T.INT64, [1], [18]), [6, 3]))
    put("sparse_outside", model(beyond))
    put("int4_weights", model(h.make_graph(
        [h.make_node("DequantizeLinear", ["w", "s"], ["f"], axis=1), h.make_node("MatMul", ["x", "f"], ["y"])], "g",
        [value("x", shape=(2, 5))], [value("y", shape=(2, 3))], initializer=[raw("w", T.INT4, [5, 3], bytes(range(8))), weights("s", 3)])))
    put("float8_weights", model(h.make_graph(
        [h.make_node("Cast", ["w"], ["f"], to=T.FLOAT), h.make_node("MatMul", ["x", "f"], ["y"])], "g", [value("x", shape=(2, 5))],
        [value("y", shape=(2, 3))], initializer=[raw("w", T.FLOAT8E4M3FN, [5, 3], bytes(range(15)))])))
    put("strings", model(h.make_graph(
        [h.make_node("Gather", ["words", "i"], ["y"])], "g", [value("i", T.INT64, (2,))], [value("y", T.STRING, (2,))],
        initializer=[T(name="words", data_type=T.STRING, dims=[3], string_data=[b"a", b"\xff\xfe\x00", "ü".encode()])])))
    listed = layers()
    for t in listed.graph.initializer:
        listed.graph.input.append(h.make_tensor_value_info(t.name, t.data_type, t.dims))
    listed.ir_version, listed.opset_import[0].version = 3, 9
    put("initialiser_is_input", listed)
    put("output_twice", ordinary(outputs=[value("y"), value("y")]))
    put("empty_optionals", model(h.make_graph(
        [h.make_node("Clip", ["x", "", "top"], ["c"]), h.make_node("Dropout", ["c"], ["y", ""]), h.make_node("Neg", ["c"], ["unread"])],
        "g", [value("x")], [value("y")], initializer=[h.make_tensor("top", T.FLOAT, [], [6.0])])))
    put("strides_is_float", layers(first=h.make_node("Conv", ["x", "w", "b"], ["a"], "first", pads=[1] * 4, strides=1.5)))
    put("lying_shape", layers(info=[value("r", shape=(1, 9, 6, 6))]))
    put("mixed_types", layers(x=T.DOUBLE))


for make in (subgraphs, functions, types, everything_else, old, unsorted):
    write(f"{make.__name__}.onnx", make())
external()
hostile()
odd()
with open(os.path.join(HERE, "tensor.pb"), "wb") as f:
    f.write(h.make_tensor("named", T.FLOAT16, [2], [1.0, -2.0]).SerializeToString())
