//! A node with what is known of its operands: what every facet of an operator reads.

use crate::{Attr, AxisRef, Fact, Facts, Graph, Node, NodeId, OpError, Tensor, ValueId};
use std::sync::Arc;

/// A node, the graph around it and the facts about its values.
#[derive(Clone, Copy)]
pub struct NodeRef<'g> {
    /// The graph.
    pub graph: &'g Graph,
    /// What is known of its values.
    pub facts: &'g Facts,
    /// The node.
    pub id: NodeId,
    /// Imported version of the node's operator set.
    pub opset: i64,
}

/// An operand or result, with its fact.
#[derive(Clone, Copy)]
pub struct Operand<'g> {
    /// The value.
    pub value: ValueId,
    /// What is known of it.
    pub fact: &'g Fact,
    /// Its tensor, if it is constant.
    pub tensor: Option<&'g Arc<Tensor>>,
}

impl<'g> Operand<'g> {
    /// The operand's axis, for relations. `axis` counts from 0.
    pub fn axis(&self, axis: usize) -> AxisRef {
        AxisRef::Value(self.value, axis as u32)
    }
    /// Rank, where known.
    pub fn rank(&self) -> Option<usize> {
        self.fact.rank()
    }
    /// Static size of an axis.
    pub fn size(&self, axis: usize) -> Option<u64> {
        self.fact.size(axis)
    }
}

impl<'g> NodeRef<'g> {
    /// The node itself.
    pub fn node(&self) -> &'g Node {
        self.graph.node(self.id)
    }
    /// Operand `index`, if it is given.
    pub fn input(&self, index: usize) -> Option<Operand<'g>> {
        self.node().inputs.get(index).copied().flatten().map(|v| self.operand(v))
    }
    /// Operand `index`, or an error that names it.
    pub fn need_input(&self, index: usize) -> Result<Operand<'g>, OpError> {
        self.input(index).ok_or(OpError::MissingOperand { index })
    }
    /// Number of operands, left-out ones included.
    pub fn input_count(&self) -> usize {
        self.node().inputs.len()
    }
    /// Result `index`, if it is used by name.
    pub fn output(&self, index: usize) -> Option<Operand<'g>> {
        self.node().outputs.get(index).copied().flatten().map(|v| self.operand(v))
    }
    /// Result `index`, or an error that names it.
    pub fn need_output(&self, index: usize) -> Result<Operand<'g>, OpError> {
        self.output(index).ok_or(OpError::MissingResult { index })
    }
    /// Number of results, left-out ones included.
    pub fn output_count(&self) -> usize {
        self.node().outputs.len()
    }
    fn operand(&self, value: ValueId) -> Operand<'g> {
        Operand { value, fact: self.facts.get(value), tensor: self.graph.constant(value) }
    }
    /// Rank of an operand, or an error.
    pub fn rank(&self, index: usize) -> Result<usize, OpError> {
        self.need_input(index)?.rank().ok_or(OpError::UnknownRank { index })
    }

    /// A whole-number attribute.
    pub fn int(&self, name: &str) -> Result<Option<i64>, OpError> {
        self.attr(name, |a| if let Attr::Int(i) = a { Some(*i) } else { None }, "an integer")
    }
    /// A whole-number attribute with the default of the specification.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, OpError> {
        Ok(self.int(name)?.unwrap_or(default))
    }
    /// A list of whole numbers.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, OpError> {
        self.attr(name, |a| if let Attr::Ints(i) = a { Some(i.clone()) } else { None }, "integers")
    }
    /// A float attribute with the default of the specification.
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, OpError> {
        Ok(self.attr(name, |a| if let Attr::Float(v) = a { Some(*v) } else { None }, "a float")?.unwrap_or(default))
    }
    /// A list of floats.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, OpError> {
        self.attr(name, |a| if let Attr::Floats(v) = a { Some(v.clone()) } else { None }, "floats")
    }
    /// A string attribute.
    pub fn string(&self, name: &str) -> Result<Option<String>, OpError> {
        let read = |a: &Attr| match a {
            Attr::String(b) => Some(String::from_utf8_lossy(b).into_owned()),
            _ => None,
        };
        self.attr(name, read, "a string")
    }
    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Result<Option<Arc<Tensor>>, OpError> {
        self.attr(name, |a| if let Attr::Tensor(t) = a { Some(t.clone()) } else { None }, "a tensor")
    }
    fn attr<T>(
        &self,
        name: &str,
        read: impl Fn(&Attr) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, OpError> {
        match self.node().attrs.get(name) {
            None => Ok(None),
            Some(a) => {
                let found = a.kind();
                read(a).map(Some).ok_or_else(|| OpError::AttributeType { name: name.to_string(), expected, found })
            }
        }
    }
    /// Axes that later operator sets take as operand `operand` and earlier ones as attribute `name`.
    /// `Ok(None)` where neither is given; an operand that is not known is an error.
    pub fn ints_of(&self, operand: usize, name: &str) -> Result<Option<Vec<i64>>, OpError> {
        match self.input(operand) {
            Some(o) => o.fact.ints().map(Some).ok_or(OpError::NotConstant { index: operand }),
            None => self.ints(name),
        }
    }
}

/// `axis` counted from 0, for an attribute that may count from the end.
pub(crate) fn normal_axis(axis: i64, rank: usize) -> Result<usize, OpError> {
    let r = rank as i64;
    let a = if axis < 0 { axis + r } else { axis };
    if (0..r).contains(&a) { Ok(a as usize) } else { Err(OpError::AxisOutOfRange { axis, rank }) }
}

impl NodeRef<'_> {
    /// `axis` counted from 0, for an attribute that may count from the end.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, OpError> {
        normal_axis(axis, rank)
    }
    /// Several axes counted from 0.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
        axes.iter().map(|&a| normal_axis(a, rank)).collect()
    }
}
