//! Folds a scale and shift of channels (an inference `BatchNormalization`, a `Mul` by constants) into the contraction
//! (`Conv`, `Gemm`, …) that feeds it.
//!
//! ```onnx before
//! g (float[1,2,4,4] x) => (float[1,3,4,4] y)
//! <float[3,2,1,1] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, float[3] s = {2.0, 1.0, 0.5}, float[3] t = {0.0, 1.0, 2.0},
//!  float[3] mean = {1.0, 0.0, 2.0}, float[3] var = {1.0, 1.0, 1.0}>
//! { h = Conv (x, w)  y = BatchNormalization <epsilon = 0.0> (h, s, t, mean, var) }
//! ```
//! ```onnx after
//! g (float[1,2,4,4] x) => (float[1,3,4,4] y)
//! <float[3,2,1,1] w = {2.0, 4.0, 3.0, 4.0, 2.5, 3.0}, float[3] s = {2.0, 1.0, 0.5}, float[3] t = {0.0, 1.0, 2.0},
//!  float[3] mean = {1.0, 0.0, 2.0}, float[3] var = {1.0, 1.0, 1.0}, float[3] w_bias = {-2.0, 1.0, 1.0}>
//! { y = Conv (x, w, w_bias) }
//! ```
//! For y = s·h + t and h = W·x + b: W′[o] = s[o]·W[o], b′[o] = s[o]·b[o] + t[o].
//!
//! Needs: shapes.  Keeps: the name of y.  Numerics: doubles inside, rounded once: 1e-6 relative on y.
//! A weight that others read too is copied first.
//! Leaves alone, with a remark: h has another reader; the bias is computed; no operand takes the shift; the
//! numbers are not finite.

use super::captured;
use crate::{Changed, PassCx, PassDef, PassError, Refusal, Stage};
use sparsec_analysis::node_ref;
use sparsec_ir::{
    ChannelAffine, Contraction, Facts, Graph, LinearRule, Model, NodeId, OpTable, Tensor, TensorError, ValueId,
    topological,
};

/// The pass.
pub const FOLD_BATCHNORM: PassDef = PassDef {
    name: "fold-batchnorm",
    stage: Stage::Canonicalise,
    summary: "fold scales and shifts of channels into the contraction before them",
    run,
};

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let facts = cx.infer(model).facts;
    let mut changed = Changed::No;
    for node in topological(&model.graph).unwrap_or_default() {
        let Some(pair) = pair(model, &facts, cx.table, node) else { continue };
        let fold = match pair.and_then(|p| plan(&model.graph, p)) {
            Ok(fold) => fold,
            Err(reason) => {
                cx.remark(model.graph.label(node), reason);
                continue;
            }
        };
        let graph = &mut model.graph;
        changed = changed.or(cx.rewrite(|| apply(graph, fold))?);
    }
    Ok(changed)
}

/// A contraction, the map behind it, and how both work.
struct Pair {
    contraction: NodeId,
    affine: NodeId,
    linear: Contraction,
    map: ChannelAffine,
}

/// The pair that ends in `node`: nothing where it is no such map or follows no contraction.
fn pair(model: &Model, facts: &Facts, table: &OpTable, node: NodeId) -> Option<Result<Pair, Refusal>> {
    let graph = &model.graph;
    let n = graph.node(node);
    let affine = table.get(&n.domain, &n.op)?.affine.rule()?;
    let contraction = graph.producer(n.inputs.first().copied().flatten()?)?;
    let c = graph.node(contraction);
    let LinearRule::By(linear) = table.get(&c.domain, &c.op)?.linear else { return None };
    let both = affine(&node_ref(model, facts, node))
        .and_then(|map| Ok((map, linear(&node_ref(model, facts, contraction))?)))
        .map_err(Refusal::Facet);
    match both {
        Err(e) => Some(Err(e)),
        Ok((Some(map), Some(linear))) if linear.y_axis == map.axis => {
            Some(Ok(Pair { contraction, affine: node, linear, map }))
        }
        Ok(_) => None,
    }
}

/// New weights of a pair.
struct Fold {
    contraction: NodeId,
    affine: NodeId,
    weight: (usize, Tensor),
    /// Bias, where there is one or the shift needs one.
    bias: Option<(usize, Tensor)>,
}

fn plan(graph: &Graph, pair: Pair) -> Result<Fold, Refusal> {
    let Pair { contraction, affine, linear, map } = pair;
    let name = |v: ValueId| graph.value(v).name.clone();
    let c = graph.node(contraction);
    let h = c.outputs.first().copied().flatten().ok_or(Refusal::Shape { what: "the contraction has no result" })?;
    if graph.value(h).uses.len() != 1 || graph.is_output(h) || captured(graph, h) {
        return Err(Refusal::SharedResult { value: name(h) });
    }
    let constant = |operand: usize| match c.inputs.get(operand).copied().flatten() {
        None => Ok(None),
        Some(v) => match graph.constant(v) {
            Some(t) => Ok(Some(t.as_ref())),
            None => Err(Refusal::NotConstant { value: name(v) }),
        },
    };
    let unreadable = |e| match e {
        TensorError::Range { .. } => Refusal::NotFinite,
        _ => Refusal::Shape { what: "the weights are not floating-point numbers" },
    };
    let w = constant(linear.w)?.ok_or(Refusal::Shape { what: "the weight is left out" })?;
    let channels = map.scale.len();
    let mut weight = w.to_f64().map_err(unreadable)?;
    scale_weight(&mut weight, &w.dims, &linear, &map.scale)?;
    let old = match linear.bias {
        Some(operand) => constant(operand)?,
        None => None,
    };
    let mut bias = match old {
        None => vec![0.0; channels],
        Some(b) => match b.to_f64().map_err(unreadable)? {
            b if b.len() == channels => b,
            b if b.len() == 1 => vec![b[0]; channels],
            _ => return Err(Refusal::Shape { what: "the bias is not one number a channel" }),
        },
    };
    for ((b, s), t) in bias.iter_mut().zip(&map.scale).zip(&map.shift) {
        *b = *b * s + t / linear.bias_scale;
    }
    if !weight.iter().chain(&bias).all(|v| v.is_finite()) {
        return Err(Refusal::NotFinite);
    }
    let needed = old.is_some() || map.shift.iter().any(|&t| t != 0.0);
    let bias = match (linear.bias, needed) {
        (_, false) => None,
        (None, true) => return Err(Refusal::NoBias),
        (Some(operand), true) => {
            let dims = old.filter(|b| b.count() == channels as u64).map_or(vec![channels as u64], |b| b.dims.clone());
            Some((operand, Tensor::from_f64(w.elem, &dims, &bias).map_err(unreadable)?))
        }
    };
    let weight = (linear.w, Tensor::from_f64(w.elem, &w.dims, &weight).map_err(unreadable)?);
    Ok(Fold { contraction, affine, weight, bias })
}

/// Scales each element of a weight by the factor of its output channel. A transposed convolution with groups keeps
/// the channels of one group on the output axis, and the group in the input axis.
fn scale_weight(weight: &mut [f64], dims: &[u64], linear: &Contraction, scale: &[f64]) -> Result<(), Refusal> {
    let misfit = Refusal::Shape { what: "the weight does not have one row a channel" };
    let (Some(&out), Some(&into)) = (dims.get(linear.w_out), dims.get(linear.w_in)) else { return Err(misfit) };
    let grouped = linear.transposed && linear.groups > 1;
    let channels = if grouped { out.checked_mul(linear.groups) } else { Some(out) };
    if channels != Some(scale.len() as u64) || grouped && !into.is_multiple_of(linear.groups) {
        return Err(misfit);
    }
    let stride = |axis: usize| dims[axis + 1..].iter().product::<u64>().max(1);
    let (out_stride, in_stride) = (stride(linear.w_out), stride(linear.w_in));
    for (at, value) in weight.iter_mut().enumerate() {
        let at = at as u64;
        let row = at / out_stride % out;
        let group = if grouped { at / in_stride % into / (into / linear.groups) } else { 0 };
        *value *= scale[(group * out + row) as usize];
    }
    Ok(())
}

fn apply(graph: &mut Graph, fold: Fold) -> Result<(), PassError> {
    let weight_name = |g: &Graph| {
        let v = g.node(fold.contraction).inputs[fold.weight.0];
        v.map_or_else(String::new, |v| g.value(v).name.clone())
    };
    if let Some((operand, tensor)) = fold.bias {
        let name = format!("{}_bias", weight_name(graph));
        replace_constant(graph, fold.contraction, operand, tensor, &name);
    }
    let name = weight_name(graph);
    replace_constant(graph, fold.contraction, fold.weight.0, fold.weight.1, &name);
    let result = |n: NodeId| graph.node(n).outputs.first().copied().flatten();
    if let (Some(h), Some(y)) = (result(fold.contraction), result(fold.affine)) {
        // The map still reads h: its operand goes first, so that h takes over y's readers only.
        graph.set_operand(fold.affine, 0, None);
        graph.take_over(y, h);
        graph.remove_node(fold.affine);
    }
    Ok(())
}

/// Gives an operand new contents; a constant that others read too, or that callers may override, stays as it is.
fn replace_constant(graph: &mut Graph, node: NodeId, operand: usize, tensor: Tensor, name: &str) {
    let old = graph.node(node).inputs.get(operand).copied().flatten();
    let own =
        |v: &ValueId| graph.value(*v).uses.len() == 1 && !graph.is_output(*v) && !graph.listed_inputs().contains(v);
    match old.filter(own) {
        Some(v) => graph.set_constant(v, tensor),
        None => {
            let v = graph.add_constant(name, tensor);
            graph.set_operand(node, operand, Some(v));
        }
    }
}
