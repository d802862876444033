//! What a user allows beyond exact cuts, as files and the command line have it.

use crate::Indices;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sparsec_ir::Policy;
use std::fmt;
use std::str::FromStr;

/// What a user allows beyond exact cuts; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concessions {
    /// Inexact cuts, by the name of their policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "names")]
    pub allow: Vec<Policy>,
    /// Outputs and entries of tables that nobody wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub give_up: Vec<GivenUp>,
}

impl Concessions {
    /// Whether only exact cuts of what everybody wants are allowed.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.give_up.is_empty()
    }
    /// What is given up, as the command line takes it, for the metadata of a model; `None` where nothing is.
    pub fn given_up(&self) -> Option<String> {
        let all: Vec<String> = self.give_up.iter().map(GivenUp::to_string).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Indices of an axis that a user gives up: of an output, or of a table that data looks up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// Name of the value.
    pub value: String,
    /// Axis of it; below 0 it counts from the last.
    pub axis: i64,
    /// Indices along the axis.
    pub indices: Indices,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.value, self.axis, self.indices)
    }
}

impl FromStr for GivenUp {
    type Err = String;
    /// `logits:1=0-9,17`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=').and_then(|(place, indices)| Some((place.rsplit_once(':')?, indices)));
        let Some(((value, axis), indices)) = parts.filter(|((value, _), _)| !value.is_empty()) else {
            return Err("expected `VALUE:AXIS=INDICES`, such as `logits:1=0-9,17`".to_string());
        };
        let axis = axis.parse().map_err(|_| format!("`{axis}` is not an axis: `logits:1=…` is one of `logits`"))?;
        let indices: Indices = indices.parse()?;
        if indices.indices().is_empty() {
            return Err("no indices are given: `logits:1=0-9,17` gives up eleven".to_string());
        }
        Ok(Self { value: value.to_string(), axis, indices })
    }
}

/// Policies by name.
mod names {
    use super::{Deserialize, Deserializer, Policy, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(policies: &[Policy], s: S) -> Result<S::Ok, S::Error> {
        policies.iter().map(|p| p.name()).collect::<Vec<_>>().serialize(s)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Policy>, D::Error> {
        let names = Vec::<String>::deserialize(d)?;
        names.iter().map(|n| n.parse()).collect::<Result<_, String>>().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_read_as_it_is_shown() {
        let given: GivenUp = "a:b:-1=0-9,17".parse().unwrap();
        assert_eq!((given.value.as_str(), given.axis, given.indices.indices().len()), ("a:b", -1, 11));
        assert_eq!(given.to_string().parse(), Ok(given));
        for wrong in ["logits", "logits=3", "logits:1", "logits:x=3", ":1=3", "logits:1=", "logits:1=3-1"] {
            assert!(wrong.parse::<GivenUp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn policies_stand_in_files_by_name() {
        let yaml = "allow:\n- normalised-width\ngive_up:\n- value: logits\n  axis: 1\n  indices: 0-9, 17\n";
        let read: Concessions = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(read.allow, [Policy::NormalisedWidth]);
        assert_eq!(serde_saphyr::to_string(&read).unwrap(), yaml);
        assert_eq!(read.given_up().as_deref(), Some("logits:1=0-9, 17"));
        let unknown = serde_saphyr::from_str::<Concessions>("allow: [anything]").unwrap_err().to_string();
        assert!(unknown.contains("`anything` is none of `normalised-width`"), "{unknown}");
    }
}
