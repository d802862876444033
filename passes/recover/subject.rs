//! A linear map in a model: its numbers as the unknowns of regressions, and back.

use super::equations::{Layout, Map, Ridge};
use super::least_squares::Skipped;
use super::observations::has_rows;
use sparsec_calib::{Bias, CalibError, Linear, Weight, read_bias, write_bias};
use sparsec_ir::{Facts, Model, NodeId, OpTable, Tensor, ValueId};
use std::sync::Arc;

/// The linear map of a node with its numbers.
pub(crate) struct Subject {
    pub(crate) node: NodeId,
    pub(crate) linear: Linear,
    /// The weight.
    pub(crate) value: ValueId,
    name: String,
    tensor: Arc<Tensor>,
    weight: Weight,
    pub(crate) layout: Layout,
    bias: Option<Bias>,
    shift: Vec<f64>,
}

impl Subject {
    /// # Errors
    /// A weight or bias that cannot be read.
    pub(crate) fn of(
        (model, facts, table): (&Model, &Facts, &OpTable),
        node: NodeId,
        linear: Linear,
    ) -> Result<Self, CalibError> {
        let value = linear.weight_of(model, node).expect("a linear map has a weight");
        let tensor = model.graph.constant(value).expect("a linear map's weight is constant").clone();
        let name = model.graph.value(value).name.clone();
        let weight = linear.weight(&tensor).map_err(|source| CalibError::Weight { value: name.clone(), source })?;
        let layout = Layout::of(&weight, &linear.form);
        let bias = linear.bias(model, facts, table, node);
        let shift = match &bias {
            Some(bias) => read_bias(model, bias, layout.outputs())?,
            None => vec![0.0; layout.outputs()],
        };
        Ok(Self { node, linear, value, name, tensor, weight, layout, bias, shift })
    }
    /// Why its form or its readers forbid to change it.
    pub(crate) fn refused(&self, model: &Model) -> Option<Skipped> {
        if !has_rows(&self.linear.form) {
            return Some(Skipped::Form);
        }
        let bias = self.bias.as_ref().and_then(Bias::value);
        std::iter::once(self.value).chain(bias).any(|v| shared(model, v)).then_some(Skipped::Shared)
    }
    /// What a regression of it fits.
    pub(crate) fn ridge(&self, lambda: f64) -> Ridge {
        Ridge { biased: self.bias.is_some(), spread: self.layout.spread, lambda }
    }
    /// The map that a group has. A bias that is added outside the node is not part of the map's own result, which targets
    /// are.
    pub(crate) fn map(&self, group: usize) -> Map {
        self.layout.read(&self.weight, &self.own_shift(), group)
    }
    fn own_shift(&self) -> Vec<f64> {
        let inside = self.bias.as_ref().is_some_and(Bias::is_inside);
        if inside { self.shift.clone() } else { vec![0.0; self.shift.len()] }
    }
    /// Writes the maps of all groups, or nothing.
    pub(crate) fn write(&self, model: &mut Model, maps: &[&Map]) -> Result<(), CalibError> {
        let (mut weight, mut shift, own) = (self.weight.clone(), self.shift.clone(), self.own_shift());
        for (g, map) in maps.iter().enumerate() {
            self.layout.write(&mut weight, map, g);
            for (o, b) in map.bias.iter().step_by(self.layout.spread).enumerate() {
                let at = g * self.layout.per_group + o;
                shift[at] += b - own[at];
            }
        }
        let tensor = weight.to_tensor(&self.tensor);
        let tensor = tensor.map_err(|source| CalibError::Weight { value: self.name.clone(), source })?;
        self.bias.as_ref().map_or(Ok(()), |bias| write_bias(model, self.node, bias, &shift))?;
        model.graph.set_constant(self.value, tensor);
        Ok(())
    }
}

/// Whether changing a constant would change more than one operand.
pub(crate) fn shared(model: &Model, value: ValueId) -> bool {
    model.graph.value(value).uses.len() > 1 || model.graph.is_output(value)
}
