//! Slots as users name them: `VALUE:AXIS` or `VALUE:AXIS:INDEX`.

use crate::error::CliError;
use sparsec::drive::Prepared;
use sparsec_analysis::{AxisId, Slot};
use sparsec_ir::{Graph, ValueId};
use std::ops::Range;

/// An axis, or one index of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) axis: AxisId,
    /// Indices that are meant.
    pub(crate) indices: Range<u32>,
}

/// Finds what `text` names. It is read from the right, since names may hold colons; where both readings name
/// something, the longer name is meant. `original` is the graph before it was made canonical.
pub(crate) fn resolve(text: &str, dense: &Prepared, original: &Graph) -> Result<Place, CliError> {
    let form = || CliError::SlotForm { text: text.to_string() };
    let split = |s: &str| s.rsplit_once(':').and_then(|(name, n)| Some((name.to_string(), n.parse::<u32>().ok()?)));
    let (name, last) = split(text).ok_or_else(form)?;
    let graph = &dense.model.graph;
    if let Some(v) = find(graph, &name) {
        return place(dense, v, last, None);
    }
    let Some((shorter, axis)) = split(&name) else { return Err(unknown(name, graph, original)) };
    match find(graph, &shorter) {
        Some(v) => place(dense, v, axis, Some(last)),
        None => Err(unknown(shorter, graph, original)),
    }
}

/// The value called `name`, or the first result of the node that is called or labelled so.
fn find(graph: &Graph, name: &str) -> Option<ValueId> {
    let labelled = || graph.nodes().map(|(n, _)| n).find(|n| graph.label(*n) == name);
    let result = |n| graph.node(n).outputs.iter().flatten().next().copied();
    graph.find(name).or_else(|| graph.find_node(name).or_else(labelled).and_then(result))
}

fn place(dense: &Prepared, v: ValueId, axis: u32, index: Option<u32>) -> Result<Place, CliError> {
    let value = &dense.model.graph.value(v).name;
    let dims = dense.facts.get(v).shape.as_deref();
    let ty = match dims {
        Some(dims) => format!("[{}]", dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        None => "of unknown shape".to_string(),
    };
    let missing = |what: String| CliError::NoSlot { value: value.clone(), what, ty: ty.clone() };
    if dims.is_some_and(|d| axis as usize >= d.len()) {
        return Err(missing(format!("axis {axis}")));
    }
    let id = dense.channels.axes.find(v, axis as usize);
    let id = id.ok_or_else(|| missing(format!("fixed size along axis {axis}")))?;
    let len = dense.channels.axes.len(id);
    match index {
        Some(i) if i >= len => Err(missing(format!("index {i} along axis {axis}"))),
        Some(i) => Ok(Place { axis: id, indices: i..i + 1 }),
        None => Ok(Place { axis: id, indices: 0..len }),
    }
}

impl Place {
    /// The first slot that is meant; `None` of an empty axis.
    pub(crate) fn first(&self, dense: &Prepared) -> Option<Slot> {
        (!self.indices.is_empty()).then(|| dense.channels.axes.slot(self.axis, self.indices.start))
    }
}

/// Names to suggest.
const NEAR: usize = 3;

fn unknown(name: String, graph: &Graph, original: &Graph) -> CliError {
    let folded = find(original, &name).is_some();
    let values = graph.values().map(|(_, v)| v.name.as_str());
    let nodes = graph.nodes().map(|(_, n)| n.name.as_str()).filter(|n| !n.is_empty());
    let mut near: Vec<(usize, &str)> = values
        .chain(nodes)
        .filter_map(|n| {
            let contains = !name.is_empty() && (n.contains(&name) || name.contains(n) && n.len() > 2);
            let d = if contains { n.len().abs_diff(name.len()) / 4 } else { distance(&name, n) };
            (d <= name.chars().count().max(3) / 2).then_some((d, n))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    let near = near.into_iter().take(NEAR).map(|(_, n)| format!("`{n}`")).collect();
    CliError::NoValue { name, folded, near }
}

/// Letters to change, insert or drop on the way from `a` to `b` (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("a", "a")), (3, 3, 0));
    }
}
