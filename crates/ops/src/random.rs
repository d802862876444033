//! Random numbers. Spec: ai.onnx `Bernoulli` (15, 22), `Multinomial` (7, 22), `RandomNormal`, `RandomNormalLike`,
//! `RandomUniform`, `RandomUniformLike` (1, 22).
//!  R1  Every axis is frozen: a runtime draws the elements in order, a smaller tensor would hold other numbers.
//!  R2  `Random…` have the stated shape, `…Like` and `Bernoulli` that of x; `Multinomial` draws a number of samples for
//!      each row of x.
//!  R3  `dtype` gives the element type; without it `Random…` draw floats, `Multinomial` int32, the others the type of x.

use crate::form::{dims, elem_attr, mismatch};
use crate::work::{heavy, light};
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Resize, ShapeRule, WorkRule,
};

const fn row(
    name: &'static str,
    since: &'static [i64],
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    work: WorkRule,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::Drawn("a smaller tensor would hold other random numbers"), // R1
        work,
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("Bernoulli", &[15, 22], like, WorkRule::By(light)),
    row("Multinomial", &[7, 22], samples, WorkRule::By(heavy)),
    row("RandomNormal", &[1, 22], stated, WorkRule::By(heavy)),
    row("RandomNormalLike", &[1, 22], like, WorkRule::By(heavy)),
    row("RandomUniform", &[1, 22], stated, WorkRule::By(light)),
    row("RandomUniformLike", &[1, 22], like, WorkRule::By(light)),
];

fn stated(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let missing = OpError::BadAttribute { name: "shape".to_string(), expected: "given" };
    let shape = node.ints("shape")?.ok_or(missing)?;
    if let Some(&wrong) = shape.iter().find(|&&d| d < 0) {
        return Err(mismatch("a size of `shape`", wrong, 0));
    }
    let elem = elem_attr(node, "dtype")?.unwrap_or(ElemType::F32);
    Ok(vec![Fact::new(elem, shape.into_iter().map(Dim::from).collect())])
}

fn like(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?.fact;
    Ok(vec![Fact { elem: elem_attr(node, "dtype")?.or(x.elem), shape: x.shape.clone(), content: None }])
}

fn samples(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = dims(node, 0)?;
    let [batch, _] = x else { return Err(mismatch("rank of rows of weights", x.len(), 2)) };
    let count = node.int_or("sample_size", 1)?;
    if count < 0 {
        return Err(mismatch("a number of samples", count, 0));
    }
    let elem = elem_attr(node, "dtype")?.unwrap_or(ElemType::I32);
    Ok(vec![Fact::new(elem, vec![batch.clone(), Dim::from(count)])])
}

#[cfg(test)]
mod tests {
    use crate::testing::check_shape;

    #[test]
    fn r2_r3_shapes_are_stated_or_those_of_the_operand() {
        check_shape("g () => (y) { y = RandomNormal <shape=[2, 3], dtype=10> () }", "float16[2,3]");
        check_shape("g () => (y) { y = RandomUniform <shape=[2]> () }", "float[2]");
        check_shape("g (int32[n,3] x) => (y) { y = RandomUniformLike <dtype=1> (x) }", "float[n,3]");
        check_shape("g (double[n,3] x) => (y) { y = Bernoulli (x) }", "double[n,3]");
        check_shape("g (float[n,3] x) => (y) { y = Multinomial <sample_size=5> (x) }", "int32[n,5]");
        let negative = "g () => (y) { y = RandomNormal <shape=[2, -1]> () }";
        check_shape(negative, "error: a size of `shape`: -1 against 0");
    }
}
