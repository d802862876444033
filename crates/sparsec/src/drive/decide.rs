//! Which units leave.

use super::{Curves, DriveError, Prepared, Pricing};
use sparsec_analysis::Removal;
use sparsec_ir::Draw;
use sparsec_plan::{Curve, Evaluate, Limit, LimitKind, Outcome, Plan, Price, search, search_from};

/// A decision, with what it costs.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What is kept, as [`Prepared::kept`] has it.
    pub keep: Vec<u32>,
    /// What leaves.
    pub removal: Removal,
    /// The same as a plan.
    pub plan: Plan,
    /// Price of the dense model.
    pub before: Price,
    /// Price of the plan.
    pub after: Price,
    /// Limits that do not hold, though nothing more can be cut.
    pub unmet: Vec<LimitKind>,
}

/// Part of what a limit saves that must also be saved in time, by the cost model: less could be lost in its error.
const LEAST_SHARE_OF_SAVING: f64 = 0.2;
/// Steps in which a faster plan is looked for, relative to the last one's latency.
const FASTER: f64 = 0.93;
/// Error that a faster plan may have, relative to the least one found.
const WORTH_A_FASTER_PLAN: f64 = 1.05;
/// Error below which nothing was measured: the samples do not tell such plans from the dense model, so that a faster one
/// would be taken blindly.
const LEAST_ERROR: f64 = 1e-6;

/// Finds a plan whose price holds every limit.
///
/// Fewer multiplications need not take less time: a count that leaves the target's fast path can cost more than it
/// saves. Where no latency is asked for, a plan must therefore save time too: at least a fifth of what the tightest limit
/// saves, or where that is out of reach as much as the dense model takes. Multiplications that masks save are not asked to:
/// zeros take as long as what they stand for, so that it is a fifth of what the channels save without them. Of plans whose
/// error is within 5 % of the least, the fastest is taken; not so where the error is too small to be told from none, or the
/// samples are few. No plan that the cost model finds slower than dense is given.
pub fn decide(dense: &Prepared, curves: &Curves, pricing: &Pricing, limits: &[Limit]) -> Result<Decision, DriveError> {
    curves.check(dense)?;
    let full = pricing.whole();
    let before = pricing.price(&full);
    let table = curves.curves(dense);
    let mut best = if limits.iter().any(|l| l.kind == LimitKind::Latency) {
        search(&table, &and_within(limits, before.latency_ms), pricing)?
    } else {
        let found = in_time(&table, pricing, limits, curves.masks.is_some())?;
        let blind = curves.few_samples() || found.error < LEAST_ERROR;
        if blind { found } else { faster(found, &table, pricing, limits)? }
    };
    // The latency that was added is not the user's.
    let asked = |kind: &LimitKind| limits.iter().any(|l| l.kind == *kind);
    best.unmet.retain(asked);
    let Outcome { keep, unmet, .. } = best;
    let slower = pricing.price(&keep).latency_ms > before.latency_ms;
    let (keep, unmet) = if slower { (full, limits.iter().map(|l| l.kind).collect()) } else { (keep, unmet) };
    let after = pricing.price(&keep);
    let removal = pricing.removal(&keep);
    let mut plan = plan_of(dense, &removal);
    plan.masks = curves.masks.iter().flat_map(|m| m.plans(&pricing.shares(&keep))).collect();
    Ok(Decision { keep, removal, plan, before, after, unmet })
}

/// The limits, and one to the time in ms.
fn and_within(limits: &[Limit], at_most: f64) -> Vec<Limit> {
    limits.iter().copied().chain([Limit { kind: LimitKind::Latency, at_most }]).collect()
}

/// A plan within the limits that saves its share of the time, where there is one.
fn in_time(table: &[Curve], pricing: &Pricing, limits: &[Limit], masks: bool) -> Result<Outcome, DriveError> {
    let before = pricing.price(&pricing.whole());
    let within = |at_most: f64| search(table, &and_within(limits, at_most), pricing);
    let least = |macs: Option<f64>| {
        let share = |l: &Limit| {
            let reached = macs.filter(|_| l.kind == LimitKind::Macs).unwrap_or(l.at_most);
            reached / l.kind.of(&before).max(f64::MIN_POSITIVE)
        };
        let saving = 1.0 - limits.iter().map(share).fold(1.0, f64::min).max(0.0);
        (1.0 - LEAST_SHARE_OF_SAVING * saving) * before.latency_ms
    };
    if !masks {
        let found = within(least(None))?;
        return Ok(if found.unmet.is_empty() { found } else { within(before.latency_ms)? });
    }
    let found = within(before.latency_ms)?;
    let most = least(Some(pricing.price(&pricing.unmasked(&found.keep)).macs));
    if found.price.latency_ms <= most {
        return Ok(found);
    }
    let other = within(most)?;
    Ok(if other.unmet.is_empty() { other } else { found })
}

/// The fastest plan whose error is not much above that of `found`.
fn faster(mut found: Outcome, table: &[Curve], pricing: &Pricing, limits: &[Limit]) -> Result<Outcome, DriveError> {
    let most = found.error * WORTH_A_FASTER_PLAN;
    loop {
        let time = found.price.latency_ms;
        let next = search_from(&found.keep, table, &and_within(limits, FASTER * time), pricing)?;
        if next.error < LEAST_ERROR || !next.unmet.is_empty() || next.error > most || next.price.latency_ms >= time {
            return Ok(found);
        }
        found = next;
    }
}

impl Decision {
    /// All that the model has.
    pub fn whole(dense: &Prepared, pricing: &Pricing) -> Self {
        let keep = pricing.whole();
        let price = pricing.price(&keep);
        let removal = Removal::none(&dense.channels);
        Self { keep, plan: plan_of(dense, &removal), removal, before: price, after: price, unmet: Vec::new() }
    }
    /// Takes over the orders of a removal of the same units.
    pub fn reorder(&mut self, dense: &Prepared, removal: Removal) {
        self.plan = plan_of(dense, &removal);
        self.removal = removal;
    }
}

/// A removal as a plan.
fn plan_of(dense: &Prepared, removal: &Removal) -> Plan {
    let mut plan = Plan::of(&dense.channels, removal);
    plan.concessions = dense.concessions.clone();
    plan
}

/// What leaves when each group keeps the first `keep` units of its order, and each branch stays or, at 0, does not. What
/// is kept of weights changes nothing.
pub fn removal_of(dense: &Prepared, orders: &[Vec<u32>], keep: &[u32]) -> Removal {
    let mut removal = Removal::none(&dense.channels);
    for ((group, order), &k) in dense.channels.groups.iter().zip(orders).zip(keep) {
        for &u in order.iter().skip(k as usize) {
            removal.set(group.units[u as usize], true);
        }
    }
    for (branch, &stays) in (0..dense.channels.branches.len()).zip(keep.iter().skip(orders.len())) {
        removal.set_branch(branch, stays == 0);
    }
    removal
}

/// One in so many branches is dropped by a random plan.
const RANDOM_BRANCHES: u64 = 4;

/// A removal drawn at random: each group keeps `share` of its units, rounded, and at least one; one branch in four is
/// dropped, unless all is kept.
pub fn random_removal(dense: &Prepared, seed: u64, share: f64) -> Removal {
    let mut draw = Draw::new(seed);
    let orders: Vec<Vec<u32>> = dense
        .channels
        .groups
        .iter()
        .map(|g| {
            let mut keyed: Vec<(u64, u32)> = (0..g.units.len() as u32).map(|u| (draw.bits(), u)).collect();
            keyed.sort_unstable();
            keyed.into_iter().map(|k| k.1).collect()
        })
        .collect();
    let keep: Vec<u32> = orders.iter().map(|o| ((o.len() as f64 * share).round() as u32).max(1)).collect();
    let mut removal = removal_of(dense, &orders, &keep);
    for branch in 0..dense.channels.branches.len() {
        removal.set_branch(branch, share < 1.0 && draw.bits().is_multiple_of(RANDOM_BRANCHES));
    }
    removal
}
