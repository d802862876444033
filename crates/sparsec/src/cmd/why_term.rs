//! `sparsec why` of a term of a sum: what goes when it is dropped and what stays, or why it cannot be dropped.

use crate::names::Names;
use crate::table::{count, plural};
use serde::Serialize;
use sparsec::drive::{Prepared, macs_of_branch};
use sparsec_analysis::{Branch, StayingTerm};
use sparsec_ir::{Def, NodeId, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// A term of a sum.
#[derive(Clone, Copy)]
pub(crate) enum Term<'a> {
    /// One that can be dropped.
    Branch(&'a Branch),
    /// One that cannot.
    Staying(&'a StayingTerm),
}

/// The term that is called so, if one is.
pub(crate) fn term<'a>(dense: &'a Prepared, name: &str) -> Option<Term<'a>> {
    let value = dense.model.graph.find(name)?;
    let channels = &dense.channels;
    let branch = channels.branches.iter().find(|b| b.term == value).map(Term::Branch);
    branch.or_else(|| channels.staying_terms.iter().find(|t| t.term == value).map(Term::Staying))
}

/// What is said of a term.
#[derive(Serialize)]
pub(crate) struct TermAnswer {
    term: String,
    /// The node that adds it.
    sum: String,
    /// Other values that the node reads, constants aside.
    beside: Vec<String>,
    /// Why it cannot be dropped; null where it can.
    stays_because: Option<String>,
    /// Nodes that go with it, in the order of the graph.
    nodes: Vec<String>,
    /// Parameters that go with it.
    params: u64,
    /// Multiply-accumulates that go with it; null where sizes are open or it stays.
    macs: Option<u64>,
    /// What it is computed from and something else needs.
    stays: Vec<Shared>,
}

/// A value that a branch reads and that stays without it.
#[derive(Serialize)]
struct Shared {
    value: String,
    /// Nodes that stay and read it; none of an input.
    read_by: Vec<String>,
}

/// The answer for a term.
pub(crate) fn answer(dense: &Prepared, names: &Names, term: Term) -> TermAnswer {
    let graph = &dense.model.graph;
    let name = |v: ValueId| graph.value(v).name.clone();
    let (value, sum) = match term {
        Term::Branch(b) => (b.term, b.sum),
        Term::Staying(t) => (t.term, t.sum),
    };
    let other = |v: &&ValueId| **v != value && graph.constant(**v).is_none();
    let beside = graph.node(sum).inputs.iter().flatten().filter(other).map(|v| name(*v)).collect();
    let named = |n: NodeId| names.named(graph, n);
    let out = TermAnswer {
        term: name(value),
        sum: named(sum),
        beside,
        stays_because: None,
        nodes: Vec::new(),
        params: 0,
        macs: None,
        stays: Vec::new(),
    };
    match term {
        Term::Staying(t) => TermAnswer { stays_because: Some(t.why.to_string()), ..out },
        Term::Branch(b) => {
            let gone: BTreeSet<NodeId> = b.nodes.iter().copied().collect();
            let reads = b.nodes.iter().flat_map(|n| graph.node(*n).inputs.iter().flatten().copied());
            let outside = |v: &ValueId| match graph.value(*v).def {
                Def::Node { node, .. } => !gone.contains(&node),
                Def::Input | Def::Outer => true,
                Def::Constant(_) | Def::Sparse(_) => false,
            };
            let shared: BTreeSet<ValueId> = reads.filter(outside).collect();
            let stay = |v: ValueId| Shared {
                value: name(v),
                read_by: graph.consumers(v).into_iter().filter(|n| !gone.contains(n)).map(named).collect(),
            };
            let facts = dense.sizes(1, &BTreeMap::new()).ok().map(|sizes| dense.bind(&sizes));
            TermAnswer {
                nodes: b.nodes.iter().map(|n| named(*n)).collect(),
                params: b.params,
                macs: facts.map(|facts| macs_of_branch(dense, &facts, b)),
                stays: shared.into_iter().map(stay).collect(),
                ..out
            }
        }
    }
}

/// The answer as people read it.
pub(crate) fn text(a: &TermAnswer) -> String {
    let mut out = format!("{} is a term of the sum {}, beside {}\n", a.term, a.sum, a.beside.join(", "));
    if let Some(why) = &a.stays_because {
        return out + &format!("it cannot be dropped: {why}\n");
    }
    let macs = a.macs.map_or(String::new(), |m| format!(" and {} MACs", count(m)));
    let nodes = plural(a.nodes.len(), "node", "nodes");
    out += &format!("it can be dropped whole; with it go {nodes}, {} parameters{macs}:\n", count(a.params));
    a.nodes.iter().for_each(|n| out += &format!("  {n}\n"));
    for s in &a.stays {
        let by = if s.read_by.is_empty() { String::new() } else { format!(", which {} reads", s.read_by.join(", ")) };
        out += &format!("{} stays{by}\n", s.value);
    }
    out
}
