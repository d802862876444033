//! Reads and writes addressed element by element or slice by slice. Spec: ai.onnx `GatherElements`, versions 11, 13;
//! `GatherND`, versions 11, 12, 13; `Scatter`, versions 9, 11; `ScatterElements`, versions 11, 13, 16, 18; `ScatterND`, versions 11, 13,
//! 16, 18; `TensorScatter`, version 24.
//!  R1  Axes that the indices address are frozen.
//!  R2  Batch axes, and axes that are moved whole, are the same axes of x and of the result.
//!  R3  Axes of the indices are those of the result.
//!  R4  Axes over updates are frozen: each update has its own place in the result.
//!  R5  `GatherND` by a constant column of indices picks along the first axis, as `Gather` does; after a cut that leaves
//!      other indices it becomes one.
//!  R6  `TensorScatter` writes consecutive slots of one axis, from an index for each slot of the batch axis 0.

use crate::content::{Places, slot};
use crate::form::{dims, freeze_all, like};
use crate::work::moves;
use sparsec_ir::{
    Affine, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Reason, Relate, Relations, Resize, Resized,
    ShapeRule, WorkRule,
};

const fn row(
    name: &'static str,
    since: &'static [i64],
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    relate: fn(&NodeRef, &mut Relations) -> Result<(), OpError>,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(moves),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("GatherElements", &[11, 13], elements_shape, gather_elements),
    OpDef { resize: Resize::By(resize), ..row("GatherND", &[11, 12, 13], nd_shape, gather_nd) },
    row("Scatter", &[9, 11], scatter_shape, scatter_elements),
    row("ScatterElements", &[11, 13, 16, 18], scatter_shape, scatter_elements),
    row("ScatterND", &[11, 13, 16, 18], scatter_shape, scatter_nd),
    row("TensorScatter", &[24], scatter_shape, tensor_scatter),
];

/// Ties axes of equal static length of several values; freezes them where the lengths differ or are not known.
fn tie_all(axes: &[(Operand, usize)], rule: &'static str, r: &mut Relations) {
    let [(first, at), rest @ ..] = axes else { return };
    let len = first.size(*at).filter(|&n| rest.iter().all(|(o, a)| o.size(*a) == Some(n)));
    for (o, a) in rest {
        match len {
            Some(len) => r.tie(first.axis(*at), o.axis(*a), len, rule),
            None => r.freeze(o.axis(*a), Reason::Rule("meets an axis of another length")),
        }
    }
    if len.is_none() {
        r.freeze(first.axis(*at), Reason::Rule("meets an axis of another length"));
    }
}

fn elements_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let shape = node.need_input(1)?.fact.shape.clone();
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape, content: None }])
}

fn scatter_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

fn gather_elements(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, indices, y) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?);
    let rank = node.rank(0)?;
    let axis = node.axis(node.int_or("axis", 0)?, rank)?;
    for a in 0..rank {
        if a == axis {
            r.freeze(x.axis(a), Reason::Indexed); // R1
            tie_all(&[(indices, a), (y, a)], "R3", r);
        } else {
            tie_all(&[(x, a), (indices, a), (y, a)], "R2", r);
        }
    }
    Ok(())
}

const EVERY_UPDATE: Reason = Reason::Rule("each update has its own place in the result");

fn scatter_elements(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, indices, updates) = (node.need_input(0)?, node.need_input(1)?, node.need_input(2)?);
    let y = node.need_output(0)?;
    let rank = node.rank(0)?;
    let axis = node.axis(node.int_or("axis", 0)?, rank)?;
    for a in 0..rank {
        if a == axis {
            r.freeze(x.axis(a), Reason::Indexed); // R1
            r.freeze(y.axis(a), Reason::Indexed);
            [indices, updates].iter().for_each(|o| r.freeze(o.axis(a), EVERY_UPDATE)); // R4
        } else {
            tie_all(&[(x, a), (y, a), (indices, a), (updates, a)], "R2", r);
        }
    }
    Ok(())
}

/// Number of axes of x that one index tuple addresses, and rank of the indices.
fn tuple(node: &NodeRef) -> Result<Option<(usize, usize)>, OpError> {
    let rank = node.rank(1)?;
    let last = rank.checked_sub(1).ok_or(OpError::Unsupported("the indices are a scalar"))?;
    let Some(len) = node.need_input(1)?.size(last) else { return Ok(None) };
    let x = node.rank(0)?;
    match usize::try_from(len) {
        Ok(len) if len <= x => Ok(Some((len, rank))),
        _ => Err(OpError::Unsupported("the indices address more axes than there are")),
    }
}

fn batch_axes(node: &NodeRef, tuple: usize, indices_rank: usize) -> Result<usize, OpError> {
    let batch = usize::try_from(node.int_or("batch_dims", 0)?).ok();
    let fits = |b: &usize| *b < indices_rank && b.saturating_add(tuple) <= node.rank(0).unwrap_or(0);
    batch.filter(fits).ok_or(OpError::BadAttribute { name: "batch_dims".to_string(), expected: "within the ranks" })
}

fn nd_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = node.need_input(0)?.fact.elem;
    let (Some(_), Some(_)) = (node.rank(0).ok(), node.rank(1).ok()) else { return Ok(vec![Fact::unranked(elem)]) };
    let (x, indices) = (dims(node, 0)?, dims(node, 1)?);
    let Some((tuple, rank)) = tuple(node)? else { return Ok(vec![Fact::unranked(elem)]) };
    let batch = batch_axes(node, tuple, rank)?;
    let shape = [&indices[..rank - 1], &x[batch + tuple..]].concat();
    Ok(vec![Fact { elem, shape: Some(shape), content: None }])
}

/// Slots of axis 0 of x that a constant column of indices picks.
fn column(node: &NodeRef) -> Result<Option<Vec<u64>>, OpError> {
    let (x, indices) = (node.need_input(0)?, node.need_input(1)?);
    let Some(t) = indices.tensor.filter(|t| matches!(t.dims.as_slice(), [_, 1])) else { return Ok(None) };
    let Some(len) = x.size(0).filter(|_| node.int_or("batch_dims", 0) == Ok(0)) else { return Ok(None) };
    let Ok(all) = t.to_i64() else { return Ok(None) };
    Ok(all.into_iter().map(|i| slot(i, len)).collect())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let (Some(slots), Some(kept)) = (column(node)?, (cut.kept)(x.value, 0)) else { return Ok(Vec::new()) };
    let stay = (cut.kept)(y.value, 0).unwrap_or_else(|| (0..slots.len() as u32).collect());
    let places = Places::of(&kept);
    let picked = stay.iter().filter_map(|&i| places.find(*slots.get(i as usize)?));
    Ok(vec![Edit::Gather { axis: 0, indices: picked.collect() }]) // R5
}

fn gather_nd(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, indices, y) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?);
    let (tuple, rank) = tuple(node)?.ok_or(OpError::NotConstant { index: 1 })?;
    let batch = batch_axes(node, tuple, rank)?;
    if let Some(slots) = column(node)? {
        freeze_all(r, &indices, &Reason::Rule("picks slots"));
        r.free(x.axis(0)); // slots that nothing picks
        r.pick(x.axis(0), &slots, y.axis(0), "R5");
        (1..node.rank(0)?).for_each(|a| tie_all(&[(x, a), (y, a)], "R2", r));
        return Ok(());
    }
    for a in 0..batch {
        tie_all(&[(x, a), (indices, a), (y, a)], "R2", r);
    }
    for a in batch..rank - 1 {
        tie_all(&[(indices, a), (y, a)], "R3", r);
    }
    r.freeze(indices.axis(rank - 1), Reason::Indexed);
    for a in batch..batch + tuple {
        r.freeze(x.axis(a), Reason::Indexed); // R1
    }
    for a in batch + tuple..node.rank(0)? {
        tie_all(&[(x, a), (y, rank - 1 + a - batch - tuple)], "R2", r);
    }
    Ok(())
}

fn scatter_nd(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, indices, updates) = (node.need_input(0)?, node.need_input(1)?, node.need_input(2)?);
    let y = node.need_output(0)?;
    let (tuple, rank) = tuple(node)?.ok_or(OpError::NotConstant { index: 1 })?;
    for a in 0..rank - 1 {
        [indices, updates].iter().for_each(|o| r.freeze(o.axis(a), EVERY_UPDATE)); // R4
    }
    r.freeze(indices.axis(rank - 1), Reason::Indexed);
    for a in 0..tuple {
        r.freeze(x.axis(a), Reason::Indexed); // R1
        r.freeze(y.axis(a), Reason::Indexed);
    }
    for a in tuple..node.rank(0)? {
        tie_all(&[(x, a), (y, a), (updates, rank - 1 + a - tuple)], "R2", r);
    }
    Ok(())
}

fn tensor_scatter(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, updates, y) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?);
    let rank = node.rank(0)?;
    let axis = node.axis(node.int_or("axis", -2)?, rank)?;
    for a in 0..rank {
        if a == axis {
            for o in [x, updates, y] {
                r.freeze(o.axis(a), Reason::Indexed); // R6
            }
        } else {
            tie_all(&[(x, a), (updates, a), (y, a)], "R2", r);
        }
    }
    if let Some(indices) = node.input(2) {
        tie_all(&[(x, 0), (indices, 0)], "R6", r);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation, check_resize};
    use std::time::{Duration, Instant};

    #[test]
    fn many_constant_indices_follow_in_little_time() {
        let (n, started) = (1u32 << 18, Instant::now());
        let at = (0..n).rev().map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        let text = format!("g (float[{n},2] x) => (y) <int64[{n},1] i = {{{at}}}> {{ y = GatherND (x, i) }}");
        let kept: Vec<u32> = (1..n).collect();
        let less: Vec<String> = (0..n - 1).rev().map(|i| i.to_string()).collect();
        let stay: Vec<u32> = (0..n - 1).collect();
        check_resize(&text, &[("x", 0, &kept), ("y", 0, &stay)], &[&format!("gather 0: [{}]", less.join(", "))]);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    #[test]
    fn tuples_address_leading_axes() {
        let text = "g (float[7,8,4] x, int64[n,3,2] i) => (float[] y) { y = GatherND (x, i) }";
        check_fact(text, "float[n,3,4]");
        check_relation(
            text,
            &[
                "y.0 frozen: meets an axis of another length",
                "i.0 frozen: meets an axis of another length",
                "R3 i.1 = y.1 x3",
                "i.2 frozen: indexed by data",
                "x.0 frozen: indexed by data",
                "x.1 frozen: indexed by data",
                "R2 x.2 = y.2 x4",
            ],
        );
    }
    #[test]
    fn elements_are_addressed_along_one_axis() {
        check_relation(
            "g (float[7,4] x, int64[3,4] i) => (float[] y) { y = GatherElements (x, i) }",
            &["x.0 frozen: indexed by data", "R3 i.0 = y.0 x3", "R2 x.1 = i.1 x4", "R2 x.1 = y.1 x4"],
        );
    }
    #[test]
    fn a_cache_is_written_along_one_axis() {
        check_relation(
            "g (float[2,3,9,4] x, float[2,3,1,4] u, int64[2] i) => (float[] y) { y = TensorScatter (x, u, i) }",
            &[
                "R2 x.0 = u.0 x2",
                "R2 x.0 = y.0 x2",
                "R2 x.1 = u.1 x3",
                "R2 x.1 = y.1 x3",
                "x.2 frozen: indexed by data",
                "u.2 frozen: indexed by data",
                "y.2 frozen: indexed by data",
                "R2 x.3 = u.3 x4",
                "R2 x.3 = y.3 x4",
                "R6 x.0 = i.0 x2",
            ],
        );
    }
    #[test]
    fn a_constant_column_picks() {
        let text = "g (float[3,4] x) => (float[] y) <int64[2,1] i = {2, 0}> { y = GatherND (x, i) }";
        check_relation(
            text,
            &[
                "i.0 frozen: picks slots",
                "i.1 frozen: picks slots",
                "x.0 free",
                "R5 x.0@2 = y.0 x1",
                "R5 x.0 = y.0@1 x1",
                "R2 x.1 = y.1 x4",
            ],
        );
        check_resize(text, &[("x", 0, &[1, 2]), ("y", 0, &[0])], &["gather 0: [1]"]);
    }
    #[test]
    fn updates_stay() {
        check_relation(
            "g (float[7,4] x, int64[3,1] i, float[3,4] u) => (float[] y) { y = ScatterND (x, i, u) }",
            &[
                "i.0 frozen: each update has its own place in the result",
                "u.0 frozen: each update has its own place in the result",
                "i.1 frozen: indexed by data",
                "x.0 frozen: indexed by data",
                "y.0 frozen: indexed by data",
                "R2 x.1 = y.1 x4",
                "R2 x.1 = u.1 x4",
            ],
        );
    }
}
