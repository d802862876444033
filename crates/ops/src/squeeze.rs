//! `Squeeze`, `Unsqueeze`: axes of size 1 taken away or put in.
//! Spec: ai.onnx, both at versions 1, 11, 13, 21, 23, 24, 25; `axes` is an operand from 13 on.
//!  R1  Every other axis of y is the axis of x that stands at its place.
//!  R2  Contents pass while the rank stays at most 1.
//!  R3  Without `axes` all axes of size 1 go. What a cut leaves one slot of stays: then the axes that go are written down.
//!      A list of none would mean all, so where none goes every axis stays as it is.

use crate::content::freeze_sizes;
use crate::form::{freeze_all, mismatch, tie};
use crate::work::nothing;
use sparsec_ir::{
    Affine, Attr, Dim, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    Resized, ShapeRule, WorkRule,
};

const fn row(
    name: &'static str,
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    relate: Relate,
    resize: Resize,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since: &[1, 11, 13, 21, 23, 24, 25],
        shape: ShapeRule::By(shape),
        relate,
        work: WorkRule::By(nothing),
        resize,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("Squeeze", squeeze_shape, Relate::By(squeeze_relate), Resize::By(squeeze_resize)),
    row("Unsqueeze", unsqueeze_shape, Relate::By(unsqueeze_relate), Resize::Nothing),
];

/// Axes of x that stay, ascending. `None` where that depends on sizes that are not known.
fn staying(node: &NodeRef, dims: &[Dim]) -> Result<Option<Vec<usize>>, OpError> {
    let gone = match node.ints_of(1, "axes")? {
        Some(axes) => node.axes(&axes, dims.len())?,
        None if dims.iter().all(|d| d.as_const().is_some()) => {
            (0..dims.len()).filter(|&a| dims[a].as_const() == Some(1)).collect()
        }
        None => return Ok(None),
    };
    if let Some(&wide) = gone.iter().find(|&&a| dims[a].as_const().is_some_and(|c| c != 1)) {
        return Err(mismatch("size of a squeezed axis", &dims[wide], 1));
    }
    Ok(Some((0..dims.len()).filter(|a| !gone.contains(a)).collect()))
}

fn squeeze_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let fact = node.need_input(0)?.fact;
    let Some(dims) = &fact.shape else { return Ok(vec![Fact::unranked(fact.elem)]) };
    let shape = staying(node, dims)?.map(|s| s.into_iter().map(|a| dims[a].clone()).collect());
    Ok(vec![Fact { elem: fact.elem, shape, content: fact.content.clone() }]) // R2
}

fn squeeze_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    freeze_sizes(node, 1, r);
    let dims = crate::form::dims(node, 0)?;
    let staying = staying(node, dims)?.ok_or(OpError::Unsupported("which axes go depends on sizes"))?;
    if staying.len() == dims.len() && node.ints_of(1, "axes")?.is_none() {
        freeze_all(r, &node.need_input(0)?, &Reason::Rule("would be squeezed away at length 1")); // R3
    }
    let pairs: Vec<(usize, usize)> = staying.into_iter().enumerate().map(|(to, from)| (from, to)).collect();
    relate(node, &pairs, r)
}

/// Axes of y at which those of x stand, ascending.
fn places(node: &NodeRef, rank: usize) -> Result<Vec<usize>, OpError> {
    let axes = node.ints_of(1, "axes")?.ok_or(OpError::MissingOperand { index: 1 })?;
    let rank = rank.checked_add(axes.len()).filter(|&r| r <= 64).ok_or(OpError::Overflow)?;
    let mut added = node.axes(&axes, rank)?;
    added.sort_unstable();
    if added.windows(2).any(|w| w[0] == w[1]) {
        return Err(OpError::Unsupported("an axis is named twice"));
    }
    Ok((0..rank).filter(|a| !added.contains(a)).collect())
}

fn unsqueeze_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let fact = node.need_input(0)?.fact;
    let Some(dims) = &fact.shape else { return Ok(vec![Fact::unranked(fact.elem)]) };
    let places = places(node, dims.len())?;
    let rank = dims.len() + node.ints_of(1, "axes")?.map_or(0, |a| a.len());
    let mut shape = vec![Dim::from(1); rank];
    for (dim, place) in dims.iter().zip(places) {
        shape[place] = dim.clone();
    }
    let content = fact.content.clone().filter(|_| rank <= 1); // R2
    Ok(vec![Fact { elem: fact.elem, shape: Some(shape), content }])
}

fn unsqueeze_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    freeze_sizes(node, 1, r);
    let pairs: Vec<(usize, usize)> = places(node, node.rank(0)?)?.into_iter().enumerate().collect();
    relate(node, &pairs, r)
}

/// Ties axes of x with axes of y.
fn relate(node: &NodeRef, pairs: &[(usize, usize)], r: &mut Relations) -> Result<(), OpError> {
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    for &(from, to) in pairs {
        tie(r, (&x, from), (&y, to), "R1");
    }
    Ok(())
}

/// R3: the axes that go, where a cut leaves one slot of another.
fn squeeze_resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let (node, x) = (&cut.before, cut.before.need_input(0)?);
    let dims = crate::form::dims(node, 0)?;
    let Some(staying) = staying(node, dims)?.filter(|_| node.input(1).is_none()) else { return Ok(Vec::new()) };
    let single = |a: &usize| cut.dim(x.value, *a).is_some_and(|d| d.as_const() == Some(1));
    if node.node().attrs.contains_key("axes") || !staying.iter().any(single) {
        return Ok(Vec::new());
    }
    let gone = (0..dims.len()).filter(|a| !staying.contains(a)).map(|a| a as i64);
    Ok(vec![if node.opset < 13 {
        Edit::Attr("axes", Attr::Ints(gone.collect()))
    } else {
        Edit::Content { operand: 1, dims: gone.map(Dim::from).collect() }
    }])
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_error, check_fact, check_relation, check_resize};

    #[test]
    fn other_axes_shift() {
        check_relation(
            "g (float[n,1,3,1,5] x) => (float[] y) <int64[2] a = {1, -2}> { y = Squeeze (x, a) }",
            &["a.0 frozen: holds sizes", "R1 x.2 = y.1 x3", "R1 x.4 = y.2 x5"],
        );
        check_relation(
            "g (float[n,3] x) => (float[] y) <int64[2] a = {0, -1}> { y = Unsqueeze (x, a) }",
            &["a.0 frozen: holds sizes", "R1 x.1 = y.2 x3"],
        );
    }
    #[test]
    fn an_axis_of_one_slot_left_is_not_squeezed() {
        let text = |opset: u64| {
            format!(
                r#"<ir_version: 7, opset_import: ["" : {opset}]> g (float[2,3,1,1] x) => (float[] y) {{ y = Squeeze (x) }}"#
            )
        };
        check_resize(&text(13), &[("x", 1, &[2])], &["operand 1 = 2,3"]);
        check_resize(&text(11), &[("x", 1, &[2])], &["axes = Ints([2, 3])"]);
        check_resize(&text(13), &[("x", 1, &[0, 2])], &[]);
        let why = "x.0 frozen: would be squeezed away at length 1";
        check_relation("g (float[3] x) => (float[] y) { y = Squeeze (x) }", &[why, "R1 x.0 = y.0 x3"]);
    }
    #[test]
    fn contents_pass_to_scalars_and_back() {
        check_fact(
            "g (float[n,3] x) => (int64[] y) <int64 i = {0}, int64[1] a = {0}> {
                s = Shape (x) d = Gather (s, i) y = Unsqueeze (d, a) }",
            "int64[1] = {n}",
        );
    }
    #[test]
    fn wide_axes_are_not_squeezed() {
        check_error(
            "g (float[n,3] x) => (float[] y) <int64[1] a = {1}> { y = Squeeze (x, a) }",
            "size of a squeezed axis: 3 against 1",
        );
    }
}
