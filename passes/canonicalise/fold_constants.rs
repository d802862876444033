//! Makes a constant of what is computed from constants alone.
//!
//! ```onnx before
//! g (float[n,2] x) => (float[n,2] y) <float[1] w = {2.0}, int64[1] two = {2}>
//! { c = Constant <value_float = 3.0> ()  e = Expand (w, two)  s = Mul (e, c)  y = Mul (x, s) }
//! ```
//! ```onnx after
//! g (float[n,2] x) => (float[n,2] y) <float[1] w = {2.0}, int64[1] two = {2}, float c = {3.0}, float[2] s = {6.0, 6.0}>
//! { y = Mul (x, s) }
//! ```
//! A node without operands that does nothing at run time (kernel `Free`) is the constant that its only attribute
//! spells. Everything else is computed by the runtime of the context's [`Evaluator`], whole subgraphs at a time: their
//! insides are never stored, but for numbers in half precision: what reads them is computed once they are rounded.
//!
//! Needs: shapes; an [`Evaluator`] for all but the first case.  Keeps: names of all values that are left.
//! Numerics: those of the runtime.
//! Leaves alone: outputs; what is computed from constants that callers may override; nodes with subgraphs, operators that draw random numbers and those that are not known or taught
//! by the user; with a remark: results of unknown size; what the runtime cannot compute; results that are larger than the
//! constants that go for them, as a transposed copy of a matrix is that something else reads as it is; weights that are
//! stored in a narrower type. What such a result is computed from stays too: the next run would measure the result against
//! it. The axis algebra looks through it, so that what is stored once is cut once.

use super::{bound, does_nothing, overridable};
use crate::{Changed, PassCx, PassDef, PassError, Refusal, Stage};
use sparsec_ir::{Attr, Def, Facts, Graph, Model, NodeId, OpDef, OpTable, Relate, Tensor, Use, ValueId, topological};
use sparsec_runtime::{Runtime, RuntimeError, extract};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The pass.
pub const FOLD_CONSTANTS: PassDef = PassDef {
    name: "fold-constants",
    stage: Stage::Canonicalise,
    summary: "compute what depends on constants only",
    run,
};

/// The artifact that the pass computes with.
pub struct Evaluator(pub Arc<dyn Runtime>);

/// Operators by which a file stores numbers in a narrower type than the graph computes with.
const UNPACKS: [&str; 2] = ["Cast", "DequantizeLinear"];

/// Bytes that the results of one node may take.
const MAX_BYTES: u64 = 64 << 20;
/// Bytes that a result may take beyond those of the constants that nobody else reads.
const FREE_BYTES: u64 = 64 << 10;
/// The same for a result of more elements than all it comes from: a mask, a table of positions. It is no copy.
const FREE_BYTES_OF_NEW: u64 = 1 << 20;
/// Bytes that all constants and all results together may take.
const MAX_TOTAL: u64 = 1 << 30;
/// Loads that may fail before what is left is left alone.
const MAX_FAILURES: usize = 64;

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let facts = cx.infer(model).facts;
    let mut changed = spelled(model, &facts, cx)?;
    let mut refused: BTreeMap<NodeId, Refusal> = BTreeMap::new();
    let mut failures = 0;
    loop {
        let foldable = foldable(model, &facts, cx.table, &mut refused);
        let targets = targets(&model.graph, &foldable);
        let Ok(evaluator) = cx.get::<Evaluator>() else {
            refused.extend(targets.iter().map(|(node, _)| (*node, Refusal::NoRuntime)));
            break;
        };
        let before = failures;
        let mut narrowed = false;
        for (node, value, result) in evaluate(model, &facts, evaluator.0.as_ref(), &targets, &mut failures) {
            let tensor = match result {
                Ok(tensor) => tensor,
                Err(reason) => {
                    refused.insert(node, reason);
                    continue;
                }
            };
            let graph = &mut model.graph;
            let done = cx.rewrite(|| {
                become_constant(graph, value, tensor);
                Ok(())
            })?;
            changed = changed.or(done);
            narrowed |= done == Changed::Yes && narrow(&facts, value);
        }
        // What a node that failed is computed from may still become constant, and what reads a number that is rounded now.
        if (failures == before && !narrowed) || failures >= MAX_FAILURES {
            break;
        }
    }
    for (node, reason) in refused {
        cx.remark(model.graph.label(node), reason);
    }
    Ok(changed)
}

/// Whether a value is in a floating type that runtimes may compute with in a wider one: results are rounded, insides are not.
fn narrow(facts: &Facts, value: ValueId) -> bool {
    facts.get(value).elem.is_some_and(|e| e.is_float() && e.bits() < 32)
}

/// Makes constants of nodes that spell one in an attribute.
fn spelled(model: &mut Model, facts: &Facts, cx: &mut PassCx) -> Result<Changed, PassError> {
    let bound = bound(facts);
    let mut changed = Changed::No;
    for node in topological(&model.graph).unwrap_or_default() {
        let n = model.graph.node(node);
        let (&[Some(value)], true) = (n.outputs.as_slice(), n.inputs.is_empty() && n.attrs.len() == 1) else {
            continue;
        };
        if model.graph.is_output(value) || !does_nothing(model, &bound, cx.table, node) {
            continue;
        }
        let Some(tensor) = n.attrs.values().next().and_then(Attr::as_tensor) else {
            cx.remark(model.graph.label(node), Refusal::Shape { what: "the constant is not dense" });
            continue;
        };
        let graph = &mut model.graph;
        let done = cx.rewrite(|| {
            become_constant(graph, value, tensor);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    Ok(changed)
}

/// Gives `value` its contents, and removes the nodes that nobody needs any more.
fn become_constant(graph: &mut Graph, value: ValueId, tensor: Arc<Tensor>) {
    // A set: a node may become idle on account of several readers.
    let mut idle: BTreeSet<NodeId> = graph.producer(value).into_iter().collect();
    graph.detach_as_constant(value, tensor);
    let unread = |graph: &Graph, v: &ValueId| graph.value(*v).uses.is_empty() && !graph.is_output(*v);
    while let Some(node) = idle.pop_last() {
        let n = graph.node(node);
        if n.outputs.iter().flatten().all(|v| unread(graph, v)) {
            let operands: BTreeSet<ValueId> = n.inputs.iter().flatten().copied().collect();
            graph.remove_node(node);
            idle.extend(operands.into_iter().filter_map(|v| graph.producer(v)));
        }
    }
}

/// Nodes that depend on constants only and whose results are small enough. Others of the first kind are added to
/// `refused`; those that are there already are left out.
fn foldable(
    model: &Model,
    facts: &Facts,
    table: &OpTable,
    refused: &mut BTreeMap<NodeId, Refusal>,
) -> BTreeSet<NodeId> {
    let graph = &model.graph;
    let open: BTreeSet<ValueId> = overridable(model).into_iter().collect();
    let mut found: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut too_large: Vec<NodeId> = Vec::new();
    let mut total =
        graph.values().filter_map(|(v, _)| graph.constant(v)).map(|t| t.byte_len()).fold(0, u64::saturating_add);
    for node in topological(graph).unwrap_or_default() {
        let n = graph.node(node);
        let settled = |v: &ValueId| match graph.value(*v).def {
            Def::Constant(_) => !open.contains(v),
            Def::Node { node, .. } => found.contains_key(&node) && !narrow(facts, *v),
            _ => false,
        };
        let fixed = |d: &OpDef| matches!(d.relate, Relate::By(_) | Relate::Opaque(_));
        let known = table.get(&n.domain, &n.op).is_some_and(fixed) && n.subgraphs().next().is_none();
        let operands = n.inputs.iter().flatten().count() > 0 && n.inputs.iter().flatten().all(settled);
        let results =
            n.outputs.iter().flatten().count() > 0 && !n.outputs.iter().flatten().any(|v| graph.is_output(*v));
        if !(known && operands && results) {
            continue;
        }
        let answer = match refused.get(&node) {
            Some(reason) => Err(reason.clone()),
            None if unpacks(graph, facts, node) => Err(Refusal::Shape { what: "it is stored in a narrower type" }),
            None => result_bytes(graph, facts, node, total),
        };
        match answer {
            Ok(bytes) => {
                total = total.saturating_add(bytes);
                found.insert(node, bytes);
            }
            Err(reason) => {
                if matches!(reason, Refusal::TooLarge { .. }) {
                    too_large.push(node);
                }
                refused.insert(node, reason);
            }
        }
    }
    // What is not folded keeps its operands, and a constant that is kept justifies no result.
    loop {
        while let Some(node) = too_large.pop() {
            let n = graph.node(node);
            let sources = n.inputs.iter().flatten().filter_map(|&v| graph.producer(v));
            let readers = n.outputs.iter().flatten().flat_map(|&v| graph.consumers(v));
            too_large.extend(sources.chain(readers).filter(|p| found.remove(p).is_some()));
        }
        for (&node, &bytes) in found.iter().filter(|f| *f.1 > FREE_BYTES) {
            let from = sources(graph, node, &found);
            let new = elements(graph, facts, node) > from.elements;
            let limit = from.freed_bytes.saturating_add(if new { FREE_BYTES_OF_NEW } else { FREE_BYTES });
            if bytes > limit {
                refused.insert(node, Refusal::TooLarge { bytes, limit });
                too_large.push(node);
            }
        }
        if too_large.is_empty() {
            return found.into_keys().collect();
        }
        too_large.iter().for_each(|n| {
            found.remove(n);
        });
    }
}

/// Whether a node gives constant weights in another type than the file stores them in. Runtimes fuse such nodes into
/// the kernels that read the weights.
fn unpacks(graph: &Graph, facts: &Facts, node: NodeId) -> bool {
    let n = graph.node(node);
    let (Some(&Some(x)), Some(&Some(y))) = (n.inputs.first(), n.outputs.first()) else { return false };
    let Some(tensor) = graph.constant(x).filter(|t| t.count() > 1) else { return false };
    let wider = facts.get(y).elem.is_some_and(|e| e.bits() > tensor.elem.bits());
    let narrow = tensor.elem.holds_weights() && tensor.dims.len() > 1 && wider;
    UNPACKS.contains(&n.op.as_str()) && (narrow || n.op != "Cast")
}

/// Bytes of a node's results, unless they are too many. `total` is what constants and results take so far.
fn result_bytes(graph: &Graph, facts: &Facts, node: NodeId, total: u64) -> Result<u64, Refusal> {
    let results = graph.node(node).outputs.iter().flatten();
    let sum = results.map(|v| facts.get(*v).byte_len()).try_fold(0u64, |sum, b| sum.checked_add(b?));
    let bytes = sum.ok_or(Refusal::Shape { what: "the size of a result is not known" })?;
    let limit = MAX_BYTES.min(MAX_TOTAL.saturating_sub(total));
    if bytes > limit { Err(Refusal::TooLarge { bytes, limit }) } else { Ok(bytes) }
}

/// The constants that a node is computed from.
#[derive(Default)]
struct Sources {
    elements: u64,
    /// Bytes of those that only nodes that are folded read.
    freed_bytes: u64,
}

fn sources(graph: &Graph, node: NodeId, found: &BTreeMap<NodeId, u64>) -> Sources {
    let inside = |u: &Use| matches!(u, Use::Operand(reader, _) if found.contains_key(reader));
    let freed = |v: ValueId| !graph.is_output(v) && graph.value(v).uses.iter().all(inside);
    let mut seen: BTreeSet<ValueId> = BTreeSet::new();
    let mut work = vec![node];
    let mut out = Sources::default();
    while let Some(node) = work.pop() {
        for &v in graph.node(node).inputs.iter().flatten() {
            if !seen.insert(v) {
                continue;
            }
            if let Some(t) = graph.constant(v) {
                out.elements = out.elements.saturating_add(t.count());
                out.freed_bytes = out.freed_bytes.saturating_add(if freed(v) { t.byte_len() } else { 0 });
            }
            work.extend(graph.producer(v).filter(|p| found.contains_key(p)));
        }
    }
    out
}

/// Elements of a node's results.
fn elements(graph: &Graph, facts: &Facts, node: NodeId) -> u64 {
    graph.node(node).outputs.iter().flatten().filter_map(|v| facts.get(*v).count()).fold(0, u64::saturating_add)
}

/// Results of foldable nodes that others read, with their nodes.
fn targets(graph: &Graph, foldable: &BTreeSet<NodeId>) -> Vec<(NodeId, ValueId)> {
    let outside = |u: &Use| match u {
        Use::Operand(reader, _) => !foldable.contains(reader),
        Use::Captured(_) => true,
    };
    let results = foldable.iter().flat_map(|&n| graph.node(n).outputs.iter().flatten().map(move |&v| (n, v)));
    results.filter(|(_, v)| graph.value(*v).uses.iter().any(outside)).collect()
}

/// A target with its contents or why there are none.
type Evaluated = (NodeId, ValueId, Result<Arc<Tensor>, Refusal>);

/// Computes `targets` in one load; where that fails, in two halves, and so on. `failures` counts single targets that
/// fail; after [`MAX_FAILURES`] no more are tried.
fn evaluate(
    model: &Model,
    facts: &Facts,
    runtime: &dyn Runtime,
    targets: &[(NodeId, ValueId)],
    failures: &mut usize,
) -> Vec<Evaluated> {
    if targets.is_empty() || *failures >= MAX_FAILURES {
        return Vec::new();
    }
    match compute(model, facts, runtime, targets) {
        Ok(tensors) => {
            let checked = |(&(node, value), tensor)| (node, value, as_inferred(facts, value, tensor));
            targets.iter().zip(tensors).map(checked).collect()
        }
        Err(_) if targets.len() > 1 => {
            let (left, right) = targets.split_at(targets.len() / 2);
            let mut all = evaluate(model, facts, runtime, left, failures);
            all.extend(evaluate(model, facts, runtime, right, failures));
            all
        }
        Err(e) => {
            *failures += 1;
            let why = e.to_string();
            targets.iter().map(|&(node, value)| (node, value, Err(Refusal::Runtime { why: why.clone() }))).collect()
        }
    }
}

fn compute(
    model: &Model,
    facts: &Facts,
    runtime: &dyn Runtime,
    targets: &[(NodeId, ValueId)],
) -> Result<Vec<Tensor>, RuntimeError> {
    let values: Vec<ValueId> = targets.iter().map(|(_, v)| *v).collect();
    runtime.load(&extract(model, facts, &[], &values)?, &[], 1)?.run(&[])
}

/// The tensor, if it is of the type that the rest of the graph was inferred with.
fn as_inferred(facts: &Facts, value: ValueId, tensor: Tensor) -> Result<Arc<Tensor>, Refusal> {
    let fact = facts.get(value);
    if fact.elem == Some(tensor.elem) && fact.sizes().as_ref() == Some(&tensor.dims) {
        Ok(Arc::new(tensor))
    } else {
        Err(Refusal::Shape { what: "the runtime gives another type than shape inference" })
    }
}
