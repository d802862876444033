//! What quantised operators share: scales and zero points beside the operand that they belong to.
//!  Q1  A parameter of one number belongs to the whole tensor: its axes relate to nothing.
//!  Q2  A parameter of rank 1 has a number for each slot of one axis, and is cut along with it; one of the operand's
//!      rank is aligned with it, and axes of length 1 relate to nothing.
//!  Q3  In a contraction a number is worth nothing where it equals its zero point.
//!  Q4  Zero points of each channel that are computed at run time freeze the contracted axis: no mask can be made.

use crate::content::free_all;
use crate::form::{At, freeze_all, tie};
use sparsec_ir::{Fact, NodeRef, OpError, Operand, Reason, Relations, ZeroPoint};

/// Whether a parameter is one number. One of unknown shape is none.
pub(crate) fn single(parameter: &Operand) -> bool {
    parameter.fact.sizes().is_some_and(|s| s.iter().all(|n| *n == 1))
}

/// Relates the parameters `which` to `owner`, whose slots along `axis` they may speak of.
pub(crate) fn follow(node: &NodeRef, which: &[usize], owner: At, r: &mut Relations) {
    for parameter in which.iter().filter_map(|i| node.input(*i)) {
        match (parameter.rank(), owner.0.rank()) {
            _ if single(&parameter) => free_all(&parameter, r), // Q1
            (Some(1), _) => tie(r, owner, (&parameter, 0), "Q2"),
            (Some(rank), Some(of)) if rank == of => {
                for a in (0..rank).filter(|a| parameter.size(*a) != Some(1)) {
                    tie(r, (owner.0, a), (&parameter, a), "Q2");
                }
            }
            _ => {
                let reason = Reason::Rule("the shape of a scale or zero point is not known");
                freeze_all(r, &parameter, &reason);
                freeze_all(r, owner.0, &reason);
            }
        }
    }
}

/// States what zero is in `owner`: operand `point`, which may have a number for each slot of `axis`. `contracted` is
/// the axis that the node sums over.
pub(crate) fn zero_point(
    node: &NodeRef,
    owner: &Operand,
    point: usize,
    axis: Option<usize>,
    contracted: usize,
    r: &mut Relations,
) {
    let Some(operand) = node.input(point) else { return };
    let row = operand.rank() == Some(1) && operand.tensor.is_some();
    match axis {
        _ if single(&operand) => {
            r.zero_points.push(ZeroPoint { value: owner.value, point: Some(operand.value), axis: None });
        }
        Some(a) if row => {
            let axis = Some(a as u32);
            r.zero_points.push(ZeroPoint { value: owner.value, point: Some(operand.value), axis }); // Q3
        }
        _ => {
            let reason = Reason::Rule("what stands for zero in each channel is computed at run time"); // Q4
            r.freeze(owner.axis(contracted), reason);
        }
    }
}

/// Leaves the parameters `which` alone: one number each, by the specification.
pub(crate) fn whole(node: &NodeRef, which: &[usize], r: &mut Relations) {
    which.iter().filter_map(|i| node.input(*i)).for_each(|p| free_all(&p, r)); // Q1
}

/// `facts` with the element type of operand `like`: that of the result's zero point.
pub(crate) fn typed(node: &NodeRef, facts: Result<Vec<Fact>, OpError>, like: usize) -> Result<Vec<Fact>, OpError> {
    let mut facts = facts?;
    facts[0].elem = node.input(like).and_then(|z| z.fact.elem);
    Ok(facts)
}
