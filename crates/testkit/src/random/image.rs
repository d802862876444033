//! Blocks over images `[n, c, h, w]`.

use super::build::{Builder, Value};
use sparsec_ir::{Attr, Tensor};

const CHANNELS: &[u64] = &[2, 3, 4, 6, 8, 12];

/// One random block over `x`.
pub(super) fn step(b: &mut Builder, x: &Value, pool: &[Value]) -> Vec<Value> {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    match b.random.below(26) {
        0..=3 => {
            let out = b.random.pick(CHANNELS);
            let y = conv(b, x, out, 1);
            let id = b.activate(y.id);
            vec![y.same(id)]
        }
        4 | 5 => {
            let groups: Vec<u64> = [2, 3, 4].into_iter().filter(|g| c.is_multiple_of(*g)).collect();
            let group = if groups.is_empty() { 1 } else { b.random.pick(&groups) };
            let each = b.random.pick(&[1, 2, 3]);
            vec![conv(b, x, group * each, group)]
        }
        6 => {
            let multiplier = b.random.pick(&[1, 1, 2]);
            vec![conv(b, x, c * multiplier, c)]
        }
        7 => vec![upscale(b, x)],
        8 => vec![normalise(b, x)],
        9 => {
            let id = b.activate(x.id);
            vec![x.same(id)]
        }
        10 | 11 => vec![with_constant(b, x)],
        12 => {
            let middle = conv(b, x, c, 1);
            let sum = if middle.dims == x.dims { b.op("Add", &[x.id, middle.id], &[]) } else { middle.id };
            let id = b.activate(sum);
            vec![middle.same(id)]
        }
        13 => vec![squeeze_excite(b, x)],
        14 => match b.partner(x, pool, 0) {
            Some(other) => vec![b.concat(&[x.clone(), other], 0)],
            None => vec![x.clone()],
        },
        15 if c >= 2 => b.split(x, 0),
        16 => vec![b.select(x, 0)],
        17 => vec![shuffle(b, x)],
        18 if h >= 2 && w >= 2 => {
            let kernel = [("kernel_shape", Attr::Ints(vec![2, 2])), ("strides", Attr::Ints(vec![2, 2]))];
            let op = b.random.pick(&["MaxPool", "AveragePool"]);
            let id = b.op(op, &[x.id], &kernel);
            vec![Value { id, dims: vec![c, h / 2, w / 2] }]
        }
        19 => vec![pad(b, x)],
        20 => vec![move_blocks(b, x)],
        21 => vec![to_sequence(b, x)],
        22 => {
            let id = match b.random.below(3) {
                0 => {
                    let pooled = b.op("GlobalAveragePool", &[x.id], &[]);
                    b.op("Flatten", &[pooled], &[])
                }
                1 => {
                    let axes = b.ints(&[2, 3]);
                    b.op("ReduceMean", &[x.id, axes], &[("keepdims", Attr::Int(0))])
                }
                _ => {
                    let axes = b.ints(&[-1, -2]);
                    b.op("ReduceMax", &[x.id, axes], &[("keepdims", Attr::Int(0))])
                }
            };
            vec![Value { id, dims: vec![c] }]
        }
        23 => {
            let id = if b.random.chance(50) { b.op("Flatten", &[x.id], &[]) } else { b.reshape(x.id, &[c * h * w]) };
            vec![Value { id, dims: vec![c * h * w] }]
        }
        24 => vec![reduce_channels(b, x)],
        _ => match b.partner(x, pool, 3) {
            // Two activations of one shape.
            Some(other) => {
                let op = b.random.pick(&["Add", "Mul", "Sub", "Max"]);
                let id = b.op(op, &[x.id, other.id], &[]);
                vec![x.same(id)]
            }
            None => vec![x.clone()],
        },
    }
}

fn conv(b: &mut Builder, x: &Value, out: u64, group: u64) -> Value {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    let kernel = b.random.pick(&[1u64, 3]);
    let stride = if h >= 4 && w >= 4 && b.random.chance(15) { 2 } else { 1 };
    let pad = (kernel / 2) as i64;
    let weight = b.weight(&[out, c / group, kernel, kernel]);
    let bias = if b.random.chance(70) { Some(b.bias(&[out])) } else { None };
    let mut attrs = vec![
        ("pads", Attr::Ints(vec![pad; 4])),
        ("strides", Attr::Ints(vec![stride as i64; 2])),
        ("kernel_shape", Attr::Ints(vec![kernel as i64; 2])),
    ];
    if group != 1 || b.random.chance(30) {
        attrs.push(("group", Attr::Int(group as i64)));
    }
    let operands: Vec<_> =
        [Some(x.id), Some(weight), bias].into_iter().take(if bias.is_some() { 3 } else { 2 }).collect();
    let id = b.ops("Conv", &operands, &attrs, 1)[0];
    Value { id, dims: vec![out, h.div_ceil(stride), w.div_ceil(stride)] }
}

fn upscale(b: &mut Builder, x: &Value) -> Value {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    if h * w > 36 || b.random.chance(30) {
        let group = if c.is_multiple_of(2) && b.random.chance(40) { 2 } else { 1 };
        let each = b.random.pick(&[1, 2, 3]);
        let (weight, bias) = (b.weight(&[c, each, 1, 1]), b.bias(&[each * group]));
        let id = b.op("ConvTranspose", &[x.id, weight, bias], &[("group", Attr::Int(group as i64))]);
        return x.resized(id, 0, each * group);
    }
    if b.random.chance(50) {
        let out = b.random.pick(CHANNELS);
        let (weight, bias) = (b.weight(&[c, out, 2, 2]), b.bias(&[out]));
        let id = b.op("ConvTranspose", &[x.id, weight, bias], &[("strides", Attr::Ints(vec![2, 2]))]);
        return Value { id, dims: vec![out, h * 2, w * 2] };
    }
    let nearest = [
        ("mode", Attr::String("nearest".into())),
        ("coordinate_transformation_mode", Attr::String("asymmetric".into())),
        ("nearest_mode", Attr::String("floor".into())),
    ];
    let scales = b.graph.add_constant("scales", Tensor::f32(&[4], &[1.0, 1.0, 2.0, 2.0]));
    let id = b.ops("Resize", &[Some(x.id), None, Some(scales)], &nearest, 1)[0];
    Value { id, dims: vec![c, h * 2, w * 2] }
}

fn normalise(b: &mut Builder, x: &Value) -> Value {
    let c = x.dims[0];
    let (scale, shift) = (b.positive(&[c]), b.bias(&[c]));
    let id = match b.random.below(4) {
        0 => b.op("InstanceNormalization", &[x.id, scale, shift], &[("epsilon", Attr::Float(0.1))]),
        1 => {
            // Over the channels, which is a detour through channels-last.
            let last = b.transpose(x.id, &[0, 2, 3, 1]);
            let y = b.op("LayerNormalization", &[last, scale, shift], &[("axis", Attr::Int(-1))]);
            b.transpose(y, &[0, 3, 1, 2])
        }
        _ => {
            let (mean, variance) = (b.bias(&[c]), b.positive(&[c]));
            b.op("BatchNormalization", &[x.id, scale, shift, mean, variance], &[])
        }
    };
    x.same(id)
}

/// Arithmetic with a constant of one of the shapes that broadcast.
fn with_constant(b: &mut Builder, x: &Value) -> Value {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    let id = match b.random.below(6) {
        0 => {
            let k = b.bias(&[c, 1, 1]);
            b.op("Add", &[x.id, k], &[])
        }
        1 => {
            let k = b.positive(&[1, c, h, w]);
            b.op("Mul", &[k, x.id], &[])
        }
        2 => {
            let k = b.scalar(0.5);
            b.op("Sub", &[x.id, k], &[])
        }
        3 => {
            let k = b.positive(&[c, 1, 1]);
            b.op("PRelu", &[x.id, k], &[])
        }
        4 => {
            let k = b.positive(&[w]);
            b.op("Div", &[x.id, k], &[])
        }
        _ => {
            let bytes: Vec<u8> = (0..c).map(|_| u8::from(b.random.chance(60))).collect();
            let mask =
                Tensor::raw(sparsec_ir::ElemType::Bool, vec![c, 1, 1], bytes.into()).expect("one byte a channel");
            let (mask, other) = (b.graph.add_constant("mask", mask), b.bias(&[c, 1, 1]));
            b.op("Where", &[mask, x.id, other], &[])
        }
    };
    x.same(id)
}

fn squeeze_excite(b: &mut Builder, x: &Value) -> Value {
    let c = x.dims[0];
    let pooled = if b.random.chance(50) {
        b.op("GlobalAveragePool", &[x.id], &[])
    } else {
        let axes = b.ints(&[2, 3]);
        b.op("ReduceMean", &[x.id, axes], &[("keepdims", Attr::Int(1))])
    };
    let middle = b.random.pick(&[2, 3, 5]);
    let (w1, b1, w2, b2) =
        (b.weight(&[middle, c, 1, 1]), b.bias(&[middle]), b.weight(&[c, middle, 1, 1]), b.bias(&[c]));
    let hidden = b.op("Conv", &[pooled, w1, b1], &[]);
    let hidden = b.op("Relu", &[hidden], &[]);
    let gate = b.op("Conv", &[hidden, w2, b2], &[]);
    let gate = b.op("Sigmoid", &[gate], &[]);
    let id = b.op("Mul", &[x.id, gate], &[]);
    x.same(id)
}

/// Channel shuffle, or another permutation of the factors of the channel axis.
fn shuffle(b: &mut Builder, x: &Value) -> Value {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    let factors: Vec<u64> = [2, 3, 4].into_iter().filter(|g| c.is_multiple_of(*g) && c > *g).collect();
    if factors.is_empty() {
        return x.clone();
    }
    let g = b.random.pick(&factors);
    let split = b.reshape(x.id, &[g, c / g, h, w]);
    let turned = b.transpose(split, &[0, 2, 1, 3, 4]);
    let id = b.reshape(turned, &[c, h, w]);
    x.same(id)
}

fn pad(b: &mut Builder, x: &Value) -> Value {
    let channels = i64::from(b.random.chance(40));
    let rows = b.random.below(2) as i64;
    let pads = b.ints(&[0, channels, rows, 0, 0, 0, 1, 0]);
    let value = b.scalar(0.25);
    let id = b.op("Pad", &[x.id, pads, value], &[]);
    Value { id, dims: vec![x.dims[0] + channels as u64, x.dims[1] + rows as u64 + 1, x.dims[2]] }
}

fn move_blocks(b: &mut Builder, x: &Value) -> Value {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    if c.is_multiple_of(4) && h * w <= 36 && b.random.chance(60) {
        let mode = b.random.pick(&["DCR", "CRD"]);
        let attrs = [("blocksize", Attr::Int(2)), ("mode", Attr::String(mode.into()))];
        let id = b.op("DepthToSpace", &[x.id], &attrs);
        return Value { id, dims: vec![c / 4, h * 2, w * 2] };
    }
    if h.is_multiple_of(2) && w.is_multiple_of(2) && c <= 4 {
        let id = b.op("SpaceToDepth", &[x.id], &[("blocksize", Attr::Int(2))]);
        return Value { id, dims: vec![c * 4, h / 2, w / 2] };
    }
    let id = b.transpose(x.id, &[0, 1, 3, 2]);
    Value { id, dims: vec![c, w, h] }
}

fn to_sequence(b: &mut Builder, x: &Value) -> Value {
    let (c, h, w) = (x.dims[0], x.dims[1], x.dims[2]);
    match b.random.below(3) {
        0 => {
            let flat = b.reshape(x.id, &[c, h * w]);
            let id = b.transpose(flat, &[0, 2, 1]);
            Value { id, dims: vec![h * w, c] }
        }
        1 => {
            let last = b.transpose(x.id, &[0, 2, 3, 1]);
            let id = b.reshape(last, &[h, w * c]);
            Value { id, dims: vec![h, w * c] }
        }
        _ => {
            let id = b.reshape(x.id, &[c, h * w]);
            Value { id, dims: vec![c, h * w] }
        }
    }
}

/// Spatial attention: a map made of all channels scales each of them.
fn reduce_channels(b: &mut Builder, x: &Value) -> Value {
    let axes = b.ints(&[1]);
    let op = b.random.pick(&["ReduceMean", "ReduceMax", "ReduceSum"]);
    let map = b.op(op, &[x.id, axes], &[("keepdims", Attr::Int(1))]);
    let map = b.op("Sigmoid", &[map], &[]);
    let id = b.op("Mul", &[x.id, map], &[]);
    x.same(id)
}
