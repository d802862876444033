//! Makes a graph that the analyses can read; changes no result.

mod dead_code;
mod fold_batchnorm;
mod fold_constants;
mod fold_shapes;
mod inline_functions;
mod merge_transposes;
mod names;
mod remove_identity;
mod resolve_casts;
mod unlist_constants;
mod unshare_constants;

pub use dead_code::DEAD_CODE;
pub use fold_batchnorm::FOLD_BATCHNORM;
pub use fold_constants::{Evaluator, FOLD_CONSTANTS};
pub use fold_shapes::FOLD_SHAPES;
pub use inline_functions::INLINE_FUNCTIONS;
pub use merge_transposes::MERGE_TRANSPOSES;
pub use remove_identity::REMOVE_IDENTITY;
pub use resolve_casts::RESOLVE_CASTS;
pub use unlist_constants::{UNLIST_CONSTANTS, overridable};
pub use unshare_constants::UNSHARE_CONSTANTS;

use crate::Refusal;
use sparsec_analysis::node_ref;
use sparsec_ir::{Def, Facts, Graph, Kernel, Model, NodeId, OpTable, Use, ValueId, WorkRule};

/// Whether a subgraph uses `value` by name.
fn captured(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).uses.iter().any(|u| matches!(u, Use::Captured(_)))
}

/// Facts with every unknown size bound to the same number, for questions whose answer does not depend on sizes.
fn bound(facts: &Facts) -> Facts {
    facts.bind(&|_| Some(7))
}

/// Whether a node gives its first operand's elements as they are, in their order: it does nothing at run time.
fn does_nothing(model: &Model, bound: &Facts, table: &OpTable, node: NodeId) -> bool {
    let n = model.graph.node(node);
    match table.get(&n.domain, &n.op).map(|d| d.work) {
        Some(WorkRule::By(work)) => work(&node_ref(model, bound, node)).is_ok_and(|w| w.kernel == Kernel::Free),
        _ => false,
    }
}

/// Whether `x` can stand where `y` stood, or why it cannot.
pub(crate) fn replaceable(graph: &Graph, x: ValueId, y: ValueId) -> Result<(), Refusal> {
    let name = |v: ValueId| graph.value(v).name.clone();
    if captured(graph, y) {
        return Err(Refusal::Captured { value: name(y) });
    }
    let bound = !matches!(graph.value(x).def, Def::Node { .. }) || graph.is_output(x) || captured(graph, x);
    if graph.is_output(y) && bound { Err(Refusal::NeededName { value: name(x) }) } else { Ok(()) }
}
