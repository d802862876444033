//! Convolutions of quantised tensors. Spec: ai.onnx `QLinearConv` (10), `ConvInteger` (10); com.microsoft
//! `QLinearConv` (1), whose `channels_last` moves the channels of x and y but not those of w.
//!  R1  Batch, channels, groups and windows: rules R1 to R6 of `Conv`.
//!  R2  Scale and zero point of w have one number, or one for each output channel; those of x and y have one.
//!  R3  A channel is worth nothing where x or w equals its zero point, which is also what pads.

use crate::conv::{Form, Layout, relate_of, resize_of, shape_of, work_of};
use crate::quantised::{follow, typed, whole, zero_point};
use sparsec_ir::{
    Affine, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule,
};

const LINEAR: OpDef = OpDef {
    name: "QLinearConv",
    domain: ONNX,
    since: &[10],
    shape: ShapeRule::By(|n| typed(n, shape_of(n, linear(n)?), 7)),
    relate: Relate::By(relate_linear),
    work: WorkRule::By(|n| work_of(n, linear(n)?)),
    resize: Resize::By(|c| resize_of(c, linear(&c.before)?)),
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "ConvInteger",
        shape: ShapeRule::By(integer_shape),
        relate: Relate::By(relate_integer),
        work: WorkRule::By(|n| work_of(n, INTEGER)),
        resize: Resize::By(|c| resize_of(c, INTEGER)),
        ..LINEAR
    },
    LINEAR,
    OpDef { domain: "com.microsoft", since: &[1], ..LINEAR },
];

/// `ConvInteger` has no bias: there is no operand 4.
const INTEGER: Form = Form { x: 0, w: 1, b: 4, layout: Layout::ChannelsFirst };

fn linear(node: &NodeRef) -> Result<Form, OpError> {
    let last = node.int_or("channels_last", 0)? != 0;
    let layout = if last { Layout::DataChannelsLast } else { Layout::ChannelsFirst };
    Ok(Form { x: 0, w: 3, b: 8, layout })
}

fn integer_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = shape_of(node, INTEGER)?;
    facts[0].elem = Some(ElemType::I32);
    Ok(facts)
}

fn relate_linear(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, linear(node)?, r)?; // R1
    whole(node, &[1, 2, 6, 7], r);
    relate_weight(node, 3, &[4, 5], 5, r)
}

fn relate_integer(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, INTEGER, r)?;
    whole(node, &[2], r);
    relate_weight(node, 1, &[3], 3, r)
}

/// Rules R2 and R3, for w at operand `w` with `parameters`, of which `point` is its zero point. That of x stands two
/// operands after it in either form.
fn relate_weight(
    node: &NodeRef,
    w: usize,
    parameters: &[usize],
    point: usize,
    r: &mut Relations,
) -> Result<(), OpError> {
    let (x, weight) = (node.need_input(0)?, node.need_input(w)?);
    follow(node, parameters, (&weight, 0), r);
    zero_point(node, &weight, point, Some(0), 1, r);
    zero_point(node, &x, 2, None, 1, r);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape, check_work};
    use sparsec_ir::Kernel;

    const PER_CHANNEL: &str = r#"g (uint8[n,3,8,8] x) => (y) <float xs = {0.5}, uint8 xz = {3}, int8[4,3,3,3] w = ["location": "random:1"],
        float[4] ws = {1, 2, 3, 4}, int8[4] wz = {0, 1, 0, 2}, float ys = {0.1}, int8 yz = {7}, int32[4] b = {1, 2, 3, 4}>
        { y = QLinearConv (x, xs, xz, w, ws, wz, ys, yz, b) }"#;
    const WINDOWS: &str = "freeze x:2: a window mixes neighbouring slots
        freeze x:3: a window mixes neighbouring slots
        freeze w:2: a window mixes neighbouring slots
        freeze w:3: a window mixes neighbouring slots
        freeze y:2: a window mixes neighbouring slots
        freeze y:3: a window mixes neighbouring slots";

    #[test]
    fn r1_r2_r3_scales_and_zero_points_of_channels_are_cut_along() {
        check_relation(
            PER_CHANNEL,
            &format!(
                "R2 y:1 = w:0
                 R2 y:1 = b:0
                 {WINDOWS}
                 R1 x:1 * w:1
                 Q2 w:0 = ws:0
                 Q2 w:0 = wz:0
                 zero w = wz along 0
                 zero x = xz"
            ),
        );
        check_shape(PER_CHANNEL, "int8[n,4,6,6]");
    }

    #[test]
    fn integers_are_summed_in_32_bits() {
        let text = r#"g (uint8[n,4,8,8] x) => (y) <int8[4,1,3,3] w = ["location": "random:1"], uint8 z = {3}>
            { y = ConvInteger <group=4> (x, w, z) }"#;
        check_shape(text, "int32[n,4,6,6]");
        check_resize(text, &[("x", 1, &[0, 3]), ("w", 0, &[0, 3]), ("y", 1, &[0, 3])], "group=Int(2)");
        let kernel = Kernel::Conv { cin: 4, cout: 4, groups: 4, taps: 9, positions: 36, transposed: false };
        check_work(text, &[("n", 1)], kernel, 36 * 4 * 9);
    }

    #[test]
    fn channels_may_come_last_in_the_data_only() {
        let text = PER_CHANNEL
            .replace("[n,3,8,8]", "[n,8,8,3]")
            .replace("QLinearConv (", "com.microsoft.QLinearConv <channels_last=1> (")
            .replace("g (uint8", r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (uint8"#);
        check_shape(&text, "int8[n,6,6,4]");
    }
}
