//! `DeformConv`: convolution whose taps are moved by data. Spec: ai.onnx `DeformConv`, versions 19, 22.
//!  R1  Channels of x, w, b and y, and `group`, as for `Conv`.
//!  R2  Axis 1 of the offsets is (offset group, coordinate of a tap), of the mask (offset group, tap); the second
//!      factors are frozen.
//!  R3  Several offset groups: axis 1 of x is (offset group, channel of one): an offset group leaves whole.
//!  R4  `offset_group` follows: offset channels over coordinates of all taps.
//!  R5  Batch axes are the same; spatial axes of all are frozen.

use crate::conv::{Groups, follow_group, group_of, quotient};
use crate::form::{At, contract, differ, dims, freeze, mismatch, product, result_sizes, sizes, tie, unnamed};
use crate::window::{Rounding, Sliding, kernel_of};
use sparsec_ir::{
    Affine, Attr, AxisRef, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate,
    Relations, Resize, Resized, ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "DeformConv",
    domain: ONNX,
    since: &[19, 22],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
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

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, w) = (dims(node, X)?, dims(node, W)?);
    if x.len() < 3 || x.len() != w.len() {
        return Err(mismatch("ranks of x and w", x.len(), w.len()));
    }
    let group = i64::try_from(group_of(node)?).map_err(|_| OpError::Overflow)?;
    let expected = w[1].mul(&Dim::from(group)).ok_or(OpError::Overflow)?;
    if differ(&x[1], &expected) {
        return Err(mismatch("channels of x against those of w times `group`", &x[1], expected));
    }
    let window = Sliding::read(node, kernel_of(node, &w[2..])?)?;
    let mut out = vec![x[0].clone(), w[0].clone()]; // R5, R1
    for (axis, d) in x.iter().enumerate().skip(2) {
        let size = window.positions(axis - 2, d, Rounding::Down)?;
        out.push(size.unwrap_or_else(|| unnamed(node, 0, axis)));
    }
    Ok(vec![Fact { elem: node.need_input(X)?.fact.elem, shape: Some(out), content: None }])
}

/// The attribute `offset_group`.
fn offset_groups(node: &NodeRef) -> Result<u64, OpError> {
    let bad = OpError::BadAttribute { name: "offset_group".to_string(), expected: "a positive whole number" };
    u64::try_from(node.int_or("offset_group", 1)?).ok().filter(|g| *g > 0).ok_or(bad)
}

/// Makes `flat` of `len` slots (`outer`, something within). Gives the axis within, where it has more than one slot.
fn split(r: &mut Relations, flat: AxisRef, len: u64, outer: AxisRef, number: u64) -> Option<AxisRef> {
    let within = len / number;
    if within == 1 {
        r.tie(flat, outer, number, "R3");
        return None;
    }
    let axis = r.virtual_axis(within);
    r.product(flat, &[outer, axis], "R3");
    Some(axis)
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, w, offsets, y) =
        (node.need_input(X)?, node.need_input(W)?, node.need_input(OFFSETS)?, node.need_output(0)?);
    let (rank, group, offset_group) = (node.rank(X)?, group_of(node)?, offset_groups(node)?);
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
        quotient(channels, offset_group)?;
        let outer = r.virtual_axis(offset_group);
        split(r, x.axis(1), channels, outer, offset_group);
        for o in &beside {
            let Some(len) = o.size(1) else { return Err(OpError::Unsupported("offsets of unknown number")) };
            quotient(len, offset_group)?;
            if let Some(taps) = split(r, o.axis(1), len, outer, offset_group) {
                r.freeze(taps, TAPS); // R2
            }
        }
    } else {
        for o in &beside {
            freeze(r, o, [1], &TAPS);
        }
    }
    let (a, b): (At, At) = ((&x, 1), (&w, 1));
    if group == 1 {
        contract(r, a, b, "R1");
        return Ok(());
    }
    let (inputs, outputs) = (w.size(1), y.size(1).filter(|n| n % group == 0));
    let (Some(inputs), Some(outputs)) = (inputs, outputs) else {
        return Err(OpError::Unsupported("grouped channels of unknown or uneven number"));
    };
    let groups = Groups { number: group, inputs, outputs: outputs / group };
    if let Some(input) = groups.relate(r, x.axis(1), y.axis(1), "R1").input {
        r.contract(input, w.axis(1), inputs, "R1");
    }
    Ok(())
}

const TAPS: Reason = Reason::Rule("places of the taps of a window");

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (x, w, y) = (sizes(node, X)?, sizes(node, W)?, result_sizes(node, 0)?);
    if x.len() < 3 || x.len() != w.len() || x.len() != y.len() {
        return Err(mismatch("ranks of x and w", x.len(), w.len()));
    }
    let taps = product(&w[2..])?;
    let positions = product(y[2..].iter().chain([&y[0]]))?;
    let (cin, cout, groups) = (x[1], w[0], quotient(x[1], w[1])?);
    let macs = product(&[positions, w[0], w[1], taps])?;
    Ok(Work { kernel: Kernel::Conv { cin, cout, groups, taps, positions, transposed: false }, macs })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let offsets = node.need_input(OFFSETS)?;
    let mut edits = follow_group(cut, (node.need_input(X)?, 1), (node.need_input(W)?, 1))?; // R1
    let old = offset_groups(node)?;
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
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work};

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
