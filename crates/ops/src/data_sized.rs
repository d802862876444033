//! Results whose number of slots depends on data. Spec: ai.onnx `Compress` (9, 11, 28), `NonMaxSuppression` (10, 11),
//! `NonZero` (9, 13), `Unique` (11, 28).
//!  R1  The axis that is searched, and what is found, are frozen: which slots stay depends on their contents.
//!  R2  With `axis`, the other axes of y are those of x; without, x is searched as one row. `Unique` compares whole slots
//!      of the axis: every axis is frozen.
//!  R3  `NonZero` reports positions and `NonMaxSuppression` boxes and classes by number: every axis is frozen.
//!  R4  Where the contents are known the number of slots is.

use crate::content::ints;
use crate::form::{dims, followed, freeze, freeze_all, freeze_node, tie_same, unnamed};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, WorkRule,
};

const fn row(
    name: &'static str,
    since: &'static [i64],
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    relate: Relate,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate,
        work: WorkRule::By(reduces),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("Compress", &[9, 11, 28], compress_shape, Relate::By(along_axis)),
    row("NonMaxSuppression", &[10, 11], suppression_shape, NUMBERED),
    row("NonZero", &[9, 13], nonzero_shape, NUMBERED),
    row("Unique", &[11, 28], unique_shape, Relate::Opaque("whole slots are compared")),
];

/// R3
const NUMBERED: Relate = Relate::Opaque("the result names slots by number");
const FOUND: Reason = Reason::Rule("which slots stay depends on their contents");

/// The axis that is searched; `None` where x counts as one row.
fn searched(node: &NodeRef) -> Result<Option<usize>, OpError> {
    node.int("axis")?.map(|axis| node.axis(axis, node.rank(0)?)).transpose()
}

/// Shape of x with `count` slots on the axis that is searched; R2.
fn found(node: &NodeRef, count: Option<Dim>) -> Result<Vec<Dim>, OpError> {
    let (axis, mut shape) = match searched(node)? {
        Some(axis) => (axis, dims(node, 0)?.to_vec()),
        None => (0, vec![Dim::from(1)]),
    };
    shape[axis] = count.unwrap_or_else(|| unnamed(node, 0, axis));
    Ok(shape)
}

fn compress_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let kept = |bits: Vec<i64>| Dim::from(bits.iter().filter(|&&b| b != 0).count() as i64);
    let shape = found(node, ints(node, 1).map(kept))?; // R4
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(shape), content: None }])
}

fn unique_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?;
    let searched_len = match searched(node)? {
        Some(axis) => dims(node, 0)?[axis].clone(),
        None => followed(node, 2, 0, Dim::product(dims(node, 0)?)),
    };
    let distinct = ints(node, 0).map(|mut all| {
        all.sort_unstable();
        all.dedup();
        Dim::from(all.len() as i64)
    });
    let shape = found(node, distinct)?; // R4
    let count = searched(node)?.map_or(&shape[0], |axis| &shape[axis]).clone();
    let row = |len: Dim| Fact::new(ElemType::I64, vec![len]);
    let y = Fact { elem: x.fact.elem, shape: Some(shape), content: None };
    Ok(vec![y, row(count.clone()), row(searched_len), row(count)])
}

fn nonzero_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let rank = node.need_input(0)?.rank().and_then(|rank| i64::try_from(rank).ok());
    let rank = rank.map_or_else(|| unnamed(node, 0, 0), Dim::from);
    let marked = |all: Vec<i64>| Dim::from(all.iter().filter(|&&v| v != 0).count() as i64);
    let count = ints(node, 0).map_or_else(|| unnamed(node, 0, 1), marked); // R4
    Ok(vec![Fact::new(ElemType::I64, vec![rank, count])])
}

fn suppression_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact::new(ElemType::I64, vec![unnamed(node, 0, 0), Dim::from(3)])])
}

fn along_axis(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    let Some(axis) = searched(node)? else {
        freeze_node(node, r, &FOUND);
        return Ok(());
    };
    for o in [&x, &y] {
        freeze(r, o, [axis], &FOUND); // R1
    }
    tie_same(r, &x, &y, (0..rank).filter(|a| *a != axis), "R2");
    let others = (1..node.output_count()).filter_map(|i| node.output(i));
    for o in others.chain((1..node.input_count()).filter_map(|i| node.input(i))) {
        freeze_all(r, &o, &FOUND);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_what_is_found_is_frozen_and_other_axes_pass() {
        let text = "g (float[3,4] x, bool[4] c) => (y) { y = Compress <axis=-1> (x, c) }";
        check_shape(text, "float[3,?y.1]");
        check_relation(
            text,
            "freeze x:1: which slots stay depends on their contents
             freeze y:1: which slots stay depends on their contents
             R2 x:0 = y:0
             freeze c:0: which slots stay depends on their contents",
        );
    }

    #[test]
    fn r2_without_an_axis_x_is_one_row() {
        let text = "g (float[3,n] x) => (y) { y, i, j, c = Unique (x) }";
        check_shape(text, "float[?y.0]; int64[?y.0]; int64[3*n]; int64[?y.0]");
        let row = "g (float[3] x, bool[3] c) => (y) { y = Compress (x, c) }";
        let frozen = ["x", "c", "y"].map(|v| format!("freeze {v}:0: which slots stay depends on their contents"));
        check_relation(row, &frozen.join("\n"));
    }

    #[test]
    fn r3_boxes_are_named_by_three_numbers() {
        let text = "g (float[1,9,4] b, float[1,3,9] s) => (y) { y = NonMaxSuppression (b, s) }";
        check_shape(text, "int64[?y.0,3]");
    }

    #[test]
    fn r4_known_contents_are_counted() {
        let marked = "g () => (y) <int64[4] x = {1, 0, 2, 0}> { y = NonZero (x) }";
        check_shape(marked, "int64[1,2]");
        check_shape("g (float[2,3] x) => (y) { y = NonZero (x) }", "int64[2,?y.1]");
        let kept = "g (float[3,4] x) => (y) <bool[4] c = {1, 0, 1, 0}> { y = Compress <axis=1> (x, c) }";
        check_shape(kept, "float[3,2]");
    }
}
