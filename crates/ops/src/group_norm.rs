//! Normalisation of each channel, or each group of channels, over the spatial axes.
//! Spec: ai.onnx `InstanceNormalization` (1, 6, 22), `GroupNormalization` (18, 21).
//!  R1  The batch axis of y is that of x; spatial axes are frozen: the statistics are taken over them.
//!  R2  Instance: axis 1 of y and x is axis 0 of scale and bias.
//!  R3  Group: axis 1 of x is (group, channel of a group), whose second factor is frozen: a group leaves whole.
//!      Axis 1 of y is that of x.
//!  R4  Group: axis 0 of scale and bias is axis 1 of x from version 21 on, the groups before.
//!  R5  `num_groups` follows.

use crate::form::{freeze, like, mismatch, normalised, tie, tie_same};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Attr, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Relate, Relations, Resize, Resized,
    ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "GroupNormalization",
        domain: ONNX,
        since: &[18, 21],
        shape: ShapeRule::By(shape),
        relate: Relate::By(group),
        work: WorkRule::By(reduces),
        resize: Resize::By(resize),
        linear: LinearRule::Never,
        affine: Affine::Never,
    },
    OpDef {
        name: "InstanceNormalization",
        domain: ONNX,
        since: &[1, 6, 22],
        shape: ShapeRule::By(shape),
        relate: Relate::By(instance),
        work: WorkRule::By(reduces),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    },
];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

/// x, y and their batch and spatial axes related.
fn outer<'g>(node: &NodeRef<'g>, r: &mut Relations) -> Result<(Operand<'g>, Operand<'g>), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    if rank < 2 {
        return Err(mismatch("rank of a tensor with channels", rank, "2 or more"));
    }
    tie_same(r, &x, &y, [0, 1], "R1");
    for o in [&x, &y] {
        freeze(r, o, 2..rank, &normalised(node)); // R1
    }
    Ok((x, y))
}

fn instance(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, _) = outer(node, r)?;
    for index in [1, 2] {
        tie(r, (&x, 1), (&node.need_input(index)?, 0), "R2");
    }
    Ok(())
}

/// Number of groups and channels of each.
fn groups(node: &NodeRef) -> Result<(u64, u64), OpError> {
    let channels = node.need_input(0)?.size(1).ok_or(OpError::UnboundSize { index: 0 })?;
    let stated = node.int("num_groups")?.and_then(|g| u64::try_from(g).ok());
    let number = stated.filter(|g| *g > 0 && channels % g == 0);
    let number = number.ok_or_else(|| mismatch("num_groups against channels", stated.unwrap_or(0), channels))?;
    Ok((number, channels / number))
}

fn group(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (number, within) = groups(node)?;
    let (x, _) = outer(node, r)?;
    let group = if within == 1 {
        x.axis(1)
    } else {
        let (group, channel) = (r.virtual_axis(number), r.virtual_axis(within));
        r.freeze(channel, normalised(node));
        r.product(x.axis(1), &[group, channel], "R3");
        group
    };
    for index in [1, 2] {
        let parameter = node.need_input(index)?;
        if node.opset >= 21 {
            tie(r, (&x, 1), (&parameter, 0), "R4");
        } else if parameter.size(0) == Some(number) {
            r.tie(group, parameter.axis(0), number, "R4");
        }
    }
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let x = cut.before.need_input(0)?;
    let Some(kept) = (cut.kept)(x.value, 1) else { return Ok(Vec::new()) };
    let (_, within) = groups(&cut.before)?;
    let number = i64::try_from(kept.len() as u64 / within).map_err(|_| OpError::Overflow)?;
    Ok(vec![Edit::Attr("num_groups", Attr::Int(number))]) // R5
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape};

    fn text(opset: i64, parameters: u64) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : {opset}]>
            g (float[2,6,8] x, float[{parameters}] s, float[{parameters}] b) => (y)
            {{ y = GroupNormalization <num_groups=3> (x, s, b) }}"#
        )
    }

    #[test]
    fn r1_r2_instances_normalise_each_channel() {
        let text = "g (float[2,6,8] x, float[6] s, float[6] b) => (y) { y = InstanceNormalization (x, s, b) }";
        check_relation(
            text,
            "R1 x:0 = y:0
             R1 x:1 = y:1
             freeze x:2: InstanceNormalization works over the whole axis
             freeze y:2: InstanceNormalization works over the whole axis
             R2 x:1 = s:0
             R2 x:1 = b:0",
        );
        check_shape(text, "float[2,6,8]");
    }

    #[test]
    fn r3_r4_groups_leave_whole() {
        let outer = "R1 x:0 = y:0
             R1 x:1 = y:1
             freeze x:2: GroupNormalization works over the whole axis
             freeze y:2: GroupNormalization works over the whole axis
             freeze $1(2): GroupNormalization works over the whole axis
             R3 x:1 = $0(3) x $1(2)";
        check_relation(&text(21, 6), &format!("{outer}\nR4 x:1 = s:0\nR4 x:1 = b:0"));
        check_relation(&text(18, 3), &format!("{outer}\nR4 $0(3) = s:0\nR4 $0(3) = b:0"));
    }

    #[test]
    fn r5_the_number_of_groups_follows() {
        check_resize(&text(21, 6), &[("x", 1, &[0, 1, 4, 5])], "num_groups=Int(2)");
        check_resize(&text(21, 6), &[], "");
    }
}
