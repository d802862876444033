//! Elementwise functions of one operand. Spec: ai.onnx, the operators listed below.
//!  R1  y has the shape and element type of x.
//!  R2  Every axis of y is the same axis of x.

use sparsec_ir::{
    Affine, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, Work,
    WorkRule,
};

/// An operator that maps every element by itself; `heavy` ones compute a transcendental function.
const fn unary(name: &'static str, since: &'static [i64], work: fn(&NodeRef) -> Result<Work, OpError>) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(work),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    unary("Abs", &[1, 6, 13], light),
    unary("Erf", &[9, 13], heavy),
    unary("Exp", &[1, 6, 13], heavy),
    unary("Identity", &[1, 13, 14, 16, 19, 21, 23, 24], light),
    unary("Relu", &[1, 6, 13, 14], light),
    unary("Sigmoid", &[1, 6, 13], heavy),
    unary("Tanh", &[1, 6, 13], heavy),
];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut fact = node.need_input(0)?.fact.clone(); // R1
    fact.content = None;
    Ok(vec![fact])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    for axis in 0..node.rank(0)? {
        if let Some(len) = x.size(axis) {
            r.tie(x.axis(axis), y.axis(axis), len, "R2");
        }
    }
    Ok(())
}

fn light(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Elementwise { heavy: false }, macs: 0 })
}

fn heavy(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Elementwise { heavy: true }, macs: 0 })
}
