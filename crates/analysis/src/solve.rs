//! Second step of the solver: which units exist, and which of them each slot leaves with.
//!
//! Axes that stay as a whole are found first, and left out. Links are equalities, solved by union-find. A product says
//! that a flat slot's cut set is the union of its factors' cut sets; it is solved by substitution:
//!
//! 1. Products over the same row of slots are brought to one factorisation: equal ones tie factor by factor, others
//!    get the common refinement of their strides, and where there is none the row is frozen.
//! 2. A class of slots that no product defines is a variable. A class that products define takes the first definition;
//!    each further one is an equation between two sets of variables.
//! 3. Equations are made true by the weakest of these steps that applies: tie two variables, substitute a lone variable
//!    by the other side, freeze the coarsest variable. Every step only shrinks what may be cut, so the result is always
//!    exact; and each removes a variable, so it ends.
//!
//! Variables that are left are the units.

use crate::axes::{Axes, AxisId, AxisOwner, Slot};
use crate::collect::{Link, Product, Statements};
use crate::table::Table;
use crate::whole::{Cause, Whole};
use sparsec_ir::{NodeId, Reason};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A tie between factors of two factorisations of one axis, for proofs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    /// One slot.
    pub(crate) a: Slot,
    /// The other.
    pub(crate) b: Slot,
    /// Node of the second factorisation.
    pub(crate) node: Option<NodeId>,
}

/// Why a slot is frozen: the reason, and the slot and node where it was stated.
#[derive(Clone, Debug)]
pub struct Freeze {
    /// Reason.
    pub reason: Reason,
    /// A slot that the reason was stated of.
    pub at: Slot,
    /// Node that stated it.
    pub node: Option<NodeId>,
}

/// Cut sets of all slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Solution {
    /// Class of each slot: the smallest slot of it.
    pub(crate) class: Vec<u32>,
    /// Cut set of each class: sorted variables; nothing where it is frozen.
    cut: Table<Vec<u32>>,
    frozen: Frozen,
    whole: Whole,
    /// Every link.
    pub(crate) links: Vec<Link>,
    /// Ties that the links do not state.
    pub(crate) edges: Vec<Edge>,
    /// Products in force, refined ones included.
    pub(crate) products: Vec<Product>,
}

impl Solution {
    /// Cut set of a slot: sorted variables.
    pub(crate) fn cut(&self, slot: Slot) -> &[u32] {
        self.cut.get(self.class[slot as usize]).map_or(&[], Vec::as_slice)
    }
    /// Keeps a slot: the variables that it leaves with leave no slot any more.
    pub(crate) fn keep(&mut self, slot: Slot) {
        let reason = self.frozen.reason(Reason::WholeAxis, None);
        let kept = self.cut(slot).to_vec();
        kept.iter().for_each(|v| self.frozen.add(*v, reason, slot));
        self.cut.entries_mut().iter_mut().for_each(|set| set.retain(|v| !kept.contains(v)));
    }
    /// Why a slot of `axis` is frozen, where it is by itself.
    pub(crate) fn freeze_of(&self, axis: AxisId, slot: Slot) -> Option<Freeze> {
        match self.whole.cause(axis) {
            Some(cause) => Some(self.frozen.freeze(cause)),
            None => self.frozen.get(self.class[slot as usize]),
        }
    }
}

/// Frozen classes and variables. A reason is kept once, however many slots it freezes.
#[derive(Clone, Debug, Default)]
struct Frozen {
    reasons: Vec<(Reason, Option<NodeId>)>,
    /// Reason, and the slot that it was stated of.
    of: Table<Cause>,
}

impl Frozen {
    fn new(bound: u32) -> Self {
        Self { reasons: Vec::new(), of: Table::new(bound) }
    }
    fn reason(&mut self, reason: Reason, node: Option<NodeId>) -> u32 {
        self.reasons.push((reason, node));
        self.reasons.len() as u32 - 1
    }
    fn has(&self, v: u32) -> bool {
        self.of.get(v).is_some()
    }
    fn get(&self, v: u32) -> Option<Freeze> {
        self.of.get(v).map(|cause| self.freeze(*cause))
    }
    fn freeze(&self, (reason, at): Cause) -> Freeze {
        let (reason, node) = self.reasons[reason as usize].clone();
        Freeze { reason, at, node }
    }
    /// Freezes `v`; the first reason stays.
    fn add(&mut self, v: u32, reason: u32, at: Slot) {
        if !self.has(v) {
            self.of.insert(v, (reason, at));
        }
    }
    /// Freezes `v` for the reason of `like`.
    fn spread(&mut self, like: u32, v: u32) {
        if let Some(&(reason, at)) = self.of.get(like) {
            self.add(v, reason, at);
        }
    }
}

/// Union-find whose representative is the smallest member, so that it does not depend on the order of unions.
struct Forest {
    parent: Vec<u32>,
}

impl Forest {
    fn new(n: u32) -> Self {
        Self { parent: (0..n).collect() }
    }
    fn len(&self) -> u32 {
        self.parent.len() as u32
    }
    fn grow(&mut self, n: u32) {
        self.parent.extend(self.parent.len() as u32..n);
    }
    fn find(&mut self, mut x: u32) -> u32 {
        while self.parent[x as usize] != x {
            let up = self.parent[x as usize];
            self.parent[x as usize] = self.parent[up as usize];
            x = self.parent[x as usize];
        }
        x
    }
    /// Whether the two were apart.
    fn union(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b) as usize] = a.min(b);
        a != b
    }
}

/// Solves `statements` over `axes`, which may grow by common factors.
pub(crate) fn solve(axes: &mut Axes, statements: Statements) -> Solution {
    let whole = Whole::find(axes, &statements);
    let mut forest = Forest::new(axes.slot_count());
    // Reasons in the order of the marks, for slots that do not stay with all of their axis.
    let mut marks: Vec<(Cause, Range<Slot>)> = Vec::new();
    for l in &statements.links {
        let [a, b] = [l.a, l.b].map(|(slot, step)| (whole.cause(axes.locate(slot).0), slot, step));
        match (a, b) {
            ((None, ..), (None, ..)) => {
                for i in 0..l.count as i64 {
                    let at = |(_, start, step): (_, Slot, i32)| (i64::from(start) + i * i64::from(step)) as Slot;
                    forest.union(at(a), at(b));
                }
            }
            ((Some(cause), ..), (None, start, step)) | ((None, start, step), (Some(cause), ..)) => {
                let slots = (0..l.count as i64).map(|i| (i64::from(start) + i * i64::from(step)) as Slot);
                marks.extend(slots.map(|s| (cause, s..s + 1)));
            }
            ((Some(_), ..), (Some(_), ..)) => {}
        }
    }
    let open: Vec<Product> = statements.products.into_iter().filter(|p| whole.cause(p.flat).is_none()).collect();
    let mut closed: Vec<AxisId> = open.iter().flat_map(|p| p.factors.iter().copied()).collect();
    closed.sort_unstable();
    closed.dedup();
    marks.extend(closed.iter().filter_map(|x| Some((whole.cause(*x)?, axes.slots(*x)))));
    let mut edges = Vec::new();
    let (products, clashes) = refine(axes, &mut forest, &mut edges, &open);

    let mut frozen = Frozen::new(axes.slot_count());
    for (i, m) in statements.marks.iter().enumerate() {
        frozen.reason(m.reason.clone(), m.node);
        if !m.slots.is_empty() && whole.cause(axes.locate(m.slots.start).0).is_none() {
            marks.push(((i as u32, m.slots.start), m.slots.clone()));
        }
    }
    marks.sort_by_key(|m| (m.0.0, m.1.start));
    for ((reason, _), slots) in marks {
        slots.for_each(|s| frozen.add(forest.find(s), reason, s));
    }
    let clash = frozen.reason(Reason::Factorisation, None);
    for axis in clashes {
        axes.slots(axis).for_each(|s| frozen.add(forest.find(s), clash, s));
    }

    let mut system = System::new(axes, &mut forest, &products, frozen);
    system.solve();
    let class: Vec<u32> = (0..axes.slot_count()).map(|s| forest.find(s)).collect();
    system.keep_axes_alive(axes, &class, &whole);
    let mut cut = Table::new(axes.slot_count());
    for s in axes.iter().filter(|x| whole.cause(*x).is_none()).flat_map(|x| axes.slots(x)) {
        if class[s as usize] == s {
            let set = system.set_of(s);
            if !set.is_empty() {
                cut.insert(s, set);
            }
        }
    }
    Solution { class, cut, frozen: system.frozen, whole, links: statements.links, edges, products }
}

/// Brings products over one row of slots to one factorisation. Returns the products in force and the axes whose
/// factorisations clash.
fn refine(
    axes: &mut Axes,
    forest: &mut Forest,
    edges: &mut Vec<Edge>,
    products: &[Product],
) -> (Vec<Product>, BTreeSet<AxisId>) {
    let mut work: Vec<Product> = products.to_vec();
    let mut clashes = BTreeSet::new();
    // Tying factors can make further rows equal; every round but the last makes a union or a refinement.
    loop {
        let rows = equal_rows(axes, forest, &work);
        let mut changed = false;
        let mut added = Vec::new();
        let mut dropped = Vec::new();
        for same in &rows {
            let first = work[same[0]].clone();
            for &other in &same[1..] {
                let second = work[other].clone();
                let (a, b) = (solid(axes, &first), solid(axes, &second));
                let lens = |f: &[AxisId]| f.iter().map(|x| axes.len(*x)).collect::<Vec<u32>>();
                if lens(&a) == lens(&b) {
                    for (x, y) in a.iter().zip(&b) {
                        for (s, t) in axes.slots(*x).zip(axes.slots(*y)) {
                            if forest.union(s, t) {
                                edges.push(Edge { a: s, b: t, node: second.node });
                                changed = true;
                            }
                        }
                    }
                    dropped.push(other);
                } else if let Some(digits) = common_digits(&lens(&a), &lens(&b)) {
                    let ids: Option<Vec<_>> =
                        digits.iter().map(|&d| axes.push(AxisOwner::Digit, u64::from(d))).collect();
                    let Some(ids) = ids else {
                        // No room for the digits' slots: the row stays whole.
                        clashes.insert(second.flat);
                        continue;
                    };
                    forest.grow(axes.slot_count());
                    for (product, factors) in [(&first, &a), (&second, &b)] {
                        added.extend(split_by_digits(axes, product, factors, &ids));
                    }
                    added.push(Product { factors: ids, rule: "common refinement", ..second.clone() });
                    dropped.extend([same[0], other]);
                    changed = true;
                    break; // `first` is gone: the next round sees the rest of the row
                } else {
                    // Both stay in force: a frozen flat axis freezes its factors on either side.
                    clashes.insert(second.flat);
                }
            }
        }
        dropped.sort_unstable();
        let mut index = 0..;
        work.retain(|_| index.next().is_none_or(|i| dropped.binary_search(&i).is_err()));
        work.extend(added);
        if !changed {
            return (work, clashes);
        }
    }
}

/// Products whose flat axes are the same row of slots, as indices into `products`, where there are several.
///
/// Rows are compared slot by slot only where their first slots agree: rounds are many, and most rows are unlike any other.
fn equal_rows(axes: &Axes, forest: &mut Forest, products: &[Product]) -> Vec<Vec<usize>> {
    let mut starts: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
    for (i, p) in products.iter().enumerate() {
        let first = axes.slots(p.flat).next().map(|s| forest.find(s));
        starts.entry(first).or_default().push(i);
    }
    let mut out = Vec::new();
    for alike in starts.into_values().filter(|a| a.len() > 1) {
        let mut rows: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
        for i in alike {
            rows.entry(axes.slots(products[i].flat).map(|s| forest.find(s)).collect()).or_default().push(i);
        }
        out.extend(rows.into_values().filter(|r| r.len() > 1));
    }
    out
}

/// Factors longer than 1.
fn solid(axes: &Axes, p: &Product) -> Vec<AxisId> {
    p.factors.iter().copied().filter(|f| axes.len(*f) != 1).collect()
}

/// Digits of the mixed-radix system that refines both factorisations, outermost first; `None` if there is none.
fn common_digits(a: &[u32], b: &[u32]) -> Option<Vec<u32>> {
    let strides = |f: &[u32]| -> Vec<u64> {
        let mut s = vec![1u64];
        for &len in f.iter().rev() {
            s.push(s[s.len() - 1] * u64::from(len));
        }
        s
    };
    let mut all = strides(a);
    all.extend(strides(b));
    all.sort_unstable();
    all.dedup();
    let digit = |w: &[u64]| w[1].is_multiple_of(w[0]).then(|| (w[1] / w[0]) as u32);
    let mut digits: Vec<u32> = all.windows(2).map(digit).collect::<Option<_>>()?;
    digits.reverse();
    Some(digits)
}

/// Each factor of `product` as the product of the digits that it spans.
fn split_by_digits(axes: &Axes, product: &Product, factors: &[AxisId], digits: &[AxisId]) -> Vec<Product> {
    let mut out = Vec::new();
    let mut next = digits.iter().copied();
    for &flat in factors {
        let mut spanned = Vec::new();
        let mut len = 1;
        while len < axes.len(flat) {
            let Some(d) = next.next() else { break };
            len *= axes.len(d);
            spanned.push(d);
        }
        out.push(Product { flat, factors: spanned, node: product.node, rule: product.rule });
    }
    out
}

/// Where a variable stands in a product: distance of its slots and length of its axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Role {
    stride: u64,
    len: u32,
}

/// The equations over cut sets.
struct System {
    /// Variables tied to each other.
    ties: Forest,
    /// First definition of each defined class, as variables.
    defined: Table<Vec<u32>>,
    /// Sets that replaced a variable.
    substituted: Table<Vec<u32>>,
    roles: Table<Role>,
    frozen: Frozen,
    equations: Vec<(Vec<u32>, Vec<u32>)>,
}

impl System {
    fn new(axes: &Axes, forest: &mut Forest, products: &[Product], frozen: Frozen) -> Self {
        let bound = axes.slot_count();
        let mut definitions: Table<Vec<Vec<u32>>> = Table::new(bound);
        let mut roles = Table::new(bound);
        for p in products {
            let lens: Vec<u32> = p.factors.iter().map(|f| axes.len(*f)).collect();
            let mut stride = 1u64;
            for (f, len) in p.factors.iter().zip(&lens).rev() {
                for s in axes.slots(*f) {
                    roles.get_or_insert(forest.find(s), || Role { stride, len: *len });
                }
                stride *= u64::from(*len);
            }
            for (i, s) in axes.slots(p.flat).enumerate() {
                let mut rest = i as u32;
                let mut set = Vec::with_capacity(lens.len());
                for (f, len) in p.factors.iter().zip(&lens).rev() {
                    set.push(forest.find(axes.slot(*f, rest % len)));
                    rest /= len;
                }
                set.sort_unstable();
                set.dedup();
                definitions.get_or_insert(forest.find(s), Vec::new).push(set);
            }
        }
        let mut system = System {
            ties: Forest::new(bound),
            defined: Table::new(bound),
            substituted: Table::new(bound),
            roles,
            frozen,
            equations: Vec::new(),
        };
        system.expand(&definitions);
        system
    }

    /// Expands definitions whose members are themselves defined, depth first. A class met while it is being expanded
    /// stays a variable there, and an equation says that it equals its definition.
    fn expand(&mut self, definitions: &Table<Vec<Vec<u32>>>) {
        let mut roots = definitions.keys().to_vec();
        roots.sort_unstable();
        let mut open: Table<()> = Table::new(self.ties.len());
        for root in roots {
            let mut stack = vec![root];
            while let Some(&class) = stack.last() {
                let Some(own) = definitions.get(class).filter(|_| self.defined.get(class).is_none()) else {
                    stack.pop();
                    continue;
                };
                if open.get(class).is_none() {
                    open.insert(class, ());
                    let fresh = |m: &u32| definitions.get(*m).is_some() && open.get(*m).is_none();
                    stack.extend(own.iter().flatten().copied().filter(fresh));
                } else {
                    stack.pop();
                    self.define(class, own, definitions);
                }
            }
        }
    }

    /// Expands the definitions of one class, once those of its members are expanded or known to be cyclic.
    fn define(&mut self, class: u32, own: &[Vec<u32>], definitions: &Table<Vec<Vec<u32>>>) {
        let mut sets: Vec<Vec<u32>> = Vec::new();
        let mut cyclic = false;
        for definition in own {
            let mut set = Vec::new();
            for &m in definition {
                match self.defined.get(m) {
                    Some(known) => set.extend(known),
                    None => {
                        set.push(m);
                        cyclic |= definitions.get(m).is_some();
                    }
                }
            }
            set.sort_unstable();
            set.dedup();
            sets.push(set);
        }
        let first = sets[0].clone();
        if cyclic {
            self.equations.push((vec![class], first.clone()));
        }
        // A flat slot that stays keeps every factor's slot that it has.
        if self.frozen.has(class) {
            sets.iter().flatten().for_each(|v| self.frozen.spread(class, *v));
        }
        for other in sets.into_iter().skip(1) {
            self.equations.push((first.clone(), other));
        }
        self.defined.insert(class, first);
    }

    /// Cut set of a class: sorted live variables.
    fn set_of(&mut self, class: u32) -> Vec<u32> {
        if self.frozen.has(class) {
            return Vec::new();
        }
        match self.defined.get(class).cloned() {
            Some(set) => self.normal(&set),
            None => self.normal(&[class]),
        }
    }

    /// The set with ties, substitutions and freezes applied.
    fn normal(&mut self, set: &[u32]) -> Vec<u32> {
        let mut out = Vec::with_capacity(set.len());
        let mut todo: Vec<u32> = set.to_vec();
        let mut replaced = BTreeSet::new();
        while let Some(v) = todo.pop() {
            let v = self.ties.find(v);
            if self.frozen.has(v) {
                continue;
            }
            match self.substituted.get(v) {
                Some(by) if replaced.insert(v) => todo.extend(by),
                Some(_) => {}
                None => out.push(v),
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Once its two sides are the same set of variables an equation stays true, whatever is tied, substituted or frozen
    /// later, so one walk is enough.
    fn solve(&mut self) {
        for (s, t) in std::mem::take(&mut self.equations) {
            while let Some((a, b)) = self.differ(&s, &t) {
                self.step(&a, &b);
            }
        }
    }

    /// Both sides without what they share, if they differ.
    fn differ(&mut self, s: &[u32], t: &[u32]) -> Option<(Vec<u32>, Vec<u32>)> {
        let (s, t) = (self.normal(s), self.normal(t));
        let only = |x: &[u32], y: &[u32]| x.iter().copied().filter(|v| !y.contains(v)).collect::<Vec<u32>>();
        let (a, b) = (only(&s, &t), only(&t, &s));
        (!a.is_empty() || !b.is_empty()).then_some((a, b))
    }

    /// Makes a ∪ c = b ∪ c truer, for disjoint a and b.
    fn step(&mut self, a: &[u32], b: &[u32]) {
        match (a, b) {
            ([], rest) | (rest, []) => rest.iter().for_each(|v| self.freeze(*v)),
            ([x], [y]) => self.merge(*x, *y),
            ([x], more) | (more, [x]) => {
                self.substituted.insert(*x, more.to_vec());
            }
            _ => {
                let pair = a.iter().find_map(|x| {
                    let same = |y: &&u32| self.roles.get(*x).is_some() && self.roles.get(*x) == self.roles.get(**y);
                    b.iter().find(same).map(|y| (*x, *y))
                });
                match pair {
                    Some((x, y)) => self.merge(x, y),
                    None => {
                        let len = |v: &u32| self.roles.get(*v).map_or(u32::MAX, |r| r.len);
                        let coarsest = a.iter().chain(b).copied().min_by_key(|v| (len(v), *v));
                        coarsest.into_iter().for_each(|v| self.freeze(v));
                    }
                }
            }
        }
    }

    /// Freezes variables that every slot of some axis leaves with: without them the axis would be empty.
    fn keep_axes_alive(&mut self, axes: &Axes, class: &[u32], stay: &Whole) {
        let whole = self.frozen.reason(Reason::WholeAxis, None);
        for axis in axes.iter().filter(|x| stay.cause(*x).is_none()) {
            let mut slots = axes.slots(axis);
            let Some(first) = slots.next() else { continue };
            let mut everywhere = self.set_of(class[first as usize]);
            for s in slots {
                if everywhere.is_empty() {
                    break;
                }
                let here = self.set_of(class[s as usize]);
                everywhere.retain(|v| here.contains(v));
            }
            everywhere.into_iter().for_each(|v| self.frozen.add(v, whole, first));
        }
    }

    fn merge(&mut self, x: u32, y: u32) {
        self.ties.union(x, y);
    }

    fn freeze(&mut self, v: u32) {
        let v = self.ties.find(v);
        let reason = self.frozen.reason(Reason::Factorisation, None);
        self.frozen.add(v, reason, v);
    }
}
