//! Orders over a graph, by petgraph's algorithms where it has them.

use crate::{Graph, Id, NodeId};
use petgraph::graph::DiGraph;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nodes in topological order; ties go to the node that was added first, so the order of a sorted file is kept.
///
/// # Errors
/// The nodes of one cycle, if there is one.
pub fn topological(graph: &Graph) -> Result<Vec<NodeId>, Vec<NodeId>> {
    let mut waiting = vec![0usize; graph.node_bound()];
    let mut ready = BinaryHeap::new();
    for (id, _) in graph.nodes() {
        waiting[id.index()] = dependencies(graph, id).count();
        if waiting[id.index()] == 0 {
            ready.push(Reverse(id));
        }
    }
    let mut order = Vec::with_capacity(graph.node_bound());
    while let Some(Reverse(id)) = ready.pop() {
        order.push(id);
        for &v in graph.node(id).outputs.iter().flatten() {
            for u in &graph.value(v).uses {
                let (crate::Use::Operand(n, _) | crate::Use::Captured(n)) = *u;
                waiting[n.index()] -= 1;
                if waiting[n.index()] == 0 {
                    ready.push(Reverse(n));
                }
            }
        }
    }
    if order.len() == graph.nodes().count() { Ok(order) } else { Err(cycle(graph)) }
}

/// Producers of a node's operands and captures, with one entry for each use.
fn dependencies<'g>(graph: &'g Graph, node: NodeId) -> impl Iterator<Item = NodeId> + 'g {
    let operands = graph.node(node).inputs.iter().copied().flatten();
    operands.chain(graph.captures(node)).filter_map(|v| graph.producer(v))
}

/// Nodes of one cycle (the smallest strongly connected component with more than one node or a self-loop), empty if
/// there is none.
pub fn cycle(graph: &Graph) -> Vec<NodeId> {
    let mut g = DiGraph::<(), ()>::with_capacity(graph.node_bound(), 0);
    for _ in 0..graph.node_bound() {
        g.add_node(());
    }
    for (id, _) in graph.nodes() {
        for p in dependencies(graph, id) {
            g.add_edge((p.index() as u32).into(), (id.index() as u32).into(), ());
        }
    }
    let looped = |c: &Vec<petgraph::graph::NodeIndex>| c.len() > 1 || g.contains_edge(c[0], c[0]);
    // Kosaraju's algorithm is iterative in petgraph, Tarjan's recursive: a long hostile cycle must not end the stack.
    let best = petgraph::algo::kosaraju_scc(&g).into_iter().filter(looped).min_by_key(Vec::len);
    let mut nodes: Vec<NodeId> = best.unwrap_or_default().into_iter().map(|n| NodeId::new(n.index())).collect();
    nodes.sort();
    nodes
}
