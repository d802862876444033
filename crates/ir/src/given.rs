//! Relations in words, for operators that no rule is written for: those that a user teaches.

use crate::{AxisRef, NodeRef, OpError, Operand, Reason, Relations};
use std::fmt;

/// An axis of an operand (`x0:1`) or result (`y0:-1`) of a node; negative axes count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether it is of a result.
    pub result: bool,
    /// Which operand or result.
    pub index: usize,
    /// Axis.
    pub axis: i64,
}

/// One statement about every node of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Each result is computed element by element: operands are aligned at their last axes, and axes of equal length
    /// are the same.
    Elementwise,
    /// Every axis of every result is the same axis of this operand.
    SameAxes(usize),
    /// Two axes are the same.
    Same(Place, Place),
    /// The two axes are multiplied and summed over.
    Contract(Place, Place),
    /// Slots that are zero everywhere change nothing: the axis is summed over.
    Absorb(Place),
    /// Nothing ties the slots of the axis.
    Free(Place),
}

/// The rule that [`Word`]s carry in proofs.
const RULE: &str = "given";

/// States `words` of a node.
pub fn relate(words: &[Word], node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    for word in words {
        match *word {
            Word::Elementwise => elementwise(node, r)?,
            Word::SameAxes(index) => {
                let x = node.need_input(index)?;
                for y in results(node) {
                    for axis in 0..node.rank(index)? {
                        tie(r, (&x, axis), (&y, axis));
                    }
                }
            }
            Word::Same(a, b) => {
                let ((a, i), (b, j)) = (at(node, a)?, at(node, b)?);
                tie(r, (&a, i), (&b, j));
            }
            Word::Contract(a, b) => {
                let ((a, i), (b, j)) = (at(node, a)?, at(node, b)?);
                let ((x, i), (w, j)) = if a.tensor.is_some() { ((b, j), (a, i)) } else { ((a, i), (b, j)) };
                if let Some(len) = x.size(i).or(w.size(j)) {
                    r.contract(x.axis(i), w.axis(j), len, RULE);
                }
            }
            Word::Absorb(a) => {
                let (o, axis) = at(node, a)?;
                if let Some(len) = o.size(axis) {
                    r.absorb(o.axis(axis), len, RULE);
                }
            }
            Word::Free(a) => {
                let (o, axis) = at(node, a)?;
                r.free(o.axis(axis));
            }
        }
    }
    Ok(())
}

fn results<'g>(node: &NodeRef<'g>) -> Vec<Operand<'g>> {
    (0..node.output_count()).filter_map(|i| node.output(i)).collect()
}

fn at<'g>(node: &NodeRef<'g>, place: Place) -> Result<(Operand<'g>, usize), OpError> {
    let o = if place.result { node.need_output(place.index)? } else { node.need_input(place.index)? };
    let unknown = OpError::Unsupported("the rank of an operand or result is not known");
    let axis = node.axis(place.axis, o.rank().ok_or(unknown)?)?;
    Ok((o, axis))
}

/// Ties two axes; where one length is not known the solver freezes what it must.
fn tie(r: &mut Relations, a: (&Operand, usize), b: (&Operand, usize)) {
    if let Some(len) = a.0.size(a.1).or(b.0.size(b.1)) {
        r.tie(a.0.axis(a.1), b.0.axis(b.1), len, RULE);
    }
}

fn elementwise(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let unknown = || OpError::Unsupported("the rank of an operand or result is not known");
    for y in results(node) {
        let rank = y.rank().ok_or_else(unknown)?;
        for x in (0..node.input_count()).filter_map(|i| node.input(i)) {
            let of_x = x.rank().ok_or_else(unknown)?;
            let lead = rank.checked_sub(of_x).ok_or(OpError::Unsupported("an operand has more axes than a result"))?;
            for axis in 0..of_x {
                match (x.size(axis), y.size(lead + axis)) {
                    (Some(1), Some(n)) if n != 1 => r.free(x.axis(axis)),
                    (Some(a), Some(b)) if a == b => r.tie(x.axis(axis), y.axis(lead + axis), a, RULE),
                    (None, None) => {}
                    (Some(1), None) => r.free(x.axis(axis)),
                    _ => {
                        let frozen: [AxisRef; 2] = [x.axis(axis), y.axis(lead + axis)];
                        frozen.into_iter().for_each(|a| r.freeze(a, Reason::Rule("meets an axis of dynamic length")));
                    }
                }
            }
        }
    }
    Ok(())
}

/// As [`Place`]s are written: `x0:1`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", if self.result { 'y' } else { 'x' }, self.index, self.axis)
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    /// Reads `x0:1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no axis such as `x0:1` (operand 0, axis 1) or `y0:-1` (result 0, last axis)");
        let (value, axis) = text.split_once(':').ok_or_else(bad)?;
        let (result, index) = match value.split_at_checked(1).ok_or_else(bad)? {
            ("x", index) => (false, index),
            ("y", index) => (true, index),
            _ => return Err(bad()),
        };
        let (index, axis) = (index.parse().map_err(|_| bad())?, axis.parse().map_err(|_| bad())?);
        Ok(Self { result, index, axis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        let place: Place = "y1:-2".parse().unwrap();
        assert_eq!((place, place.to_string().as_str()), (Place { result: true, index: 1, axis: -2 }, "y1:-2"));
        for wrong in ["", "x", "x0", "x0:", "z0:1", "x-1:0", "é0:1"] {
            assert!(wrong.parse::<Place>().unwrap_err().contains("x0:1"), "{wrong}");
        }
    }
}
