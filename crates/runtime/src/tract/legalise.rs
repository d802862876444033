//! Rewrites a model into one that tract computes rightly, and refuses what it would compute wrongly in silence.
//!
//! | what | why | instead |
//! |---|---|---|
//! | recurrences with `direction = reverse` | the direction is ignored | reverse the sequence, run forward, reverse back |
//! | `GRU` with `linear_before_reset` over one feature | the fused kernel fails on a product of one column | the feature twice, with half its weight |
//! | recurrences with other activations, `clip` or `input_forget` | ignored | refused |
//! | `SpaceToDepth` in mode `CRD` | computed as `DCR` | `DCR`, then the channels transposed |
//! | sparse constants | ignored | zeros are written out; refused where that takes more than 256 MiB |
//! | `Transpose` whose `perm` is no permutation | takes memory without end | refused |
//! | `Attention` with windows, or causal with a past | ignored or offset wrongly | refused |
//! | operators of another domain that share a name with ONNX's | the domain is ignored | refused |
//!
//! Found by running ONNX's own node tests; anything else that tract lacks it refuses itself.

use super::NAME;
use crate::RuntimeError;
use sparsec_ir::{Attr, Attrs, Def, Function, Graph, Model, Node, NodeId, OpsetImport, Tensor, Use, Value, ValueId};

/// Contributed operators that tract knows under the name alone and that no operator of ONNX's shares.
const CONTRIBUTED: &[&str] = &[
    "BiasGelu",
    "FastGelu",
    "GatherBlockQuantized",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuickGelu",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// Attributes of `Attention` that tract honours or refuses by itself.
const ATTENTION: &[&str] =
    &["is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision"];

/// Rewrites `model` for tract.
pub(super) fn legalise(model: &mut Model) -> Result<(), RuntimeError> {
    let Model { graph, functions, opsets, .. } = model;
    legalise_graph(graph, functions, opsets)
}

fn legalise_graph(graph: &mut Graph, functions: &[Function], opsets: &[OpsetImport]) -> Result<(), RuntimeError> {
    write_out_zeros(graph)?;
    let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let node = graph.node(id);
        check_domain(graph, id, functions)?;
        let name = if own_domain(&node.domain) { node.op.as_str() } else { "" };
        match name {
            "LSTM" | "GRU" | "RNN" => recurrence(graph, id, opsets)?,
            "SpaceToDepth" => space_to_depth(graph, id)?,
            "Attention" => attention(graph, id)?,
            "Transpose" => permutation(graph, id)?,
            _ => {}
        }
        let nested: Vec<(String, Attr)> = graph.node(id).attrs.iter().filter(|(_, a)| is_graph(a)).map(own).collect();
        for (name, mut attr) in nested {
            match &mut attr {
                Attr::Graph(g) => legalise_graph(g, functions, opsets)?,
                Attr::Graphs(gs) => gs.iter_mut().try_for_each(|g| legalise_graph(g, functions, opsets))?,
                _ => {}
            }
            graph.set_attr(id, &name, attr);
        }
    }
    Ok(())
}

/// Bytes that a sparse constant may take when its zeros are written out.
const MAX_DENSE: u64 = 256 << 20;

fn write_out_zeros(graph: &mut Graph) -> Result<(), RuntimeError> {
    let sparse = |(id, v): (ValueId, &Value)| match &v.def {
        Def::Sparse(s) => Some((id, s.clone())),
        _ => None,
    };
    let all: Vec<_> = graph.values().filter_map(sparse).collect();
    for (id, s) in all {
        graph.set_constant(id, s.dense(MAX_DENSE)?);
    }
    Ok(())
}

fn is_graph(attr: &Attr) -> bool {
    matches!(attr, Attr::Graph(_) | Attr::Graphs(_))
}

fn own((name, attr): (&String, &Attr)) -> (String, Attr) {
    (name.clone(), attr.clone())
}

fn own_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn unsupported(graph: &Graph, id: NodeId, why: impl Into<String>) -> RuntimeError {
    RuntimeError::Unsupported {
        runtime: NAME.to_string(),
        operator: graph.node(id).op_name(),
        node: graph.label(id),
        why: why.into(),
    }
}

fn check_domain(graph: &Graph, id: NodeId, functions: &[Function]) -> Result<(), RuntimeError> {
    let node = graph.node(id);
    let called = |f: &&Function| {
        f.name == node.op && (f.domain == node.domain || own_domain(&f.domain) && own_domain(&node.domain))
    };
    if functions.iter().any(|f| called(&f)) {
        return Err(RuntimeError::LocalFunction { operator: node.op_name(), node: graph.label(id) });
    }
    let known = match node.domain.as_str() {
        d if own_domain(d) => true,
        "ai.onnx.ml" => true,
        "com.microsoft" => CONTRIBUTED.contains(&node.op.as_str()),
        _ => false,
    };
    if known { Ok(()) } else { Err(unsupported(graph, id, "the operator is not implemented")) }
}

fn text<'a>(node: &'a Node, name: &str) -> Option<&'a [u8]> {
    match node.attrs.get(name) {
        Some(Attr::String(s)) => Some(s),
        _ => None,
    }
}

fn int(node: &Node, name: &str) -> i64 {
    match node.attrs.get(name) {
        Some(Attr::Int(i)) => *i,
        _ => 0,
    }
}

fn permutation(graph: &Graph, id: NodeId) -> Result<(), RuntimeError> {
    let Some(Attr::Ints(perm)) = graph.node(id).attrs.get("perm") else { return Ok(()) };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    let permutes = sorted.iter().zip(0..).all(|(axis, i)| *axis == i);
    if permutes { Ok(()) } else { Err(unsupported(graph, id, format!("{perm:?} is no permutation"))) }
}

/// before: `Y, H = LSTM<direction = "reverse">(X, …)`
/// after:  `R = Slice(X, -1, MIN, axis, -1); Z, H = LSTM(R, …); Y = Slice(Z, -1, MIN, axis, -1)`
///
/// The final state is that after the first step of the sequence in both, so it needs no change.
fn recurrence(graph: &mut Graph, id: NodeId, opsets: &[OpsetImport]) -> Result<(), RuntimeError> {
    let node = graph.node(id);
    let default: &[&str] = match node.op.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    if let Some(Attr::Strings(names)) = node.attrs.get("activations") {
        let same = names.iter().zip(default.iter().cycle()).all(|(n, d)| n.eq_ignore_ascii_case(d.as_bytes()));
        if !same {
            return Err(unsupported(graph, id, "its `activations` are not the default ones"));
        }
    }
    if node.attrs.contains_key("clip") {
        return Err(unsupported(graph, id, "it clips cell inputs (`clip`)"));
    }
    if int(node, "input_forget") != 0 {
        return Err(unsupported(graph, id, "it couples input and forget gate (`input_forget`)"));
    }
    if node.op == "GRU" && int(node, "linear_before_reset") != 0 {
        double_feature(graph, id);
    }
    let node = graph.node(id);
    if text(node, "direction") != Some(b"reverse") {
        return Ok(());
    }
    let version = opsets.iter().find(|o| own_domain(&o.domain)).map_or(0, |o| o.version);
    if version < 10 {
        return Err(unsupported(graph, id, "a reversed recurrence needs operator set 10 or later to be rewritten"));
    }
    let axis = int(node, "layout");
    let (x, y) = (node.inputs.first().copied().flatten(), node.outputs.first().copied().flatten());
    let Some(x) = x else { return Err(unsupported(graph, id, "it has no input")) };
    let reversed = reverse(graph, x, axis);
    graph.set_operand(id, 0, Some(reversed));
    graph.set_attr(id, "direction", Attr::String("forward".into()));
    if let Some(y) = y {
        replace(graph, id, y, |graph, y| reverse(graph, y, axis))?;
    }
    Ok(())
}

/// before: `Y = GRU(X, W, …)`, `X` of one feature
/// after:  `Y = GRU(Concat(X, X), [W/2, W/2], …)`
///
/// Halves of floats are exact, so the products' sum is that of before.
fn double_feature(graph: &mut Graph, id: NodeId) {
    let operand = |i: usize| graph.node(id).inputs.get(i).copied().flatten();
    let (Some(x), Some(w)) = (operand(0), operand(1)) else { return };
    let Some(weight) = graph.constant(w).filter(|t| t.dims.last() == Some(&1) && t.elem.is_float()) else { return };
    let Ok(values) = weight.to_f64() else { return };
    let halves: Vec<f64> = values.iter().flat_map(|v| [v / 2.0, v / 2.0]).collect();
    let mut dims = weight.dims.clone();
    dims.pop();
    dims.push(2);
    let Ok(halves) = Tensor::from_f64(weight.elem, &dims, &halves) else { return };
    let name = graph.value(w).name.clone();
    let halves = graph.add_constant(&name, halves);
    let twice = result(graph, Node::new("Concat").input(x).input(x).attr("axis", Attr::Int(-1)));
    graph.set_operand(id, 0, Some(twice));
    graph.set_operand(id, 1, Some(halves));
}

/// `value` backwards along `axis`.
fn reverse(graph: &mut Graph, value: ValueId, axis: i64) -> ValueId {
    let operands = [("starts", -1), ("ends", i64::MIN), ("axes", axis), ("steps", -1)];
    let mut node = Node::new("Slice").input(value);
    for (name, number) in operands {
        node = node.input(graph.add_constant(name, Tensor::i64(&[1], &[number])));
    }
    result(graph, node)
}

/// Adds `node` and gives its result a name that is not taken.
fn result(graph: &mut Graph, node: Node) -> ValueId {
    let name = graph.fresh_name("legal");
    let id = graph.add_node(node, &[&name]);
    graph.node(id).outputs[0].expect("the result has a name")
}

/// Makes all that reads `value`, a result of `node`, read what `wrap` computes from it.
fn replace(
    graph: &mut Graph,
    node: NodeId,
    value: ValueId,
    wrap: impl FnOnce(&mut Graph, ValueId) -> ValueId,
) -> Result<(), RuntimeError> {
    let uses = graph.value(value).uses.clone();
    if uses.iter().any(|u| matches!(u, Use::Captured(_))) {
        return Err(unsupported(graph, node, "its result is used in a subgraph"));
    }
    let new = wrap(graph, value);
    let wrapped: Vec<Use> = graph.value(value).uses.iter().filter(|u| !uses.contains(u)).copied().collect();
    graph.replace_value(value, new);
    for u in wrapped {
        if let Use::Operand(n, i) = u {
            graph.set_operand(n, i, Some(value));
        }
    }
    Ok(())
}

/// before: `Y = SpaceToDepth<mode = "CRD", blocksize = b>(X)`, channel `c·b² + k`
/// after:  `Z = SpaceToDepth<blocksize = b>(X)`, channel `k·C + c`; channels last; split; swap; join; channels first
///
/// Channels go last because `Reshape` can leave leading sizes as they are (0) and work out one (-1): no size is needed.
fn space_to_depth(graph: &mut Graph, id: NodeId) -> Result<(), RuntimeError> {
    let node = graph.node(id);
    match text(node, "mode") {
        None | Some(b"DCR") => return Ok(()),
        Some(b"CRD") => {}
        Some(_) => return Err(unsupported(graph, id, "its `mode` is unknown")),
    }
    let block = int(node, "blocksize");
    let Some(taps) = block.checked_mul(block).filter(|t| *t > 0) else {
        return Err(unsupported(graph, id, "its `blocksize` is not positive"));
    };
    graph.remove_attr(id, "mode");
    let Some(y) = graph.node(id).outputs.first().copied().flatten() else { return Ok(()) };
    replace(graph, id, y, |graph, y| {
        let last = transpose(graph, y, &[0, 2, 3, 1]);
        let split = reshape(graph, last, &[0, 0, 0, taps, -1]);
        let swapped = transpose(graph, split, &[0, 1, 2, 4, 3]);
        let joined = reshape(graph, swapped, &[0, 0, 0, -1]);
        transpose(graph, joined, &[0, 3, 1, 2])
    })
}

fn transpose(graph: &mut Graph, value: ValueId, perm: &[i64]) -> ValueId {
    result(graph, Node::new("Transpose").input(value).attr("perm", Attr::Ints(perm.to_vec())))
}

fn reshape(graph: &mut Graph, value: ValueId, shape: &[i64]) -> ValueId {
    let shape = graph.add_constant("shape", Tensor::i64(&[shape.len() as u64], shape));
    result(graph, Node::new("Reshape").input(value).input(shape))
}

fn attention(graph: &Graph, id: NodeId) -> Result<(), RuntimeError> {
    let node = graph.node(id);
    let unknown = |attrs: &Attrs| attrs.keys().find(|name| !ATTENTION.contains(&name.as_str())).cloned();
    if let Some(name) = unknown(&node.attrs) {
        return Err(unsupported(graph, id, format!("its attribute `{name}` would be ignored")));
    }
    let past = node.inputs.get(4).copied().flatten().is_some();
    if past && int(node, "is_causal") != 0 {
        return Err(unsupported(graph, id, "causal attention over a past is masked wrongly"));
    }
    Ok(())
}
