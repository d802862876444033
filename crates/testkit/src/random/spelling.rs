//! Detours over sequences `[n, t, d]` that exporters write: rotations, windows, addressed slots, computed weights.

use super::build::{Builder, Value};
use sparsec_ir::{Attr, ValueId};

/// One random detour.
pub(super) fn step(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    match b.random.below(12) {
        0 if d.is_multiple_of(2) => rotate_halves(b, x),
        1 if d.is_multiple_of(2) => rotate_pairs(b, x),
        2 if t.is_multiple_of(2) => windows(b, x),
        3 => addressed(b, x),
        4 => scattered(b, x),
        5 => heads_by_einsum(b, x),
        6 if d.is_multiple_of(2) => gated_halves(b, x),
        7 => mix_steps(b, x),
        8 => running_sum(b, x),
        9 => largest(b, x),
        _ => computed_weight(b, x),
    }
}

fn slice(b: &mut Builder, x: ValueId, axis: i64, from: u64, to: u64) -> ValueId {
    let operands = [from as i64, to as i64, axis].map(|n| b.ints(&[n]));
    b.op("Slice", &[&[x], operands.as_slice()].concat(), &[])
}

/// x · cos + (−second half, first half) · sin.
fn rotate_halves(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let (cos, sin) = (b.bias(&[1, t, d]), b.bias(&[1, t, d]));
    let (first, second) = (slice(b, x.id, 2, 0, d / 2), slice(b, x.id, 2, d / 2, d));
    let minus = b.op("Neg", &[second], &[]);
    let turned = b.op("Concat", &[minus, first], &[("axis", Attr::Int(2))]);
    let (straight, across) = (b.op("Mul", &[x.id, cos], &[]), b.op("Mul", &[turned, sin], &[]));
    let id = b.op("Add", &[straight, across], &[]);
    x.same(id)
}

/// The same over neighbours: `[n, t, d/2, 2]`, taken apart and stacked again.
fn rotate_pairs(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let pairs = b.reshape(x.id, &[t, d / 2, 2]);
    let (cos, sin) = (b.bias(&[t, d / 2]), b.bias(&[t, d / 2]));
    let [even, odd] = [0, 1].map(|i| {
        let at = b.int(i);
        b.op("Gather", &[pairs, at], &[("axis", Attr::Int(3))])
    });
    let turn = |b: &mut Builder, op: &str, p: ValueId, q: ValueId| {
        let (p, q) = (b.op("Mul", &[p, cos], &[]), b.op("Mul", &[q, sin], &[]));
        let y = b.op(op, &[p, q], &[]);
        let axes = b.ints(&[3]);
        b.op("Unsqueeze", &[y, axes], &[])
    };
    let (left, right) = (turn(b, "Sub", even, odd), turn(b, "Add", odd, even));
    let both = b.op("Concat", &[left, right], &[("axis", Attr::Int(-1))]);
    let id = b.reshape(both, &[t, d]);
    x.same(id)
}

/// Steps in two windows, moved behind the steps of a window and back after a layer.
fn windows(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let apart = b.reshape(x.id, &[2, t / 2, d]);
    let turned = b.transpose(apart, &[0, 2, 1, 3]);
    let flat = b.reshape(turned, &[t, d]);
    let y = b.linear(&x.same(flat), d);
    let apart = b.reshape(y.id, &[t / 2, 2, d]);
    let turned = b.transpose(apart, &[0, 2, 1, 3]);
    let id = b.reshape(turned, &[t, d]);
    x.same(id)
}

/// Slots of one axis, moved to the front, by a column of indices.
fn addressed(b: &mut Builder, x: &Value) -> Value {
    let axis = b.random.below(2) as usize;
    let perm: [i64; 3] = if axis == 0 { [1, 0, 2] } else { [2, 1, 0] };
    let total = x.dims[axis];
    let count = 1 + b.random.below(total);
    let indices: Vec<i64> = (0..count).map(|_| b.random.below(total) as i64).collect();
    let front = b.transpose(x.id, &perm);
    let column = b.table(&indices);
    let picked = b.op("GatherND", &[front, column], &[]);
    let id = b.transpose(picked, &perm);
    x.resized(id, axis, count)
}

/// Mixtures of the steps, written over some of them.
fn scattered(b: &mut Builder, x: &Value) -> Value {
    let t = x.dims[0];
    let count = 1 + b.random.below(t);
    let w = b.weight(&[count, t]);
    let mixed = b.op("MatMul", &[w, x.id], &[]);
    let (front, updates) = (b.transpose(x.id, &[1, 0, 2]), b.transpose(mixed, &[1, 0, 2]));
    let column = b.table(&(0..count as i64).rev().collect::<Vec<_>>());
    let written = b.op("ScatterND", &[front, column, updates], &[]);
    let id = b.transpose(written, &[1, 0, 2]);
    x.same(id)
}

/// Weights with the heads on an axis of their own.
fn heads_by_einsum(b: &mut Builder, x: &Value) -> Value {
    let d = x.dims[1];
    let (h, e) = (b.random.pick(&[2, 3]), b.random.pick(&[2, 4]));
    let (into, out) = (b.weight(&[d, h, e]), b.weight(&[h, e, d]));
    let equation = |text: &'static str| [("equation", Attr::String(text.into()))];
    let heads = b.op("Einsum", &[x.id, into], &equation("ntd,dhe->nthe"));
    let heads = b.activate(heads);
    let id = b.op("Einsum", &[heads, out], &equation("nthe,hed->ntd"));
    x.same(id)
}

/// One half gates the other.
fn gated_halves(b: &mut Builder, x: &Value) -> Value {
    let d = x.dims[1];
    let (first, second) = (slice(b, x.id, 2, 0, d / 2), slice(b, x.id, 2, d / 2, d));
    let gate = b.op("Sigmoid", &[first], &[]);
    let id = b.op("Mul", &[gate, second], &[]);
    x.resized(id, 1, d / 2)
}

/// A matrix over the steps, on the left.
fn mix_steps(b: &mut Builder, x: &Value) -> Value {
    let out = b.random.pick(&[2, 3, 5]);
    let w = b.weight(&[out, x.dims[0]]);
    let id = b.op("MatMul", &[w, x.id], &[]);
    x.resized(id, 0, out)
}

fn running_sum(b: &mut Builder, x: &Value) -> Value {
    let at = 1 + b.random.below(2) as i64;
    let axis = b.int(at);
    let id = b.op("CumSum", &[x.id, axis], &[]);
    x.same(id)
}

fn largest(b: &mut Builder, x: &Value) -> Value {
    let k = 1 + b.random.below(x.dims[1]);
    let count = b.ints(&[k as i64]);
    let ids = b.ops("TopK", &[Some(x.id), Some(count)], &[("axis", Attr::Int(-1))], 2);
    x.resized(ids[0], 1, k)
}

/// A layer whose matrix is put together in the graph.
fn computed_weight(b: &mut Builder, x: &Value) -> Value {
    let (d, half) = (x.dims[1], b.random.pick(&[2, 3]));
    let out = 2 * half;
    let w = match b.random.below(5) {
        0 => {
            let (p, q) = (b.weight(&[d, half]), b.weight(&[d, half]));
            b.op("Concat", &[p, q], &[("axis", Attr::Int(1))])
        }
        1 => {
            let wide = b.weight(&[d, out + 3]);
            slice(b, wide, 1, 2, 2 + out)
        }
        2 => {
            let (w, scale) = (b.weight(&[d, out]), b.positive(&[out]));
            b.op("Mul", &[w, scale], &[])
        }
        3 => {
            // Gates in another order, as recurrent layers are exported.
            let w = b.weight(&[out, d]);
            let (p, q) = (slice(b, w, 0, 0, half), slice(b, w, 0, half, out));
            let turned = b.op("Concat", &[q, p], &[("axis", Attr::Int(0))]);
            b.transpose(turned, &[1, 0])
        }
        _ => {
            let w = b.weight(&[d, 2, half]);
            let shape = b.ints(&[d as i64, out as i64]);
            b.op("Reshape", &[w, shape], &[])
        }
    };
    let y = b.op("MatMul", &[x.id, w], &[]);
    let id = b.activate(y);
    x.resized(id, 1, out)
}
