//! Elementwise functions of one operand. Spec: ai.onnx, the operators listed below; com.microsoft `Gelu`, `QuickGelu`.
//!  R1  y has the shape of x, and its element type unless the operator names another.
//!  R2  Every axis of y is the same axis of x.
//!  R3  Further operands are scalars (`Clip`), or read for their type only (`CastLike`).
//!  R4  Contents pass where whole numbers stay what they are; inference drops those that the element type cannot hold.
//!  R5  A cast to the type of x does nothing.
//!  R6  A cast of 0 is 0.
//!  R7  `Dropout` does nothing unless it trains, which is said by `is_test` before version 7, by operand 2 from 12 on.
//!      Then a smaller tensor would lose other elements: every axis is frozen.

use crate::content::{exact, free_all, ints};
use crate::form::{elem_attr, freeze_node, tie};
use crate::work::{heavy, light, nothing};
use sparsec_ir::{
    Affine, Attr, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, Work, WorkRule, ZeroPoint,
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

const fn keeps_zero(def: OpDef) -> OpDef {
    OpDef { relate: Relate::By(relate_cast), ..def }
}

pub(crate) const OPS: &[OpDef] = &[
    cheap("Abs", &[1, 6, 13], |n| like(n, not_negative)),
    costly("Acos", &[7, 22]),
    costly("Acosh", &[9, 22]),
    costly("Asin", &[7, 22]),
    costly("Asinh", &[9, 22]),
    costly("Atan", &[7, 22]),
    costly("Atanh", &[9, 22]),
    of(ONNX, "BitCast", &[26], bit_cast, nothing),
    cheap("BitwiseNot", &[18], plain),
    keeps_zero(of(ONNX, "Cast", &[1, 6, 9, 13, 19, 21, 23, 24, 25, 28], cast, cast_work)),
    keeps_zero(of(ONNX, "CastLike", &[15, 19, 21, 23, 24, 25], cast_like, cast_work)),
    cheap("Ceil", &[1, 6, 13], |n| like(n, whole)),
    costly("Celu", &[12, 28]),
    cheap("Clip", &[1, 6, 11, 12, 13], clip),
    costly("Cos", &[7, 22]),
    costly("Cosh", &[9, 22]),
    OpDef {
        relate: Relate::By(dropout_relate),
        ..of(ONNX, "Dropout", &[1, 6, 7, 10, 12, 13, 22], dropout, dropout_work)
    },
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
    cheap("ThresholdedRelu", &[10, 22], plain),
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

/// The type of a name in `TensorProto.DataType`, which are those of the text syntax in capitals.
fn named(name: &[u8]) -> Option<ElemType> {
    ElemType::from_name(&std::str::from_utf8(name).ok()?.to_ascii_lowercase())
}

/// The same bits read as another type: contents do not survive.
fn bit_cast(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = cast(node)?;
    facts[0].content = None;
    Ok(facts)
}

fn cast(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let bad = OpError::BadAttribute { name: "to".to_string(), expected: "an element type" };
    // Version 1 has the name of `TensorProto.DataType`.
    let to = match node.node().attrs.get("to") {
        Some(Attr::String(name)) => named(name),
        _ => elem_attr(node, "to")?,
    };
    converted(node, Some(to.ok_or(bad)?))
}

fn cast_like(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = node.need_input(1)?.fact.elem;
    converted(node, elem)
}

fn clip(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = like(node, whole)?;
    // Operands from version 11 on, attributes before.
    let bound = |index, name: &str| match (node.input(index), node.node().attrs.get(name)) {
        (Some(_), _) => ints(node, index).and_then(|b| b.first().copied()).map(Some),
        (None, Some(Attr::Float(v))) => exact(f64::from(*v)).and_then(|d| d.as_const()).map(Some),
        (None, _) => Some(None),
    };
    let clipped = |c: Vec<Dim>| {
        let (low, high) = (bound(1, "min")?, bound(2, "max")?);
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

/// Whether elements are dropped; R7.
fn drops(node: &NodeRef) -> Result<bool, OpError> {
    Ok(match node.opset {
        ..7 => node.int_or("is_test", 0)? == 0,
        7..12 => false,
        12.. => node.input(2).is_some() && ints(node, 2).as_deref() != Some(&[0]),
    })
}

fn dropout_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    if drops(node)? {
        freeze_node(node, r, &Reason::Rule("a smaller tensor would lose other elements"));
        return Ok(());
    }
    relate(node, r)
}

fn dropout_work(node: &NodeRef) -> Result<Work, OpError> {
    if drops(node)? { heavy(node) } else { nothing(node) }
}

fn relate_cast(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate(node, r)?;
    r.zero_points.push(ZeroPoint { value: node.need_input(0)?.value, point: None, axis: None }); // R6
    Ok(())
}

/// Every result has the axes of operand 0; the other operands are read for one number or their type.
pub(crate) fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let x = node.need_input(0)?;
    for y in (0..node.output_count()).filter_map(|i| node.output(i)) {
        for axis in 0..node.rank(0)? {
            tie(r, (&x, axis), (&y, axis), "R2");
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
    fn dropout_that_trains_freezes() {
        let text = |header: &str, train: &str, node: &str| {
            format!("{header} g (float[3] x) => (float[] y) <float r = {{0.5}}, bool t = {{{train}}}> {{ y = {node} }}")
        };
        let trained = [
            "x.0 frozen: a smaller tensor would lose other elements",
            "y.0 frozen: a smaller tensor would lose other elements",
        ];
        check_relation(&text("", "1", "Dropout (x, r, t)"), &trained);
        check_relation(&text("", "0", "Dropout (x, r, t)"), &["R2 x.0 = y.0 x3"]);
        check_relation(&text("", "1", "Dropout (x, r)"), &["R2 x.0 = y.0 x3"]);
        let early = r#"<ir_version: 8, opset_import: ["" : 6]>"#;
        check_relation(&text(early, "1", "Dropout (x)"), &trained);
        check_relation(&text(early, "1", "Dropout <is_test = 1> (x)"), &["R2 x.0 = y.0 x3"]);
    }
    #[test]
    fn early_versions_cast_by_name_and_clip_by_attributes() {
        let early = |node: &str| {
            format!(
                r#"<ir_version: 8, opset_import: ["" : 5]> g (float[7,3] x) => (y)
                {{ s = Shape (x) f = Cast <to = "FLOAT"> (s) y = {node} (f) }}"#
            )
        };
        check_fact(&early(r#"Cast <to = "INT32">"#), "int32[2] = {7,3}");
        check_fact(&early("Clip <max = 5.0>"), "float[2] = {5,3}");
        check_fact(&early("Clip <max = 4.5>"), "float[2]");
    }
    #[test]
    fn dropout_masks_are_booleans() {
        check_fact("g (float[n,3] x) => (float[] y) { y, m = Dropout (x) }", "float[n,3]");
        check_fact("g (float[n,3] x) => (bool[] y) { z, m = Dropout (x) y = Not (m) }", "bool[n,3]");
    }
}
