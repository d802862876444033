//! `Split`: consecutive parts of an axis. Spec: ai.onnx `Split`, versions 1, 2, 11, 13, 18; sizes are an operand from
//! 13 on and may be one in version 1, `num_outputs` exists from 18 on.
//!  R1  Along the axis, the slots of the parts are those of x in order.
//!  R2  Every other axis of each part is the same axis of x.
//!  R3  Without sizes the parts are equal, from version 18 on with a smaller last one.
//!  R4  After a cut the sizes are what is left of each part.

use crate::content::freeze_sizes;
use crate::form::{mismatch, unnamed};
use crate::work::moves;
use sparsec_ir::{
    Affine, Attr, Dim, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    Resized, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Split",
    domain: ONNX,
    since: &[1, 2, 11, 13, 18],
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

/// Size of each part of an axis of size `whole`; `None` for what is not known.
fn sizes(node: &NodeRef, whole: &Dim) -> Result<Vec<Option<Dim>>, OpError> {
    let parts = node.output_count();
    let given = match node.input(1) {
        Some(o) => Some(o.fact.content.clone()),
        None => node.ints("split")?.map(|s| Some(s.into_iter().map(Dim::from).collect())),
    };
    if let Some(given) = given {
        let Some(given) = given else { return Ok(vec![None; parts]) };
        if given.len() != parts {
            return Err(mismatch("sizes and parts of a split", given.len(), parts));
        }
        let total = given.iter().try_fold(Dim::from(0), |t, d| t.add(d)).ok_or(OpError::Overflow)?;
        if let (Some(t), Some(w)) = (total.as_const(), whole.as_const())
            && t != w
        {
            return Err(mismatch("sizes of the parts and of the whole", t, w));
        }
        return Ok(given.into_iter().map(Some).collect());
    }
    Ok(equal_sizes(whole, parts)) // R3
}

/// Sizes of `parts` equal parts, the last one smaller where that is needed.
fn equal_sizes(whole: &Dim, parts: usize) -> Vec<Option<Dim>> {
    let Some(len) = whole.as_size() else { return vec![whole.div_exact(&Dim::from(parts as i64)); parts] };
    let each = len.div_ceil(parts.max(1) as u64);
    let size = |i: u64| len.saturating_sub(each.saturating_mul(i)).min(each);
    (0..parts as u64).map(|i| Some(Dim::from(size(i) as i64))).collect()
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?.fact;
    let Some(dims) = &x.shape else { return Ok(vec![Fact::unranked(x.elem); node.output_count()]) };
    let axis = axis(node, dims.len())?;
    let sizes = sizes(node, &dims[axis])?;
    let mut start = Some(0usize);
    let mut facts = Vec::with_capacity(sizes.len());
    for (index, size) in sizes.into_iter().enumerate() {
        let mut shape = dims.clone();
        let len = size.as_ref().and_then(Dim::as_size).and_then(|l| usize::try_from(l).ok());
        let end = start.zip(len).and_then(|(s, l)| s.checked_add(l));
        let content = x.content.as_ref().zip(start.zip(end)).and_then(|(c, (s, e))| c.get(s..e)).map(<[Dim]>::to_vec);
        start = end;
        shape[axis] = match size {
            Some(d) => d,
            None if node.output(index).is_some() => unnamed(node, index, axis),
            None => dims[axis].clone(),
        };
        facts.push(Fact { elem: x.elem, shape: Some(shape), content });
    }
    Ok(facts)
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    freeze_sizes(node, 1, r);
    let x = node.need_input(0)?;
    let dims = crate::form::dims(node, 0)?;
    let split = axis(node, dims.len())?;
    let mut start = Some(0);
    for (index, size) in sizes(node, &dims[split])?.into_iter().enumerate() {
        let len = size.as_ref().and_then(Dim::as_size);
        let part = node.output(index);
        for axis in 0..dims.len() {
            let Some(y) = &part else { continue };
            match (axis == split, x.size(axis)) {
                (false, Some(len)) => r.tie(x.axis(axis), y.axis(axis), len, "R2"),
                (true, Some(_)) => {
                    if let (Some(start), Some(len)) = (start, len) {
                        r.segment(x.axis(axis), start, y.axis(axis), len, "R1");
                    } else {
                        r.freeze(x.axis(axis), UNKNOWN_PARTS);
                        r.freeze(y.axis(axis), UNKNOWN_PARTS);
                    }
                }
                (true, None) => r.freeze(y.axis(axis), UNKNOWN_PARTS),
                (false, None) => {}
            }
        }
        if let (None, Some(start), Some(len)) = (&part, start, len) {
            // Nobody reads this part, but it keeps its size: an axis cannot be empty.
            r.freeze_slots(x.axis(split), start, len, Reason::Rule("in a part that is not used"));
        }
        start = start.zip(len).and_then(|(s, l): (u64, u64)| s.checked_add(l));
    }
    Ok(())
}

const UNKNOWN_PARTS: Reason = Reason::Rule("split at places known only at run time");

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let x = node.need_input(0)?;
    let before = crate::form::dims(node, 0)?;
    let axis = axis(node, before.len())?;
    let Some(kept) = (cut.kept)(x.value, axis) else { return Ok(Vec::new()) };
    let mut start = 0u64;
    let mut dims = Vec::new();
    for size in sizes(node, &before[axis])? {
        let len = size.and_then(|d| d.as_size()).ok_or(OpError::NotConstant { index: 1 })?;
        let part = start..start.saturating_add(len);
        dims.push(Dim::from(kept.iter().filter(|&&k| part.contains(&u64::from(k))).count() as i64));
        start = part.end;
    }
    let given = node.input(1).is_some() || node.ints("split")?.is_some();
    let equal: Option<Vec<Dim>> = equal_sizes(&Dim::from(kept.len() as i64), dims.len()).into_iter().collect();
    if !given && equal.as_ref() == Some(&dims) {
        return Ok(Vec::new()); // R3
    }
    if node.opset < 13 && node.input(1).is_none() {
        let sizes = dims.iter().filter_map(Dim::as_const).collect();
        return Ok(vec![Edit::Attr("split", Attr::Ints(sizes))]); // R4
    }
    let mut edits = vec![Edit::Content { operand: 1, dims }]; // R4
    if node.int("num_outputs")?.is_some() {
        edits.push(Edit::NoAttr("num_outputs"));
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation, check_resize};

    const HALVES: &str = "g (float[n,8] x) => (float[] a, float[] b) { a, b = Split <axis = 1, num_outputs = 2> (x) }";

    #[test]
    fn parts_are_segments() {
        check_relation(HALVES, &["R1 x.1 = a.1 x4", "R1 x.1@4 = b.1 x4"]);
    }
    #[test]
    fn the_last_part_is_the_smaller_one() {
        check_relation(
            "g (float[7] x) => (float[] a, float[] b) { a, b = Split <num_outputs = 2> (x) }",
            &["R1 x.0 = a.0 x4", "R1 x.0@4 = b.0 x3"],
        );
    }
    #[test]
    fn sizes_appear_where_parts_become_unequal() {
        check_resize(HALVES, &[("x", 1, &[0, 1, 2, 5])], &["operand 1 = 3,1", "no num_outputs"]);
        check_resize(HALVES, &[("x", 1, &[0, 1, 4, 5])], &[]);
    }
    #[test]
    fn given_sizes_follow() {
        check_resize(
            "g (float[n,8] x) => (float[] a, float[] b) <int64[2] s = {5, 3}> { a, b = Split <axis = 1> (x, s) }",
            &[("x", 1, &[0, 1, 5])],
            &["operand 1 = 2,1"],
        );
    }
    #[test]
    fn sizes_that_version_1_gives_as_an_operand_follow_there() {
        check_resize(
            r#"<ir_version: 3, opset_import: ["" : 1]> g (float[n,8] x) => (float[] a, float[] b)
            <int64[2] s = {5, 3}> { a, b = Split <axis = 1> (x, s) }"#,
            &[("x", 1, &[0, 1, 5])],
            &["operand 1 = 2,1"],
        );
    }
    #[test]
    fn contents_are_split() {
        check_fact(
            "g (float[n,4,6] x) => (int64[] a, int64[] b) <int64[2] k = {2, 1}> { s = Shape (x) a, b = Split (s, k) }",
            "int64[2] = {n,4}",
        );
    }
}
