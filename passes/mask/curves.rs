//! What masks of each weight would cost, from the closed form, at all shares at once.

use super::obs::choose;
use super::places::Place;
use super::units::{Units, Unmaskable};
use crate::recover::{Batches, Normal, RecoverError, Recovery, Ridge, Skipped, Stream, Target, Walk, held, observe};
use sparsec_analysis::infer;
use sparsec_ir::{Model, NodeId, ValueId, topological};
use sparsec_plan::Pattern;
use std::collections::BTreeSet;

/// Blocks of outputs that are traced to draw a curve: evenly spread over all of them.
const BLOCKS: usize = 24;

/// What masks of a weight would cost.
#[derive(Clone, Debug)]
pub struct WeightCurve {
    /// Its name.
    pub weight: String,
    /// The node that reads it.
    pub node: NodeId,
    /// Share that stays, falling from 1, and the mean square that the zeros add to the node's result, relative to the
    /// result's own; or why the weight stays dense.
    pub points: Result<Vec<(f64, f64)>, Unmaskable>,
}

/// Curves of all weights of `model` that could be masked, from the statistics of its own activations: one walk, and no run
/// of a masked model. `density` is the share that stays where shares of parts have to be fixed on the way. Of `cx` are
/// read the operators, the runtime, the samples and the options.
pub fn curves(cx: &Recovery, model: &Model, pattern: Pattern, density: f64) -> Result<Vec<WeightCurve>, RecoverError> {
    let facts = infer(model, cx.table).facts;
    let order = topological(&model.graph).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let all: Vec<(Place, ValueId, ValueId)> = order
        .into_iter()
        .filter_map(|n| {
            let place = Place::of((model, &facts, cx.table), n)?;
            let node = model.graph.node(n);
            // A weight that several nodes read is one that cannot be masked.
            if !seen.insert(place.value) {
                return None;
            }
            let x = node.inputs.get(place.linear.form.x).copied().flatten()?;
            Some((place, x, node.outputs.first().copied().flatten()?))
        })
        .collect();
    let (runtime, inputs) = ((cx.runtime, cx.threads), (cx.samples, cx.options.batch));
    let walk = |facts| Walk::new(runtime, (model, facts), inputs, cx.options.memory / 6);
    let (mut walk, idle) = (walk(facts.clone())?, walk(facts.clone())?);
    let samples = walk.samples().to_vec();
    let held = |bytes: u64| held(cx, bytes);
    let mut out = Vec::new();
    for (i, (place, x, y)) in all.iter().enumerate() {
        if (cx.progress)(i, all.len()) {
            return Err(RecoverError::Interrupted);
        }
        let found =
            |points| WeightCurve { weight: model.graph.value(place.value).name.clone(), node: place.node, points };
        let units = match place.units(model, pattern) {
            Ok(units) => units,
            Err(why) => {
                out.push(found(Err(why)));
                continue;
            }
        };
        let ahead: Vec<ValueId> = all[i + 1..].iter().flat_map(|(_, x, y)| [*x, *y]).collect();
        let target = Target::Own(*y);
        let mut stream = Stream::of_map(cx, (&walk, model), &idle, (*x, &target), &ahead)?;
        let mut parts = |range| stream.parts(range, &target, &place.linear.form);
        let batches = Batches { samples: &samples, held: &held, parts: &mut parts };
        let observed = observe(batches, &place.layout, place.node, cx.options)?;
        let points = match observed {
            Ok(observed) => {
                let none = vec![0.0; place.layout.outputs()];
                let biased = place.linear.bias(model, &facts, cx.table, place.node).is_some();
                let ridge = Ridge { biased, spread: place.layout.spread, lambda: cx.options.ridge };
                let normal =
                    |g: usize| Normal::of(&observed.sums[g], &place.layout.read(&place.weight, &none, g), ridge);
                curve(&(0..units.groups).map(normal).collect::<Vec<_>>(), units.some(BLOCKS), density)
            }
            Err(why) => Err(Unmaskable::NotSolved(why)),
        };
        out.push(found(points));
        let seen = stream.close().0;
        walk.keep(model, seen, &ahead);
    }
    (cx.progress)(all.len(), all.len());
    Ok(out)
}

/// The curve of one weight, relative to the mean square of what it gives.
fn curve(equations: &[Normal], units: Units, density: f64) -> Result<Vec<(f64, f64)>, Unmaskable> {
    let choice = choose(equations, &units, density).ok_or(Unmaskable::NotSolved(Skipped::Singular))?;
    let signal = choice.explained.max(f64::MIN_POSITIVE);
    Ok(choice.curve.into_iter().map(|(share, error)| (share, error / signal)).collect())
}
