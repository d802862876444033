//! Control flow. Spec: ai.onnx `If` (1, 11, 13, 16, 19, 21, 23, 24, 25), `Loop` (1, 11, 13, 16, 19, 21, 23, 24, 25),
//! `Scan` (8, 9, 11, 16, 19, 21, 23, 24, 25).
//!  R1  What passes the boundary of a subgraph keeps its size: every operand and result is frozen, and so is what a
//!      subgraph captures.
//!  R2  A result has the sizes that the subgraph states of it, where they are numbers; for `If` where both branches
//!      agree, and for what is carried from round to round where the value before the first round does.
//!  R3  `Loop` and `Scan` stack their further results: along a new first axis, or along `scan_output_axes`, with one
//!      slot for each round. A round of `Scan` reads one slot of `scan_input_axes`.
//!  R4  Before version 9 `Scan` runs for each slot of a batch axis, which comes first in every operand and result; the
//!      axis of the rounds is the next. Operand 0 is then the number of rounds of each.

use sparsec_ir::{
    Affine, Attr, Dim, ElemType, Fact, Graph, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Resize, ShapeRule,
    Type, WorkRule,
};

const fn control(
    name: &'static str,
    since: &'static [i64],
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::Opaque("what passes the boundary of a subgraph keeps its size"), // R1
        work: WorkRule::Unknown("how often a subgraph runs is not known"),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    control("If", &[1, 11, 13, 16, 19, 21, 23, 24, 25], branch_shape),
    control("Loop", &[1, 11, 13, 16, 19, 21, 23, 24, 25], loop_shape),
    control("Scan", &[8, 9, 11, 16, 19, 21, 23, 24, 25], scan_shape),
];

/// Type and sizes of a tensor; `None` for a size that is not a number.
#[derive(Clone, Default)]
struct Sizes {
    elem: Option<ElemType>,
    sizes: Option<Vec<Option<Dim>>>,
}

impl Sizes {
    fn of(elem: Option<ElemType>, shape: Option<&Vec<Dim>>) -> Self {
        // A symbol of a subgraph may stand for another size than the same name outside.
        let number = |d: &Dim| d.as_const().map(Dim::from);
        Self { elem, sizes: shape.map(|s| s.iter().map(number).collect()) }
    }
    /// What holds of both.
    fn meet(self, other: Self) -> Self {
        let same = |(a, b): (Option<Dim>, Option<Dim>)| a.filter(|a| Some(a) == b.as_ref());
        let sizes = match (self.sizes, other.sizes) {
            (Some(a), Some(b)) if a.len() == b.len() => Some(a.into_iter().zip(b).map(same).collect()),
            _ => None,
        };
        Self { elem: self.elem.filter(|e| other.elem.is_none_or(|o| o == *e)), sizes }
    }
    /// The fact of a result with these sizes.
    fn fact(self, node: &NodeRef, result: usize) -> Fact {
        let dim = |(axis, d): (usize, Option<Dim>)| d.unwrap_or_else(|| crate::form::unnamed(node, result, axis));
        Fact { elem: self.elem, shape: self.sizes.map(|s| s.into_iter().enumerate().map(dim).collect()), content: None }
    }
}

/// A subgraph in an attribute.
fn body<'g>(node: &NodeRef<'g>, name: &str) -> Result<&'g Graph, OpError> {
    match node.node().attrs.get(name) {
        Some(Attr::Graph(g)) => Ok(g),
        _ => Err(OpError::BadAttribute { name: name.to_string(), expected: "a graph" }),
    }
}

/// What a subgraph states of its result `index`.
fn stated(graph: &Graph, index: usize) -> Sizes {
    match graph.outputs().get(index).and_then(|v| graph.value(*v).ty.as_ref()) {
        Some(Type::Tensor { elem, shape }) => Sizes::of(Some(*elem), shape.as_ref()),
        _ => Sizes::default(),
    }
}

/// What is known of operand `index`.
fn given(node: &NodeRef, index: usize) -> Sizes {
    node.input(index).map_or(Sizes::default(), |o| Sizes::of(o.fact.elem, o.fact.shape.as_ref()))
}

fn branch_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (yes, no) = (body(node, "then_branch")?, body(node, "else_branch")?);
    Ok((0..node.output_count()).map(|i| stated(yes, i).meet(stated(no, i)).fact(node, i)).collect()) // R2
}

fn loop_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let body = body(node, "body")?;
    let carried = node.input_count().saturating_sub(2);
    // Result 0 of the body says whether to go on; operands 0 and 1 how often.
    Ok((0..node.output_count())
        .map(|i| {
            let round = stated(body, i + 1);
            if i < carried {
                return given(node, i + 2).meet(round).fact(node, i); // R2
            }
            let stacked = round.sizes.map(|s| [vec![None], s].concat()); // R3
            Sizes { sizes: stacked, ..round }.fact(node, i)
        })
        .collect())
}

fn scan_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let body = body(node, "body")?;
    let bad = OpError::BadAttribute { name: "num_scan_inputs".to_string(), expected: "at most the number of operands" };
    let scanned = node.int("num_scan_inputs")?.and_then(|n| usize::try_from(n).ok());
    if node.opset < 9 {
        let first = scanned.and_then(|n| node.input_count().checked_sub(n)).filter(|&n| n > 0).ok_or(bad)?;
        return Ok(batched_scan(node, body, first));
    }
    let carried = scanned.and_then(|n| node.input_count().checked_sub(n)).ok_or(bad)?;
    let axis = |name: &str, which: usize| Ok(node.ints(name)?.and_then(|a| a.get(which).copied()).unwrap_or(0));
    let rounds = match node.input(carried) {
        Some(x) => match &x.fact.shape {
            Some(shape) => Some(shape[node.axis(axis("scan_input_axes", 0)?, shape.len())?].clone()),
            None => None,
        },
        None => None,
    };
    (0..node.output_count())
        .map(|i| {
            let round = stated(body, i);
            if i < carried {
                return Ok(given(node, i).meet(round).fact(node, i));
            }
            let Some(mut sizes) = round.sizes.clone() else { return Ok(round.fact(node, i)) };
            let at = node.axis(axis("scan_output_axes", i - carried)?, sizes.len() + 1)?;
            sizes.insert(at, rounds.clone());
            Ok(Sizes { sizes: Some(sizes), ..round }.fact(node, i))
        })
        .collect()
}

/// Results of a scan over batches whose first scanned operand is `first`. Rule R4.
fn batched_scan(node: &NodeRef, body: &Graph, first: usize) -> Vec<Fact> {
    let outer = |axis: usize| given(node, first).sizes.and_then(|s| s.get(axis).cloned().flatten());
    (0..node.output_count())
        .map(|i| {
            let round = stated(body, i);
            let lead = if i + 1 < first { vec![outer(0)] } else { vec![outer(0), outer(1)] };
            let sizes = round.sizes.map(|s| [lead, s].concat());
            Sizes { sizes, ..round }.fact(node, i)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::check_shape;

    #[test]
    fn r4_early_scans_run_for_each_of_a_batch() {
        let text = r#"<ir_version: 8, opset_import: ["" : 8]> g (float[2,4] s, float[2,3,5] x) => (y) {
            y, ys = Scan (, s, x) <num_scan_inputs = 1,
            body = a (float[4] s0, float[5] x0) => (float[4] s1, float[6] o) { s1 = Relu (s0)  o = Neg (s0) }>
        }"#;
        check_shape(text, "float[2,4]; float[2,3,6]");
    }

    #[test]
    fn r2_branches_agree_on_what_is_known() {
        let text = "g (bool c, float[n,4] x) => (y) {
            y = If (c) <then_branch = a () => (float[n,4] p) { p = Relu (x) }, else_branch = b () => (float[2,4] q) { q = Neg (x) }>
        }";
        check_shape(text, "float[?y.0,4]");
    }

    #[test]
    fn r2_r3_loops_carry_and_stack() {
        let text = "g (int64 m, bool c, float[4] x) => (y) {
            y, ys = Loop (m, c, x) <body = a (int64 i, bool c0, float[4] s) => (bool c1, float[4] t, float[4,2] o)
            { c1 = Identity (c0)  t = Relu (s)  o = Neg (s) }>
        }";
        check_shape(text, "float[4]; float[?ys.0,4,2]");
        check_shape(&text.replace("float[4] t", "float[k] t"), "float[?y.0]; float[?ys.0,4,2]");
    }

    #[test]
    fn r3_a_round_reads_one_slot() {
        let text = "g (float[4] s, float[3,n,2] x) => (y) {
            y, ys = Scan (s, x) <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1],
            body = a (float[4] s0, float[3,2] x0) => (float[4] s1, float[4] o) { s1 = Relu (s0)  o = Neg (s0) }>
        }";
        check_shape(text, "float[4]; float[4,n]");
    }
}
