//! Encoding to a writer. prost encodes into memory only, which would take the weights once more; so the initialisers of
//! the main graph are written straight from where they are. Fields go out in the order of their numbers, as every
//! canonical writer has them: the bytes are those that prost would give.

use crate::proto::{GraphProto, ModelProto, TensorProto};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::io::{self, Write};

/// Numbers of the fields that are written one by one.
const MODEL_GRAPH: u32 = 7;
const GRAPH_NODE: u32 = 1;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// Writes the encoded model.
pub(crate) fn write(m: &ModelProto, to: &mut dyn Write) -> io::Result<()> {
    let before = ModelProto {
        ir_version: m.ir_version,
        producer_name: m.producer_name.clone(),
        producer_version: m.producer_version.clone(),
        domain: m.domain.clone(),
        model_version: m.model_version,
        doc_string: m.doc_string.clone(),
        ..ModelProto::default()
    };
    let after = ModelProto {
        opset_import: m.opset_import.clone(),
        metadata_props: m.metadata_props.clone(),
        training_info: m.training_info.clone(),
        functions: m.functions.clone(),
        configuration: m.configuration.clone(),
        ..ModelProto::default()
    };
    to.write_all(&before.encode_to_vec())?;
    if let Some(graph) = &m.graph {
        header(MODEL_GRAPH, graph.encoded_len(), to)?;
        self::graph(graph, to)?;
    }
    to.write_all(&after.encode_to_vec())
}

fn graph(g: &GraphProto, to: &mut dyn Write) -> io::Result<()> {
    for n in &g.node {
        header(GRAPH_NODE, n.encoded_len(), to)?;
        to.write_all(&n.encode_to_vec())?;
    }
    let before = GraphProto { name: g.name.clone(), ..GraphProto::default() };
    to.write_all(&before.encode_to_vec())?;
    for t in &g.initializer {
        header(GRAPH_INITIALIZER, t.encoded_len(), to)?;
        tensor(t, to)?;
    }
    let after = GraphProto {
        sparse_initializer: g.sparse_initializer.clone(),
        doc_string: g.doc_string.clone(),
        input: g.input.clone(),
        output: g.output.clone(),
        value_info: g.value_info.clone(),
        quantization_annotation: g.quantization_annotation.clone(),
        metadata_props: g.metadata_props.clone(),
        ..GraphProto::default()
    };
    to.write_all(&after.encode_to_vec())
}

/// Typed data fields are always empty here: the export writes `raw_data` and `string_data` only.
fn tensor(t: &TensorProto, to: &mut dyn Write) -> io::Result<()> {
    let before = TensorProto {
        dims: t.dims.clone(),
        data_type: t.data_type,
        string_data: t.string_data.clone(),
        name: t.name.clone(),
        ..TensorProto::default()
    };
    let after = TensorProto {
        doc_string: t.doc_string.clone(),
        external_data: t.external_data.clone(),
        data_location: t.data_location,
        metadata_props: t.metadata_props.clone(),
        ..TensorProto::default()
    };
    to.write_all(&before.encode_to_vec())?;
    if let Some(raw) = &t.raw_data {
        header(TENSOR_RAW_DATA, raw.len(), to)?;
        to.write_all(raw)?;
    }
    to.write_all(&after.encode_to_vec())
}

/// Key and length of a length-delimited field.
fn header(number: u32, len: usize, to: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16);
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(len as u64, &mut bytes);
    to.write_all(&bytes)
}
