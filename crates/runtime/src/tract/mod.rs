//! tract behind [`Runtime`].

mod barrier;
mod legalise;
mod rewrite;
mod tensor;
mod trace;
mod widen;

use crate::signature::{Port, all_given, check, fix_shapes, ports};
use crate::{AnySize, Runtime, RuntimeError, Session};
use sparsec_ir::{ElemType, Graph, Model, Tensor, Type};
use std::cell::Cell;
use std::sync::Arc;
use trace::Trace;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::eval;
use tract_onnx::tract_hir::ops::unimpl::UnimplementedOp;

/// Name and version of the built-in runtime. The version is pinned in the workspace's manifest.
const NAME: &str = "tract 0.23.9";

/// The built-in runtime.
pub(crate) struct Tract;

impl Runtime for Tract {
    fn name(&self) -> String {
        NAME.to_string()
    }

    fn any_size(&self) -> Option<&dyn AnySize> {
        None
    }

    fn load(&self, model: &Model, inputs: &[Vec<u64>], _threads: usize) -> Result<Box<dyn Session>, RuntimeError> {
        let ports = ports(&model.graph, &all_given(inputs))?;
        let types = ports.iter().map(tensor::datum_type).collect::<Result<Vec<_>, _>>()?;
        let outputs = stated(&model.graph);
        let mut legal = model.clone();
        fix_shapes(&mut legal, &ports);
        legalise::legalise(&mut legal)?;
        widen::widen(&mut legal);
        let typed = || {
            let (trace, mut model) = parse(&legal)?;
            let typed = trace.stage("inferring types", || {
                for (i, (shape, dt)) in inputs.iter().zip(&types).enumerate() {
                    let dims: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
                    model.set_input_fact(i, InferenceFact::dt_shape(*dt, &*dims))?;
                }
                let mut typed = model.into_typed()?;
                barrier::shield(&mut typed)?;
                Ok(typed)
            })?;
            Ok((trace, typed))
        };
        let (trace, plan) = plan(&typed)?;
        Ok(Box::new(TractSession { plan, ports, outputs, trace }))
    }
}

/// Names and stated element types of the graph's outputs.
fn stated(graph: &Graph) -> Vec<(String, Option<ElemType>)> {
    let elem = |ty: &Option<Type>| match ty {
        Some(Type::Tensor { elem, .. }) => Some(*elem),
        _ => None,
    };
    graph.outputs().iter().map(|&v| (graph.value(v).name.clone(), elem(&graph.value(v).ty))).collect()
}

/// The model as tract reads it, and what leads from its nodes back to ours.
fn parse(model: &Model) -> Result<(Trace, InferenceModel), RuntimeError> {
    let encoded = sparsec_onnx::encode(model);
    let bytes = encoded.map_err(|source| RuntimeError::Encode { runtime: NAME.to_string(), source })?;
    let onnx = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let mut proto = Trace::default().stage("decoding", || onnx.proto_model_for_read(&mut bytes.as_slice()))?;
    drop(bytes);
    let trace = Trace::mark(&mut proto);
    let inference = trace.stage("parsing", || onnx.model_for_proto_model(&proto))?;
    match inference.nodes().iter().find(|n| n.op_is::<UnimplementedOp>()) {
        Some(node) => Err(trace.unsupported(&node.name, "the operator is not implemented")),
        None => Ok((trace, inference)),
    }
}

/// A plan over the optimised model or, where tract's rewrites fail, over the one that they start from: it computes the
/// same, only slower. What is simplified but not lowered is no such form: some of it fails when it is run.
///
/// That model is made anew: holding it meanwhile would take its weights once more.
fn plan(
    typed: &dyn Fn() -> Result<(Trace, TypedModel), RuntimeError>,
) -> Result<(Trace, Arc<TypedSimplePlan>), RuntimeError> {
    let (trace, model) = typed()?;
    let optimised = trace.stage("optimising", || TypedSimplePlan::new(rewrite::optimised(model)?));
    let plan = optimised.or_else(|_| {
        let (trace, model) = typed()?;
        trace.stage("planning", || TypedSimplePlan::new(model))
    })?;
    Ok((trace, plan))
}

struct TractSession {
    plan: Arc<TypedSimplePlan>,
    ports: Vec<Port>,
    outputs: Vec<(String, Option<ElemType>)>,
    trace: Trace,
}

impl Session for TractSession {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        check(&self.ports, inputs)?;
        let fed: TVec<TValue> = inputs
            .iter()
            .zip(&self.ports)
            .map(|(t, p)| Ok(tensor::to_tract(t, p)?.into()))
            .collect::<Result<_, RuntimeError>>()?;
        // A fresh state each time: no run sees what another left in a recurrence, and threads share the plan only.
        let at = Cell::new(None);
        let results = self.trace.running(
            &at,
            || {
                self.plan.spawn()?.run_plan_with_eval(fed, |ctx, state, node, inputs| {
                    at.set(Some(node.id));
                    eval(ctx, state, node, inputs)
                })
            },
            |id| self.plan.model().node(id).name.clone(),
        )?;
        self.outputs.iter().zip(results.iter()).map(|((name, elem), t)| tensor::from_tract(t, *elem, name)).collect()
    }
}
