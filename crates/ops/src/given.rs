//! Operators that a user teaches in a file: what it says, and how it is read.
//!
//! ```yaml
//! - domain: com.example       # operator, as nodes name it
//!   name: Gate
//!   like: 0                   # results have the type and shape of operand 0; left out: what the model states
//!   relate:                   # what holds of every node
//!     - same-axes: 0          # each axis of a result is that axis of operand 0
//!     - same: [x1:0, y0:-1]   # axis 0 of operand 1 is the last axis of result 0
//! ```
//!
//! The words of `relate`: `elementwise`; `same-axes: K`; `same: [A, B]`; `contract: [A, B]`, multiplied and summed over;
//! `absorb: A`, summed over; `free: A`, nothing ties its slots; or, alone, `opaque: WHY`. An axis that no word speaks of
//! is frozen.

use crate::work::light;
use serde::{Deserialize, Deserializer};
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter};
use sparsec_ir::given::{Place, Word};
use sparsec_ir::{Affine, LinearRule, OpDef, OpTable, Relate, Resize, ShapeRule, WorkRule};
use thiserror::Error;

/// Why a file of operators cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GivenError {
    /// The text is no list of operators.
    #[error("`{file}`, line {line}, column {column}: {message}")]
    Invalid {
        /// What the caller calls the file.
        file: String,
        /// Line, from 1; 0 where it is not known.
        line: u64,
        /// Column, from 1; 0 where it is not known.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// The operator is known already, or the file has it twice.
    #[error("`{file}`: operator `{name}` is known already")]
    Known {
        /// What the caller calls the file.
        file: String,
        /// Operator.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    domain: String,
    name: String,
    like: Option<usize>,
    #[serde(deserialize_with = "words")]
    relate: Vec<Spelled>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Spelled {
    Elementwise,
    SameAxes(usize),
    Same(#[serde(deserialize_with = "pair")] [Place; 2]),
    Contract(#[serde(deserialize_with = "pair")] [Place; 2]),
    Absorb(#[serde(deserialize_with = "place")] Place),
    Free(#[serde(deserialize_with = "place")] Place),
    Opaque(String),
}

fn read<E: serde::de::Error>(text: &str) -> Result<Place, E> {
    text.parse().map_err(E::custom)
}

fn place<'de, D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
    read(&String::deserialize(from)?)
}

fn pair<'de, D: Deserializer<'de>>(from: D) -> Result<[Place; 2], D::Error> {
    let [a, b] = <[String; 2]>::deserialize(from)?;
    Ok([read(&a)?, read(&b)?])
}

fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Spelled>, D::Error> {
    let words = Vec::<Spelled>::deserialize(from)?;
    let opaque = words.iter().any(|w| matches!(w, Spelled::Opaque(_)));
    match words.len() {
        0 => Err(serde::de::Error::custom("no words: say `opaque` and why, if nothing is known")),
        2.. if opaque => Err(serde::de::Error::custom("`opaque` stands alone")),
        _ => Ok(words),
    }
}

/// The table with the operators that `text` teaches; `file` is what errors call it.
///
/// What the file says is kept for the rest of the process, as tables point to it.
///
/// # Errors
/// The text is no YAML of this form, or teaches an operator that the table has.
pub fn teach(table: &OpTable, text: &str, file: &str) -> Result<OpTable, GivenError> {
    let entries: Vec<Entry> = serde_saphyr::from_str(text).map_err(|e| invalid(file, &e))?;
    let mut defs: Vec<OpDef> = table.iter().copied().collect();
    for entry in entries {
        let domain = if entry.domain == "ai.onnx" { "" } else { entry.domain.as_str() };
        if defs.iter().any(|d| (d.domain, d.name) == (domain, entry.name.as_str())) {
            let name = if domain.is_empty() { entry.name } else { format!("{domain}.{}", entry.name) };
            return Err(GivenError::Known { file: file.to_string(), name });
        }
        defs.push(def(domain.to_string(), entry));
    }
    Ok(OpTable::new(defs))
}

fn def(domain: String, entry: Entry) -> OpDef {
    let mut words = Vec::new();
    let mut opaque = None;
    for word in entry.relate {
        words.push(match word {
            Spelled::Elementwise => Word::Elementwise,
            Spelled::SameAxes(operand) => Word::SameAxes(operand),
            Spelled::Same([a, b]) => Word::Same(a, b),
            Spelled::Contract([a, b]) => Word::Contract(a, b),
            Spelled::Absorb(a) => Word::Absorb(a),
            Spelled::Free(a) => Word::Free(a),
            Spelled::Opaque(why) => {
                opaque = Some(why);
                continue;
            }
        });
    }
    let cheap = words.contains(&Word::Elementwise);
    OpDef {
        name: entry.name.leak(),
        domain: domain.leak(),
        since: &[1],
        shape: match entry.like {
            Some(operand) => ShapeRule::Like(operand),
            None => ShapeRule::Unknown("the shape of an operator that the user taught is what the model states"),
        },
        relate: match opaque {
            Some(why) => Relate::Opaque(why.leak()),
            None => Relate::Given(words.leak()),
        },
        work: if cheap {
            WorkRule::By(light)
        } else {
            WorkRule::Unknown("the work of an operator that the user taught")
        },
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

fn invalid(file: &str, error: &serde_saphyr::Error) -> GivenError {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
    let message = DefaultMessageFormatter.format_message(error);
    // The text of a hostile file may reach the message: control characters must not reach a terminal.
    let message = message.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
    GivenError::Invalid { file: file.to_string(), line, column, message: message.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_analysis::{channels, infer};

    const GATE: &str = "
- domain: com.example
  name: Gate
  like: 0
  relate:
    - same-axes: 0
    - same: [x1:0, y0:-1]
- domain: com.example
  name: Mix
  relate:
    - same: [x0:0, y0:0]
    - contract: [x0:1, x1:0]
    - same: [y0:1, x1:1]
- {domain: com.example, name: Beam, relate: [{opaque: it searches}]}
";

    fn error(text: &str) -> String {
        teach(&crate::table(), text, "ops.yaml").map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn taught_operators_relate_as_they_are_told() {
        let table = teach(&crate::table(), GATE, "ops.yaml").unwrap();
        let model = sparsec_testkit::model(
            r#"<ir_version: 9, opset_import: ["" : 18, "com.example" : 1]>
            g (float[n,3] x) => (float[n,2] y) <float[n,4] m, float[3,6] w = ["location": "random:1"],
            float[6] s = {1, 2, 3, 4, 5, 6}, float[6,4] u = ["location": "random:2"], float[4,2] v = ["location": "random:3"]>
            { h = MatMul (x, w)  k = com.example.Gate (h, s)  m = com.example.Mix (k, u)  y = MatMul (m, v) }"#,
        );
        let facts = infer(&model, &table).facts;
        let found = channels(&model, &facts, &table);
        let groups: Vec<(&str, usize)> = found.groups.iter().map(|g| (g.id.as_str(), g.units.len())).collect();
        assert_eq!(groups, [("w:1", 6), ("u:1", 4)]);
        assert!(matches!(table.get("com.example", "Beam").unwrap().relate, Relate::Opaque("it searches")));
    }

    #[test]
    fn wrong_files_are_refused_where_they_are_wrong() {
        let entry = |rest: &str| format!("- domain: a\n  name: B\n{rest}");
        assert!(error(&entry("  relate:\n    - same: [x0:0, q]\n")).starts_with("`ops.yaml`, line 4, column"));
        assert!(error(&entry("  relate: []\n")).contains("no words"));
        assert!(error(&entry("  relate: [elementwise, {opaque: why}]\n")).contains("`opaque` stands alone"));
        assert!(error(&entry("  relate: [twist]\n")).contains("twist"));
        assert!(error(&entry("  relate: [elementwise]\n  macs: 3\n")).contains("macs"));
        assert!(error("- domain: a\n").contains("line 1"));
        assert_eq!(
            error("- {domain: ai.onnx, name: Relu, relate: [elementwise]}"),
            "`ops.yaml`: operator `Relu` is known already"
        );
    }
}
