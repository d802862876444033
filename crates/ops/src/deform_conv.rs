//! `DeformConv`: convolution whose taps are moved by data. Spec: ai.onnx `DeformConv`, versions 19, 22.
//!  R1  Channels of x, w, b and y, and `group`, as for `Conv`.
//!  R2  Axis 1 of the offsets is (offset group, coordinate of a tap), of the mask (offset group, tap); the second
//!      factors are frozen.
//!  R3  Several offset groups: axis 1 of x is (offset group, channel of one): an offset group leaves whole.
//!  R4  `offset_group` follows: offset channels over coordinates of all taps.
//!  R5  Batch axes are the same; spatial axes of all are frozen.

use crate::conv::{Form, Layout, group_of, quotient, relate_channels, resize_of, shape_of, within, work_of};
use crate::form::{freeze, positive, tie};
use crate::heads::virtual_axis;
use sparsec_ir::{
    Affine, Attr, Edit, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, Resized,
    ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "DeformConv",
    domain: ONNX,
    since: &[19, 22],
    shape: ShapeRule::By(|n| shape_of(n, FORM)),
    relate: Relate::By(relate),
    work: WorkRule::By(|n| work_of(n, FORM)),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Operands.
const X: usize = 0;
const W: usize = 1;
const OFFSETS: usize = 2;
const BIAS: usize = 3;
const MASK: usize = 4;

/// Operands of the convolution inside.
const FORM: Form = Form { x: X, w: W, b: BIAS, layout: Layout::ChannelsFirst };

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, w, offsets, y) =
        (node.need_input(X)?, node.need_input(W)?, node.need_input(OFFSETS)?, node.need_output(0)?);
    let (rank, group, offset_group) = (node.rank(X)?, group_of(node)?, positive(node, "offset_group", 1)?);
    let beside: Vec<_> = [Some(offsets), node.input(MASK)].into_iter().flatten().collect();
    tie(r, (&y, 0), (&x, 0), "R5");
    tie(r, (&y, 1), (&w, 0), "R1");
    if let Some(b) = node.input(BIAS) {
        tie(r, (&y, 1), (&b, 0), "R1");
    }
    for o in &beside {
        tie(r, (&y, 0), (o, 0), "R5");
    }
    for o in [&x, &w, &y].into_iter().chain(&beside) {
        freeze(r, o, 2..rank, &Reason::Window); // R5
    }
    let Some(channels) = x.size(1) else { return Err(OpError::Unsupported("channels of unknown number")) };
    if offset_group > 1 {
        let channels = quotient(channels, offset_group)?;
        let outer = virtual_axis(r, offset_group);
        within(r, x.axis(1), outer, channels, "R3");
        for o in &beside {
            let Some(len) = o.size(1) else { return Err(OpError::Unsupported("offsets of unknown number")) };
            let taps = quotient(len, offset_group)?;
            if let Some(taps) = within(r, o.axis(1), outer, taps, "R3") {
                r.freeze(taps, TAPS); // R2
            }
        }
    } else {
        for o in &beside {
            freeze(r, o, [1], &TAPS);
        }
    }
    relate_channels(r, group, (&x, 1), (&w, 1), (&y, 1), ["R1", "R1"])
}

const TAPS: Reason = Reason::Rule("places of the taps of a window");

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let offsets = node.need_input(OFFSETS)?;
    let mut edits = resize_of(cut, FORM)?; // R1
    let old = positive(node, "offset_group", 1)?;
    let (Some(before), Some(after)) = (offsets.size(1), cut.dim(offsets.value, 1).and_then(|d| d.as_size())) else {
        return Ok(edits);
    };
    let new = quotient(after, quotient(before, old)?)?;
    if new != old {
        let new = i64::try_from(new).map_err(|_| OpError::Overflow)?;
        edits.push(Edit::Attr("offset_group", Attr::Int(new))); // R4
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape, check_work};
    use sparsec_ir::Kernel;

    fn text(attrs: &str, offsets: u64) -> String {
        format!(
            r#"g (float[1,4,8,8] x, float[1,{offsets},6,6] o) => (y) <float[6,4,3,3] w = ["location": "random:1"]>
            {{ y = DeformConv <{attrs}> (x, w, o) }}"#
        )
    }
    const FROZEN: &str = "freeze x:2: a window mixes neighbouring slots
        freeze x:3: a window mixes neighbouring slots
        freeze w:2: a window mixes neighbouring slots
        freeze w:3: a window mixes neighbouring slots
        freeze y:2: a window mixes neighbouring slots
        freeze y:3: a window mixes neighbouring slots
        freeze o:2: a window mixes neighbouring slots
        freeze o:3: a window mixes neighbouring slots";

    #[test]
    fn r1_r2_channels_as_for_a_convolution() {
        check_shape(&text("group=1", 18), "float[1,6,6,6]");
        check_relation(
            &text("group=1", 18),
            &format!(
                "R5 y:0 = x:0\nR1 y:1 = w:0\nR5 y:0 = o:0\n{FROZEN}
                 freeze o:1: places of the taps of a window
                 R1 x:1 * w:1"
            ),
        );
    }

    #[test]
    fn r3_r4_an_offset_group_leaves_whole() {
        let text = text("offset_group=2", 36);
        check_relation(
            &text,
            &format!(
                "R5 y:0 = x:0\nR1 y:1 = w:0\nR5 y:0 = o:0\n{FROZEN}
                 R3 x:1 = $0(2) x $1(2)
                 R3 o:1 = $0(2) x $2(18)
                 freeze $2(18): places of the taps of a window
                 R1 x:1 * w:1"
            ),
        );
        let kept: Vec<u32> = (0..18).collect();
        check_resize(&text, &[("x", 1, &[0, 1]), ("w", 1, &[0, 1]), ("o", 1, &kept)], "offset_group=Int(1)");
    }

    #[test]
    fn work_is_that_of_a_convolution() {
        let kernel = Kernel::Conv { cin: 4, cout: 6, groups: 1, taps: 9, positions: 36, transposed: false };
        check_work(&text("group=1", 18), &[], kernel, 36 * 6 * 4 * 9);
    }
}
