//! The search for how many units each group keeps.
//!
//! Errors of groups are taken as additive and costs are not (a contraction costs its input times its output channels),
//! so the search walks from the dense model downwards: each step takes the jump of one group with the least error for
//! the cost it saves, re-priced with the true cost model, until every limit holds; then it gives back what the last
//! steps took too much and exchanges units between groups while that lowers the error.

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
}

/// What the search asks about counts of units kept, one for each group.
pub trait Evaluate {
    /// Cost of keeping so many units of each group.
    fn price(&self, keep: &[u32]) -> Price;
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
    /// Sum of the groups' errors.
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
    let mut s = Search { curves, limits, model, at: full(curves), locked: None };
    s.descend()?;
    s.climb()?;
    s.reconsider()?;
    s.exchange()?;
    let keep = s.keep(&s.at);
    let price = model.price(&keep);
    let unmet = limits.iter().filter(|l| l.kind.of(&price) > l.at_most).map(|l| l.kind).collect();
    Ok(Outcome { keep, price, error: s.error(&s.at), unmet })
}

/// Every group whole.
fn full(curves: &[Curve]) -> Vec<usize> {
    curves.iter().map(|c| c.counts.len() - 1).collect()
}

struct Search<'a> {
    curves: &'a [Curve],
    limits: &'a [Limit],
    model: &'a dyn Evaluate,
    /// Position of each group on its curve.
    at: Vec<usize>,
    /// A group that the descent leaves whole.
    locked: Option<usize>,
}

impl Search<'_> {
    fn keep(&self, at: &[usize]) -> Vec<u32> {
        at.iter().zip(self.curves).map(|(i, c)| c.counts[*i]).collect()
    }
    fn error(&self, at: &[usize]) -> f64 {
        at.iter().zip(self.curves).map(|(i, c)| c.error[*i]).sum()
    }
    /// Sum over the limits of how far the price is beyond them, relative; 0 where all hold.
    fn excess(&self, at: &[usize]) -> f64 {
        let price = self.model.price(&self.keep(at));
        let beyond = |l: &Limit| ((l.kind.of(&price) - l.at_most) / l.at_most.max(f64::MIN_POSITIVE)).max(0.0);
        self.limits.iter().map(beyond).sum()
    }
    fn pause(&self) -> Result<(), SearchError> {
        if self.model.interrupted() { Err(SearchError::Interrupted) } else { Ok(()) }
    }

    /// Takes the cheapest jump until every limit holds or nothing is left to take. Jumps of any length are looked at,
    /// since a stair of the target may make a short one worthless.
    fn descend(&mut self) -> Result<(), SearchError> {
        let mut excess = self.excess(&self.at);
        while excess > 0.0 {
            self.pause()?;
            let mut best: Option<(f64, usize, usize, f64)> = None;
            for g in (0..self.at.len()).filter(|g| self.locked != Some(*g)) {
                let from = self.at[g];
                for to in (0..from).rev() {
                    let mut trial = self.at.clone();
                    trial[g] = to;
                    let left = self.excess(&trial);
                    let saved = excess - left;
                    if saved <= 0.0 {
                        continue;
                    }
                    let curve = &self.curves[g];
                    // The added constant prefers a large saving among cuts that cost (nearly) nothing.
                    let score = (curve.error[to] - curve.error[from] + 1e-9) / saved;
                    if best.is_none_or(|b| score < b.0) {
                        best = Some((score, g, to, left));
                    }
                    if left == 0.0 {
                        break; // a longer jump saves nothing more
                    }
                }
            }
            match best {
                Some((_, g, to, left)) => {
                    self.at[g] = to;
                    excess = left;
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Gives back units while every limit still holds, most error first.
    fn climb(&mut self) -> Result<(), SearchError> {
        if self.excess(&self.at) > 0.0 {
            return Ok(());
        }
        loop {
            self.pause()?;
            let mut best: Option<(f64, usize)> = None;
            for g in 0..self.at.len() {
                if self.at[g] + 1 >= self.curves[g].counts.len() {
                    continue;
                }
                let mut trial = self.at.clone();
                trial[g] += 1;
                let gain = self.curves[g].error[self.at[g]] - self.curves[g].error[trial[g]];
                if best.is_none_or(|b| gain > b.0) && self.excess(&trial) == 0.0 {
                    best = Some((gain, g));
                }
            }
            match best {
                Some((_, g)) => self.at[g] += 1,
                None => return Ok(()),
            }
        }
    }

    /// Tries, for each group that was cut, how the descent goes without touching it: an early step that looked cheap may
    /// have been what made later ones dear, as when it left the target's fast path.
    fn reconsider(&mut self) -> Result<(), SearchError> {
        for g in 0..self.at.len() {
            if self.at[g] + 1 == self.curves[g].counts.len() {
                continue;
            }
            let mut other = Search {
                curves: self.curves,
                limits: self.limits,
                model: self.model,
                at: full(self.curves),
                locked: Some(g),
            };
            other.descend()?;
            other.climb()?;
            let worth = |s: &Self| (s.excess(&s.at), s.error(&s.at));
            if worth(&other) < worth(self) {
                self.at = other.at;
            }
        }
        Ok(())
    }

    /// Moves one group down and another up while that lowers the error within the limits.
    fn exchange(&mut self) -> Result<(), SearchError> {
        if self.excess(&self.at) > 0.0 {
            return Ok(());
        }
        // Each exchange lowers the error, so this ends; the cap bounds the time on models with hundreds of groups.
        for _ in 0..4 * self.at.len() {
            self.pause()?;
            let now = self.error(&self.at);
            let mut best: Option<(f64, Vec<usize>)> = None;
            for up in 0..self.at.len() {
                let reach = self.curves[up].counts.len() - 1 - self.at[up];
                for rise in 1..=reach.min(2) {
                    for down in (0..self.at.len()).filter(|d| *d != up) {
                        for fall in 1..=self.at[down].min(2) {
                            let mut trial = self.at.clone();
                            trial[up] += rise;
                            trial[down] -= fall;
                            let error = self.error(&trial);
                            let better = error < now * (1.0 - 1e-9) && best.as_ref().is_none_or(|b| error < b.0);
                            if better && self.excess(&trial) == 0.0 {
                                best = Some((error, trial));
                            }
                        }
                    }
                }
            }
            match best {
                Some((_, at)) => self.at = at,
                None => break,
            }
        }
        self.climb()
    }
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
}
