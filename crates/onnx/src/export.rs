//! From the IR to messages. Tensors share their bytes with the IR.

use crate::error::OnnxError;
use crate::extra::{FunctionExtra, GraphExtra, ModelExtra, NodeExtra, keep, text};
use crate::import::{Place, implied_opset};
use crate::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto, Version};
use crate::{attr, meta, tensor, ty};
use sparsec_ir::{Def, Function, Graph, Model, NodeId, OpsetImport, ValueId, topological};
use std::collections::BTreeSet;

pub(crate) fn model(m: &Model) -> Result<ModelProto, OnnxError> {
    let none = ModelExtra::default();
    let extra = m.extra.get().unwrap_or(&none);
    let old = m.ir_version < Version::IrVersion2017113 as i64;
    let implied = old && extra.opsets.is_empty() && m.opsets == [implied_opset()];
    Ok(ModelProto {
        ir_version: Some(m.ir_version),
        opset_import: if implied { Vec::new() } else { opsets(&m.opsets, &extra.opsets) },
        producer_name: text(&m.producer, Some(&extra.producer)),
        producer_version: text(&m.producer_version, Some(&extra.producer_version)),
        domain: text(&m.domain, Some(&extra.domain)),
        model_version: m.model_version,
        doc_string: text(&m.doc, Some(&extra.doc)),
        graph: Some(graph(&m.graph)?),
        metadata_props: meta::export(&m.meta),
        training_info: extra.training.clone(),
        functions: m.functions.iter().map(function).collect::<Result<_, _>>()?,
        configuration: extra.configuration.clone(),
    })
}

fn opsets(now: &[OpsetImport], originals: &[OperatorSetIdProto]) -> Vec<OperatorSetIdProto> {
    let one = |domain: &str, version| OperatorSetIdProto {
        domain: (!domain.is_empty()).then(|| domain.to_string()),
        version: Some(version),
    };
    now.iter()
        .map(|o| {
            let original = originals.iter().find(|p| p.domain() == o.domain && p.version() == o.version);
            keep(original, one(&o.domain, o.version), |p| one(p.domain(), p.version()))
        })
        .collect()
}

fn function(f: &Function) -> Result<FunctionProto, OnnxError> {
    let none = FunctionExtra::default();
    let extra = f.extra.get().unwrap_or(&none);
    let body = graph(&f.body)?;
    let defaults = f.defaults.iter().map(|(name, a)| attr::export(&f.name, name, a, &extra.defaults));
    let name = |p: ValueInfoProto| p.name.unwrap_or_default();
    Ok(FunctionProto {
        name: Some(f.name.clone()),
        input: body.input.into_iter().map(name).collect(),
        output: body.output.into_iter().map(name).collect(),
        attribute: f.attributes.clone(),
        attribute_proto: defaults.collect::<Result<_, _>>()?,
        node: body.node,
        doc_string: text(&f.doc, Some(&extra.doc)),
        opset_import: opsets(&f.opsets, &extra.opsets),
        domain: text(&f.domain, Some(&extra.domain)),
        overload: text(&f.overload, Some(&extra.overload)),
        value_info: body.value_info,
        metadata_props: meta::export(&f.meta),
    })
}

/// Nodes in the order of the file where the graph is as it was read, even if that was not sorted; else sorted, as the
/// standard asks: changes append nodes that others may need earlier. A cycle is the verifier's to report.
fn order(g: &Graph, read: Option<u64>) -> Vec<NodeId> {
    let stored = || g.nodes().map(|(id, _)| id).collect();
    if read == Some(g.revision()) { stored() } else { topological(g).unwrap_or_else(|_| stored()) }
}

/// A graph with its subgraphs; initialisers and value infos in the order of the IR.
pub(crate) fn graph(g: &Graph) -> Result<GraphProto, OnnxError> {
    let none = GraphExtra::default();
    let extra = g.extra.get().unwrap_or(&none);
    let mut p = GraphProto {
        name: text(g.name(), Some(&extra.name)),
        doc_string: text(&g.doc, Some(&extra.doc)),
        metadata_props: meta::export(&g.meta),
        ..GraphProto::default()
    };
    for id in order(g, extra.revision) {
        p.node.push(node(g, id)?);
    }
    for (_, v) in g.values() {
        let place = Place::Initializer(&v.name);
        match &v.def {
            Def::Constant(t) => {
                p.initializer.push(tensor::export(t, Some(&v.name), extra.tensors.get(&v.name), &place)?);
            }
            Def::Sparse(t) => {
                let (values, indices) = (extra.tensors.get(&v.name), extra.indices.get(&v.name));
                p.sparse_initializer.push(tensor::export_sparse(t, Some(&v.name), values, indices, &place)?);
            }
            Def::Input | Def::Node { .. } | Def::Outer => {}
        }
    }
    let listed = |v: &ValueId, originals: &std::collections::BTreeMap<String, ValueInfoProto>| {
        let value = g.value(*v);
        ty::export_value(value, originals.get(&value.name))
    };
    p.input = g.listed_inputs().iter().map(|v| listed(v, &extra.inputs)).collect();
    p.output = g.outputs().iter().map(|v| listed(v, &extra.outputs)).collect();
    p.value_info = value_info(g, extra);
    let live = |known: bool, name: &str| !known || g.find(name).is_some();
    let annotations = extra.annotations.iter().filter(|a| live(a.known, a.message.tensor_name()));
    p.quantization_annotation = annotations.map(|a| a.message.clone()).collect();
    Ok(p)
}

/// Those of the file first, in its order; then what the IR knows of other results.
fn value_info(g: &Graph, extra: &GraphExtra) -> Vec<ValueInfoProto> {
    let mut out = Vec::new();
    let mut said: BTreeSet<ValueId> = g.listed_inputs().iter().chain(g.outputs()).copied().collect();
    for original in &extra.value_info {
        match g.find(original.message.name()) {
            Some(v) => {
                said.insert(v);
                out.push(ty::export_value(g.value(v), Some(&original.message)));
            }
            None if !original.known => out.push(original.message.clone()),
            None => {}
        }
    }
    for (id, v) in g.values() {
        if matches!(v.def, Def::Node { .. }) && v.ty.is_some() && !said.contains(&id) {
            out.push(ty::export_value(v, None));
        }
    }
    out
}

fn node(g: &Graph, id: NodeId) -> Result<NodeProto, OnnxError> {
    let n = g.node(id);
    let none = NodeExtra::default();
    let extra = n.extra.get().unwrap_or(&none);
    let name = |v: &Option<ValueId>| v.map(|v| g.value(v).name.clone()).unwrap_or_default();
    let label = g.label(id);
    let domain = (!n.domain.is_empty()).then(|| n.domain.clone());
    Ok(NodeProto {
        input: n.inputs.iter().map(name).collect(),
        output: n.outputs.iter().map(name).collect(),
        name: text(&n.name, Some(&extra.name)),
        op_type: Some(n.op.clone()),
        domain: keep(Some(&extra.domain), domain, |d| d.clone().filter(|d| !d.is_empty() && d != "ai.onnx")),
        overload: text(&n.overload, Some(&extra.overload)),
        attribute: n
            .attrs
            .iter()
            .map(|(name, a)| attr::export(&label, name, a, &extra.attrs))
            .collect::<Result<_, _>>()?,
        doc_string: text(&n.doc, Some(&extra.doc)),
        metadata_props: meta::export(&n.meta),
        device_configurations: extra.devices.clone(),
    })
}
