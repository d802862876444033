//! Axes that stay as a whole, found before single slots are looked at.
//!
//! Most slots of a model lie on axes of which none can leave: positions, windows, normalised widths. A mark on a whole
//! axis spreads along links that cover the other axis, from a flat axis to its factors, and from all factors to the flat
//! axis. What it reaches costs the solver nothing: no union, no definition.

use crate::axes::{Axes, AxisId, Slot};
use crate::collect::{Link, Mark, Product, Statements};
use sparsec_ir::Id;

/// Why an axis stays: position of the mark, and a slot that it was stated of.
pub(crate) type Cause = (u32, Slot);

/// Axes that stay as a whole, and why.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    of: Vec<Option<Cause>>,
}

/// A statement that an axis takes part in.
#[derive(Clone, Copy)]
enum Part {
    Link(u32),
    Product(u32),
}

impl Whole {
    /// Spreads the marks of `statements` in their order: an axis keeps the first reason that reaches it.
    pub(crate) fn find(axes: &Axes, statements: &Statements) -> Self {
        let mut out = Self { of: vec![None; axes.iter().count()] };
        let parts = parts(axes, statements);
        for (index, mark) in statements.marks.iter().enumerate() {
            let Some(axis) = covered(axes, mark) else { continue };
            let mut todo = vec![axis];
            while let Some(axis) = todo.pop() {
                if out.of[axis.index()].is_some() {
                    continue;
                }
                out.of[axis.index()] = Some((index as u32, mark.slots.start));
                for part in &parts[axis.index()] {
                    match *part {
                        Part::Link(l) => todo.extend(reached(axes, &statements.links[l as usize])),
                        Part::Product(p) => out.reached_by_product(axes, &statements.products[p as usize], &mut todo),
                    }
                }
            }
        }
        out
    }

    /// Why `axis` stays, if all of it does.
    pub(crate) fn cause(&self, axis: AxisId) -> Option<Cause> {
        self.of.get(axis.index()).copied().flatten()
    }

    fn reached_by_product(&self, axes: &Axes, p: &Product, todo: &mut Vec<AxisId>) {
        if self.cause(p.flat).is_some() && axes.len(p.flat) > 0 {
            todo.extend(&p.factors);
        } else if p.factors.iter().all(|f| self.cause(*f).is_some()) {
            todo.push(p.flat);
        }
    }
}

/// The axis that a mark covers, if it covers one.
fn covered(axes: &Axes, mark: &Mark) -> Option<AxisId> {
    if mark.slots.is_empty() {
        return None;
    }
    let (axis, _) = axes.locate(mark.slots.start);
    (axes.slots(axis) == mark.slots).then_some(axis)
}

/// Axes of a link that it covers; if one of its axes stays, so do these.
fn reached(axes: &Axes, link: &Link) -> impl Iterator<Item = AxisId> {
    // Steps of a row that is as long as its axis are ±1, unless it is one slot again and again.
    let covers = |(slot, step): (Slot, i32)| {
        let (axis, _) = axes.locate(slot);
        (axes.len(axis) == link.count && (step != 0 || link.count == 1)).then_some(axis)
    };
    [covers(link.a), covers(link.b)].into_iter().flatten()
}

/// Statements that each axis takes part in.
fn parts(axes: &Axes, statements: &Statements) -> Vec<Vec<Part>> {
    let mut out: Vec<Vec<Part>> = vec![Vec::new(); axes.iter().count()];
    for (i, l) in statements.links.iter().enumerate() {
        for slot in [l.a.0, l.b.0] {
            out[axes.locate(slot).0.index()].push(Part::Link(i as u32));
        }
    }
    for (i, p) in statements.products.iter().enumerate() {
        for axis in p.factors.iter().chain([&p.flat]) {
            out[axis.index()].push(Part::Product(i as u32));
        }
    }
    out
}
