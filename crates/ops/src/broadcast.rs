//! Multidirectional broadcasting, shared by all operators that combine elements of several operands.
//! Spec: Broadcasting.md of ONNX.
//!  B1  Shapes are aligned at their last axes; a missing axis counts as one of size 1.
//!  B2  Axes of equal static size above 1 are the same axis, and the result's.
//!  B3  An axis of size 1 relates to nothing; the result's axis is that of the larger operand.
//!  B4  A static axis that meets a dynamic one is frozen: whether they are the same is not known before the run.

use crate::form::{mismatch, unnamed};
use sparsec_ir::{Dim, NodeRef, OpError, Operand, Reason, Relations};

/// The size that two aligned axes have in common; `None` where it is not known.
pub(crate) fn common(a: &Dim, b: &Dim) -> Result<Option<Dim>, OpError> {
    Ok(match (a.as_const(), b.as_const()) {
        _ if a == b => Some(a.clone()),
        (Some(1), _) => Some(b.clone()),
        (_, Some(1)) => Some(a.clone()),
        (Some(_), Some(_)) => return Err(mismatch("sizes that cannot be broadcast", a, b)),
        (Some(_), None) => Some(a.clone()),
        (None, Some(_)) => Some(b.clone()),
        (None, None) => None,
    })
}

/// Shape of result 0 when `shapes` are broadcast together.
pub(crate) fn shape(node: &NodeRef, shapes: &[&[Dim]]) -> Result<Vec<Dim>, OpError> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = Vec::with_capacity(rank);
    for axis in 0..rank {
        let mut known = Some(Dim::from(1));
        for s in shapes {
            let Some(at) = (axis + s.len()).checked_sub(rank) else { continue }; // B1
            known = match known {
                Some(k) => common(&k, &s[at])?,
                // Two sizes without a common one: a static third one decides.
                None if s[at].as_const().is_some_and(|c| c != 1) => Some(s[at].clone()),
                None => None,
            };
        }
        out.push(known.unwrap_or_else(|| unnamed(node, 0, axis)));
    }
    Ok(out)
}

/// An operand with axes of size 1 after its own.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'g> {
    pub(crate) operand: Operand<'g>,
    pub(crate) after: usize,
}

impl<'g> Placed<'g> {
    /// The operand at the last axes, where B1 puts it.
    pub(crate) fn last(operand: Operand<'g>) -> Self {
        Self { operand, after: 0 }
    }
}

/// Shape of result 0 when the operands `which` are broadcast together; `None` where a rank is not known.
pub(crate) fn shape_of(node: &NodeRef, which: &[Operand]) -> Result<Option<Vec<Dim>>, OpError> {
    shape_at(node, &which.iter().copied().map(Placed::last).collect::<Vec<_>>())
}

/// As [`shape_of`], with axes of size 1 after those of the operands.
pub(crate) fn shape_at(node: &NodeRef, which: &[Placed]) -> Result<Option<Vec<Dim>>, OpError> {
    let placed = |p: &Placed| Some([p.operand.fact.shape.as_deref()?, &vec![Dim::from(1); p.after]].concat());
    let Some(shapes) = which.iter().map(placed).collect::<Option<Vec<Vec<Dim>>>>() else { return Ok(None) };
    shape(node, &shapes.iter().map(Vec::as_slice).collect::<Vec<_>>()).map(Some)
}

/// Relates the operands `which`, broadcast together, to result 0.
pub(crate) fn relate(node: &NodeRef, which: &[Operand], r: &mut Relations) -> Result<(), OpError> {
    relate_at(node, &which.iter().copied().map(Placed::last).collect::<Vec<_>>(), r)
}

/// As [`relate`], with axes of size 1 after those of the operands.
pub(crate) fn relate_at(node: &NodeRef, which: &[Placed], r: &mut Relations) -> Result<(), OpError> {
    let y = node.need_output(0)?;
    let rank = y.rank().ok_or(OpError::Unsupported("the rank of the result is not known"))?;
    for axis in 0..rank {
        let aligned = |p: &Placed| {
            let own = p.operand.rank()?;
            (axis + own + p.after).checked_sub(rank).filter(|a| *a < own) // B1
        };
        let given: Vec<(&Operand, usize)> = which.iter().filter_map(|p| Some((&p.operand, aligned(p)?))).collect();
        let dynamic = given.iter().any(|&(o, a)| o.size(a).is_none());
        for (o, a) in given {
            match (o.size(a), y.size(axis)) {
                (Some(1), _) | (None, _) => {} // B3
                (Some(n), Some(m)) if n == m => r.tie(o.axis(a), y.axis(axis), n, "B2"),
                (Some(_), _) => r.freeze(o.axis(a), MEETS_DYNAMIC),
            }
            if dynamic && o.size(a).is_some_and(|n| n > 1) {
                r.freeze(o.axis(a), MEETS_DYNAMIC); // B4
            }
        }
        if dynamic && y.size(axis).is_some() {
            r.freeze(y.axis(axis), MEETS_DYNAMIC);
        }
    }
    Ok(())
}

const MEETS_DYNAMIC: Reason = Reason::Rule("meets an axis of dynamic length");

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_error, check_fact, check_relation};

    #[test]
    fn equal_sizes_tie_and_single_slots_relate_to_nothing() {
        check_relation(
            "g (float[n,8,4] x, float[8,1] b) => (float[] y) { y = Add (x, b) }",
            &["B2 x.1 = y.1 x8", "B2 b.0 = y.1 x8", "B2 x.2 = y.2 x4"],
        );
    }
    #[test]
    fn the_larger_operand_gives_the_axis() {
        check_relation("g (float[1] a, float[5] b) => (float[] y) { y = Mul (a, b) }", &["B2 b.0 = y.0 x5"]);
    }
    #[test]
    fn a_static_axis_that_meets_a_dynamic_one_is_frozen() {
        check_relation(
            "g (float[5] a, float[n] b) => (float[] y) { y = Add (a, b) }",
            &[
                "B2 a.0 = y.0 x5",
                "a.0 frozen: meets an axis of dynamic length",
                "y.0 frozen: meets an axis of dynamic length",
            ],
        );
    }
    #[test]
    fn symbolic_sizes_broadcast() {
        check_fact("g (float[n,1,4] a, float[m,1] b) => (float[] y) { y = Add (a, b) }", "float[n,m,4]");
        check_fact("g (float[n] a, float[m] b) => (float[] y) { y = Add (a, b) }", "float[?y.0]");
    }
    #[test]
    fn sizes_that_do_not_fit_are_an_error() {
        check_error(
            "g (float[3] a, float[4] b) => (float[] y) { y = Add (a, b) }",
            "sizes that cannot be broadcast: 3 against 4",
        );
    }
}
