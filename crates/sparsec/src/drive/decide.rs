//! Which units leave.

use super::{Curves, DriveError, Prepared, Pricing};
use sparsec_analysis::Removal;
use sparsec_plan::{Limit, LimitKind, Outcome, Price, search};
use sparsec_plan::{Evaluate, Plan};

/// A decision, with what it costs.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Units kept of each group.
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

/// Finds the plan with the least error whose price holds every limit. No plan that the cost model finds slower than the
/// dense model is given: the dense latency is a limit of every search.
pub fn decide(dense: &Prepared, curves: &Curves, pricing: &Pricing, limits: &[Limit]) -> Result<Decision, DriveError> {
    curves.check(dense)?;
    let full: Vec<u32> = dense.channels.groups.iter().map(|g| g.units.len() as u32).collect();
    let before = pricing.price(&full);
    let mut all = limits.to_vec();
    if !all.iter().any(|l| l.kind == LimitKind::Latency) {
        all.push(Limit { kind: LimitKind::Latency, at_most: before.latency_ms });
    }
    let Outcome { keep, unmet, .. } = search(&curves.curves(), &all, pricing)?;
    let slower = pricing.price(&keep).latency_ms > before.latency_ms;
    let (keep, unmet) = if slower { (full, limits.iter().map(|l| l.kind).collect()) } else { (keep, unmet) };
    let after = pricing.price(&keep);
    let removal = pricing.removal(&keep);
    let plan = Plan::of(&dense.channels, &removal);
    Ok(Decision { keep, removal, plan, before, after, unmet })
}

/// What leaves when each group keeps the first `keep` units of its order.
pub fn removal_of(dense: &Prepared, orders: &[Vec<u32>], keep: &[u32]) -> Removal {
    let mut removal = Removal::none(&dense.channels);
    for ((group, order), &k) in dense.channels.groups.iter().zip(orders).zip(keep) {
        for &u in order.iter().skip(k as usize) {
            removal.set(group.units[u as usize], true);
        }
    }
    removal
}

/// A removal of units drawn at random: each group keeps `share` of its units, rounded, and at least one.
pub fn random_removal(dense: &Prepared, seed: u64, share: f64) -> Removal {
    let mut state = seed;
    let mut draw = move || {
        // splitmix64 (Steele et al. 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let orders: Vec<Vec<u32>> = dense
        .channels
        .groups
        .iter()
        .map(|g| {
            let mut keyed: Vec<(u64, u32)> = (0..g.units.len() as u32).map(|u| (draw(), u)).collect();
            keyed.sort_unstable();
            keyed.into_iter().map(|k| k.1).collect()
        })
        .collect();
    let keep: Vec<u32> = orders.iter().map(|o| ((o.len() as f64 * share).round() as u32).max(1)).collect();
    removal_of(dense, &orders, &keep)
}
