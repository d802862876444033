//! `metadata_props`: key-value pairs that every message may carry.

use crate::proto::StringStringEntryProto;

pub(crate) fn import(entries: &[StringStringEntryProto]) -> Vec<(String, String)> {
    entries.iter().map(|e| (e.key().to_string(), e.value().to_string())).collect()
}

pub(crate) fn export(meta: &[(String, String)]) -> Vec<StringStringEntryProto> {
    meta.iter().map(|(k, v)| StringStringEntryProto { key: Some(k.clone()), value: Some(v.clone()) }).collect()
}
