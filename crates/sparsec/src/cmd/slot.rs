//! Slots as users name them: `VALUE:AXIS` or `VALUE:AXIS:INDEX`.

use crate::error::CliError;
use crate::names::Names;
use sparsec::drive::{Prepared, near};
use sparsec_analysis::{AxisId, Slot};
use sparsec_ir::{Graph, ValueId};
use std::collections::BTreeSet;
use std::ops::Range;

/// An axis, or one index of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) axis: AxisId,
    /// Indices that are meant.
    pub(crate) indices: Range<u32>,
}

/// Finds what `text` names: an axis or an index of it, or a group. It is read from the right, since names may hold
/// colons; where both readings name something, the longer name is meant. `original` is the graph before it was made
/// canonical.
pub(crate) fn resolve(text: &str, dense: &Prepared, original: &Graph) -> Result<Place, CliError> {
    let graph = &dense.model.graph;
    let names = Names::of(graph);
    let split = |s: &str| s.rsplit_once(':').and_then(|(name, n)| Some((name.to_string(), n.parse::<u32>().ok()?)));
    let found = |name: &str| find(graph, &names, name);
    let read = split(text).map(|(name, last)| (found(&name), name, last));
    match read {
        Some((Some(v), _, last)) => place(dense, v, last, None),
        _ if dense.channels.group(text).is_some() => first_unit(dense, text),
        None => Err(CliError::SlotForm { text: text.to_string() }),
        Some((None, name, last)) => match split(&name) {
            Some((shorter, axis)) => match found(&shorter) {
                Some(v) => place(dense, v, axis, Some(last)),
                None => Err(unknown(shorter, (graph, &names), original)),
            },
            None => Err(unknown(name, (graph, &names), original)),
        },
    }
}

/// The value called `name`, or the first result of the node that is called or labelled so, by its layer too.
fn find(graph: &Graph, names: &Names, name: &str) -> Option<ValueId> {
    let labelled = || graph.nodes().map(|(n, _)| n).find(|n| graph.label(*n) == name);
    let result = |n| graph.node(n).outputs.iter().flatten().next().copied();
    let node = || graph.find_node(name).or_else(labelled).or_else(|| names.find(name));
    graph.find(name).or_else(|| node().and_then(result))
}

/// Where the first unit of a group starts on the axis that the group is called after.
fn first_unit(dense: &Prepared, id: &str) -> Result<Place, CliError> {
    let channels = &dense.channels;
    let missing = || CliError::SlotForm { text: id.to_string() };
    let group = channels.group(id).map(|g| &channels.groups[g]).ok_or_else(missing)?;
    let slots = channels.axes.slots(group.anchor);
    let unit = group.units.first().map(|u| &channels.units[*u as usize]).ok_or_else(missing)?;
    let at = unit.slots.iter().find(|s| slots.contains(s)).ok_or_else(missing)?;
    let (axis, index) = channels.axes.locate(*at);
    Ok(Place { axis, indices: index..index + 1 })
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

/// Nodes on the way to the one that took another in.
const STEPS: usize = 3;

fn unknown(name: String, (graph, names): (&Graph, &Names), original: &Graph) -> CliError {
    let before = Names::of(original);
    let folded = find(original, &before, &name);
    let into = folded.and_then(|v| merged_into((graph, names), (original, &before), v));
    let values = graph.values().map(|(_, v)| v.name.as_str());
    let nodes = graph.nodes().map(|(_, n)| n.name.as_str()).filter(|n| !n.is_empty());
    let near = near(&name, values.chain(nodes).chain(names.all()));
    CliError::NoValue { name, folded: folded.is_some(), into, near }
}

/// The node of the canonical graph that took in what read a value: the first before its reader that is still there.
fn merged_into((graph, names): (&Graph, &Names), (original, before): (&Graph, &Names), v: ValueId) -> Option<String> {
    let stays: BTreeSet<String> = graph.nodes().map(|(n, _)| names.node(graph, n)).collect();
    let mut node = original.consumers(v).first().copied()?;
    for _ in 0..STEPS {
        let name = before.node(original, node);
        if stays.contains(&name) {
            return Some(name);
        }
        node = original.node(node).inputs.iter().flatten().find_map(|v| original.producer(*v))?;
    }
    None
}
