//! Which units leave.

use super::{Curves, DriveError, Prepared, Pricing};
use sparsec_analysis::Removal;
use sparsec_ir::Draw;
use sparsec_plan::{Evaluate, Plan};
use sparsec_plan::{Limit, LimitKind, Outcome, Price, search, search_from};

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
/// saves, or where that is out of reach as much as the dense model takes. Of plans whose error is within 5 % of the
/// least, the fastest is taken; not so where the error is too small to be told from none, or the samples are few. No plan that the cost model finds slower than dense is given.
pub fn decide(dense: &Prepared, curves: &Curves, pricing: &Pricing, limits: &[Limit]) -> Result<Decision, DriveError> {
    curves.check(dense)?;
    let full = dense.whole();
    let before = pricing.price(&full);
    let table = curves.curves(dense);
    let and_within = |at_most: f64| {
        let mut all = limits.to_vec();
        all.push(Limit { kind: LimitKind::Latency, at_most });
        all
    };
    let within = |at_most: f64| search(&table, &and_within(at_most), pricing);
    let mut best = if limits.iter().any(|l| l.kind == LimitKind::Latency) {
        within(before.latency_ms)?
    } else {
        let shares = limits.iter().map(|l| l.at_most / l.kind.of(&before).max(f64::MIN_POSITIVE));
        let saving = 1.0 - shares.fold(1.0, f64::min).max(0.0);
        let mut found = within((1.0 - LEAST_SHARE_OF_SAVING * saving) * before.latency_ms)?;
        if !found.unmet.is_empty() {
            found = within(before.latency_ms)?;
        }
        let most = found.error * WORTH_A_FASTER_PLAN;
        loop {
            if found.error < LEAST_ERROR || curves.few_samples() {
                break found;
            }
            let faster = search_from(&found.keep, &table, &and_within(FASTER * found.price.latency_ms), pricing)?;
            if !faster.unmet.is_empty() || faster.error > most || faster.price.latency_ms >= found.price.latency_ms {
                break found;
            }
            found = faster;
        }
    };
    // The latency that was added is not the user's.
    let asked = |kind: &LimitKind| limits.iter().any(|l| l.kind == *kind);
    best.unmet.retain(asked);
    let Outcome { keep, unmet, .. } = best;
    let slower = pricing.price(&keep).latency_ms > before.latency_ms;
    let (keep, unmet) = if slower { (full, limits.iter().map(|l| l.kind).collect()) } else { (keep, unmet) };
    let after = pricing.price(&keep);
    let removal = pricing.removal(&keep);
    let plan = plan_of(dense, &removal);
    Ok(Decision { keep, removal, plan, before, after, unmet })
}

impl Decision {
    /// All that the model has.
    pub fn whole(dense: &Prepared, pricing: &Pricing) -> Self {
        let keep = dense.whole();
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

/// What leaves when each group keeps the first `keep` units of its order, and each branch stays or, at 0, does not.
pub fn removal_of(dense: &Prepared, orders: &[Vec<u32>], keep: &[u32]) -> Removal {
    let mut removal = Removal::none(&dense.channels);
    for ((group, order), &k) in dense.channels.groups.iter().zip(orders).zip(keep) {
        for &u in order.iter().skip(k as usize) {
            removal.set(group.units[u as usize], true);
        }
    }
    for (branch, &stays) in keep.iter().skip(orders.len()).enumerate() {
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
