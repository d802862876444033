//! What nothing reads, found by a worklist: whatever is removed, what it read is looked at again.

use crate::{Def, Graph, NodeId, ValueId};

/// A node none of whose results is read, or a constant that nothing reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A node.
    Node(NodeId),
    /// A constant.
    Constant(ValueId),
}

impl Unread {
    fn of(graph: &Graph, value: ValueId) -> Option<Self> {
        match graph.live_value(value)?.def {
            Def::Node { node, .. } => Some(Self::Node(node)),
            Def::Constant(_) | Def::Sparse(_) => Some(Self::Constant(value)),
            Def::Input | Def::Outer => None,
        }
    }
    fn holds(self, graph: &Graph) -> bool {
        let unread = |v: ValueId| graph.value(v).uses.is_empty() && !graph.is_output(v);
        match self {
            // A node without results is there for an effect.
            Self::Node(n) => graph
                .live_node(n)
                .is_some_and(|n| !n.outputs.is_empty() && n.outputs.iter().flatten().all(|v| unread(*v))),
            Self::Constant(v) => graph.live_value(v).is_some() && unread(v),
        }
    }
    /// Removes it.
    pub fn remove(self, graph: &mut Graph) {
        match self {
            Self::Node(node) => graph.remove_node(node),
            Self::Constant(value) => graph.remove_value(value),
        }
    }
}

/// A search for what nothing reads.
///
/// ```
/// use sparsec_ir::{Sweep, text::parse_model};
/// let mut graph = parse_model("g (float[2] x) => (float[2] y) { y = Relu (x) h = Neg (x) z = Abs (h) }").unwrap().graph;
/// Sweep::all(&graph).run(&mut graph);
/// assert_eq!(graph.nodes().count(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Sweep {
    todo: Vec<Unread>,
}

impl Sweep {
    /// Looks at all nodes and constants.
    pub fn all(graph: &Graph) -> Self {
        let constant = |d: &Def| matches!(d, Def::Constant(_) | Def::Sparse(_));
        let constants = graph.values().filter(|(_, v)| constant(&v.def)).map(|(v, _)| Unread::Constant(v));
        // The last is looked at first: nodes, which may read constants, and of them the last, which may read the others.
        Self { todo: constants.chain(graph.nodes().map(|(n, _)| Unread::Node(n))).collect() }
    }
    /// Looks at some values, those that are gone left out, and at what they are computed from.
    pub fn of(graph: &Graph, values: impl IntoIterator<Item = ValueId>) -> Self {
        Self { todo: values.into_iter().filter_map(|v| Unread::of(graph, v)).collect() }
    }
    /// The next thing that nothing reads. What it reads is looked at next: the caller removes it first, or it stays.
    pub fn next(&mut self, graph: &Graph) -> Option<Unread> {
        while let Some(found) = self.todo.pop() {
            if !found.holds(graph) {
                continue;
            }
            if let Unread::Node(node) = found {
                let read = graph.node(node).inputs.iter().flatten().copied().chain(graph.captures(node));
                self.todo.extend(read.filter_map(|v| Unread::of(graph, v)));
            }
            return Some(found);
        }
        None
    }
    /// Removes all that is found.
    pub fn run(mut self, graph: &mut Graph) {
        while let Some(found) = self.next(graph) {
            found.remove(graph);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_model;

    fn left(text: &str, sweep: impl Fn(&Graph) -> Sweep) -> Vec<String> {
        let text = format!("<ir_version: 10, opset_import: [\"\" : 18]>\n{text}");
        let mut graph = parse_model(&text).unwrap().graph;
        sweep(&graph).run(&mut graph);
        graph.values().map(|(_, v)| v.name.clone()).collect()
    }

    #[test]
    fn what_was_only_there_for_what_is_unread_goes_with_it() {
        let text = "g (float[2] x) => (float[2] y) <float[2] k = {1.0, 2.0}, float[2] both = {3.0, 4.0}>
            { a = Add (x, k) b = Neg (a) c = Abs (b) d = Mul (x, both) y = Mul (d, both) }";
        assert_eq!(left(text, Sweep::all), ["x", "both", "d", "y"]);
        let of = |names: [&'static str; 1]| move |g: &Graph| Sweep::of(g, names.iter().filter_map(|n| g.find(n)));
        assert_eq!(left(text, of(["c"])), ["x", "both", "d", "y"]);
        // `b` is still read, and nothing else is asked for.
        assert_eq!(left(text, of(["b"])), ["x", "k", "both", "a", "b", "c", "d", "y"]);
    }

    #[test]
    fn a_node_whose_results_have_no_name_goes_and_one_without_results_stays() {
        let text = "g (float[2] x) => (float[2] y) { y = Relu (x) a = Neg (x) \"\" = Abs (a) }";
        assert_eq!(left(text, Sweep::all), ["x", "y"]);
        let mut graph = parse_model(&format!("<ir_version: 10, opset_import: [\"\" : 18]>\n{text}")).unwrap().graph;
        let print = graph.add_node(crate::Node::new("Print"), &[]);
        Sweep::all(&graph).run(&mut graph);
        assert_eq!(graph.nodes().map(|(n, _)| n).collect::<Vec<_>>()[1..], [print]);
    }
}
