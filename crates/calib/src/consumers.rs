//! Who sums over the channels of each group.

use crate::{CalibError, Gram, Linear, Weight};
use sparsec_analysis::{AxisOwner, Channels};
use sparsec_ir::{Contraction, Facts, Model, NodeId, OpTable, ValueId};
use sparsec_linalg::Matrix;
use std::collections::BTreeMap;

/// What the channels are multiplied with.
#[derive(Clone, Debug, PartialEq)]
pub enum Other {
    /// A constant, along this axis of it.
    Constant(ValueId, usize),
    /// The weight of a grouped linear node.
    Grouped(ValueId, Box<Contraction>),
    /// Another activation, along this axis of it.
    Activation(ValueId, usize),
}

/// A node that sums over channels of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// The node.
    pub node: NodeId,
    /// The activation.
    pub x: ValueId,
    /// Its channel axis.
    pub axis: usize,
    /// Channels of the axis that belong to each unit of the group, in the group's order.
    pub units: Vec<Vec<usize>>,
    /// What they are multiplied with.
    pub other: Other,
}

impl Consumer {
    /// M with `M[i][j]` = Σ w_i · w_j over all that channel i and channel j are multiplied with: an error e of the
    /// channels costs eᵀ M e in the node's result.
    pub fn importance(&self, model: &Model, grams: &BTreeMap<(ValueId, usize), Gram>) -> Result<Matrix, CalibError> {
        let weight = |v: ValueId, source| CalibError::Weight { value: model.graph.value(v).name.clone(), source };
        match &self.other {
            Other::Activation(v, axis) => Ok(grams[&(*v, *axis)].uncentred()),
            Other::Constant(v, axis) => {
                let tensor = model.graph.constant(*v).expect("chosen for being constant");
                let x = crate::rows(tensor, *axis).map_err(|s| weight(*v, s))?;
                let n = tensor.dims[*axis] as usize;
                let mut m = Matrix::zeros(n, n);
                sparsec_linalg::add_gram(&mut m, &x, x.len() / n.max(1));
                Ok(m)
            }
            Other::Grouped(v, form) => {
                let tensor = model.graph.constant(*v).expect("chosen for being constant");
                let w = Weight::of(tensor, form).map_err(|s| weight(*v, s))?;
                let groups = form.groups as usize;
                let n = w.inputs * groups;
                let per = w.outputs / groups.max(1);
                let mut m = Matrix::zeros(n, n);
                for g in 0..groups {
                    for (i, j) in (0..w.inputs).flat_map(|i| (0..w.inputs).map(move |j| (i, j))) {
                        let terms = (g * per..(g + 1) * per).flat_map(|o| (0..w.taps()).map(move |t| (o, t)));
                        let sum = terms.map(|(o, t)| w.get(o, i, t) * w.get(o, j, t)).sum();
                        m.set(g * w.inputs + i, g * w.inputs + j, sum);
                    }
                }
                Ok(m)
            }
        }
    }
}

/// Consumers of each group, in group order; a group's consumers are in node order.
pub fn consumers(model: &Model, facts: &Facts, table: &OpTable, channels: &Channels) -> Vec<Vec<Consumer>> {
    // Activation axes that are summed over, each with its partner.
    let mut sums: Vec<(NodeId, ValueId, usize, Other)> = Vec::new();
    for link in &channels.contractions {
        let owner = |slot| channels.axes.owner(channels.axes.locate(slot).0);
        let (AxisOwner::Value(x, axis), AxisOwner::Value(w, w_axis)) = (owner(link.a.0), owner(link.b.0)) else {
            continue;
        };
        if link.a == link.b {
            continue; // absorbed: nothing weighs the channels against each other
        }
        let (x, axis, w, w_axis) = match (model.graph.constant(x), model.graph.constant(w)) {
            (None, _) => (x, axis, w, w_axis),
            (Some(_), None) => (w, w_axis, x, axis),
            (Some(_), Some(_)) => continue,
        };
        let other = match model.graph.constant(w) {
            Some(_) => Other::Constant(w, w_axis as usize),
            None => Other::Activation(w, w_axis as usize),
        };
        let sum = (link.node, x, axis as usize, other);
        if !sums.contains(&sum) {
            sums.push(sum);
        }
    }
    for (id, node) in model.graph.nodes() {
        let form = Linear::of(model, facts, table, id).map(|l| l.form).filter(|f| f.groups > 1);
        if let Some((form, (Some(x), Some(w)))) = form.map(|f| (f.clone(), (node.inputs[f.x], node.inputs[f.w]))) {
            // Inputs of one group meet only outputs of it, which a link between whole axes does not say.
            sums.retain(|s| s.0 != id || !matches!(s.3, Other::Constant(v, _) if v == w));
            sums.push((id, x, form.x_axis, Other::Grouped(w, Box::new(form))));
        }
    }
    sums.sort_by_key(|s| (s.0, s.1, s.2));

    let mut out = vec![Vec::new(); channels.groups.len()];
    for (node, x, axis, other) in sums {
        let Some(id) = channels.axes.find(x, axis).filter(|a| channels.can_shrink(*a)) else { continue };
        let start = channels.axes.slots(id).start;
        for (group, g) in channels.groups.iter().enumerate() {
            if !g.axes.iter().any(|(a, _)| *a == id) {
                continue;
            }
            let range = channels.axes.slots(id);
            let of_unit = |u: &u32| -> Vec<usize> {
                let slots = &channels.units[*u as usize].slots;
                slots.iter().filter(|s| range.contains(s)).map(|s| (s - start) as usize).collect()
            };
            let units = g.units.iter().map(of_unit).collect();
            out[group].push(Consumer { node, x, axis, units, other: other.clone() });
        }
    }
    out
}
