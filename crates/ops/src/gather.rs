//! `Gather`: entries of an axis by index. Spec: ai.onnx `Gather`, versions 1, 11, 13.
//!  R1  y has the shape of x with the axis replaced by the shape of the indices; the other axes are those of x.
//!  R2  Constant indices of rank 1 pick: slot i of y is slot `indices[i]` of x.
//!  R3  A constant scalar index needs its slot; the others are free.
//!  R4  Other indices address the axis by data: it is frozen, but for entries that a user gives up where the indices are
//!      computed. Axes of the indices are those of y.
//!  R5  After a cut constant indices are renumbered, and computed ones translated unless the entries that left were the
//!      last.
//!  R6  Contents are picked.

use crate::content::{Places, freeze_sizes, slot};
use crate::form::tie;
use crate::work::moves;
use sparsec_ir::{
    Affine, Dim, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, Resized,
    ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Gather",
    domain: ONNX,
    since: &[1, 11, 13],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn axis(node: &NodeRef, rank: usize) -> Result<usize, OpError> {
    node.axis(node.int_or("axis", 0)?, rank)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, indices) = (node.need_input(0)?.fact, node.need_input(1)?.fact);
    let (Some(dims), Some(places)) = (&x.shape, &indices.shape) else { return Ok(vec![Fact::unranked(x.elem)]) };
    let axis = axis(node, dims.len())?;
    let shape = [&dims[..axis], places, &dims[axis + 1..]].concat(); // R1
    let picked = |c: &Vec<Dim>| {
        let at = |i: i64| c.get(usize::try_from(slot(i, c.len() as u64)?).ok()?).cloned();
        indices.ints()?.into_iter().map(at).collect()
    };
    let content = x.content.as_ref().filter(|_| dims.len() == 1).and_then(picked); // R6
    Ok(vec![Fact { elem: x.elem, shape: Some(shape), content }])
}

/// Slots of the axis that constant indices of any number name. `None` where they are not known, or the axis is dynamic.
fn slots(node: &NodeRef, axis: usize) -> Result<Option<Vec<u64>>, OpError> {
    let indices = node.need_input(1)?;
    let known = indices.tensor.map_or_else(|| indices.fact.ints(), |t| t.to_i64().ok());
    let (Some(len), Some(indices)) = (node.need_input(0)?.size(axis), known) else { return Ok(None) };
    let at = |i: i64| slot(i, len).ok_or(OpError::Unsupported("an index is out of range"));
    indices.into_iter().map(at).collect::<Result<_, _>>().map(Some)
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, indices, y) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?);
    let (rank, added) = (node.rank(0)?, node.rank(1)?);
    let axis = axis(node, rank)?;
    for other in (0..rank).filter(|&a| a != axis) {
        let place = if other < axis { other } else { other + added - 1 };
        tie(r, (&x, other), (&y, place), "R1");
    }
    match slots(node, axis)? {
        Some(slots) if added == 1 => {
            freeze_sizes(node, 1, r);
            r.free(x.axis(axis)); // slots that nothing picks
            r.pick(x.axis(axis), &slots, y.axis(axis), "R2");
        }
        Some(slots) if added == 0 => {
            r.free(x.axis(axis));
            for slot in slots {
                r.freeze_slots(x.axis(axis), slot, 1, Reason::Rule("selected by a constant index")); // R3
            }
        }
        slots => {
            let constant = Reason::Rule("picked by constant indices of several axes");
            r.freeze(x.axis(axis), if slots.is_some() { constant } else { Reason::Lookup }); // R4
            for a in 0..added {
                tie(r, (&indices, a), (&y, axis + a), "R4");
            }
        }
    }
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let axis = axis(node, node.rank(0)?)?;
    let Some(slots) = slots(node, axis)? else { return Ok(translated(cut, axis)?.into_iter().collect()) };
    let all = || (0..slots.len() as u32).collect();
    let kept_x = (cut.kept)(x.value, axis);
    let kept_y = if node.rank(1)? == 1 { (cut.kept)(y.value, axis) } else { None };
    if kept_x.is_none() && kept_y.is_none() {
        return Ok(Vec::new());
    }
    let places = kept_x.as_deref().map(Places::of);
    let now = |slot: u64| match &places {
        Some(places) => places.find(slot),
        None => i64::try_from(slot).ok(),
    };
    let kept: Vec<u32> = kept_y.unwrap_or_else(all);
    let renumbered = kept.into_iter().filter_map(|i| now(*slots.get(i as usize)?));
    Ok(vec![Edit::Content { operand: 1, dims: renumbered.map(Dim::from).collect() }]) // R5
}

/// R5, of indices that are computed: what they must become, if anything.
fn translated(cut: &Resized, axis: usize) -> Result<Option<Edit>, OpError> {
    let x = cut.before.need_input(0)?;
    let (Some(len), Some(kept)) = (x.size(axis), (cut.kept)(x.value, axis)) else { return Ok(None) };
    let trailing = kept.iter().zip(0..).all(|(a, b)| *a == b);
    Ok((!trailing).then_some(Edit::Translate { operand: 1, len, kept }))
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation, check_resize};
    use std::time::{Duration, Instant};

    #[test]
    fn many_constant_indices_follow_in_little_time() {
        let (n, started) = (1u32 << 18, Instant::now());
        let at = (0..n).rev().map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        let text = format!("g (float[n,{n}] x) => (y) <int64[{n}] i = {{{at}}}> {{ y = Gather <axis = 1> (x, i) }}");
        let kept: Vec<u32> = (1..n).collect();
        let less: Vec<String> = (0..n - 1).rev().map(|i| i.to_string()).collect();
        let stay: Vec<u32> = (0..n - 1).collect();
        check_resize(&text, &[("x", 1, &kept), ("y", 1, &stay)], &[&format!("operand 1 = {}", less.join(","))]);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    #[test]
    fn constant_indices_pick() {
        check_relation(
            "g (float[n,4,2] x) => (float[] y) <int64[2] i = {3, -3}> { y = Gather <axis = 1> (x, i) }",
            &["R1 x.2 = y.2 x2", "i.0 frozen: holds sizes", "x.1 free", "R2 x.1@3 = y.1 x1", "R2 x.1@1 = y.1@1 x1"],
        );
    }
    #[test]
    fn a_scalar_index_needs_its_slot() {
        let text = "g (float[n,4,2] x) => (float[] y) <int64 i = {2}> { y = Gather <axis = 1> (x, i) }";
        check_relation(text, &["R1 x.2 = y.1 x2", "x.1 free", "x.1@2 x1 frozen: selected by a constant index"]);
        check_resize(text, &[("x", 1, &[0, 2])], &["operand 1 = 1"]);
    }
    #[test]
    fn constant_indices_pick_however_many_there_are() {
        let at = (0..5000).rev().map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        let text =
            format!("g (float[n,5000] x) => (float[] y) <int64[5000] i = {{{at}}}> {{ y = Gather <axis = 1> (x, i) }}");
        check_resize(&text, &[("x", 1, &[0, 4999]), ("y", 1, &[0, 4999])], &["operand 1 = 1,0"]);
    }
    #[test]
    fn data_freezes_the_axis_it_addresses() {
        check_relation(
            "g (float[9,4] x, int64[n,5] i) => (float[] y) { y = Gather (x, i) }",
            &["R1 x.1 = y.2 x4", "x.0 frozen: indexed by data", "R4 i.1 = y.1 x5"],
        );
    }
    #[test]
    fn computed_indices_are_translated_unless_the_last_entries_leave() {
        let text = "g (float[6,4] x, int64[n,5] i) => (float[] y) { y = Gather (x, i) }";
        check_resize(text, &[("x", 0, &[0, 2, 5])], &["operand 1 translated to 0,2,5 of 6"]);
        check_resize(text, &[("x", 0, &[0, 1, 2])], &[]);
    }
    #[test]
    fn constant_indices_are_renumbered() {
        check_resize(
            "g (float[n,4] x) => (float[] y) <int64[3] i = {3, 1, 0}> { y = Gather <axis = 1> (x, i) }",
            &[("x", 1, &[0, 3]), ("y", 1, &[0, 2])],
            &["operand 1 = 1,0"],
        );
    }
    #[test]
    fn contents_are_picked() {
        check_fact(
            "g (float[n,4] x) => (int64[] y) <int64 i = {-1}> { s = Shape (x) y = Gather (s, i) }",
            "int64[] = {4}",
        );
    }
}
