//! The steps of the search: from one set of counts to a better one.
//!
//! What a group's jump changes in the price hangs on the groups that it meets in a kernel, and on no other. Changes are
//! therefore kept, and measured again when such a neighbour has moved: a step costs a few prices, however many groups
//! there are.

use crate::search::{Curve, Evaluate, Limit, LimitKind, Price, SearchError};

/// Neighbours whose jumps are measured again at once when a group moves. Of more, those are measured again that come to
/// be the best, and all after as many moves as make this number a move.
const NEIGHBOURS: usize = 16;
/// Prices that trying other starts may take.
const RECONSIDER_PRICES: u64 = 100_000;
/// Units of a curve by which an exchange moves a group at most.
const EXCHANGED: usize = 4;
/// Error that a jump counts for at least: prefers a large saving among cuts that cost (nearly) nothing.
const FREE: f64 = 1e-9;

/// What the jumps of one group change in the price, by position on its curve.
#[derive(Clone, Default)]
struct Row {
    change: Vec<Option<Price>>,
    /// Whether a neighbour has moved since.
    stale: bool,
}

/// A set of counts on its way.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    curves: &'a [Curve],
    limits: &'a [Limit],
    model: &'a dyn Evaluate,
    /// Position of each group on its curve.
    at: Vec<usize>,
    keep: Vec<u32>,
    price: Price,
    rows: Vec<Row>,
    /// Rows that are stale have been so for this many moves.
    owed: usize,
    /// Groups that each lies in.
    around: Vec<Vec<usize>>,
    /// A group that the descent leaves where it is.
    locked: Option<usize>,
    /// Whether a price is not the sum of what the jumps change, as the peak of memory is not: then all are neighbours.
    entangled: bool,
    /// Prices that were asked for.
    pub(crate) asked: u64,
}

impl<'a> Walk<'a> {
    /// Starts at these positions on the curves.
    pub(crate) fn new(curves: &'a [Curve], limits: &'a [Limit], model: &'a dyn Evaluate, at: Vec<usize>) -> Self {
        let keep: Vec<u32> = at.iter().zip(curves).map(|(i, c)| c.counts[*i]).collect();
        let price = model.price(&keep);
        let rows = curves.iter().map(|c| Row { change: vec![None; c.counts.len()], stale: false }).collect();
        let entangled = limits.iter().any(|l| l.kind == LimitKind::Memory);
        let mut around = vec![Vec::new(); curves.len()];
        (0..curves.len()).for_each(|outer| model.inside(outer).iter().for_each(|g| around[*g].push(outer)));
        Self { curves, limits, model, at, keep, price, rows, around, owed: 0, locked: None, entangled, asked: 1 }
    }
    pub(crate) fn keep(&self) -> &[u32] {
        &self.keep
    }
    pub(crate) fn price(&self) -> Price {
        self.price
    }
    /// Sum of the errors of the groups that are there.
    pub(crate) fn error(&self) -> f64 {
        (0..self.at.len()).filter(|g| !self.gone(*g)).map(|g| self.curves[g].error[self.at[g]]).sum()
    }
    /// Whether a group lies in one that keeps none.
    fn gone(&self, g: usize) -> bool {
        self.around[g].iter().any(|outer| self.keep[*outer] == 0)
    }
    /// How much the error rises when a group moves to another position of its curve.
    fn rise(&self, g: usize, to: usize) -> f64 {
        if self.gone(g) {
            return 0.0;
        }
        let (curve, at) = (&self.curves[g], self.at[g]);
        let own = curve.error[to] - curve.error[at];
        // What lies in the group goes with it, and comes back with it.
        let only = |i: &usize| self.around[*i].iter().all(|outer| *outer == g || self.keep[*outer] > 0);
        let inside =
            || self.model.inside(g).iter().filter(|i| only(i)).map(|i| self.curves[*i].error[self.at[*i]]).sum::<f64>();
        match (curve.counts[at], curve.counts[to]) {
            (0, 0) => own,
            (_, 0) => own - inside(),
            (0, _) => own + inside(),
            _ => own,
        }
    }
    /// How far the price is beyond the limits; 0 where all hold.
    pub(crate) fn excess(&self) -> f64 {
        self.beyond(&self.price)
    }
    fn beyond(&self, price: &Price) -> f64 {
        let beyond = |l: &Limit| ((l.kind.of(price) - l.at_most) / l.at_most.max(f64::MIN_POSITIVE)).max(0.0);
        self.limits.iter().map(beyond).sum()
    }

    /// The price with some groups elsewhere.
    fn ask(&mut self, moves: &[(usize, usize)]) -> Result<Price, SearchError> {
        if self.model.interrupted() {
            return Err(SearchError::Interrupted);
        }
        moves.iter().for_each(|&(g, to)| self.keep[g] = self.curves[g].counts[to]);
        let price = self.model.price(&self.keep);
        moves.iter().for_each(|&(g, _)| self.keep[g] = self.curves[g].counts[self.at[g]]);
        self.asked += 1;
        Ok(price)
    }
    /// What moving one group changes in the price.
    fn change(&mut self, g: usize, to: usize) -> Result<Price, SearchError> {
        if let Some(known) = self.rows[g].change[to] {
            return Ok(known);
        }
        let change = self.ask(&[(g, to)])?.minus(self.price);
        self.rows[g].change[to] = Some(change);
        Ok(change)
    }
    fn forget(&mut self, g: usize) {
        let row = &mut self.rows[g];
        row.change.iter_mut().for_each(|c| *c = None);
        row.stale = false;
    }
    /// Forgets what stale rows say, if there are any.
    fn refresh(&mut self) -> bool {
        self.owed = 0;
        let stale: Vec<usize> = (0..self.rows.len()).filter(|g| self.rows[*g].stale).collect();
        stale.iter().for_each(|g| self.forget(*g));
        !stale.is_empty()
    }
    fn neighbours(&self, g: usize) -> usize {
        if self.entangled { self.at.len() - 1 } else { self.model.coupled(g).len() }
    }
    /// Whether two groups' changes may not simply be added.
    fn meet(&self, a: usize, b: usize) -> bool {
        self.entangled || self.model.coupled(a).contains(&b)
    }
    fn go(&mut self, moves: &[(usize, usize)]) -> Result<(), SearchError> {
        let price = self.ask(moves)?;
        for &(g, to) in moves {
            (self.at[g], self.keep[g]) = (to, self.curves[g].counts[to]);
            self.forget(g);
        }
        self.price = price;
        for &(g, _) in moves {
            let neighbours: Vec<usize> = if self.entangled {
                (0..self.at.len()).filter(|o| *o != g).collect()
            } else {
                self.model.coupled(g).to_vec()
            };
            if neighbours.len() <= NEIGHBOURS {
                neighbours.iter().for_each(|n| self.forget(*n));
                continue;
            }
            neighbours.iter().for_each(|n| self.rows[*n].stale = true);
            self.owed += NEIGHBOURS;
            if self.owed >= neighbours.len() {
                self.refresh();
            }
        }
        Ok(())
    }

    /// Measures every jump, so that walks that start here need not do it again.
    pub(crate) fn measure(&mut self) -> Result<(), SearchError> {
        if self.excess() == 0.0 {
            return Ok(());
        }
        for g in 0..self.at.len() {
            for to in 0..self.at[g] {
                self.change(g, to)?;
            }
        }
        Ok(())
    }

    /// Takes the cheapest jump until every limit holds or nothing is left to take. Jumps of any length are looked at,
    /// since a stair of the target may make a short one worthless.
    pub(crate) fn descend(&mut self) -> Result<(), SearchError> {
        while self.excess() > 0.0 {
            match self.cheapest_jump()? {
                Some(jump) if self.rows[jump.0].stale => self.forget(jump.0),
                Some(jump) => self.go(&[jump])?,
                None if self.refresh() => {}
                None => break,
            }
        }
        Ok(())
    }
    fn cheapest_jump(&mut self) -> Result<Option<(usize, usize)>, SearchError> {
        let excess = self.excess();
        let mut best: Option<(f64, (usize, usize))> = None;
        let locked = self.locked;
        for g in (0..self.at.len()).filter(|g| locked != Some(*g)) {
            let from = self.at[g];
            for to in (0..from).rev() {
                let price = self.change(g, to)?.plus(self.price);
                let left = self.beyond(&price);
                let score = (self.rise(g, to) + FREE) / (excess - left);
                if left < excess && best.is_none_or(|b| score < b.0) {
                    best = Some((score, (g, to)));
                }
                if left == 0.0 {
                    break; // a longer jump saves nothing more
                }
            }
        }
        Ok(best.map(|b| b.1))
    }

    /// Gives back units while every limit still holds, most error first.
    pub(crate) fn climb(&mut self) -> Result<(), SearchError> {
        if self.excess() > 0.0 {
            return Ok(());
        }
        loop {
            match self.best_return()? {
                Some(step) => self.go(&[step])?,
                None if self.refresh() => {}
                None => return Ok(()),
            }
        }
    }
    fn best_return(&mut self) -> Result<Option<(usize, usize)>, SearchError> {
        for (_, g, to) in self.rises(1) {
            if self.fits(&[(g, to)])? {
                return Ok(Some((g, to)));
            }
        }
        Ok(None)
    }
    /// Steps up of at most `most` counts: the error that they regain, group and position; most error first.
    fn rises(&self, most: usize) -> Vec<(f64, usize, usize)> {
        let mut out = Vec::new();
        for (g, (&at, c)) in self.at.iter().zip(self.curves).enumerate() {
            out.extend((at + 1..c.counts.len()).take(most).map(|to| (-self.rise(g, to), g, to)));
        }
        // The sort is stable: of equals the first group comes first.
        out.sort_by(|a, b| b.0.total_cmp(&a.0));
        out
    }
    /// Steps down of at most `most` counts: the error that they cost, group and position; least error first.
    fn falls(&self, most: usize) -> Vec<(f64, usize, usize)> {
        let mut out = Vec::new();
        for (g, &at) in self.at.iter().enumerate() {
            out.extend((0..at).rev().take(most).map(|to| (self.rise(g, to), g, to)));
        }
        out.sort_by(|a, b| a.0.total_cmp(&b.0));
        out
    }
    /// Whether every limit holds after these moves. The price is asked for only where the sum of the changes does not
    /// rule it out.
    fn fits(&mut self, moves: &[(usize, usize)]) -> Result<bool, SearchError> {
        let [a, b] = *moves else {
            // One group's own change is exact where it is fresh, and stale ones are looked at when nothing else is left.
            let price = self.change(moves[0].0, moves[0].1)?.plus(self.price);
            if self.beyond(&price) > ROUNDING {
                return Ok(false);
            }
            let price = self.ask(moves)?;
            return Ok(self.beyond(&price) == 0.0);
        };
        if !(self.meet(a.0, b.0) && self.neighbours(a.0) <= NEIGHBOURS) {
            let both = self.change(a.0, a.1)?.plus(self.change(b.0, b.1)?);
            if self.beyond(&self.price.plus(both)) > ROUNDING {
                return Ok(false);
            }
        }
        let price = self.ask(moves)?;
        Ok(self.beyond(&price) == 0.0)
    }

    /// Tries how the descent goes without touching a group that was cut: an early step that looked cheap may have been
    /// what made later ones dear, as when it left the target's fast path. Groups whose cut saves least for its error come
    /// first; how many get their turn is limited by the prices that it takes.
    pub(crate) fn reconsider(&mut self, start: &Self) -> Result<(), SearchError> {
        let mut cut: Vec<(f64, usize)> = Vec::new();
        for g in 0..self.at.len() {
            let (at, whole) = (self.at[g], self.curves[g].counts.len() - 1);
            if at < whole {
                let price = self.ask(&[(g, whole)])?;
                let dearer = self.beyond(&price) - self.excess();
                cut.push((dearer / (self.curves[g].error[at] + FREE), g));
            }
        }
        cut.sort_by(|a, b| a.0.total_cmp(&b.0));
        let budget = self.asked + RECONSIDER_PRICES;
        for (_, g) in cut {
            if self.asked >= budget {
                break;
            }
            let mut other = Walk { locked: Some(g), asked: 0, ..start.clone() };
            other.descend()?;
            other.climb()?;
            other.exchange()?;
            self.asked += other.asked;
            if (other.excess(), other.error()) < (self.excess(), self.error()) {
                *self = Walk { asked: self.asked, locked: None, ..other };
            }
        }
        Ok(())
    }

    /// Moves one group down and another up while that lowers the error within the limits.
    pub(crate) fn exchange(&mut self) -> Result<(), SearchError> {
        if self.excess() > 0.0 {
            return Ok(());
        }
        // Each exchange lowers the error, so this ends; the cap bounds the time on models with hundreds of groups.
        for _ in 0..4 * self.at.len() {
            match self.best_exchange()? {
                Some(moves) => self.go(&moves)?,
                None if self.refresh() => {}
                None => break,
            }
        }
        self.climb()
    }
    fn best_exchange(&mut self) -> Result<Option<[(usize, usize); 2]>, SearchError> {
        let (rises, falls) = (self.rises(EXCHANGED), self.falls(EXCHANGED));
        // Less is rounding.
        let mut most = 1e-9 * self.error();
        let mut best = None;
        for &(gain, up, to) in &rises {
            for &(loss, down, under) in falls.iter().filter(|f| f.1 != up) {
                if gain - loss <= most {
                    break; // what follows costs more
                }
                if self.fits(&[(up, to), (down, under)])? {
                    (most, best) = (gain - loss, Some([(up, to), (down, under)]));
                    break;
                }
            }
        }
        Ok(best)
    }
}

/// Excess that adding changes may show where there is none.
const ROUNDING: f64 = 1e-12;

impl Price {
    fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            macs: f(self.macs, other.macs),
            params: f(self.params, other.params),
            size: f(self.size, other.size),
            latency_ms: f(self.latency_ms, other.latency_ms),
            memory: f(self.memory, other.memory),
        }
    }
    fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    fn minus(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}
