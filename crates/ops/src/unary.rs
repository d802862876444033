//! Elementwise functions of one operand. Spec: ai.onnx, the operators listed below; com.microsoft `Gelu`, `QuickGelu`.
//!  R1  y has the shape of x, and its element type unless the operator names another.
//!  R2  Every axis of y is the same axis of x.
//!  R3  Further operands are scalars (`Clip`), or read for their type only (`CastLike`).
//!  R4  Contents pass where whole numbers stay what they are.
//!  R5  A cast to the type of x does nothing.

use crate::content::{free_all, ints};
use crate::work::{heavy, light, nothing};
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, Work,
    WorkRule,
};

type Shape = fn(&NodeRef) -> Result<Vec<Fact>, OpError>;

const fn of(
    domain: &'static str,
    name: &'static str,
    since: &'static [i64],
    shape: Shape,
    work: fn(&NodeRef) -> Result<Work, OpError>,
) -> OpDef {
    OpDef {
        name,
        domain,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(work),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const fn cheap(name: &'static str, since: &'static [i64], shape: Shape) -> OpDef {
    of(ONNX, name, since, shape, light)
}

const fn costly(name: &'static str, since: &'static [i64]) -> OpDef {
    of(ONNX, name, since, plain, heavy)
}

pub(crate) const OPS: &[OpDef] = &[
    cheap("Abs", &[1, 6, 13], |n| like(n, not_negative)),
    costly("Acos", &[7, 22]),
    costly("Acosh", &[9, 22]),
    costly("Asin", &[7, 22]),
    costly("Asinh", &[9, 22]),
    costly("Atan", &[7, 22]),
    costly("Atanh", &[9, 22]),
    cheap("BitwiseNot", &[18], plain),
    of(ONNX, "Cast", &[1, 6, 9, 13, 19, 21, 23, 24, 25], cast, cast_work),
    of(ONNX, "CastLike", &[15, 19, 21, 23, 24, 25], cast_like, cast_work),
    cheap("Ceil", &[1, 6, 13], |n| like(n, whole)),
    costly("Celu", &[12]),
    cheap("Clip", &[1, 6, 11, 12, 13], clip),
    costly("Cos", &[7, 22]),
    costly("Cosh", &[9, 22]),
    of(ONNX, "Dropout", &[1, 6, 7, 10, 12, 13, 22], dropout, nothing),
    costly("Elu", &[1, 6, 22]),
    costly("Erf", &[9, 13]),
    costly("Exp", &[1, 6, 13]),
    cheap("Floor", &[1, 6, 13], |n| like(n, whole)),
    costly("Gelu", &[20]),
    of("com.microsoft", "Gelu", &[1], plain, heavy),
    cheap("HardSigmoid", &[1, 6, 22], plain),
    cheap("HardSwish", &[14, 22], plain),
    of(ONNX, "Identity", &[1, 13, 14, 16, 19, 21, 23, 24, 25], |n| like(n, whole), nothing),
    cheap("IsInf", &[10, 20], |n| typed(n, ElemType::Bool)),
    cheap("IsNaN", &[9, 13, 20], |n| typed(n, ElemType::Bool)),
    cheap("LeakyRelu", &[1, 6, 16], plain),
    costly("Log", &[1, 6, 13]),
    costly("Mish", &[18, 22]),
    cheap("Neg", &[1, 6, 13], |n| like(n, |d| Dim::from(0).sub(d))),
    cheap("Not", &[1], |n| like(n, |d| Dim::from(1).sub(d))),
    of("com.microsoft", "QuickGelu", &[1], plain, heavy),
    cheap("Reciprocal", &[1, 6, 13], plain),
    cheap("Relu", &[1, 6, 13, 14], |n| like(n, |d| if d.as_const()? < 0 { Some(Dim::from(0)) } else { whole(d) })),
    cheap("Round", &[11, 22], |n| like(n, whole)),
    costly("Selu", &[1, 6, 22]),
    cheap("Shrink", &[9], plain),
    costly("Sigmoid", &[1, 6, 13]),
    cheap("Sign", &[9, 13], |n| like(n, |d| Some(Dim::from(d.as_const()?.signum())))),
    costly("Sin", &[7, 22]),
    costly("Sinh", &[9, 22]),
    costly("Softplus", &[1, 22]),
    cheap("Softsign", &[1, 22], plain),
    cheap("Sqrt", &[1, 6, 13], plain),
    costly("Swish", &[24]),
    costly("Tan", &[7, 22]),
    costly("Tanh", &[1, 6, 13]),
    cheap("ThresholdedRelu", &[1, 10, 22], plain),
];

fn whole(d: &Dim) -> Option<Dim> {
    Some(d.clone())
}

fn not_negative(d: &Dim) -> Option<Dim> {
    match d.as_const() {
        Some(c) => c.checked_abs().map(Dim::from),
        None => d.at_least().filter(|&c| c >= 0).map(|_| d.clone()),
    }
}

fn like(node: &NodeRef, content: fn(&Dim) -> Option<Dim>) -> Result<Vec<Fact>, OpError> {
    let mut fact = node.need_input(0)?.fact.clone(); // R1
    fact.content = fact.content.and_then(|c| c.iter().map(content).collect()); // R4
    Ok(vec![fact])
}

fn plain(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    like(node, |_| None)
}

fn typed(node: &NodeRef, elem: ElemType) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact { elem: Some(elem), shape: node.need_input(0)?.fact.shape.clone(), content: None }])
}

/// Contents pass through floats as well: a size survives the way there and back. Booleans keep only plain numbers.
fn converted(node: &NodeRef, elem: Option<ElemType>) -> Result<Vec<Fact>, OpError> {
    let truth = |d: &Dim| Some(Dim::from(i64::from(d.as_const()? != 0)));
    let mut facts = if elem == Some(ElemType::Bool) { like(node, |_| None)? } else { like(node, whole)? };
    facts[0].elem = elem;
    if elem == Some(ElemType::Bool) {
        facts[0].content = node.need_input(0)?.fact.content.as_ref().and_then(|c| c.iter().map(truth).collect());
    }
    Ok(facts)
}

fn cast(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let bad = || OpError::BadAttribute { name: "to".to_string(), expected: "the code of an element type" };
    if node.opset < 6 {
        return Err(OpError::Unsupported("a type by its name, as operator sets before 6 have it"));
    }
    let to = node.int("to")?.ok_or_else(bad)?;
    let elem = i32::try_from(to).ok().and_then(ElemType::from_code).ok_or_else(bad)?;
    converted(node, Some(elem))
}

fn cast_like(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = node.need_input(1)?.fact.elem;
    converted(node, elem)
}

fn clip(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = like(node, whole)?;
    let bound = |index| match node.input(index) {
        None => Some(None),
        Some(_) => ints(node, index).and_then(|b| b.first().copied()).map(Some),
    };
    let clipped = |c: Vec<Dim>| {
        let (low, high) = (bound(1)?, bound(2)?);
        c.iter()
            .map(|d| {
                let c = d.as_const()?;
                let c = low.map_or(c, |l| c.max(l));
                Some(Dim::from(high.map_or(c, |h| c.min(h))))
            })
            .collect()
    };
    facts[0].content = facts[0].content.take().and_then(clipped);
    Ok(facts)
}

fn cast_work(node: &NodeRef) -> Result<Work, OpError> {
    let (from, to) = (node.need_input(0)?.fact.elem, node.need_output(0)?.fact.elem);
    if from.is_some() && from == to { nothing(node) } else { light(node) } // R5
}

fn dropout(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = plain(node)?;
    // Before version 10 the mask had the type of x.
    let mask = if node.opset < 10 { facts[0].elem } else { Some(ElemType::Bool) };
    facts.push(Fact { elem: mask, shape: facts[0].shape.clone(), content: None });
    Ok(facts)
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let x = node.need_input(0)?;
    for y in (0..node.output_count()).filter_map(|i| node.output(i)) {
        for axis in 0..node.rank(0)? {
            if let Some(len) = x.size(axis) {
                r.tie(x.axis(axis), y.axis(axis), len, "R2");
            }
        }
    }
    for other in (1..node.input_count()).filter_map(|i| node.input(i)) {
        free_all(&other, r); // R3
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    #[test]
    fn every_axis_is_the_same_axis() {
        check_relation("g (float[n,3,2] x) => (float[] y) { y = Relu (x) }", &["R2 x.1 = y.1 x3", "R2 x.2 = y.2 x2"]);
    }
    #[test]
    fn the_operand_that_gives_a_type_is_free() {
        check_relation(
            "g (float[3] x, double[4] t) => (double[] y) { y = CastLike (x, t) }",
            &["R2 x.0 = y.0 x3", "t.0 free"],
        );
    }
    #[test]
    fn sizes_survive_the_way_through_floats() {
        check_fact(
            "g (float[n,3] x) => (int64[] y) { s = Shape (x) f = Cast <to = 1> (s) r = Floor (f) y = Cast <to = 7> (r) }",
            "int64[2] = {n,3}",
        );
    }
    #[test]
    fn dropout_masks_are_booleans() {
        check_fact("g (float[n,3] x) => (float[] y) { y, m = Dropout (x) }", "float[n,3]");
        check_fact("g (float[n,3] x) => (bool[] y) { z, m = Dropout (x) y = Not (m) }", "bool[n,3]");
    }
}
