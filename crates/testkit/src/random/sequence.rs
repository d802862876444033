//! Blocks over sequences `[n, t, d]` and vectors `[n, d]`.

use super::attention;
use super::build::{Builder, Value};
use super::spelling;
use sparsec_ir::{Attr, Tensor};

const WIDTHS: &[u64] = &[3, 4, 5, 6, 8, 12];

/// One random block over a sequence.
pub(super) fn step(b: &mut Builder, x: &Value, pool: &[Value]) -> Vec<Value> {
    let (t, d) = (x.dims[0], x.dims[1]);
    match b.random.below(29) {
        0 | 1 => {
            let out = b.random.pick(WIDTHS);
            let y = b.linear(x, out);
            let id = b.activate(y.id);
            vec![y.same(id)]
        }
        2 => vec![residual_mlp(b, x)],
        3 => vec![gated_mlp(b, x)],
        4 => vec![layer_norm(b, x)],
        5..=8 => vec![attention::block(b, x)],
        9 => {
            let id = b.op("Softmax", &[x.id], &[("axis", Attr::Int(-1))]);
            vec![x.same(id)]
        }
        10 => {
            let id = b.transpose(x.id, &[0, 2, 1]);
            vec![Value { id, dims: vec![d, t] }]
        }
        11 => {
            let axis = b.random.below(2) as usize;
            match b.partner(x, pool, axis) {
                Some(other) => vec![b.concat(&[x.clone(), other], axis)],
                None => vec![x.clone()],
            }
        }
        12 if d >= 2 => b.split(x, 1),
        13 => {
            let axis = b.random.below(2) as usize;
            vec![b.select(x, axis)]
        }
        14 | 15 => vec![recurrent(b, x)],
        16 => {
            let (op, axes) = (b.random.pick(&["ReduceMean", "ReduceSum", "ReduceMax"]), b.ints(&[1]));
            let id = b.op(op, &[x.id, axes], &[("keepdims", Attr::Int(0))]);
            vec![Value { id, dims: vec![d] }]
        }
        17 => vec![tile(b, x)],
        18 => vec![regroup(b, x)],
        19 => {
            // A token by its number, as a class token is read.
            let at = b.int(b_index(t));
            let id = b.op("Gather", &[x.id, at], &[("axis", Attr::Int(1))]);
            vec![Value { id, dims: vec![d] }]
        }
        20 => {
            let id = if b.random.chance(50) {
                let axes = b.ints(&[2]);
                b.op("Unsqueeze", &[x.id, axes], &[])
            } else {
                b.reshape(x.id, &[t, 1, d])
            };
            vec![Value { id, dims: vec![t, 1, d] }]
        }
        21 => vec![with_constant(b, x)],
        _ => vec![spelling::step(b, x)],
    }
}

/// The last index.
fn b_index(len: u64) -> i64 {
    len as i64 - 1
}

/// One random block over a vector.
pub(super) fn vector_step(b: &mut Builder, x: &Value, pool: &[Value]) -> Vec<Value> {
    let d = x.dims[0];
    match b.random.below(12) {
        0..=3 => {
            let out = b.random.pick(WIDTHS);
            let y = b.linear(x, out);
            let id = b.activate(y.id);
            vec![y.same(id)]
        }
        4 => vec![residual_mlp(b, x)],
        5 => vec![gated_mlp(b, x)],
        6 => match b.partner(x, pool, 0) {
            Some(other) => vec![b.concat(&[x.clone(), other], 0)],
            None => vec![x.clone()],
        },
        7 if d >= 2 => b.split(x, 0),
        8 => vec![b.select(x, 0)],
        9 => {
            let (scale, shift) = (b.positive(&[d]), b.bias(&[d]));
            let (mean, variance) = (b.bias(&[d]), b.positive(&[d]));
            let id = b.op("BatchNormalization", &[x.id, scale, shift, mean, variance], &[]);
            vec![x.same(id)]
        }
        10 => {
            // A vector as an image: (c, h, w) of the flat axis, or repeated over a map.
            if d.is_multiple_of(4) && b.random.chance(60) {
                let id = b.reshape(x.id, &[d / 4, 2, 2]);
                return vec![Value { id, dims: vec![d / 4, 2, 2] }];
            }
            let axes = b.ints(&[2, 3]);
            let wide = b.op("Unsqueeze", &[x.id, axes], &[]);
            let sizes = b.ints(&[1, d as i64, 3, 4]);
            let id = b.op("Expand", &[wide, sizes], &[]);
            vec![Value { id, dims: vec![d, 3, 4] }]
        }
        _ => {
            let factors: Vec<u64> = [2, 3, 4].into_iter().filter(|f| d.is_multiple_of(*f) && d > *f).collect();
            if factors.is_empty() {
                let id = b.activate(x.id);
                return vec![x.same(id)];
            }
            let f = b.random.pick(&factors);
            let id = b.reshape(x.id, &[f, d / f]);
            vec![Value { id, dims: vec![f, d / f] }]
        }
    }
}

fn residual_mlp(b: &mut Builder, x: &Value) -> Value {
    let d = x.dims[x.dims.len() - 1];
    let middle = b.random.pick(WIDTHS);
    let h = b.linear(x, middle);
    let active = b.activate(h.id);
    let y = b.linear(&h.same(active), d);
    let id = b.op("Add", &[x.id, y.id], &[]);
    x.same(id)
}

/// down(activate(gate(x)) · up(x)), with gate and up apart or as one matrix that is split.
fn gated_mlp(b: &mut Builder, x: &Value) -> Value {
    let (last, middle) = (x.dims.len() - 1, b.random.pick(&[3, 4, 6]));
    let (gate, up) = if b.random.chance(50) {
        (b.linear(x, middle), b.linear(x, middle))
    } else {
        let both = b.linear(x, 2 * middle);
        let attrs = [("axis", Attr::Int(-1)), ("num_outputs", Attr::Int(2))];
        let ids = b.ops("Split", &[Some(both.id)], &attrs, 2);
        (both.resized(ids[0], last, middle), both.resized(ids[1], last, middle))
    };
    let active = b.activate(gate.id);
    let product = b.op("Mul", &[active, up.id], &[]);
    b.linear(&gate.same(product), x.dims[last])
}

fn layer_norm(b: &mut Builder, x: &Value) -> Value {
    let d = x.dims[1];
    let (scale, shift) = (b.positive(&[d]), b.bias(&[d]));
    let id = b.op("LayerNormalization", &[x.id, scale, shift], &[("axis", Attr::Int(-1))]);
    x.same(id)
}

fn with_constant(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let id = match b.random.below(4) {
        0 => {
            let k = b.bias(&[1, t, d]);
            b.op("Add", &[x.id, k], &[])
        }
        1 => {
            let k = b.positive(&[d]);
            b.op("Mul", &[x.id, k], &[])
        }
        2 => {
            let bytes: Vec<u8> = (0..t * d).map(|_| u8::from(b.random.chance(70))).collect();
            let mask = Tensor::raw(sparsec_ir::ElemType::Bool, vec![t, d], bytes.into()).expect("one byte an element");
            let (mask, other) = (b.graph.add_constant("mask", mask), b.scalar(-0.3));
            b.op("Where", &[mask, x.id, other], &[])
        }
        _ => {
            let k = b.bias(&[t, 1]);
            b.op("Sub", &[k, x.id], &[])
        }
    };
    x.same(id)
}

/// The last axis repeated, the steps repeated, or a new axis broadcast and merged.
fn tile(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    if b.random.chance(50) {
        let repeats = b.ints(&[1, 1, 2]);
        let id = b.op("Tile", &[x.id, repeats], &[]);
        return x.resized(id, 1, 2 * d);
    }
    let axes = b.ints(&[2]);
    let wide = b.op("Unsqueeze", &[x.id, axes], &[]);
    let sizes = b.ints(&[1, t as i64, 2, d as i64]);
    let wide = b.op("Expand", &[wide, sizes], &[]);
    let id = b.reshape(wide, &[t * 2, d]);
    x.resized(id, 0, t * 2)
}

/// Another factorisation of (t, d).
fn regroup(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let total = t * d;
    let all: Vec<u64> = (2..total).filter(|n| total.is_multiple_of(*n)).collect();
    if all.is_empty() {
        return x.clone();
    }
    let n = b.random.pick(&all);
    let id = b.reshape(x.id, &[n, total / n]);
    Value { id, dims: vec![n, total / n] }
}

fn recurrent(b: &mut Builder, x: &Value) -> Value {
    let (t, d) = (x.dims[0], x.dims[1]);
    let (op, gates) = b.random.pick(&[("GRU", 3), ("LSTM", 4)]);
    let directions = b.random.pick(&[1u64, 2]);
    let hidden = b.random.pick(&[3, 4, 5]);
    let steps_first = b.transpose(x.id, &[1, 0, 2]);
    let (w, r) = (b.weight(&[directions, gates * hidden, d]), b.weight(&[directions, gates * hidden, hidden]));
    let bias = b.bias(&[directions, 2 * gates * hidden]);
    let direction = if directions == 2 { "bidirectional" } else { b.random.pick(&["forward", "reverse"]) };
    let mut attrs = vec![("hidden_size", Attr::Int(hidden as i64)), ("direction", Attr::String(direction.into()))];
    if op == "GRU" {
        attrs.push(("linear_before_reset", Attr::Int(b.random.below(2) as i64)));
    }
    let y = b.ops(op, &[Some(steps_first), Some(w), Some(r), Some(bias)], &attrs, 2);
    if b.random.chance(30) {
        // Last states of all directions, side by side.
        let turned = b.transpose(y[1], &[1, 0, 2]);
        let id = b.reshape(turned, &[directions * hidden]);
        return Value { id, dims: vec![directions * hidden] };
    }
    let id = if directions == 2 || b.random.chance(50) {
        let turned = b.transpose(y[0], &[2, 0, 1, 3]);
        b.reshape(turned, &[t, directions * hidden])
    } else {
        let axes = b.ints(&[1]);
        let flat = b.op("Squeeze", &[y[0], axes], &[]);
        b.transpose(flat, &[1, 0, 2])
    };
    Value { id, dims: vec![t, directions * hidden] }
}
