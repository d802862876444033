//! Where a shift of a linear node's outputs can be added.

use crate::CalibError;
use sparsec_ir::{Contraction, Facts, InnerMap, Model, NodeId, OpTable, Tensor, TensorError, Use, ValueId};

/// A constant that is added to every output channel of a linear map.
#[derive(Clone, Debug, PartialEq)]
pub enum Bias {
    /// The node's own bias operand, which is this constant, and the node's factor on it.
    Operand(ValueId, f64),
    /// The node's own bias operand, which is left out so far, and the node's factor on it.
    Absent(usize, f64),
    /// A constant that the only reader of the result adds to it.
    Added(ValueId),
    /// Some numbers of an operand, which is this constant, or is left out so far.
    Part {
        /// The constant.
        value: Option<ValueId>,
        /// The map, which says where its numbers are.
        map: InnerMap,
    },
}

impl Bias {
    /// The constant, where there is one.
    pub fn value(&self) -> Option<ValueId> {
        match self {
            Self::Operand(v, _) | Self::Added(v) => Some(*v),
            Self::Absent(..) => None,
            Self::Part { value, .. } => *value,
        }
    }
    /// The numbers, of a tensor in the place of its constant.
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<f64>, TensorError> {
        let values = tensor.to_f64()?;
        Ok(match self {
            Self::Operand(_, scale) => values.iter().map(|b| b * scale).collect(),
            Self::Part { map, .. } => map.places.iter().map(|p| values.get(*p).copied().unwrap_or(0.0)).collect(),
            Self::Added(_) | Self::Absent(..) => values,
        })
    }
    /// Whether it is a part of the map's own result.
    pub fn is_inside(&self) -> bool {
        !matches!(self, Self::Added(_))
    }
}

/// The bias of a linear node; `None` where a shift has no place to go.
pub fn bias_of(model: &Model, facts: &Facts, table: &OpTable, node: NodeId, form: &Contraction) -> Option<Bias> {
    let graph = &model.graph;
    if let Some(operand) = form.bias {
        return match graph.node(node).inputs.get(operand).copied().flatten() {
            Some(v) => {
                graph.constant(v).is_some_and(|t| t.elem.is_float()).then_some(Bias::Operand(v, form.bias_scale))
            }
            None => Some(Bias::Absent(operand, form.bias_scale)),
        };
    }
    // A product without a bias of its own is followed by an addition of one, if it has one.
    let y = graph.node(node).outputs.first().copied().flatten()?;
    let outputs = output_count(model, node, form)?;
    match graph.value(y).uses[..] {
        [Use::Operand(add, _)] if table.is_sum(graph.node(add)) && !graph.is_output(y) => {
            let other = graph.node(add).inputs.iter().copied().flatten().find(|v| *v != y)?;
            let t = graph.constant(other).filter(|t| t.elem.is_float())?;
            // Along the channel axis only; axes are aligned from the right.
            let from_right = facts.get(y).rank()?.checked_sub(form.y_axis)?;
            let along = t.dims.len().checked_sub(from_right).map(|a| t.dims[a]);
            (along == Some(outputs) && t.count() == outputs).then_some(Bias::Added(other))
        }
        _ => None,
    }
}

fn output_count(model: &Model, node: NodeId, form: &Contraction) -> Option<u64> {
    let w = model.graph.node(node).inputs.get(form.w).copied().flatten()?;
    model.graph.constant(w)?.dims.get(form.w_out).map(|o| o * if form.transposed { form.groups } else { 1 })
}

/// The numbers of a bias; zeros where it is absent.
pub fn read_bias(model: &Model, bias: &Bias, outputs: usize) -> Result<Vec<f64>, CalibError> {
    let Some((v, tensor)) = bias.value().and_then(|v| Some((v, model.graph.constant(v)?))) else {
        return Ok(vec![0.0; outputs]);
    };
    bias.read(tensor).map_err(|source| CalibError::Weight { value: model.graph.value(v).name.clone(), source })
}

/// Writes the numbers of a bias. A constant that other nodes read too is not touched: this node gets its own.
pub fn write_bias(model: &mut Model, node: NodeId, bias: &Bias, values: &[f64]) -> Result<(), CalibError> {
    let graph = &model.graph;
    let label = graph.label(node);
    let name = bias.value().map_or_else(|| label.clone(), |v| graph.value(v).name.clone());
    let weight = |source| CalibError::Weight { value: name.clone(), source };
    let like = bias.value().and_then(|v| graph.constant(v).cloned());
    let w = graph.node(node).inputs.iter().copied().flatten().find_map(|v| graph.constant(v));
    let elem = like.as_ref().or(w).map_or(sparsec_ir::ElemType::F32, |t| t.elem);
    let (dims, values, absent) = match bias {
        Bias::Operand(_, scale) => (vec![values.len() as u64], values.iter().map(|b| b / scale).collect(), None),
        Bias::Absent(operand, scale) => {
            (vec![values.len() as u64], values.iter().map(|b| b / scale).collect::<Vec<f64>>(), Some(*operand))
        }
        Bias::Added(_) => (vec![values.len() as u64], values.to_vec(), None),
        Bias::Part { value, map } => {
            let mut whole = match &like {
                Some(t) => t.to_f64().map_err(weight)?,
                None => vec![0.0; map.bias_dims.iter().product::<u64>() as usize],
            };
            for (place, b) in map.places.iter().zip(values) {
                whole[*place] = *b;
            }
            (map.bias_dims.clone(), whole, value.is_none().then_some(map.bias))
        }
    };
    let dims = like.map_or(dims, |t| t.dims.clone());
    let tensor = Tensor::from_f64(elem, &dims, &values).map_err(weight)?;
    if let Some(operand) = absent {
        let v = model.graph.add_constant(&format!("{label}_bias"), tensor);
        model.graph.set_operand(node, operand, Some(v));
        return Ok(());
    }
    let Some(old) = bias.value() else { return Ok(()) };
    let reader = match bias {
        Bias::Added(_) => {
            let y = model.graph.node(node).outputs.first().copied().flatten();
            y.and_then(|y| model.graph.consumers(y).first().copied()).unwrap_or(node)
        }
        _ => node,
    };
    set_own_constant(model, reader, old, tensor);
    Ok(())
}

/// Gives `reader` the tensor in place of the constant `old`, leaving other readers of `old` as they are.
pub fn set_own_constant(model: &mut Model, reader: NodeId, old: ValueId, tensor: Tensor) {
    let graph = &mut model.graph;
    let others = graph.value(old).uses.iter().any(|u| !matches!(u, Use::Operand(n, _) if *n == reader));
    if others || graph.is_output(old) {
        let name = graph.value(old).name.clone();
        let own = graph.add_constant(&name, tensor);
        for i in 0..graph.node(reader).inputs.len() {
            if graph.node(reader).inputs[i] == Some(old) {
                graph.set_operand(reader, i, Some(own));
            }
        }
    } else {
        graph.set_constant(old, tensor);
    }
}
