//! `CausalConvWithState`: a depthwise convolution over past positions, which it carries along.
//! Spec: ai.onnx `CausalConvWithState`, version 27.
//!  R1  Axis 1 of x, y and both states is axis 0 of w and of the bias: each channel has its own kernel.
//!  R2  The batch axes of x, y and the states are the same.
//!  R3  Positions and taps are frozen: a window mixes them.

use crate::form::{dims, freeze, mismatch, plus, product, result_sizes, sizes, tie};
use sparsec_ir::{
    Affine, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule,
    Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "CausalConvWithState",
    domain: ONNX,
    since: &[27],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Operands: bias and past state.
const BIAS: usize = 2;
const PAST: usize = 3;

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, w, elem) = (dims(node, 0)?, dims(node, 1)?, node.need_input(0)?.fact.elem);
    let ([batch, channels, _], [_, _, taps]) = (x, w) else {
        return Err(mismatch("ranks of x and w", x.len(), w.len()));
    };
    let state = vec![batch.clone(), channels.clone(), plus(taps, -1)?];
    Ok(vec![Fact { elem, shape: Some(x.to_vec()), content: None }, Fact { elem, shape: Some(state), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, w, y) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?);
    tie(r, (&y, 1), (&w, 0), "R1");
    if let Some(bias) = node.input(BIAS) {
        tie(r, (&y, 1), (&bias, 0), "R1");
    }
    for o in [Some(x), node.input(PAST), node.output(1)].iter().flatten() {
        tie(r, (&y, 0), (o, 0), "R2");
        tie(r, (&y, 1), (o, 1), "R1");
        freeze(r, o, [2], &Reason::Window); // R3
    }
    freeze(r, &y, [2], &Reason::Window);
    freeze(r, &w, [2], &Reason::Window);
    Ok(())
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (w, y) = (sizes(node, 1)?, result_sizes(node, 0)?);
    let (&[channels, _, taps], &[batch, _, len]) = (w.as_slice(), y.as_slice()) else {
        return Err(mismatch("ranks of w and y", w.len(), y.len()));
    };
    let positions = product(&[batch, len])?;
    let kernel = Kernel::Conv { cin: channels, cout: channels, groups: channels, taps, positions, transposed: false };
    Ok(Work { kernel, macs: product(&[positions, channels, taps])? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_shape, check_work};

    const TEXT: &str = r#"g (float[1,4,9] x, float[1,4,2] p) => (y) <float[4,1,3] w = ["location": "random:1"]>
        { y, s = CausalConvWithState (x, w, , p) }"#;

    #[test]
    fn r1_r2_r3_channels_pass_and_positions_freeze() {
        check_shape(TEXT, "float[1,4,9]; float[1,4,2]");
        let state = |v: &str| format!("R2 y:0 = {v}:0\nR1 y:1 = {v}:1\nfreeze {v}:2: {WINDOW}");
        check_relation(
            TEXT,
            &format!(
                "R1 y:1 = w:0\n{}\n{}\n{}\nfreeze y:2: {WINDOW}\nfreeze w:2: {WINDOW}",
                state("x"),
                state("p"),
                state("s")
            ),
        );
    }
    const WINDOW: &str = "a window mixes neighbouring slots";

    #[test]
    fn work_is_that_of_a_depthwise_convolution() {
        let kernel = Kernel::Conv { cin: 4, cout: 4, groups: 4, taps: 3, positions: 9, transposed: false };
        check_work(TEXT, &[], kernel, 9 * 4 * 3);
    }
}
