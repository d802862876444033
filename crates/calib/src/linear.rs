//! The linear map of a node with a constant weight: all of the node, or a part inside it.

use crate::{Bias, Weight, bias_of};
use sparsec_analysis::node_ref;
use sparsec_ir::{Contraction, Facts, InnerMap, LinearRule, Model, NodeId, OpTable, Tensor, TensorError, ValueId};

/// A linear map with a constant weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Its form; that of an inner map is a matrix product with the rows of the weight as outputs.
    pub form: Contraction,
    /// Where it lies inside the node, so that its result is none of the node's.
    pub inner: Option<InnerMap>,
}

impl Linear {
    /// The map of a node. `None` where it has none, or where shapes that decide are not known.
    pub fn of(model: &Model, facts: &Facts, table: &OpTable, node: NodeId) -> Option<Self> {
        let n = model.graph.node(node);
        let node_ref = node_ref(model, facts, node);
        match table.get(&n.domain, &n.op)?.linear {
            LinearRule::By(rule) => rule(&node_ref).ok().flatten().map(|form| Self { form, inner: None }),
            LinearRule::Inner(rule) => {
                let map = rule(&node_ref).ok().flatten()?;
                let last = facts.get(n.inputs.get(map.x).copied().flatten()?).rank()?.checked_sub(1)?;
                let form = Contraction {
                    x: map.x,
                    w: map.w,
                    bias: Some(map.bias),
                    w_scale: 1.0,
                    bias_scale: 1.0,
                    x_axis: last,
                    y_axis: last,
                    w_in: 1,
                    w_out: 0,
                    groups: 1,
                    window: None,
                    transposed: false,
                };
                Some(Self { form, inner: Some(map) })
            }
            LinearRule::Never => None,
        }
    }
    /// The weight of `node`, a constant.
    pub fn weight_of(&self, model: &Model, node: NodeId) -> Option<ValueId> {
        model.graph.node(node).inputs.get(self.form.w).copied().flatten()
    }
    /// `tensor` as the map's weight.
    pub fn weight(&self, tensor: &Tensor) -> Result<Weight, TensorError> {
        match &self.inner {
            None => Weight::of(tensor, &self.form),
            Some(_) => Weight::of(&rows_of(tensor), &self.form),
        }
    }
    /// Where a shift of the map's outputs can be added; `None` where it has no place to go.
    pub fn bias(&self, model: &Model, facts: &Facts, table: &OpTable, node: NodeId) -> Option<Bias> {
        match &self.inner {
            None => bias_of(model, facts, table, node, &self.form),
            Some(map) => {
                let value = model.graph.node(node).inputs.get(map.bias).copied().flatten();
                Some(Bias::Part { value, map: map.clone() })
            }
        }
    }
}

/// A weight as a matrix: its last axis, and all others as rows.
fn rows_of(tensor: &Tensor) -> Tensor {
    let columns = tensor.dims.last().copied().unwrap_or(1);
    let rows = tensor.dims.iter().rev().skip(1).product();
    Tensor { dims: vec![rows, columns], ..tensor.clone() }
}
