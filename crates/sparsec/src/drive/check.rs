//! What is said of a model before anything is done with it.

use super::DriveError;
use sparsec_analysis::{Fault, Inferred, ShapeProblem, faults, infer, node_ref};
use sparsec_ir::{Attr, ElemType, LinearRule, Model, OpTable, Tensor, ValueId};
use std::collections::BTreeSet;
use std::fmt;

/// Something odd in a model that can be worked with all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// The file states another type of a value than its operators give. What the operators give is used.
    Stated {
        /// Value.
        value: String,
        /// What the file says.
        stated: String,
        /// What the operators give.
        inferred: String,
    },
    /// Weights that are not a number, or infinite.
    NotFinite {
        /// Constant, or node that spells it.
        constant: String,
        /// Whether some are NaN; else they are infinite.
        nan: bool,
    },
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stated { value, stated, inferred } => {
                write!(f, "the file says that `{value}` is {stated}, but its operators give {inferred}, which is used")
            }
            Self::NotFinite { constant, nan: true } => write!(f, "`{constant}` holds NaN"),
            Self::NotFinite { constant, nan: false } => write!(f, "the weight `{constant}` holds infinity"),
        }
    }
}

/// Bytes of constants that are looked at, in the model's order: what lies beyond would make all of a large mapped file
/// resident, for a check that nobody asked for.
const MAX_LOOKED_AT: u64 = 256 << 20;

/// Refuses a model with a node that is wrong beyond doubt; else tells what is odd about it.
///
/// # Errors
/// [`DriveError::Attribute`] and [`DriveError::Types`] name the first such node.
pub fn check(model: &Model, table: &OpTable) -> Result<Vec<Oddity>, DriveError> {
    let inferred = infer(model, table);
    let graph = &model.graph;
    if let Some(fault) = faults(model, table, &inferred).into_iter().next() {
        let operand = |(v, elem): (ValueId, ElemType)| format!("`{}` is {elem}", graph.value(v).name);
        let place = |node| format!("`{}` ({})", graph.label(node), graph.node(node).op_name());
        return Err(match fault {
            Fault::Attribute { node, source } => DriveError::Attribute { node: place(node), source },
            Fault::Types { node, left, right } => {
                DriveError::Types { node: place(node), left: operand(left), right: operand(right) }
            }
        });
    }
    let stated = inferred.problems.iter().filter_map(|p| match p {
        ShapeProblem::Contradicted { value, stated, inferred } => Some(Oddity::Stated {
            value: graph.value(*value).name.clone(),
            stated: stated.clone(),
            inferred: inferred.clone(),
        }),
        ShapeProblem::Unknown { .. } => None,
    });
    Ok(stated.chain(not_finite(model, table, &inferred)).collect())
}

/// Constants with NaN, and weights with infinities; other constants may well hold these, such as masks of attention.
fn not_finite(model: &Model, table: &OpTable, inferred: &Inferred) -> Vec<Oddity> {
    let graph = &model.graph;
    let weights = weights(model, table, inferred);
    let values = graph.values().filter_map(|(v, value)| Some((&value.name, weights.contains(&v), graph.constant(v)?)));
    let spelled = graph.nodes().flat_map(|(_, n)| {
        let name = n.outputs.iter().flatten().next().map(|v| (*v, &graph.value(*v).name));
        n.attrs.values().filter_map(move |a| match (a, name) {
            (Attr::Tensor(t), Some((v, name))) => Some((v, name, t)),
            _ => None,
        })
    });
    let spelled = spelled.map(|(v, name, t)| (name, weights.contains(&v), t));
    let (mut out, mut looked_at) = (Vec::new(), 0u64);
    for (name, weight, tensor) in values.chain(spelled).filter(|(_, _, t)| t.elem.is_float()) {
        looked_at = looked_at.saturating_add(tensor.byte_len());
        if looked_at > MAX_LOOKED_AT {
            break;
        }
        let found = extremes(tensor);
        if found.nan || found.infinite && weight {
            out.push(Oddity::NotFinite { constant: name.clone(), nan: found.nan });
        }
    }
    out
}

/// Operands that a node multiplies its activation with, or adds as a bias.
fn weights(model: &Model, table: &OpTable, inferred: &Inferred) -> BTreeSet<ValueId> {
    let mut out = BTreeSet::new();
    for (id, n) in model.graph.nodes() {
        let Some(LinearRule::By(rule)) = table.get(&n.domain, &n.op).map(|d| d.linear) else { continue };
        if let Ok(Some(c)) = rule(&node_ref(model, &inferred.facts, id)) {
            let operands = [Some(c.w), c.bias].into_iter().flatten();
            out.extend(operands.filter_map(|i| n.inputs.get(i).copied().flatten()));
        }
    }
    out
}

#[derive(Default)]
struct Extremes {
    nan: bool,
    infinite: bool,
}

/// Whether a tensor of the usual floating types holds NaN or infinities: all bits of the exponent are set.
fn extremes(tensor: &Tensor) -> Extremes {
    let Ok(bytes) = tensor.bytes() else { return Extremes::default() };
    // Masks of exponent and mantissa; elements are read as their highest 16 or 32 bits and the rest.
    let scan = |width: usize, exponent: u64, mantissa: u64| {
        let mut found = Extremes::default();
        for element in bytes.chunks_exact(width) {
            let mut word = [0u8; 8];
            word[..width].copy_from_slice(element);
            let bits = u64::from_le_bytes(word);
            if bits & exponent == exponent {
                found.nan |= bits & mantissa != 0;
                found.infinite |= bits & mantissa == 0;
            }
        }
        found
    };
    match tensor.elem {
        ElemType::F32 => scan(4, 0x7f80_0000, 0x007f_ffff),
        ElemType::F16 => scan(2, 0x7c00, 0x03ff),
        ElemType::BF16 => scan(2, 0x7f80, 0x007f),
        ElemType::F64 => scan(8, 0x7ff0_0000_0000_0000, 0x000f_ffff_ffff_ffff),
        _ => Extremes::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_testkit::model;

    fn said(text: &str) -> Vec<String> {
        let table = sparsec_ops::table();
        check(&model(text), &table).expect("nothing is wrong").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nan_is_told_of_any_constant_and_infinity_of_weights() {
        let text = |w: &str, m: &str| {
            format!(
                "g (float[1,2] x) => (float[1,2] y) <float[2,2] w = {{{w}}}, float[2] m = {{{m}}}>
                 {{ h = MatMul (x, w)  y = Add (h, m) }}"
            )
        };
        assert_eq!(said(&text("1, 2, 3, 4", "-inf, 0")), Vec::<String>::new());
        assert_eq!(said(&text("1, inf, 3, 4", "1, 2")), ["the weight `w` holds infinity"]);
        assert_eq!(said(&text("1, 2, 3, 4", "nan, inf")), ["`m` holds NaN"]);
    }
    #[test]
    fn every_floating_type_is_looked_at() {
        for elem in [ElemType::F16, ElemType::BF16, ElemType::F32, ElemType::F64] {
            let of = |v: f64| extremes(&Tensor::from_f64(elem, &[2], &[1.0, v]).expect("floats"));
            assert!(of(f64::NAN).nan && !of(f64::NAN).infinite, "{elem}");
            assert!(!of(f64::NEG_INFINITY).nan && of(f64::NEG_INFINITY).infinite, "{elem}");
            assert!(!of(1.5).nan && !of(1.5).infinite, "{elem}");
        }
    }
    #[test]
    fn statements_of_the_file_that_do_not_hold_are_told() {
        let told = said("g (float[1,2] x) => (float[1,2] y) <float[1,3] h> { h = Relu (x)  y = Neg (h) }");
        assert_eq!(told, ["the file says that `h` is float[1,3], but its operators give float[1,2], which is used"]);
    }
}
