//! What the units of a group are to people.

use sparsec::drive::Prepared;
use sparsec_analysis::{AxisOwner, Group, Link, Slot};
use sparsec_ir::{LinearRule, NodeId};
use std::collections::BTreeSet;

/// What one unit of the group is. `None` for channels, the common case.
///
/// Attention multiplies two activations and sums: of queries and keys over the dimensions of each head, of scores and
/// values over positions. Where a flat axis holds several heads, a head is a run of its slots, and a dimension of every
/// head a comb.
pub(crate) fn unit_kind(dense: &Prepared, group: &Group) -> Option<&'static str> {
    let channels = &dense.channels;
    let unit = &channels.units[*group.units.first()? as usize];
    let anchor = channels.axes.slots(group.anchor);
    let on_anchor: Vec<Slot> = unit.slots.iter().copied().filter(|s| anchor.contains(s)).collect();
    if on_anchor.len() < 2 {
        return None;
    }
    let run = on_anchor.windows(2).any(|w| w[1] == w[0] + 1);
    let links: Vec<&Link> = channels.contractions.iter().filter(|l| attends(dense, l)).collect();
    let nodes: BTreeSet<NodeId> = links.iter().map(|l| l.node).collect();
    let graph = &dense.model.graph;
    let met = group.axes.iter().any(|(axis, _)| match channels.axes.owner(*axis) {
        AxisOwner::Value(v, _) => graph.producer(v).into_iter().chain(graph.consumers(v)).any(|n| nodes.contains(&n)),
        AxisOwner::Virtual(_) | AxisOwner::Digit => false,
    });
    let summed = || {
        let at = |(start, step): (Slot, i32), i: u32| (i64::from(start) + i64::from(step) * i64::from(i)) as Slot;
        let on = |side, count: u32| (0..count).any(|i| unit.slots.binary_search(&at(side, i)).is_ok());
        links.iter().any(|l| on(l.a, l.count) || on(l.b, l.count))
    };
    match (run, met) {
        (true, true) => Some("heads"),
        (false, true) if summed() => Some("dimensions of q, k"),
        (false, true) => Some("dimensions of v"),
        (_, false) => None,
    }
}

/// Whether a contraction is one of activations: both sides are, or the node is no linear map, as where one node is all of
/// an attention.
fn attends(dense: &Prepared, link: &Link) -> bool {
    let (graph, axes) = (&dense.model.graph, &dense.channels.axes);
    let node = graph.node(link.node);
    let activation = |s| match axes.owner(axes.locate(s).0) {
        AxisOwner::Value(v, _) => graph.constant(v).is_none(),
        AxisOwner::Virtual(_) | AxisOwner::Digit => false,
    };
    let map = dense.table.get(&node.domain, &node.op).is_some_and(|d| !matches!(d.linear, LinearRule::Never));
    !map || [link.a.0, link.b.0].into_iter().all(activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec::drive::{Concessions, Quiet, prepare};

    #[test]
    fn heads_and_their_dimensions_are_told_from_channels() {
        // Two heads of three dimensions, queries and keys alike; then a layer of five channels.
        let m = sparsec_testkit::model(
            r#"g (float[1,4,8] x) => (float[1,4,2] y)
               <float[8,6] q = ["location": "random:1"], float[8,6] k = ["location": "random:2"],
                float[8,6] v = ["location": "random:3"], float[6,5] o = ["location": "random:4"],
                float[5,2] out = ["location": "random:5"], int64[4] split = {1, 4, 2, 3}, int64[3] flat = {1, 4, 6}>
               { a = MatMul (x, q) b = MatMul (x, k) c = MatMul (x, v)
                 a4 = Reshape (a, split) b4 = Reshape (b, split) c4 = Reshape (c, split)
                 aq = Transpose <perm = [0, 2, 1, 3]> (a4) bk = Transpose <perm = [0, 2, 3, 1]> (b4)
                 cv = Transpose <perm = [0, 2, 1, 3]> (c4)
                 s = MatMul (aq, bk) p = Softmax <axis = -1> (s) h = MatMul (p, cv)
                 t = Transpose <perm = [0, 2, 1, 3]> (h) f = Reshape (t, flat) z = MatMul (f, o) y = MatMul (z, out) }"#,
        );
        let dense = prepare(&m, sparsec_ops::table(), None, &Concessions::default(), &Quiet).unwrap();
        let kinds: Vec<_> = dense.channels.groups.iter().map(|g| (g.units.len(), unit_kind(&dense, g))).collect();
        assert_eq!(
            kinds,
            [(3, Some("dimensions of q, k")), (2, Some("heads")), (3, Some("dimensions of v")), (5, None)]
        );
    }
}
