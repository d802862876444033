//! Attention over sequences, as exporters spell it.

use super::build::{Builder, Value};
use sparsec_ir::{Attr, ValueId};

/// q, k and v as `[n, heads, t, dimensions]`.
struct Heads {
    q: ValueId,
    k: ValueId,
    v: ValueId,
}

/// A residual attention block with a random spelling.
pub(super) fn block(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let (h, e) = (b.random.pick(&[2, 3]), b.random.pick(&[2, 4]));
    let spelling = b.random.below(5);
    let heads = match spelling {
        0 => fused(b, x, h, e, true),
        1 => fused(b, x, h, e, false),
        2 => split(b, x, h, e),
        3 => grouped(b, x, e),
        _ => separate(b, x, h, e),
    };
    let h = if spelling == 3 { 4 } else { h };
    let keys = b.transpose(heads.k, &[0, 1, 3, 2]);
    let scale = b.scalar(0.5);
    let q = b.op("Mul", &[heads.q, scale], &[]);
    let scores = b.op("MatMul", &[q, keys], &[]);
    let scores = if b.random.chance(30) {
        let mask = b.bias(&[1, 1, t, t]);
        b.op("Add", &[scores, mask], &[])
    } else {
        scores
    };
    let weights = b.op("Softmax", &[scores], &[("axis", Attr::Int(-1))]);
    let mixed = b.op("MatMul", &[weights, heads.v], &[]);
    let turned = b.transpose(mixed, &[0, 2, 1, 3]);
    let flat = b.reshape(turned, &[t, h * e]);
    let y = b.linear(&Value { id: flat, dims: vec![t, h * e] }, d);
    let id = b.op("Add", &[x.id, y.id], &[]);
    x.same(id)
}

/// One matrix for q, k and v; `[n, t, 3, h, e]`, transposed and taken apart by index or by slices.
fn fused(b: &mut Builder, x: &Value, h: u64, e: u64, by_index: bool) -> Heads {
    let t = x.dims[0];
    let qkv = b.linear(x, 3 * h * e);
    let apart = b.reshape(qkv.id, &[t, 3, h, e]);
    let turned = b.transpose(apart, &[2, 0, 3, 1, 4]);
    let parts: Vec<ValueId> = (0..3)
        .map(|i| {
            if by_index {
                let at = b.int(i);
                return b.op("Gather", &[turned, at], &[("axis", Attr::Int(0))]);
            }
            let operands = [i, i + 1, 0].map(|n| b.ints(&[n]));
            let part = b.op("Slice", &[&[turned], operands.as_slice()].concat(), &[]);
            let axes = b.ints(&[0]);
            b.op("Squeeze", &[part, axes], &[])
        })
        .collect();
    Heads { q: parts[0], k: parts[1], v: parts[2] }
}

/// `[n, t, h·e]` as heads.
fn heads(b: &mut Builder, x: ValueId, t: u64, h: u64, e: u64) -> ValueId {
    let apart = b.reshape(x, &[t, h, e]);
    b.transpose(apart, &[0, 2, 1, 3])
}

/// One matrix, taken apart by `Split`.
fn split(b: &mut Builder, x: &Value, h: u64, e: u64) -> Heads {
    let t = x.dims[0];
    let qkv = b.linear(x, 3 * h * e);
    let sizes = b.ints(&[(h * e) as i64; 3]);
    let parts = b.ops("Split", &[Some(qkv.id), Some(sizes)], &[("axis", Attr::Int(2))], 3);
    let [q, k, v] = [0, 1, 2].map(|i| heads(b, parts[i], t, h, e));
    Heads { q, k, v }
}

/// A matrix each; keys and values may have another width than the values mixed.
fn separate(b: &mut Builder, x: &Value, h: u64, e: u64) -> Heads {
    let t = x.dims[0];
    let inner = b.random.pick(&[e, e + 1]);
    let (q, k, v) = (b.linear(x, h * inner), b.linear(x, h * inner), b.linear(x, h * e));
    Heads { q: heads(b, q.id, t, h, inner), k: heads(b, k.id, t, h, inner), v: heads(b, v.id, t, h, e) }
}

/// Four heads of queries over two of keys and values, which are repeated.
fn grouped(b: &mut Builder, x: &Value, e: u64) -> Heads {
    let t = x.dims[0];
    let (q, k, v) = (b.linear(x, 4 * e), b.linear(x, 2 * e), b.linear(x, 2 * e));
    let q = heads(b, q.id, t, 4, e);
    let [k, v] = [k, v].map(|y| {
        let few = heads(b, y.id, t, 2, e);
        let axes = b.ints(&[2]);
        let wide = b.op("Unsqueeze", &[few, axes], &[]);
        let sizes = b.ints(&[1, 2, 2, t as i64, e as i64]);
        let wide = b.op("Expand", &[wide, sizes], &[]);
        b.reshape(wide, &[4, t, e])
    });
    Heads { q, k, v }
}
