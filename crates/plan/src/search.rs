//! The search for how many units each group keeps.
//!
//! Errors of groups are taken as additive and costs are not (a contraction costs its input times its output channels),
//! so the search walks from the dense model downwards: each step takes the jump of one group with the least error for
//! the cost it saves, re-priced with the true cost model, until every limit holds; then it gives back what the last
//! steps took too much and exchanges units between groups while that lowers the error.

use crate::walk::Walk;
use thiserror::Error;

/// What a plan costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Multiply-accumulates.
    pub macs: f64,
    /// Parameters.
    pub params: f64,
    /// Bytes of the model file.
    pub size: f64,
    /// Milliseconds.
    pub latency_ms: f64,
    /// Peak bytes of weights and activations.
    pub memory: f64,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    /// Multiply-accumulates.
    Macs,
    /// Parameters.
    Params,
    /// Bytes of the model file.
    Size,
    /// Milliseconds.
    Latency,
    /// Bytes of weights and activations.
    Memory,
}

impl LimitKind {
    /// The price that is limited.
    pub fn of(self, price: &Price) -> f64 {
        match self {
            Self::Macs => price.macs,
            Self::Params => price.params,
            Self::Size => price.size,
            Self::Latency => price.latency_ms,
            Self::Memory => price.memory,
        }
    }
    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::Params => "params",
            Self::Size => "size",
            Self::Latency => "latency",
            Self::Memory => "memory",
        }
    }
}

/// An upper bound, in the unit of its price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// What is limited.
    pub kind: LimitKind,
    /// Bound.
    pub at_most: f64,
}

/// Error on the model's output against the number of units that one group keeps, all others whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Counts that the group may keep, ascending; the last is all of them.
    pub counts: Vec<u32>,
    /// Error at each count; 0 at the last, never rising with the count.
    pub error: Vec<f64>,
}

impl Curve {
    /// A curve over `counts`, made monotone: an error that a larger count exceeds is raised to it.
    pub fn new(counts: Vec<u32>, mut error: Vec<f64>) -> Self {
        debug_assert_eq!(counts.len(), error.len());
        let mut worst = 0.0f64;
        for e in error.iter_mut().rev() {
            worst = worst.max(if e.is_finite() { *e } else { f64::MAX });
            *e = worst;
        }
        if let Some(last) = error.last_mut() {
            *last = 0.0;
        }
        Self { counts, error }
    }
    /// The curve with all errors so many times as large.
    pub fn scaled(mut self, factor: f64) -> Self {
        self.error.iter_mut().for_each(|e| *e = (*e * factor).min(f64::MAX));
        self
    }
}

/// What the search asks about counts of units kept, one for each group. What goes whole or not at all, such as a branch, is
/// a group of one unit that may keep none.
pub trait Evaluate {
    /// Cost of keeping so many units of each group. The next question differs in a group or two.
    fn price(&self, keep: &[u32]) -> Price;
    /// Other groups on whose counts it hangs what a count of `group` changes in the price, memory aside.
    fn coupled(&self, group: usize) -> &[usize];
    /// Other groups that are gone when `group` keeps none: what they keep then makes no difference.
    fn inside(&self, group: usize) -> &[usize];
    /// Whether the caller wants to stop.
    fn interrupted(&self) -> bool;
}

/// What the search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Units kept of each group.
    pub keep: Vec<u32>,
    /// What that costs.
    pub price: Price,
    /// Sum of the errors of the groups that are there.
    pub error: f64,
    /// Limits that do not hold, though nothing more can be cut.
    pub unmet: Vec<LimitKind>,
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SearchError {
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Finds counts whose price holds every limit with little error; where that is impossible, the cheapest there are.
pub fn search(curves: &[Curve], limits: &[Limit], model: &dyn Evaluate) -> Result<Outcome, SearchError> {
    let full = curves.iter().map(|c| c.counts.len() - 1).collect();
    let mut walk = Walk::new(curves, limits, model, full);
    walk.measure()?;
    let start = walk.clone();
    walk.descend()?;
    walk.climb()?;
    walk.exchange()?;
    walk.reconsider(&start)?;
    Ok(outcome(&walk, limits))
}

/// [`search`] from counts that were found for wider limits: quicker, and not much worse.
pub fn search_from(
    keep: &[u32],
    curves: &[Curve],
    limits: &[Limit],
    model: &dyn Evaluate,
) -> Result<Outcome, SearchError> {
    let nearest = |(k, c): (&u32, &Curve)| c.counts.partition_point(|n| n < k).min(c.counts.len() - 1);
    let mut walk = Walk::new(curves, limits, model, keep.iter().zip(curves).map(nearest).collect());
    walk.descend()?;
    walk.climb()?;
    walk.exchange()?;
    Ok(outcome(&walk, limits))
}

fn outcome(walk: &Walk, limits: &[Limit]) -> Outcome {
    let price = walk.price();
    let unmet = limits.iter().filter(|l| l.kind.of(&price) > l.at_most).map(|l| l.kind).collect();
    Outcome { keep: walk.keep().to_vec(), price, error: walk.error(), unmet }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two layers in a row: the second contracts what the first makes.
    struct Chain;
    impl Evaluate for Chain {
        fn price(&self, keep: &[u32]) -> Price {
            let (a, b) = (f64::from(keep[0]), f64::from(keep[1]));
            Price { macs: 3.0 * a + a * b + 5.0 * b, ..Price::default() }
        }
        fn coupled(&self, group: usize) -> &[usize] {
            [&[1], &[0]][group]
        }
        fn inside(&self, _: usize) -> &[usize] {
            &[]
        }
        fn interrupted(&self) -> bool {
            false
        }
    }

    fn curve(scale: f64) -> Curve {
        let counts: Vec<u32> = (1..=4).map(|i| i * 4).collect();
        let error = counts.iter().map(|c| scale * f64::from(16 - c)).collect();
        Curve::new(counts, error)
    }

    #[test]
    fn the_less_sensitive_group_is_cut_first() {
        let limit = Limit { kind: LimitKind::Macs, at_most: 0.6 * (48.0 + 256.0 + 80.0) };
        let out = search(&[curve(1.0), curve(10.0)], &[limit], &Chain).unwrap();
        assert!(out.unmet.is_empty());
        assert!(out.keep[0] < 16 && out.keep[1] == 16, "{:?}", out.keep);
    }

    #[test]
    fn a_limit_out_of_reach_is_named_and_the_smallest_plan_given() {
        let limit = Limit { kind: LimitKind::Macs, at_most: 1.0 };
        let out = search(&[curve(1.0), curve(1.0)], &[limit], &Chain).unwrap();
        assert_eq!((out.keep, out.unmet), (vec![4, 4], vec![LimitKind::Macs]));
    }

    #[test]
    fn no_exchange_of_two_groups_would_lower_the_error() {
        let curves = [curve(1.0), curve(1.7)];
        let limit = Limit { kind: LimitKind::Macs, at_most: 200.0 };
        let out = search(&curves, &[limit], &Chain).unwrap();
        let mut best = f64::MAX;
        for (i, a) in curves[0].counts.iter().enumerate() {
            for (j, b) in curves[1].counts.iter().enumerate() {
                if Chain.price(&[*a, *b]).macs <= 200.0 {
                    best = best.min(curves[0].error[i] + curves[1].error[j]);
                }
            }
        }
        assert_eq!(out.error, best);
    }

    /// Four groups inside a branch that can be dropped, which is the last one, and two groups beside it.
    struct Nested;
    impl Evaluate for Nested {
        fn price(&self, keep: &[u32]) -> Price {
            let sum = |of: &[u32]| f64::from(of.iter().sum::<u32>());
            let inner = if keep[6] == 0 { 0.0 } else { sum(&keep[..4]) + 10.0 };
            Price { macs: inner + sum(&keep[4..6]), ..Price::default() }
        }
        fn coupled(&self, group: usize) -> &[usize] {
            [&[6][..], &[6], &[6], &[6], &[], &[], &[0, 1, 2, 3]][group]
        }
        fn inside(&self, group: usize) -> &[usize] {
            if group == 6 { &[0, 1, 2, 3] } else { &[] }
        }
        fn interrupted(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_is_inside_a_dropped_branch_stays_whole_and_counts_for_nothing() {
        let found = |branch: f64, at_most| {
            let branch = Curve::new(vec![0, 1], vec![branch, 0.0]);
            let curves = [1.0, 1.0, 1.0, 1.0, 2.0, 2.5].map(curve).into_iter().chain([branch]);
            let limit = Limit { kind: LimitKind::Macs, at_most };
            let out = search(&curves.collect::<Vec<_>>(), &[limit], &Nested).unwrap();
            (out.keep, out.error)
        };
        assert_eq!(found(0.5, 48.0), (vec![16, 16, 16, 16, 16, 16, 0], 0.5));
        // The groups inside are cut first; when they have lost 48 the branch, at 60, costs but 12 more.
        assert_eq!(found(60.0, 48.0), (vec![16, 16, 16, 16, 16, 16, 0], 60.0));
        let (keep, error) = found(60.0, 98.0);
        assert_eq!((keep[6], error), (1, 8.0));
    }

    /// A chain of layers of which each contracts what the one before makes; counts what it is asked.
    struct Counting {
        neighbours: Vec<Vec<usize>>,
        asked: std::cell::Cell<u64>,
        patience: u64,
    }
    impl Counting {
        fn new(groups: usize, patience: u64) -> Self {
            let near = |g: usize| (g.saturating_sub(1)..(g + 2).min(groups)).filter(|o| *o != g).collect();
            Self { neighbours: (0..groups).map(near).collect(), asked: std::cell::Cell::new(0), patience }
        }
    }
    impl Evaluate for Counting {
        fn price(&self, keep: &[u32]) -> Price {
            self.asked.set(self.asked.get() + 1);
            let ends = 3 * (keep[0] + keep[keep.len() - 1]);
            let inner = keep.windows(2).map(|w| w[0] * w[1]).sum::<u32>();
            // Time goes in stairs of 8 channels.
            let up = |k: u32| f64::from(k.next_multiple_of(8));
            let time = keep.windows(2).map(|w| up(w[1]) * f64::from(w[0])).sum();
            Price { macs: f64::from(ends + inner), latency_ms: time, memory: f64::from(inner), ..Price::default() }
        }
        fn coupled(&self, group: usize) -> &[usize] {
            &self.neighbours[group]
        }
        fn inside(&self, _: usize) -> &[usize] {
            &[]
        }
        fn interrupted(&self) -> bool {
            self.asked.get() >= self.patience
        }
    }

    fn curves(groups: usize) -> Vec<Curve> {
        let counts: Vec<u32> = (1..=16).map(|i| i * 4).collect();
        let height = |g: usize| 1.0 + (g * 7919 % 101) as f64;
        let of = |g: usize| counts.iter().map(|c| height(g) * (1.0 - f64::from(*c) / 64.0).powi(2)).collect();
        (0..groups).map(|g| Curve::new(counts.clone(), of(g))).collect()
    }

    #[test]
    fn a_hundred_groups_take_few_prices_and_hundreds_not_many_more_each() {
        let asked = |groups: usize, kind: LimitKind| {
            let (model, curves) = (Counting::new(groups, u64::MAX), curves(groups));
            let whole = model.price(&vec![64; groups]);
            let out = search(&curves, &[Limit { kind, at_most: 0.5 * kind.of(&whole) }], &model).unwrap();
            assert!(out.unmet.is_empty());
            model.asked.get()
        };
        let hundred = [LimitKind::Macs, LimitKind::Latency, LimitKind::Memory].map(|kind| asked(100, kind));
        assert_eq!(hundred, [126_908, 111_995, 262_532]);
        assert!(asked(300, LimitKind::Macs) < 3 * hundred[0]);
    }

    #[test]
    fn a_search_stops_at_the_next_price_when_asked_to() {
        for patience in [1, 50, 2_000, 20_000] {
            let model = Counting::new(40, patience);
            let limit = Limit { kind: LimitKind::Macs, at_most: 70_000.0 };
            assert_eq!(search(&curves(40), &[limit], &model), Err(SearchError::Interrupted));
            assert_eq!(model.asked.get(), patience);
        }
    }

    #[test]
    fn a_search_that_goes_on_from_a_plan_holds_the_tighter_limit() {
        let (model, curves) = (Counting::new(20, u64::MAX), curves(20));
        let limit = |at_most| [Limit { kind: LimitKind::Macs, at_most }];
        let wide = search(&curves, &limit(50_000.0), &model).unwrap();
        let tight = search_from(&wide.keep, &curves, &limit(40_000.0), &model).unwrap();
        let fresh = search(&curves, &limit(40_000.0), &model).unwrap();
        assert!(tight.price.macs <= 40_000.0 && tight.error <= 1.02 * fresh.error, "{} {}", tight.error, fresh.error);
    }
}
