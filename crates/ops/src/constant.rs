//! Values made from attributes and sizes. Spec: ai.onnx `Constant`, versions 1, 9, 11, 12, 13, 19, 21, 23, 24, 25;
//! `ConstantOfShape`, versions 9, 20, 21, 23, 24, 25; `Range`, versions 11, 27; `EyeLike`, versions 9, 22.
//!  R1  `Constant`, `ConstantOfShape`: the axes of y are its own.
//!  R2  After a cut `Constant` holds the numbers that stay, and the operand of `ConstantOfShape` the new sizes. Sparse
//!      constants are frozen.
//!  R3  `Range` counts and `EyeLike` marks a diagonal: their axes are frozen, for `EyeLike` those of x too.

use crate::content::{MAX, free_all, freeze_sizes};
use crate::form::{elem_attr, freeze_all, unnamed};
use crate::work::{moves, nothing};
use sparsec_ir::{
    Affine, Attr, Dim, Edit, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations,
    Resize, Resized, ShapeRule, Tensor, WorkRule,
};
use std::sync::Arc;

const CONSTANT: OpDef = OpDef {
    name: "Constant",
    domain: ONNX,
    since: &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25],
    shape: ShapeRule::By(constant_shape),
    relate: Relate::By(constant_relate),
    work: WorkRule::By(nothing),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef { resize: Resize::By(constant_resize), ..CONSTANT },
    OpDef {
        name: "ConstantOfShape",
        since: &[9, 20, 21, 23, 24, 25],
        shape: ShapeRule::By(filled_shape),
        relate: Relate::By(filled_relate),
        work: WorkRule::By(moves),
        resize: Resize::By(filled_resize),
        ..CONSTANT
    },
    OpDef {
        name: "EyeLike",
        since: &[9, 22],
        shape: ShapeRule::By(eye_shape),
        relate: Relate::Opaque("which numbers are ones depends on the places of slots"), // R3
        work: WorkRule::By(moves),
        ..CONSTANT
    },
    OpDef {
        name: "Range",
        since: &[11, 27],
        shape: ShapeRule::By(range_shape),
        relate: Relate::Opaque("its numbers depend on how many slots there are"), // R3
        work: WorkRule::By(moves),
        ..CONSTANT
    },
];

fn constant_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let row = |elem, len: usize| Fact::new(elem, vec![Dim::from(len as i64)]);
    let missing = OpError::BadAttribute { name: "value".to_string(), expected: "given" };
    // The operator has exactly one attribute, and its name gives the type.
    let (name, value) = node.node().attrs.iter().next().ok_or(missing)?;
    let fact = match (name.as_str(), value) {
        ("value", Attr::Tensor(t)) => Fact::of(t),
        ("sparse_value", Attr::SparseTensor(s)) => {
            Fact::new(s.values.elem, s.dims.iter().map(|&d| Dim::from(d as i64)).collect())
        }
        ("value_float", Attr::Float(_)) => Fact::new(ElemType::F32, Vec::new()),
        ("value_floats", Attr::Floats(f)) => row(ElemType::F32, f.len()),
        ("value_int", Attr::Int(i)) => Fact::of(&Tensor::i64(&[], &[*i])),
        ("value_ints", Attr::Ints(i)) => Fact::of(&Tensor::i64(&[i.len() as u64], i)),
        ("value_string", Attr::String(_)) => Fact::new(ElemType::String, Vec::new()),
        ("value_strings", Attr::Strings(s)) => row(ElemType::String, s.len()),
        _ => return Err(OpError::BadAttribute { name: name.clone(), expected: "a value of a constant" }),
    };
    Ok(vec![fact])
}

fn constant_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let y = node.need_output(0)?;
    match stored(node) {
        Some(_) => free_all(&y, r), // R1
        None => freeze_all(r, &y, &Reason::Rule("a sparse constant in an attribute")),
    }
    Ok(())
}

/// The attribute that holds a constant, and its tensor; `None` for a sparse one.
fn stored(node: &NodeRef) -> Option<(&'static str, Arc<Tensor>)> {
    const NAMES: &[&str] =
        &["value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"];
    NAMES.iter().find_map(|&name| Some((name, node.node().attrs.get(name)?.as_tensor()?)))
}

fn constant_resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let (y, Some((name, tensor))) = (cut.before.need_output(0)?, stored(&cut.before)) else { return Ok(Vec::new()) };
    let mut left: Option<Tensor> = None;
    for axis in 0..tensor.dims.len() {
        if let Some(kept) = (cut.kept)(y.value, axis) {
            left = Some(left.as_ref().unwrap_or(&tensor).gather(axis, &kept).map_err(|_| OpError::Overflow)?); // R2
        }
    }
    let Some(left) = left else { return Ok(Vec::new()) };
    let others = (name != "value").then_some(Edit::NoAttr(name));
    Ok(others.into_iter().chain([Edit::Attr("value", Attr::Tensor(Arc::new(left)))]).collect())
}

fn filled_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let wanted = node.need_input(0)?;
    let value = node.tensor("value")?;
    let elem = value.as_ref().map_or(ElemType::F32, |t| t.elem);
    let shape = match (&wanted.fact.content, wanted.size(0)) {
        (Some(c), _) => Some(c.clone()),
        (None, Some(rank)) if rank <= 64 => Some((0..rank as usize).map(|a| unnamed(node, 0, a)).collect()),
        _ => None,
    };
    let count = match shape.as_deref() {
        Some([]) => Some(1),
        Some([len]) => len.as_size().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= MAX),
        _ => None,
    };
    let number = value.filter(|t| t.elem.is_int()).and_then(|t| t.to_i64().ok()?.first().copied());
    let content = count.zip(number).map(|(n, v)| vec![Dim::from(v); n]);
    Ok(vec![Fact { elem: Some(elem), shape, content }])
}

fn filled_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    freeze_sizes(node, 0, r);
    constant_relate(node, r)
}

fn filled_resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let y = cut.before.need_output(0)?;
    let Some(dims) = cut.shape(y.value).filter(|_| cut.any()) else { return Ok(Vec::new()) };
    Ok(vec![Edit::Content { operand: 0, dims }]) // R2
}

fn eye_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?.fact;
    Ok(vec![Fact { elem: elem_attr(node, "dtype")?.or(x.elem), shape: x.shape.clone(), content: None }])
}

fn range_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = node.need_input(0)?.fact.elem;
    let bound = |index| node.input(index).and_then(|o| crate::content::of(&o)).and_then(|c| c.first().cloned());
    let (start, limit, step) = (bound(0), bound(1), bound(2).and_then(|d| d.as_const()).filter(|&s| s != 0));
    let plain = |d: &Option<Dim>| d.as_ref().and_then(Dim::as_const);
    let (len, content) = match (plain(&start), plain(&limit), step) {
        (Some(a), Some(b), Some(step)) => {
            let span = if step > 0 { b.checked_sub(a) } else { a.checked_sub(b) }.ok_or(OpError::Overflow)?;
            let len = if span <= 0 { 0 } else { (span.unsigned_abs() - 1) / step.unsigned_abs() + 1 };
            let number = |i: u64| a.checked_add(step.checked_mul(i64::try_from(i).ok()?)?).map(Dim::from);
            let content = if len <= MAX as u64 { (0..len).map(number).collect() } else { None };
            (Dim::from(i64::try_from(len).map_err(|_| OpError::Overflow)?), content)
        }
        (_, _, Some(1)) => match start.zip(limit).and_then(|(a, b)| b.sub(&a)) {
            Some(len) => (len, None),
            None => (unnamed(node, 0, 0), None),
        },
        _ => (unnamed(node, 0, 0), None),
    };
    Ok(vec![Fact { elem, shape: Some(vec![len]), content: content.filter(|_| elem.is_some_and(ElemType::is_int)) }])
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_resize};
    use sparsec_ir::Tensor;

    #[test]
    fn attributes_give_types_and_contents() {
        check_fact("g () => (int64[] y) { y = Constant <value_ints = [3, 4]> () }", "int64[2] = {3,4}");
        check_fact("g () => (float y) { y = Constant <value_float = 1.5> () }", "float[]");
    }
    #[test]
    fn filled_vectors_have_contents() {
        check_fact(
            "g () => (int64[] y) <int64[1] s = {3}> { y = ConstantOfShape <value = int64[1] {7}> (s) }",
            "int64[3] = {7,7,7}",
        );
    }
    #[test]
    fn a_filled_tensor_follows_a_cut() {
        check_resize(
            "g () => (float[] y) <int64[2] s = {3, 4}> { y = ConstantOfShape (s) }",
            &[("y", 1, &[0, 1])],
            &["operand 0 = 3,2"],
        );
    }
    #[test]
    fn r2_a_constant_holds_the_numbers_that_stay() {
        let text = "g () => (float[] y) { y = Constant <value_floats = [1.0, 2.0, 3.0]> () }";
        let left = Tensor::f32(&[2], &[1.0, 3.0]);
        check_resize(text, &[("y", 0, &[0, 2])], &["no value_floats", &format!("value = Tensor({left:?})")]);
    }
    #[test]
    fn ranges_count() {
        let text = "g () => (int64[] y) <int64 a = {7}, int64 b = {0}, int64 c = {-3}> { y = Range (a, b, c) }";
        check_fact(text, "int64[3] = {7,4,1}");
    }
}
