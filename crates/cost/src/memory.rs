//! Memory of activations: which values share a buffer, and from when to when each buffer lives.
//!
//! Time is counted in kernels. A buffer lives from the kernel that writes it to the last that reads it, both included;
//! inputs live from the start, outputs to the end. The result of a kernel takes the place of an operand where that
//! operand dies there, has the same bytes and belongs to neither caller nor result: in functions of each element, and
//! in contractions for the activation that is added into them. What costs nothing at run time is a view of its operand.

use crate::schedule::{Role, Schedule};
use sparsec_ir::{Def, Facts, Graph, IdMap, ValueId};

/// The life of one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRange {
    /// Value that the buffer holds first; later ones may take its place.
    pub value: String,
    /// Bytes.
    pub bytes: u64,
    /// First kernel during which it lives, counted from 0.
    pub from: usize,
    /// Last kernel during which it lives.
    pub to: usize,
}

pub(crate) struct Buffer {
    /// Values that it holds, one after the other or as views.
    pub(crate) values: Vec<ValueId>,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether a caller owns or reads it, so that nothing may overwrite it.
    pinned: bool,
}

impl Buffer {
    pub(crate) fn bytes(&self, facts: &Facts) -> u64 {
        self.values.iter().filter_map(|&v| facts.get(v).byte_len()).max().unwrap_or(0)
    }
}

/// Buffers in the order of their first value.
pub(crate) fn buffers(graph: &Graph, facts: &Facts, schedule: &Schedule) -> Vec<Buffer> {
    let end = schedule.launches.len().saturating_sub(1);
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut of: IdMap<ValueId, Option<usize>> = IdMap::filled(graph.value_bound(), None);
    for (id, _) in graph.values().filter(|(_, v)| matches!(v.def, Def::Input | Def::Outer)) {
        of[id] = Some(buffers.len());
        buffers.push(Buffer { values: vec![id], from: 0, to: 0, pinned: true });
    }
    let same_bytes = |a: ValueId, b: ValueId| {
        let (a, b) = (facts.get(a).byte_len(), facts.get(b).byte_len());
        a.is_some() && a == b
    };
    // First the lives, with views in place, then what can be overwritten: that needs every last use.
    for (at, launch) in schedule.launches.iter().enumerate() {
        for &r in &launch.reads {
            if let Some(b) = of[r] {
                buffers[b].to = at;
            }
        }
        for &w in &launch.writes {
            let viewed = launch.reads.first().filter(|&&r| launch.role == Role::Free && same_bytes(r, w));
            let buffer = match viewed.and_then(|&r| of[r]) {
                Some(b) => {
                    buffers[b].values.push(w);
                    b
                }
                None => {
                    buffers.push(Buffer { values: vec![w], from: at, to: at, pinned: false });
                    buffers.len() - 1
                }
            };
            of[w] = Some(buffer);
            if graph.is_output(w) {
                buffers[buffer].pinned = true;
            }
        }
    }
    for &o in graph.outputs() {
        if let Some(b) = of[o] {
            (buffers[b].to, buffers[b].pinned) = (end, true);
        }
    }
    let operands = |node| graph.node(node).inputs.as_slice();
    let mut moved_to: Vec<usize> = (0..buffers.len()).collect();
    for (at, launch) in schedule.launches.iter().enumerate() {
        let [w] = launch.writes[..] else { continue };
        let dying = match launch.role {
            Role::Elementwise => launch.reads.as_slice(),
            // A contraction reads its own operands again and again: they cannot be overwritten meanwhile.
            Role::Contraction if launch.residual.is_some_and(|r| !operands(launch.head).contains(&Some(r))) => {
                launch.residual.as_slice()
            }
            Role::Contraction | Role::Free | Role::Other => &[],
        };
        let place = dying.iter().filter(|&&r| same_bytes(r, w)).find_map(|&r| {
            let b = moved_to[of[r]?];
            (buffers[b].to == at && !buffers[b].pinned).then_some(b)
        });
        let (Some(place), Some(result)) = (place, of[w]) else { continue };
        moved_to[result] = place;
        let values = std::mem::take(&mut buffers[result].values);
        buffers[place].values.extend(values);
        (buffers[place].to, buffers[place].pinned) = (buffers[result].to, buffers[result].pinned);
    }
    buffers.retain(|b| !b.values.is_empty());
    buffers
}

/// Bytes that live during each kernel.
pub(crate) fn timeline(buffers: &[Buffer], facts: &Facts, kernels: usize) -> Vec<u64> {
    let mut change = vec![0i128; kernels + 1];
    buffers.iter().for_each(|b| add(&mut change, b, b.bytes(facts).into()));
    live(&change).collect()
}

/// Adds bytes to a buffer. `change` holds by how much the live bytes change from kernel to kernel, with one place more
/// than there are kernels: linear in buffers and kernels. 128 bits hold any sum of 64-bit sizes.
pub(crate) fn add(change: &mut [i128], buffer: &Buffer, bytes: i128) {
    if let Some(c) = change.get_mut(buffer.from) {
        *c += bytes;
    }
    if let Some(c) = change.get_mut(buffer.to + 1) {
        *c -= bytes;
    }
}

/// The most bytes that live at once.
pub(crate) fn peak(change: &[i128]) -> u64 {
    live(change).max().unwrap_or(0)
}

fn live(change: &[i128]) -> impl Iterator<Item = u64> {
    let kernels = change.split_last().map_or(change, |(_, kernels)| kernels);
    kernels.iter().scan(0i128, |live, c| {
        *live += c;
        Some(u64::try_from(*live).unwrap_or(u64::MAX))
    })
}
