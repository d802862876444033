//! What the tests of this crate share.

#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;

/// A committed file of `testdata/onnx`; `make.py` there tells what is in it.
pub fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/onnx").join(name)
}

/// A length-delimited field of the wire format.
pub fn field(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3 | 2);
    out.extend(varint(payload.len() as u64));
    out.extend_from_slice(payload);
    out
}

/// A varint field of the wire format.
pub fn int(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A `ModelProto` around the fields of a graph: IR version 10, operator set 21.
pub fn model(graph: &[u8]) -> Vec<u8> {
    [int(1, 10), field(7, graph), field(8, &int(2, 21))].concat()
}

/// A `NodeProto`.
pub fn node(inputs: &[&str], outputs: &[&str], op: &str, rest: &[u8]) -> Vec<u8> {
    let names = |number, names: &[&str]| names.iter().flat_map(|n| field(number, n.as_bytes())).collect::<Vec<u8>>();
    [names(1, inputs), names(2, outputs), field(4, op.as_bytes()), rest.to_vec()].concat()
}
