//! Makes one transpose of a chain of transposes and reshapes that does what one does, and nothing of a chain that
//! gives back what it got.
//!
//! ```onnx before
//! g (float[b,4,16,8] k) => (float[b,4,8,16] y) <int64[3] merged = {-1, 16, 8}, int64[4] apart = {-1, 4, 8, 16}>
//! { z = Reshape (k, merged)  r = Transpose <perm = [0, 2, 1]> (z)  y = Reshape (r, apart) }
//! ```
//! ```onnx after
//! g (float[b,4,16,8] k) => (float[b,4,8,16] y) <int64[3] merged = {-1, 16, 8}, int64[4] apart = {-1, 4, 8, 16}>
//! { y = Transpose <perm = [0, 1, 3, 2]> (k) }
//! ```
//! Every axis of every result along the chain is followed as a run of axes of the chain's operand: a transpose permutes
//! the runs, a node that only gives its elements another shape (kernel `Free`) lets runs of the same sizes, in the same
//! order, make its axes. Sizes are compared as polynomials; axes of size 1 come and go. Where each axis of the last
//! result is one axis of the operand again, the chain is a transpose, and its last node becomes that one.
//!
//! Exporters write the keys of attention this way, and merging a batch of unknown size with the heads hides these.
//!
//! Needs: shapes.  Keeps: the name of y.  Numerics: none.
//! Leaves alone, with a remark: a result inside the chain has other readers; as `remove-identity` does, a chain that
//! gives back its operand and whose name is needed.

use super::{bound, does_nothing, replaceable};
use crate::{Changed, PassCx, PassDef, PassError, Refusal, Stage};
use sparsec_analysis::node_ref;
use sparsec_ir::{
    Attr, Attrs, AxisRef, Dim, Facts, Graph, Model, NodeId, ONNX, OpTable, Relate, Relation, Relations, ValueId,
    topological,
};

/// The pass.
pub const MERGE_TRANSPOSES: PassDef = PassDef {
    name: "merge-transposes",
    stage: Stage::Canonicalise,
    summary: "make one transpose of chains of reshapes and transposes",
    run,
};

/// What the pass writes, and reads where an operator's relations are a permutation.
const TRANSPOSE: &str = "Transpose";
const PERM: &str = "perm";

/// Nodes of a chain that are looked at together. Exporters need three; the limit keeps the pass linear.
const MAX_CHAIN: usize = 8;

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let facts = cx.infer(model).facts;
    let bound = bound(&facts);
    let mut changed = Changed::No;
    // Forwards: what stands before a node is as short as it gets, so that one run is enough.
    for node in topological(&model.graph).unwrap_or_default() {
        let chain = chain(model, (&facts, &bound), cx.table, node);
        for from in 0..chain.len() {
            let part = &chain[from..];
            let Some(outcome) = outcome(part, &facts) else { continue };
            if let Err(reason) = allowed(&model.graph, part, &outcome) {
                cx.remark(model.graph.label(node), reason);
                continue;
            }
            let graph = &mut model.graph;
            let done = cx.rewrite(|| {
                apply(graph, part, outcome);
                Ok(())
            })?;
            changed = changed.or(done);
            break;
        }
    }
    Ok(changed)
}

/// A node that moves elements without changing them.
struct Layout {
    node: NodeId,
    x: ValueId,
    y: ValueId,
    /// Axes of x in the order of y, for a transpose; nothing where the elements stay in their order.
    perm: Option<Vec<usize>>,
}

/// The longest chain that ends in `node`, in order; empty where `node` does more than move elements. `facts` come as
/// inferred, and with sizes bound.
fn chain(model: &Model, facts: (&Facts, &Facts), table: &OpTable, node: NodeId) -> Vec<Layout> {
    let mut chain: Vec<Layout> = Vec::new();
    let mut next = Some(node);
    while let Some(link) = next.and_then(|n| layout(model, facts, table, n)) {
        next = model.graph.producer(link.x).filter(|_| chain.len() + 1 < MAX_CHAIN);
        chain.push(link);
    }
    chain.reverse();
    chain
}

fn layout(model: &Model, (facts, bound): (&Facts, &Facts), table: &OpTable, node: NodeId) -> Option<Layout> {
    let n = model.graph.node(node);
    let (Some(x), &[Some(y)]) = (n.inputs.first().copied().flatten(), n.outputs.as_slice()) else { return None };
    let def = table.get(&n.domain, &n.op).filter(|d| d.domain == ONNX)?;
    if def.name == TRANSPOSE {
        let Relate::By(relate) = def.relate else { return None };
        let mut relations = Relations::default();
        relate(&node_ref(model, bound, node), &mut relations).ok()?;
        let perm = permutation(&relations, x, y, facts.get(x).rank()?)?;
        return Some(Layout { node, x, y, perm: Some(perm) });
    }
    let (fx, fy) = (facts.get(x), facts.get(y));
    // Contents that are known speak of shapes; such a node may be no reshape but the shape itself.
    let plain = fx.elem.is_some() && fx.elem == fy.elem && fy.content.is_none();
    (plain && does_nothing(model, bound, table, node)).then_some(Layout { node, x, y, perm: None })
}

/// For each axis of y the axis of x that it is tied to.
fn permutation(relations: &Relations, x: ValueId, y: ValueId, rank: usize) -> Option<Vec<usize>> {
    let mut perm = vec![None; rank];
    for relation in &relations.all {
        let Relation::Link { a, b, .. } = relation else { return None };
        let (AxisRef::Value(v, from), AxisRef::Value(w, to)) = (a.axis, b.axis) else { return None };
        if (v, w) != (x, y) {
            return None;
        }
        *perm.get_mut(to as usize)? = Some(from as usize);
    }
    perm.into_iter().collect()
}

/// What stands for a chain.
enum Outcome {
    /// Its operand.
    Nothing,
    /// A transpose of its operand.
    Transpose(Vec<usize>),
}

/// What stands for `part`: nothing where it is no transpose, or is one node that need not change.
fn outcome(part: &[Layout], facts: &Facts) -> Option<Outcome> {
    let transposes = part.iter().filter(|l| l.perm.is_some()).count();
    let perm = if transposes > 0 { index_map(part, facts)? } else { return None };
    match perm.is_sorted() {
        true => Some(Outcome::Nothing),
        false => (part.len() > 1).then_some(Outcome::Transpose(perm)),
    }
}

/// The permutation of axes that takes the operand of `part` to its result, if it is one.
fn index_map(part: &[Layout], facts: &Facts) -> Option<Vec<usize>> {
    let sizes = facts.get(part.first()?.x).shape.as_ref()?;
    let mut runs: Vec<Vec<usize>> =
        sizes.iter().enumerate().map(|(a, d)| if is_one(d) { vec![] } else { vec![a] }).collect();
    for link in part {
        runs = match &link.perm {
            Some(perm) => perm.iter().map(|&a| runs.get(a).cloned()).collect::<Option<_>>()?,
            None => regroup(&runs.concat(), sizes, facts.get(link.y).shape.as_ref()?)?,
        };
    }
    let mut ones = (0..sizes.len()).filter(|&a| is_one(&sizes[a]));
    let single = |run: Vec<usize>| match run.as_slice() {
        [] => ones.next(),
        [axis] => Some(*axis),
        _ => None,
    };
    let perm: Vec<usize> = runs.into_iter().map(single).collect::<Option<_>>()?;
    let shape = facts.get(part.last()?.y).shape.as_ref()?;
    (perm.len() == sizes.len() && perm.iter().map(|&a| &sizes[a]).eq(shape)).then_some(perm)
}

fn is_one(size: &Dim) -> bool {
    size.as_const() == Some(1)
}

/// Axes of `shape` as runs of `axes`, which have these sizes.
fn regroup(axes: &[usize], sizes: &[Dim], shape: &[Dim]) -> Option<Vec<Vec<usize>>> {
    let mut rest = axes.iter().copied();
    let mut run_of = |wanted: &Dim| {
        let (mut run, mut size) = (Vec::new(), Dim::from(1));
        while size != *wanted {
            let axis = rest.next()?;
            size = size.mul(&sizes[axis])?;
            run.push(axis);
        }
        Some(run)
    };
    let runs = shape.iter().map(&mut run_of).collect::<Option<Vec<_>>>()?;
    rest.next().is_none().then_some(runs)
}

/// Whether the chain can go, or why it cannot.
fn allowed(graph: &Graph, part: &[Layout], outcome: &Outcome) -> Result<(), Refusal> {
    let (last, inner) = part.split_last().map_or((None, part), |(l, i)| (Some(l), i));
    let shared = |l: &&Layout| graph.value(l.y).uses.len() != 1 || graph.is_output(l.y);
    match (inner.iter().find(shared), outcome, last) {
        (Some(l), ..) => Err(Refusal::SharedResult { value: graph.value(l.y).name.clone() }),
        (None, Outcome::Nothing, Some(last)) => replaceable(graph, part[0].x, last.y),
        _ => Ok(()),
    }
}

fn apply(graph: &mut Graph, part: &[Layout], outcome: Outcome) {
    let Some((last, inner)) = part.split_last() else { return };
    match outcome {
        Outcome::Nothing => {
            graph.replace_value(last.y, part[0].x);
            graph.remove_node(last.node);
        }
        Outcome::Transpose(perm) => {
            let perm = Attr::Ints(perm.into_iter().map(|a| a as i64).collect());
            graph.set_op(last.node, TRANSPOSE, Attrs::from_iter([(PERM.to_string(), perm)]));
            graph.truncate_operands(last.node, 1);
            graph.set_operand(last.node, 0, Some(part[0].x));
        }
    }
    for link in inner.iter().rev() {
        graph.remove_node(link.node);
    }
}
