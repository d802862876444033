//! Where a shift of a linear node's outputs can be added.

use crate::CalibError;
use sparsec_ir::{Contraction, Model, NodeId, Tensor, Use, ValueId};

/// A constant that is added to every output channel of a linear node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// The node's own bias operand, which is this constant.
    Operand(ValueId),
    /// The node's own bias operand, which is left out so far.
    Absent(usize),
    /// A constant that the only reader of the result adds to it.
    Added(ValueId),
}

/// The bias of a linear node; `None` where a shift has no place to go.
pub fn bias_of(model: &Model, node: NodeId, form: &Contraction) -> Option<Bias> {
    let graph = &model.graph;
    if let Some(operand) = form.bias {
        return match graph.node(node).inputs.get(operand).copied().flatten() {
            Some(v) => graph.constant(v).is_some_and(|t| t.elem.is_float()).then_some(Bias::Operand(v)),
            None => Some(Bias::Absent(operand)),
        };
    }
    // A product without a bias of its own is followed by an addition of one, if it has one.
    let y = graph.node(node).outputs.first().copied().flatten()?;
    let outputs = output_count(model, node, form)?;
    match graph.value(y).uses[..] {
        [Use::Operand(add, _)] if graph.node(add).op == "Add" && !graph.is_output(y) => {
            let other = graph.node(add).inputs.iter().copied().flatten().find(|v| *v != y)?;
            let t = graph.constant(other).filter(|t| t.elem.is_float())?;
            // Along the channel axis only, which is the last one of a product.
            (t.dims.last() == Some(&outputs) && t.count() == outputs).then_some(Bias::Added(other))
        }
        _ => None,
    }
}

fn output_count(model: &Model, node: NodeId, form: &Contraction) -> Option<u64> {
    let w = model.graph.node(node).inputs.get(form.w).copied().flatten()?;
    model.graph.constant(w)?.dims.get(form.w_out).map(|o| o * if form.transposed { form.groups } else { 1 })
}

/// The numbers of a bias; zeros where it is absent.
pub fn read_bias(model: &Model, bias: Bias, outputs: usize) -> Result<Vec<f64>, CalibError> {
    match bias {
        Bias::Absent(_) => Ok(vec![0.0; outputs]),
        Bias::Operand(v) | Bias::Added(v) => {
            let weight = |source| CalibError::Weight { value: model.graph.value(v).name.clone(), source };
            model.graph.constant(v).map_or(Ok(vec![0.0; outputs]), |t| t.to_f64()).map_err(weight)
        }
    }
}

/// Writes the numbers of a bias. A constant that other nodes read too is not touched: this node gets its own.
pub fn write_bias(model: &mut Model, node: NodeId, bias: Bias, values: &[f64]) -> Result<(), CalibError> {
    let (old, reader) = match bias {
        Bias::Absent(operand) => {
            let label = model.graph.label(node);
            let w = model.graph.node(node).inputs.iter().copied().flatten().find_map(|v| model.graph.constant(v));
            let elem = w.map_or(sparsec_ir::ElemType::F32, |t| t.elem);
            let tensor = Tensor::from_f64(elem, &[values.len() as u64], values);
            let tensor = tensor.map_err(|source| CalibError::Weight { value: label.clone(), source })?;
            let v = model.graph.add_constant(&format!("{label}_bias"), tensor);
            model.graph.set_operand(node, operand, Some(v));
            return Ok(());
        }
        Bias::Operand(v) => (v, node),
        Bias::Added(v) => {
            let y = model.graph.node(node).outputs.first().copied().flatten();
            (v, y.and_then(|y| model.graph.consumers(y).first().copied()).unwrap_or(node))
        }
    };
    let name = model.graph.value(old).name.clone();
    let weight = |source| CalibError::Weight { value: name.clone(), source };
    let Some(like) = model.graph.constant(old).cloned() else { return Ok(()) };
    let tensor = Tensor::from_f64(like.elem, &like.dims, values).map_err(weight)?;
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
