//! Convolutions with what runtimes fuse into them. Spec: com.microsoft `FusedConv`, `NhwcConv`, `NhwcFusedConv` (1).
//!  R1  Batch, channels, groups and windows: rules R1 to R6 of `Conv`; the `Nhwc…` ones have their channels last, in x,
//!      y and w.
//!  R2  Z, which is added before the activation function, has the shape of y and its axes. Activations are elementwise.

use crate::conv::{Form, Layout, relate_of, resize_of, shape_of, work_of};
use crate::form::tie_same;
use sparsec_ir::{Affine, LinearRule, NodeRef, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule};

const FUSED: OpDef = OpDef {
    name: "FusedConv",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(|n| shape_of(n, FIRST)),
    relate: Relate::By(|n, r| relate(n, FIRST, r)),
    work: WorkRule::By(|n| work_of(n, FIRST)),
    resize: Resize::By(|c| resize_of(c, FIRST)),
    linear: LinearRule::Never,
    affine: Affine::Never,
};

const NHWC: OpDef = OpDef {
    name: "NhwcConv",
    shape: ShapeRule::By(|n| shape_of(n, LAST)),
    relate: Relate::By(|n, r| relate(n, LAST, r)),
    work: WorkRule::By(|n| work_of(n, LAST)),
    resize: Resize::By(|c| resize_of(c, LAST)),
    ..FUSED
};

pub(crate) const OPS: &[OpDef] = &[FUSED, NHWC, OpDef { name: "NhwcFusedConv", ..NHWC }];

const FIRST: Form = Form { x: 0, w: 1, b: 2, layout: Layout::ChannelsFirst };
const LAST: Form = Form { layout: Layout::ChannelsLast, ..FIRST };

fn relate(node: &NodeRef, form: Form, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, form, r)?; // R1
    if let Some(z) = node.input(3) {
        tie_same(r, &node.need_output(0)?, &z, 0..node.rank(0)?, "R2");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape, check_work};
    use sparsec_ir::Kernel;

    fn text(op: &str, x: &str, w: &str, z: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[{x}] x, float[{z}] z) => (y)
            <float[{w}] w = ["location": "random:1"], float[4] b = {{1, 2, 3, 4}}>
            {{ y = com.microsoft.{op} <activation="Relu"> (x, w, b, z) }}"#
        )
    }

    #[test]
    fn r1_r2_what_is_added_has_the_axes_of_the_result() {
        let windows = ["x", "w", "y"].map(|v| format!("freeze {v}:2: a window mixes neighbouring slots\n")).concat();
        check_relation(
            &text("FusedConv", "n,3,8", "4,3,3", "n,4,6"),
            &format!("R2 y:1 = w:0\nR2 y:1 = b:0\n{windows}R1 x:1 * w:1\nR2 y:1 = z:1\nR2 y:2 = z:2"),
        );
    }

    #[test]
    fn channels_last() {
        let text = text("NhwcFusedConv", "n,8,3", "4,3,3", "n,6,4");
        let windows = ["x", "w", "y"].map(|v| format!("freeze {v}:1: a window mixes neighbouring slots\n")).concat();
        check_relation(
            &text,
            &format!("R2 y:2 = w:0\nR2 y:2 = b:0\n{windows}R1 x:2 * w:2\nR2 y:1 = z:1\nR2 y:2 = z:2"),
        );
        check_shape(&text, "float[n,6,4]");
        let kernel = Kernel::Conv { cin: 3, cout: 4, groups: 1, taps: 3, positions: 6, transposed: false };
        check_work(&text, &[("n", 1)], kernel, 6 * 4 * 9);
    }
}
