//! Depth: what can be dropped whole.
//!
//! A *branch* is a term of a sum: computed, of the sum's own shape, read by nothing else, and with work that nothing else
//! needs: residual branches, the experts of a mixture. Without it the sum is what it is with zeros in its place. Sums of
//! sums count as one; of each, one term of its shape always stays. What a constant is added to and nothing else is no sum:
//! the constant is a bias, part of the term, and leaves with it.
//!
//! Sums of dequantised numbers are left alone: without a term one quantisation would follow another at once. ONNX Runtime
//! (1.32, from its basic optimisations on: `DoubleQDQPairsRemover`) makes one of the two, with a scale and a zero point of
//! its own, so that what was rounded twice is rounded once: results are off by half a step of the second, where the masked
//! model keeps both.

use crate::collect::Link;
use sparsec_ir::{Def, ElemType, Facts, Model, NodeId, Sum, Use, ValueId, ZeroPoint, topological};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Position of a branch in [`Channels::branches`](crate::Channels::branches).
pub type BranchId = usize;

/// A term of a sum that can be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Stable name for plans: that of the term.
    pub id: String,
    /// The term.
    pub term: ValueId,
    /// The node that adds it.
    pub sum: NodeId,
    /// Nodes that nothing needs without it, ascending.
    pub nodes: Vec<NodeId>,
    /// Weight elements that only these read.
    pub params: u64,
}

/// A computed term of a sum that cannot be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StayingTerm {
    /// The term.
    pub term: ValueId,
    /// The node that adds it.
    pub sum: NodeId,
    /// Why it stays.
    pub why: WhyTermStays,
}

/// Why a term of a sum cannot be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyTermStays {
    /// The sum is one of whole numbers.
    NoFloats,
    /// Terms of the sum are dequantised numbers.
    Dequantised,
    /// It is broadcast to the shape of the sum, or its shape is not known.
    OtherShape,
    /// It is read by something else, or an output.
    ReadElsewhere,
    /// No contraction with weights of its own would go.
    NoWork,
    /// A rule of the operator that adds it.
    Rule(&'static str),
    /// Another term must stay for there to be a sum, and none but branches have its shape.
    MostWork,
    /// Branches lie in each other so deep that the search was given up.
    TooDeep,
}

impl fmt::Display for WhyTermStays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFloats => "the sum is one of whole numbers",
            Self::Dequantised => {
                "the sum adds dequantised numbers: without a term one quantisation would follow another at once, and \
                 runtimes merge the two"
            }
            Self::OtherShape => "it is not known to have the shape of the sum",
            Self::ReadElsewhere => "something else reads it too",
            Self::Rule(why) => why,
            Self::NoWork => "no weights would leave with it",
            Self::MostWork => "one term of the sum must stay, and this one has most weights",
            Self::TooDeep => "branches lie in each other too deep to be looked through",
        })
    }
}

/// Visits of nodes that the search for branches may take for each node of the graph: branches that lie in each other
/// thousands deep would take quadratic time, and those beyond are no branches.
const VISITS: usize = 64;

/// The branches of a model, in the order of their sums, and the terms that are none.
pub(crate) fn branches(
    model: &Model,
    facts: &Facts,
    (sums, contractions): (&BTreeMap<NodeId, Sum>, &[Link]),
    zero_points: &[(NodeId, ZeroPoint)],
) -> (Vec<Branch>, Vec<StayingTerm>) {
    let graph = &model.graph;
    let (mut out, mut staying) = (Vec::new(), Vec::new());
    let Ok(order) = topological(graph) else { return (out, staying) };
    let computed = |v: ValueId| !matches!(graph.value(v).def, Def::Constant(_) | Def::Sparse(_));
    let adds = |(node, sum): (&NodeId, &Sum)| {
        let operand = |i: &usize| graph.node(*node).inputs.get(*i).copied().flatten();
        let places = places(sum);
        (places.iter().filter_map(operand).filter(|v| computed(*v)).count() > 1).then_some((*node, places))
    };
    let fused = sums.iter().filter(|(_, s)| !matches!(s, Sum::Plain(_))).map(|(n, s)| (*n, s)).collect();
    let sums: BTreeMap<NodeId, Vec<usize>> = sums.iter().filter_map(adds).collect();
    let contractions: BTreeSet<NodeId> = contractions.iter().map(|l| l.node).collect();
    let quantised = zero_points.iter().filter(|(_, z)| z.point.is_some()).map(|(n, _)| *n).collect();
    let finder = Finder { model, facts, sums, fused, contractions, quantised };
    let mut visits = VISITS.saturating_mul(order.len());
    for root in order {
        if finder.sums.contains_key(&root) && finder.larger_sum(root).is_none() {
            for (term, sum, found) in finder.of_sum(root, &mut visits) {
                match found {
                    Ok(branch) => out.push(branch),
                    Err(why) => staying.push(StayingTerm { term, sum, why }),
                }
            }
        }
    }
    (out, staying)
}

/// Places of the operands that a node adds up.
fn places(sum: &Sum) -> Vec<usize> {
    match sum {
        Sum::Plain(places) | Sum::Fixed(places, _) => places.clone(),
        Sum::Inside(terms) => terms.iter().map(|t| t.0).collect(),
    }
}

struct Finder<'a> {
    model: &'a Model,
    facts: &'a Facts,
    sums: BTreeMap<NodeId, Vec<usize>>,
    /// Those whose result is something else than the sum.
    fused: BTreeMap<NodeId, &'a Sum>,
    contractions: BTreeSet<NodeId>,
    /// Nodes that read an operand which stands for zero by another number.
    quantised: BTreeSet<NodeId>,
}

impl Finder<'_> {
    fn result(&self, node: NodeId) -> Option<ValueId> {
        self.model.graph.node(node).outputs.first().copied().flatten()
    }
    /// The one operand that reads a value, where nothing else does.
    fn only_use(&self, value: ValueId) -> Option<(NodeId, usize)> {
        match self.model.graph.value(value).uses[..] {
            [Use::Operand(node, operand)] if !self.model.graph.is_output(value) => Some((node, operand)),
            _ => None,
        }
    }
    fn same_shape(&self, a: ValueId, b: ValueId) -> bool {
        let shape = |v| self.facts.get(v).shape.as_ref();
        shape(a).is_some() && shape(a) == shape(b)
    }
    /// The sum that the result of a sum is only a part of.
    fn larger_sum(&self, node: NodeId) -> Option<NodeId> {
        let y = self.result(node).filter(|_| !self.fused.contains_key(&node))?;
        let (larger, operand) = self.only_use(y)?;
        // Of the terms of a node that stays as it is, one must be left.
        let fixed = matches!(self.fused.get(&larger), Some(Sum::Fixed(..)));
        let adds = !fixed && self.sums.get(&larger).is_some_and(|terms| terms.contains(&operand));
        (adds && self.same_shape(y, self.result(larger)?)).then_some(larger)
    }
    /// Terms of a sum and of the sums that are part of it, with the nodes that add them.
    fn terms(&self, root: NodeId) -> Vec<(ValueId, NodeId)> {
        let (mut out, mut todo) = (Vec::new(), vec![root]);
        while let Some(node) = todo.pop() {
            let operands = &self.model.graph.node(node).inputs;
            for v in self.sums[&node].iter().filter_map(|i| operands.get(*i).copied().flatten()) {
                match self.model.graph.producer(v) {
                    Some(part) if self.sums.contains_key(&part) && self.larger_sum(part) == Some(node) => {
                        todo.push(part)
                    }
                    _ => out.push((v, node)),
                }
            }
        }
        out.sort_unstable();
        out
    }
    /// Computed terms of a sum, each as a branch or with why it is none.
    fn of_sum(&self, root: NodeId, visits: &mut usize) -> Vec<(ValueId, NodeId, Result<Branch, WhyTermStays>)> {
        let graph = &self.model.graph;
        let Some(y) = self.result(root) else { return Vec::new() };
        let terms = self.terms(root).into_iter();
        // A constant alone would make the result one.
        let terms = terms.filter(|(v, _)| !matches!(graph.value(*v).def, Def::Constant(_) | Def::Sparse(_)));
        let terms: Vec<(ValueId, NodeId)> = terms.collect();
        let quantised = |v| graph.producer(v).is_some_and(|n| self.quantised.contains(&n));
        let never = if !self.facts.get(y).elem.is_some_and(ElemType::is_float) {
            Some(WhyTermStays::NoFloats)
        } else {
            terms.iter().any(|(v, _)| quantised(*v)).then_some(WhyTermStays::Dequantised)
        };
        let fixed = |sum: NodeId| match self.fused.get(&sum) {
            Some(Sum::Fixed(_, why)) => Some(WhyTermStays::Rule(why)),
            _ => None,
        };
        let mut out: Vec<_> = terms
            .into_iter()
            .map(|(term, sum)| match never.or(fixed(sum)) {
                Some(why) => (term, sum, Err(why)),
                None if !self.same_shape(term, y) => (term, sum, Err(WhyTermStays::OtherShape)),
                None => (term, sum, self.branch(term, sum, visits)),
            })
            .collect();
        let stays = out.iter().any(|(_, _, found)| matches!(found, Err(why) if *why != WhyTermStays::OtherShape));
        let weight = |(i, (_, _, found)): (usize, &(_, _, Result<Branch, _>))| {
            found.as_ref().ok().map(|b| (b.params, std::cmp::Reverse(i)))
        };
        // What keeps the sum going is the term that does most of its work.
        if let (false, Some((_, std::cmp::Reverse(most)))) = (stays, out.iter().enumerate().filter_map(weight).max()) {
            out[most].2 = Err(WhyTermStays::MostWork);
        }
        out
    }
    /// What goes with a term, if that holds work: a contraction and its weights.
    fn branch(&self, term: ValueId, sum: NodeId, visits: &mut usize) -> Result<Branch, WhyTermStays> {
        let graph = &self.model.graph;
        self.only_use(term).ok_or(WhyTermStays::ReadElsewhere)?;
        let mut lost: BTreeMap<ValueId, usize> = BTreeMap::from([(term, 1)]);
        let (mut nodes, mut params, mut todo) = (BTreeSet::new(), 0u64, vec![term]);
        let unread = |lost: &BTreeMap<ValueId, usize>, v: &ValueId| {
            graph.value(*v).uses.len() == lost.get(v).copied().unwrap_or(0) && !graph.is_output(*v)
        };
        while let Some(v) = todo.pop() {
            if !unread(&lost, &v) {
                continue;
            }
            let node = match &graph.value(v).def {
                Def::Constant(t) if t.elem.holds_weights() && !t.dims.is_empty() => {
                    params = params.saturating_add(t.count());
                    continue;
                }
                Def::Node { node, .. } => *node,
                Def::Constant(_) | Def::Sparse(_) | Def::Input | Def::Outer => continue,
            };
            if !graph.node(node).outputs.iter().flatten().all(|o| unread(&lost, o)) || !nodes.insert(node) {
                continue;
            }
            *visits = visits.checked_sub(1).ok_or(WhyTermStays::TooDeep)?;
            for v in graph.node(node).inputs.iter().copied().flatten().chain(graph.captures(node)) {
                *lost.entry(v).or_insert(0) += 1;
                todo.push(v);
            }
        }
        let works = params > 0 && nodes.iter().any(|n| self.contractions.contains(n));
        let id = graph.value(term).name.clone();
        if !works {
            return Err(WhyTermStays::NoWork);
        }
        Ok(Branch { id, term, sum, nodes: nodes.into_iter().collect(), params })
    }
}
