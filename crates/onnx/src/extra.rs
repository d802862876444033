//! What the IR does not model and a file must not lose. One principle throughout: the original part of the file is kept
//! and written back as long as it still *reads as* what the IR says; else a fresh one is written.

use crate::proto::{
    AttributeProto, DeviceConfigurationProto, NodeDeviceConfigurationProto, OperatorSetIdProto, TensorAnnotation,
    TensorProto, TrainingInfoProto, ValueInfoProto,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// `original` if `normal` (import and export again) makes it equal to `fresh`, else `fresh`.
pub(crate) fn keep<T: Clone + PartialEq>(original: Option<&T>, fresh: T, normal: impl FnOnce(&T) -> T) -> T {
    match original {
        Some(o) if normal(o) == fresh => o.clone(),
        _ => fresh,
    }
}

/// A text field: an empty text and a missing one mean the same, and files have both.
pub(crate) fn text(now: &str, original: Option<&Option<String>>) -> Option<String> {
    let fresh = (!now.is_empty()).then(|| now.to_string());
    keep(original, fresh, |o| o.clone().filter(|s| !s.is_empty()))
}

/// Fields of text as the file had them, presence included.
pub(crate) type Text = Option<String>;

#[derive(Default)]
pub(crate) struct ModelExtra {
    pub(crate) producer: Text,
    pub(crate) producer_version: Text,
    pub(crate) domain: Text,
    pub(crate) doc: Text,
    pub(crate) opsets: Vec<OperatorSetIdProto>,
    pub(crate) training: Vec<TrainingInfoProto>,
    pub(crate) configuration: Vec<DeviceConfigurationProto>,
    /// External data files: location as the model names it, contents.
    pub(crate) files: BTreeMap<String, Bytes>,
}

#[derive(Default)]
pub(crate) struct GraphExtra {
    /// Revision of the graph as it was read: while it holds, the order of the file's nodes does.
    pub(crate) revision: Option<u64>,
    pub(crate) name: Text,
    pub(crate) doc: Text,
    pub(crate) inputs: BTreeMap<String, ValueInfoProto>,
    pub(crate) outputs: BTreeMap<String, ValueInfoProto>,
    pub(crate) value_info: Vec<Named<ValueInfoProto>>,
    pub(crate) annotations: Vec<Named<TensorAnnotation>>,
    /// Initialisers with more to them than name and data, without their data.
    pub(crate) tensors: BTreeMap<String, TensorProto>,
    /// The same of the index tensors of sparse initialisers.
    pub(crate) indices: BTreeMap<String, TensorProto>,
}

/// A message about a value that it names.
pub(crate) struct Named<T> {
    pub(crate) message: T,
    /// Whether the name was that of a value when the file was read. If not, the message outlives every change.
    pub(crate) known: bool,
}

#[derive(Default, PartialEq)]
pub(crate) struct NodeExtra {
    pub(crate) name: Text,
    pub(crate) domain: Text,
    pub(crate) overload: Text,
    pub(crate) doc: Text,
    pub(crate) attrs: AttrExtras,
    pub(crate) devices: Vec<NodeDeviceConfigurationProto>,
}

/// Attributes with more to them than name, type and value, without their values.
pub(crate) type AttrExtras = BTreeMap<String, AttributeProto>;

#[derive(Default)]
pub(crate) struct FunctionExtra {
    pub(crate) domain: Text,
    pub(crate) overload: Text,
    pub(crate) doc: Text,
    pub(crate) opsets: Vec<OperatorSetIdProto>,
    pub(crate) defaults: AttrExtras,
}
