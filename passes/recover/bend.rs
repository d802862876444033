//! The function of one number through which a value is read, such as an activation, and what errors it hides.
//!
//! Behind a ReLU a target of −3 is met by −1 too. For a result u that is read through f alone, with y wanted, anything z with
//! f(z) = f(y) will do; of these the nearest to what the map gives now costs it least:
//!
//! ```text
//! z = argmin |z − u|  over z between u and y with |f(z) − f(y)| ≤ ε
//! ```
//!
//! Least squares to z, then z anew: for a function that is flat or rises with slope 1 each turn lowers Σ (f(u) − f(y))², since
//! (u − z)² bounds it from above and meets it at the present u. In place of an auxiliary variable with a penalty as in
//! Zhang et al. 2015 (Accelerating Very Deep Convolutional Networks for Classification and Detection, §3.2), whose limit
//! this is.
//!
//! f is not looked up: it is whatever elementwise nodes compute between the value and one through which all its readers get
//! it, tabulated by running them. That it is a function of one number shows in the numbers: each must give the same beside
//! others.

use super::least_squares::{RecoverError, Recovery};
use sparsec_analysis::node_ref;
use sparsec_ir::{Dim, ElemType, Fact, Facts, Kernel, Model, NodeId, OpTable, Tensor, Use, ValueId, WorkRule};
use sparsec_runtime::extract;
use std::collections::{BTreeMap, BTreeSet};

/// Cells of the table.
const CELLS: usize = 1024;
/// Nodes of a function, at most: the longest in use, a GELU of single operations, has eight.
const NODES: usize = 12;
/// How far beyond the largest number that was seen the table reaches.
const MARGIN: f32 = 1.25;
/// ε, relative to the range of f.
const SLACK: f32 = 1e-3;

/// A function of one number, by its values at equal steps from −`reach` to `reach`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bend {
    reach: f32,
    values: Vec<f32>,
    /// Difference in the function that makes none.
    slack: f32,
}

impl Bend {
    /// The function through which `value`, of numbers up to `most`, is read in `model`; `None` where there is none, or it
    /// hides nothing.
    ///
    /// # Errors
    /// Only those of taking the graph apart: what does not load or run is no function.
    pub(crate) fn of(
        cx: &Recovery,
        (model, facts): (&Model, &Facts),
        value: ValueId,
        most: f32,
    ) -> Result<Option<Self>, RecoverError> {
        let (mut out, reach) = (None, MARGIN * most);
        if !(reach.is_finite() && reach > 0.0) {
            return Ok(None);
        }
        // A function of a function is one too: the longest.
        for read in gates((model, facts, cx.table), value) {
            match Self::tabulated(cx, model, (value, read), reach)? {
                Some(longer) => out = Some(longer),
                None => break,
            }
        }
        Ok(out.filter(Self::hides))
    }
    /// What `read` is of `value`, if it is a function of one number.
    fn tabulated(
        cx: &Recovery,
        model: &Model,
        (value, read): (ValueId, ValueId),
        reach: f32,
    ) -> Result<Option<Self>, RecoverError> {
        let mut facts = Facts::default();
        let (len, elem) = (2 * (CELLS as i64 + 1), Some(ElemType::F32));
        for v in [value, read] {
            facts.set(v, Fact { elem, shape: Some(vec![Dim::from(len)]), content: None });
        }
        let part = extract(model, &facts, &[value], &[read])?;
        let Ok(session) = cx.runtime.load(&part, &[vec![len as u64]], 1) else { return Ok(None) };
        let grid: Vec<f32> = (0..=CELLS).map(|i| at(reach, i)).collect();
        let run = |beside: &[f32]| -> Option<Vec<f32>> {
            let out = session.run(&[Tensor::f32(&[len as u64], &[&grid, beside].concat())]).ok()?;
            let out = out.first()?.to_f32().ok()?;
            (out.len() == len as usize && out.iter().all(|v| v.is_finite())).then_some(out)
        };
        let (Some(one), Some(other)) = (run(&grid), run(&vec![0.0; CELLS + 1])) else { return Ok(None) };
        let (values, again) = one.split_at(CELLS + 1);
        let range = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let out = Self { reach, values: values.to_vec(), slack: SLACK * (range.1 - range.0) };
        Ok((values == again && other.starts_with(values)).then_some(out))
    }
    /// Whether there are different numbers that it makes alike.
    fn hides(&self) -> bool {
        self.values.windows(2).any(|w| (w[0] - w[1]).abs() <= 0.1 * self.slack)
    }
    /// Its value; beyond the table that of the nearest end.
    pub(crate) fn at(&self, x: f32) -> f32 {
        let place = ((x + self.reach) / (2.0 * self.reach) * CELLS as f32).clamp(0.0, CELLS as f32);
        let cell = (place as usize).min(CELLS - 1);
        let part = place - cell as f32;
        self.values[cell] * (1.0 - part) + self.values[cell + 1] * part
    }
    /// Whether two numbers give the same, as far as it matters. Beyond the table only what is level there does.
    fn alike(&self, a: f32, wanted: f32) -> bool {
        (self.at(a) - wanted).abs() <= self.slack
    }
    /// The number nearest to `now`, on the way to `wanted`, that gives what `wanted` does.
    pub(crate) fn aim(&self, now: f32, wanted: f32) -> f32 {
        let goal = self.at(wanted);
        if !now.is_finite() || wanted.abs() >= self.reach {
            return wanted;
        }
        let step = 2.0 * self.reach / CELLS as f32;
        let mut z = now.clamp(-self.reach, self.reach);
        if self.alike(z, goal) {
            // Beyond the table it is taken to go on as it ends: level, or not.
            return if z == now || self.level(z) { now } else { wanted };
        }
        while (wanted - z).abs() > step {
            z += step.copysign(wanted - z);
            if self.alike(z, goal) {
                return z;
            }
        }
        wanted
    }
    /// Whether the table is level at this end.
    fn level(&self, end: f32) -> bool {
        let (a, b) = if end < 0.0 { (0, 1) } else { (CELLS - 1, CELLS) };
        (self.values[a] - self.values[b]).abs() <= 0.1 * self.slack
    }
    /// Its slope about a number, over a fiftieth of the table.
    pub(crate) fn slope(&self, x: f32) -> f64 {
        let h = self.reach / 50.0;
        f64::from((self.at(x + h) - self.at(x - h)) / (2.0 * h))
    }
    /// (f(a) − f(b))².
    pub(crate) fn square(&self, a: f32, b: f32) -> f64 {
        f64::from(self.at(a) - self.at(b)).powi(2)
    }
}

/// A number of the grid.
fn at(reach: f32, i: usize) -> f32 {
    reach * (2.0 * i as f32 / CELLS as f32 - 1.0)
}

/// Whether a node computes each element by itself, from one activation and constants of one element. Others are not even
/// tried: a runtime may not survive what it is made to run at another shape.
fn elementwise((model, facts, table): (&Model, &Facts, &OpTable), node: NodeId) -> bool {
    let (graph, n) = (&model.graph, model.graph.node(node));
    let Some(WorkRule::By(rule)) = table.get(&n.domain, &n.op).map(|d| d.work) else { return false };
    let kernel = rule(&node_ref(model, facts, node)).map(|w| w.kernel);
    let shape = |v: &ValueId| facts.get(*v).shape.as_ref();
    let out = n.outputs.first().copied().flatten();
    let fits = |v: &ValueId| match graph.constant(*v) {
        Some(t) => t.count() == 1 && t.dims.len() <= 1,
        None => shape(v).is_some() && shape(v) == out.as_ref().and_then(shape),
    };
    matches!(kernel, Ok(Kernel::Elementwise { .. })) && n.outputs.len() == 1 && n.inputs.iter().flatten().all(fits)
}

/// Values through which all readers of `value` get it, from the first, where nothing but constants joins on the way.
fn gates(cx: (&Model, &Facts, &OpTable), value: ValueId) -> Vec<ValueId> {
    let graph = &cx.0.graph;
    let mut out = Vec::new();
    // Values on the way, with the uses that are still to come; and nodes, with operands that are.
    let (mut open, mut waiting) = (BTreeMap::new(), BTreeMap::new());
    let mut ready = BTreeSet::new();
    let mut next = vec![value];
    for _ in 0..=NODES {
        for v in next {
            let uses = &graph.value(v).uses;
            if graph.is_output(v) || uses.iter().any(|u| matches!(u, Use::Captured(_))) {
                return out;
            }
            open.insert(v, uses.len());
            for node in graph.consumers(v) {
                let inputs = || graph.node(node).inputs.iter().flatten();
                let all = inputs().filter(|i| graph.constant(**i).is_none()).count();
                let left = waiting.entry(node).or_insert(all);
                *left -= inputs().filter(|i| **i == v).count();
                if *left == 0 {
                    ready.insert(node);
                }
            }
        }
        open.retain(|_, left| *left > 0);
        if let [one] = open.keys().collect::<Vec<&ValueId>>()[..]
            && *one != value
        {
            out.push(*one);
        }
        let node = ready.pop_first().filter(|n| elementwise(cx, *n));
        let Some(node) = node.map(|n| graph.node(n)) else { return out };
        for input in node.inputs.iter().flatten() {
            if let Some(left) = open.get_mut(input) {
                *left -= 1;
            }
        }
        next = node.outputs.iter().flatten().copied().collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bend(f: fn(f32) -> f32) -> Bend {
        let values: Vec<f32> = (0..=CELLS).map(|i| f(at(4.0, i))).collect();
        Bend { reach: 4.0, values, slack: 4e-3 }
    }

    #[test]
    fn an_aim_is_the_nearest_number_that_reads_alike() {
        let relu = bend(|x| x.max(0.0));
        let near = |a: f32, b: f32| (a - b).abs() < 2e-2;
        // What is level hides an error, from either side and beyond the table.
        assert_eq!((relu.aim(-3.0, -1.0), relu.aim(-0.5, -2.0), relu.aim(-9.0, -1.0)), (-3.0, -0.5, -9.0));
        // What is wanted to be nothing need only be nothing.
        assert!(near(relu.aim(2.0, -3.0), 0.0) && near(relu.aim(-2.0, 1.0), 1.0) && near(relu.aim(3.0, 1.0), 1.0));
        // Where the table ends in a slope, what lies beyond is not alike.
        assert_eq!((relu.aim(9.0, 3.999), relu.aim(1.0, 7.0)), (3.999, 7.0));
        assert_eq!(relu.aim(f32::NAN, 1.0), 1.0);
    }

    #[test]
    fn a_function_that_turns_reads_alike_at_two_places() {
        let gelu = bend(|x| 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x.powi(3))).tanh()));
        assert!(gelu.hides() && !bend(|x| x).hides());
        let z = gelu.aim(0.5, -1.6);
        assert!((gelu.at(z) - gelu.at(-1.6)).abs() <= gelu.slack && z > -0.6, "{z}");
    }
}
