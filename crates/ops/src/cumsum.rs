//! Running sums and products along an axis. Spec: ai.onnx `CumSum` (11, 14), `CumProd` (26).
//!  R1  y has the shape and element type of x.
//!  R2  The axis is frozen; the others of y are those of x. An axis computed at run time may be any.

use crate::form::{freeze, freeze_all, normalised, tie_same};
use sparsec_ir::{
    Affine, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, Work,
    WorkRule,
};

const CUM_SUM: OpDef = OpDef {
    name: "CumSum",
    domain: ONNX,
    since: &[11, 14],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[OpDef { name: "CumProd", since: &[26], ..CUM_SUM }, CUM_SUM];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut y = node.need_input(0)?.fact.clone(); // R1
    y.content = None;
    Ok(vec![y])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    let axis = match node.need_input(1)?.fact.ints().as_deref() {
        Some(&[axis]) => Some(node.axis(axis, rank)?),
        _ => None,
    };
    let reason = normalised(node);
    for o in [&x, &y] {
        match axis {
            Some(axis) => freeze(r, o, [axis], &reason), // R2
            None => freeze_all(r, o, &reason),
        }
    }
    tie_same(r, &x, &y, (0..rank).filter(|a| axis.is_some_and(|axis| *a != axis)), "R2");
    Ok(())
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_the_axis_of_the_sum_is_frozen() {
        let text = "g (float[2,3] x) => (y) <int64 axis = {-1}> { y = CumSum (x, axis) }";
        check_shape(text, "float[2,3]");
        check_relation(
            text,
            "freeze x:1: CumSum works over the whole axis
             freeze y:1: CumSum works over the whole axis
             R2 x:0 = y:0",
        );
    }

    #[test]
    fn r2_an_axis_computed_at_run_time_freezes_all() {
        let frozen = |v: &str| [0, 1].map(|a| format!("freeze {v}:{a}: CumSum works over the whole axis")).join("\n");
        let text = "g (float[2,3] x, int64 axis) => (y) { y = CumSum (x, axis) }";
        check_relation(text, &format!("{}\n{}", frozen("x"), frozen("y")));
    }
}
