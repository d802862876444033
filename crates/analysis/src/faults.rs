//! What is wrong with a model beyond doubt: nodes that no runtime could give a meaning.
//!
//! A shape rule that cannot answer is no fault: the operator may be unknown, or the form not covered. An attribute of
//! another type than the standard's is one, and so are operands that must be of one element type and are not.

use crate::shapes::{Inferred, node_ref};
use sparsec_ir::{ElemType, Model, NodeId, OpDef, OpError, OpTable, Relate, Relations, ShapeRule, ValueId};

/// A node that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An attribute that a rule reads is of another type.
    Attribute {
        /// Node.
        node: NodeId,
        /// Attribute and types.
        source: OpError,
    },
    /// Two operands must be of one element type.
    Types {
        /// Node.
        node: NodeId,
        /// One operand with its type.
        left: (ValueId, ElemType),
        /// Another one.
        right: (ValueId, ElemType),
    },
}

/// Faults of the nodes of `model`'s graph, in the order of its nodes. Subgraphs and function bodies are not looked at.
pub fn faults(model: &Model, table: &OpTable, inferred: &Inferred) -> Vec<Fault> {
    let mut out = Vec::new();
    for (node, n) in model.graph.nodes() {
        let Some(def) = table.get(&n.domain, &n.op) else { continue };
        if !n.attrs.is_empty()
            && let Some(source) = attribute(model, def, inferred, node)
        {
            out.push(Fault::Attribute { node, source });
        }
        let typed = |i: usize| {
            let v = n.inputs.get(i).copied().flatten()?;
            Some((v, inferred.facts.get(v).elem?))
        };
        let Some(alike) = table.alike(&n.domain, &n.op) else { continue };
        let all: Vec<usize> = (0..n.inputs.len()).collect();
        let sets = if alike.sets.is_empty() { &[all.as_slice()] } else { alike.sets };
        for set in sets {
            let mut operands = set.iter().filter_map(|&i| typed(i));
            let Some(left) = operands.next() else { continue };
            if let Some(right) = operands.find(|right| right.1 != left.1) {
                out.push(Fault::Types { node, left, right });
            }
        }
    }
    out
}

/// An attribute of the wrong type that the node's shape or relation rule reads.
fn attribute(model: &Model, def: &OpDef, inferred: &Inferred, node: NodeId) -> Option<OpError> {
    let node = node_ref(model, &inferred.facts, node);
    let shape = match def.shape {
        ShapeRule::By(rule) => rule(&node).err(),
        ShapeRule::Like(_) | ShapeRule::Unknown(_) => None,
    };
    let relate = || match def.relate {
        Relate::By(rule) => rule(&node, &mut Relations::default()).err(),
        Relate::Given(_) | Relate::Drawn(_) | Relate::Opaque(_) => None,
    };
    let wrong = |e: &OpError| matches!(e, OpError::AttributeType { .. });
    shape.filter(wrong).or_else(|| relate().filter(wrong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer;
    use sparsec_ir::text::parse_model;

    #[track_caller]
    fn check(graph: &str, expected: &[&str]) {
        let model = parse_model(&format!("<ir_version: 9, opset_import: [\"\" : 17]> {graph}")).unwrap();
        let table = sparsec_ops::table();
        let show = |f: Fault| match f {
            Fault::Attribute { node, source } => format!("{}: {source}", model.graph.label(node)),
            Fault::Types { node, left, right } => {
                let name = |v| &model.graph.value(v).name;
                format!("{}: {} {}, {} {}", model.graph.label(node), name(left.0), left.1, name(right.0), right.1)
            }
        };
        let found: Vec<String> = faults(&model, &table, &infer(&model, &table)).into_iter().map(show).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn attributes_that_a_shape_or_relation_rule_reads_have_their_type() {
        check(
            "g (float[1,3,8,8] x, float[4,3,3,3] w) => (y) { y = Conv <strides = 1.5> (x, w) }",
            &["Conv → y: attribute `strides` is a float, not integers"],
        );
        check(
            "g (float[2,3] x) => (y) { y = Softmax <axis = \"last\"> (x) }",
            &["Softmax → y: attribute `axis` is a string, not an integer"],
        );
        check("g (float[2,3] x) => (y) { y = Softmax <axis = 1, comment = 1.5> (x) }", &[]);
    }
    #[test]
    fn operands_of_one_type_variable_have_one_type() {
        check("g (double[1,3,8,8] x, float[4,3,3,3] w) => (y) { y = Conv (x, w) }", &["Conv → y: x double, w float"]);
        check(
            "g (float[2] a, float[2] b, int32[2] c) => (y) { y = Concat <axis = 0> (a, b, c) }",
            &["Concat → y: a float, c int32"],
        );
        check("g (bool[2] c, float[2] a, float[2] b) => (y) { y = Where (c, a, b) }", &[]);
        check("g (float[2] a, my[2] b) => (y) { y = local.Add (a, b) }".replace("my", "double").as_str(), &[]);
    }
}
