//! Rotation of heads by their position. Spec: com.microsoft `RotaryEmbedding` (1).
//!  R1  Every axis of y is the same axis of x: batch × heads × positions × numbers, or batch × positions × hidden, which
//!      is heads × head dimension (rule H1 of `heads.rs`). `num_heads` follows.
//!  R2  Two slots of the head dimension are rotated together by one angle, a slot and the one half of it later, or two
//!      neighbours with `interleaved`: they leave together, and the angle's sine and cosine with them.
//!  R3  Where only a part of the head dimension is rotated (`rotary_embedding_dim`), all of it is frozen.
//!  R4  Rows of the sines and cosines are addressed by the positions, whose axes are batch and positions of x. Where only
//!      the first position is given, positions are counted from it: frozen.

use crate::form::{freeze, freeze_all, like, mismatch, tie, tie_same};
use crate::heads;
use crate::work::light;
use sparsec_ir::{
    Affine, Edit, Fact, LinearRule, LinkKind, NodeRef, OpDef, OpError, Reason, Relate, Relations, Resize, Resized, Row,
    ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "RotaryEmbedding",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(light),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

const COS: usize = 2;
const SIN: usize = 3;

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

/// Heads of a hidden axis of `len` slots, and the numbers of one.
fn split(node: &NodeRef, len: u64) -> Result<(u64, u64), OpError> {
    let whole = node.int_or("rotary_embedding_dim", 0)? == 0;
    let stated = u64::try_from(node.int_or("num_heads", 0)?).unwrap_or(0);
    let angles = node.need_input(COS)?.size(1);
    let heads = match angles.and_then(|a| a.checked_mul(2)) {
        _ if stated > 0 => stated,
        Some(size) if size > 0 && whole => len / size,
        _ => return Err(OpError::Unsupported("heads of unknown number")),
    };
    Ok((heads, heads::size_of(Some(len), heads)?))
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    let (cos, sin) = (node.need_input(COS)?, node.need_input(SIN)?);
    tie_same(r, &x, &y, 0..rank, "R1");
    let (numbers, size) = match rank {
        4 => (x.axis(3), heads::size_of(x.size(3), 1)?),
        3 => {
            let (heads, size) = split(node, x.size(2).unwrap_or(0))?;
            let (of_heads, numbers) = (r.virtual_axis(heads), r.virtual_axis(size));
            r.product(x.axis(2), &[of_heads, numbers], "H1");
            (numbers, size)
        }
        rank => return Err(mismatch("rank of what is rotated", rank, "3 or 4")),
    };
    for angles in [&cos, &sin] {
        freeze(r, angles, [0], &Reason::Indexed); // R4
    }
    if let Some(positions) = node.input(1) {
        // One number is where the first position stands.
        let (axis, each) = (rank - 2, positions.rank() == Some(2));
        if each {
            tie(r, (&x, 0), (&positions, 0), "R4");
        }
        match positions.size(1) {
            Some(n) if each && Some(n) == x.size(axis) => tie(r, (&x, axis), (&positions, 1), "R4"),
            _ => freeze(r, &x, [axis], &Reason::Rule("positions are counted")),
        }
    }
    if cos.size(1) != Some(size / 2) || !size.is_multiple_of(2) || node.int_or("rotary_embedding_dim", 0)? != 0 {
        let reason = Reason::Rule("rotated in part");
        r.freeze(numbers, reason.clone()); // R3
        for angles in [&cos, &sin] {
            freeze_all(r, angles, &reason);
        }
        return Ok(());
    }
    let half = size / 2;
    let (second, step) = if node.int_or("interleaved", 0)? != 0 { (1, 2) } else { (half as u32, 1) };
    let row = |axis, start, step| Row { axis, start, step };
    r.link(row(numbers, 0, step), row(numbers, second, step), half, LinkKind::Same, "R2");
    r.link(row(numbers, 0, step), row(cos.axis(1), 0, 1), half, LinkKind::Same, "R2");
    tie(r, (&cos, 1), (&sin, 1), "R2");
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let x = cut.before.need_input(0)?;
    let (Some(len), 3) = (x.size(2), cut.before.rank(0)?) else { return Ok(Vec::new()) };
    if cut.before.int_or("num_heads", 0)? == 0 {
        return Ok(Vec::new());
    }
    let (heads, size) = split(&cut.before, len)?;
    Ok(heads::numbers(cut, &[("num_heads", (x.value, 2), 0, heads)], size)?.0)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape};

    fn text(x: &str, attrs: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[{x}] x, int64[n,5] p) => (y)
            <float[9,2] c = ["location": "random:1"], float[9,2] s = ["location": "random:2"]>
            {{ y = com.microsoft.RotaryEmbedding <{attrs}> (x, p, c, s) }}"#
        )
    }
    const ANGLES: &str = "freeze c:0: indexed by data\nfreeze s:0: indexed by data\n";
    const PACKED: &str = "R4 x:1 = p:1\n";
    const APART: &str = "R4 x:2 = p:1\n";

    #[test]
    fn r1_r2_halves_of_a_head_leave_together() {
        check_relation(
            &text("n,3,5,4", ""),
            &format!(
                "R1 x:1 = y:1\nR1 x:2 = y:2\nR1 x:3 = y:3\n{ANGLES}{APART}R2 x:3[0+1]#2 = x:3[2+1]#2\nR2 x:3[0+1]#2 = c:1\nR2 c:1 = s:1"
            ),
        );
        check_relation(
            &text("n,5,12", "interleaved=1"),
            &format!(
                "R1 x:1 = y:1\nR1 x:2 = y:2\nH1 x:2 = $0(3) x $1(4)
                 {ANGLES}{PACKED}R2 $1(4)[0+2]#2 = $1(4)[1+2]#2\nR2 $1(4)[0+2]#2 = c:1\nR2 c:1 = s:1"
            ),
        );
        check_shape(&text("n,5,12", ""), "float[n,5,12]");
        check_resize(&text("n,5,12", "num_heads=3"), &[("x", 2, &[4, 5, 6, 7])], "num_heads=Int(1)");
    }

    #[test]
    fn r4_positions_that_are_counted_stay() {
        let text = text("n,5,12", "").replace("int64[n,5] p", "int64[1] p");
        check_relation(
            &text,
            "R1 x:1 = y:1\nR1 x:2 = y:2\nH1 x:2 = $0(3) x $1(4)
                 freeze c:0: indexed by data\nfreeze s:0: indexed by data\nfreeze x:1: positions are counted
                 R2 $1(4)[0+1]#2 = $1(4)[2+1]#2\nR2 $1(4)[0+1]#2 = c:1\nR2 c:1 = s:1",
        );
    }

    #[test]
    fn r3_heads_that_are_rotated_in_part_keep_their_size() {
        let frozen = ["x:3", "c:0", "c:1", "s:0", "s:1"].map(|a| format!("freeze {a}: rotated in part\n")).concat();
        check_relation(
            &text("n,3,5,8", "rotary_embedding_dim=4"),
            &format!("R1 x:1 = y:1\nR1 x:2 = y:2\nR1 x:3 = y:3\n{ANGLES}{APART}{frozen}"),
        );
    }
}
