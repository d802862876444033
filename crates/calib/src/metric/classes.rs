//! Scores of classes among outputs.

/// Where the scores of one element lie: `outer × classes × inner` numbers.
#[derive(Clone, Copy)]
pub(super) struct ClassAxis {
    pub(super) outer: usize,
    pub(super) classes: usize,
    pub(super) inner: usize,
}

impl ClassAxis {
    pub(super) fn new(dims: &[u64], axis: usize) -> Self {
        let product = |d: &[u64]| d.iter().product::<u64>() as usize;
        Self { outer: product(&dims[..axis]), classes: dims[axis] as usize, inner: product(&dims[axis + 1..]) }
    }
    pub(super) fn unlabelled(dims: &[u64]) -> Self {
        match dims.len() {
            1 => Self { outer: dims[0] as usize, classes: 1, inner: 1 },
            2 | 4 | 5 => Self::new(dims, 1),
            rank => Self::new(dims, rank - 1),
        }
    }
    pub(super) fn elements(self) -> usize {
        self.outer * self.inner
    }
    /// Scores of element `e`.
    pub(super) fn scores(self, values: &[f64], e: usize) -> impl Iterator<Item = f64> + Clone + '_ {
        let at = e / self.inner * self.classes * self.inner + e % self.inner;
        values[at..].iter().step_by(self.inner).take(self.classes).copied()
    }
    /// The chosen class of element `e`: the first of the highest scores, or 1 for a single score above 0.
    pub(super) fn choice(self, values: &[f64], e: usize) -> usize {
        let mut scores = self.scores(values, e);
        let first = scores.next().unwrap_or(f64::NEG_INFINITY);
        if self.classes == 1 {
            return usize::from(first > 0.0);
        }
        let best = |(at, top): (usize, f64), (i, s): (usize, f64)| if s > top { (i, s) } else { (at, top) };
        scores.enumerate().map(|(i, s)| (i + 1, s)).fold((0, first), best).0
    }
}
