//! Sizes that are read as numbers.
//!
//! A cut changes what `Shape` gives. Where that decides a shape it is as wanted; where it is arithmetic on data (the
//! scale of an attention, an index of a token) the model would compute something else, and the cut is refused. Models
//! whose sizes were folded to constants first have no such place.

use super::cut::RemoveError;
use sparsec_analysis::{Inferred, infer_node};
use sparsec_ir::{Dim, Facts, Model, NodeId, OpTable, Use, ValueId};
use std::collections::BTreeSet;

/// Refuses a cut after which a computed value with known contents holds other numbers and something other than a shape
/// depends on them. `follows` names operands that a resize rule has set.
pub(super) fn guard(
    model: &Model,
    table: &OpTable,
    before: &Facts,
    now: &mut Inferred,
    follows: &BTreeSet<(NodeId, usize)>,
) -> Result<(), RemoveError> {
    // A constant is cut along axes that relations speak of; what holds sizes is frozen, or follows.
    for (v, value) in model.graph.values().filter(|(v, _)| model.graph.constant(*v).is_none()) {
        let old = &before.get(v).content;
        if old.is_none() || *old == now.facts.get(v).content {
            continue;
        }
        let new = now.facts.get(v).content.clone();
        let refuse = |by: String| RemoveError::Number {
            value: value.name.clone(),
            by,
            before: show(old.as_deref()),
            after: show(new.as_deref()),
        };
        if model.graph.is_output(v) {
            return Err(refuse("a user of the model".to_string()));
        }
        for u in &value.uses {
            match *u {
                Use::Captured(n) => return Err(refuse(model.graph.label(n))),
                Use::Operand(n, i) if follows.contains(&(n, i)) || passes_on(model, before, now, n) => {}
                Use::Operand(n, _) if decides_shape(model, table, now, n, v) => {}
                Use::Operand(n, _) => return Err(refuse(model.graph.label(n))),
            }
        }
    }
    Ok(())
}

/// Whether the results of a node had and have known contents: then they are looked at themselves. What the cut wrote had
/// no type before.
fn passes_on(model: &Model, before: &Facts, now: &Inferred, node: NodeId) -> bool {
    let mut results = model.graph.node(node).outputs.iter().flatten();
    let had = |y| before.get(y).content.is_some() || before.get(y).elem.is_none();
    results.all(|y| had(*y) && now.facts.get(*y).content.is_some())
}

/// Whether a node's results would have another shape, or an unknown one, without the contents of `v`.
fn decides_shape(model: &Model, table: &OpTable, now: &mut Inferred, node: NodeId, v: ValueId) -> bool {
    let results: Vec<ValueId> = model.graph.node(node).outputs.iter().flatten().copied().collect();
    let known: Vec<_> = results.iter().map(|y| now.facts.get(*y).clone()).collect();
    let (fact, problems) = (now.facts.get(v).clone(), now.problems.len());
    now.facts.set(v, fact.clone().with_content(None));
    infer_node(model, table, node, now);
    let differs = results.iter().zip(&known).any(|(y, old)| now.facts.get(*y).shape != old.shape);
    now.facts.set(v, fact);
    results.into_iter().zip(known).for_each(|(y, old)| now.facts.set(y, old));
    now.problems.truncate(problems);
    differs
}

fn show(content: Option<&[Dim]>) -> String {
    let all = content.map(|c| c.iter().map(Dim::to_string).collect::<Vec<_>>().join(", "));
    all.map_or("unknown numbers".to_string(), |a| format!("[{a}]"))
}
