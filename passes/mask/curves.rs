//! What masks of each weight would cost, at all shares at once.

use super::obs::{choose, solved};
use super::places::{subject, units};
use super::units::{Units, Unmaskable};
use crate::recover::{
    Batches, Map, Observed, RecoverError, Recovery, Skipped, Stream, Subject, Target, Walk, held, observe,
};
use sparsec_analysis::infer;
use sparsec_calib::CalibError;
use sparsec_ir::{Model, NodeId, ValueId, topological};
use sparsec_plan::Pattern;
use std::collections::BTreeSet;

/// Multiplications that the traces of one weight may cost: a fifth of what the masks themselves may.
const WORK: f64 = 4e9;

/// What masks of a weight would cost.
#[derive(Clone, Debug)]
pub struct WeightCurve {
    /// Its name.
    pub weight: String,
    /// The node that reads it.
    pub node: NodeId,
    /// Share that stays, falling from 1, and the error at the output; or why the weight stays dense.
    pub points: Result<Vec<(f64, f64)>, Unmaskable>,
}

/// What masking a weight alone is worth: given its name, the model with it, and the mean square that its zeros add to its
/// node's result, relative to the result's own.
pub type Probe<'a> = dyn Fn(&str, &Model, f64) -> Result<f64, CalibError> + 'a;

/// Curves of all weights of `model` that could be masked, from the statistics of its own activations: one walk, in which
/// the closed form gives the whole curve of a weight, up to a factor, and one `probe` at the share `density` the factor. Of
/// `cx` are read the operators, the runtime, the samples and the options.
pub fn curves(
    cx: &Recovery,
    model: &Model,
    (pattern, density): (Pattern, f64),
    probe: &Probe,
) -> Result<Vec<WeightCurve>, RecoverError> {
    let mut one = |subject: &Subject, units: &Units, observed: &Observed| {
        curve(cx, model, (subject, units, density), observed, probe)
    };
    let named = |(subject, points): (Subject, _)| {
        let weight = model.graph.value(subject.value).name.clone();
        WeightCurve { weight, node: subject.node, points }
    };
    Ok(each_weight(cx, model, pattern, &mut one)?.into_iter().map(named).collect())
}

/// What is found of one weight with its units, from what is observed at its node; or why it cannot be solved.
type Finding<'a, T> = dyn FnMut(&Subject, &Units, &Observed) -> Result<Result<T, Skipped>, RecoverError> + 'a;
/// Weights, each with what was found of it, or why it stays dense.
type Found<T> = Vec<(Subject, Result<T, Unmaskable>)>;

/// What `one` says of each weight that could be masked from what is observed at its node, in the order of the graph.
pub(super) fn each_weight<T>(
    cx: &Recovery,
    model: &Model,
    pattern: Pattern,
    one: &mut Finding<T>,
) -> Result<Found<T>, RecoverError> {
    let facts = infer(model, cx.table).facts;
    let mut seen = BTreeSet::new();
    let all: Vec<(Subject, ValueId, ValueId)> = topological(&model.graph)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|n| {
            // A weight that several nodes read is one that cannot be masked.
            let subject = subject((model, &facts, cx.table), n).filter(|s| seen.insert(s.value))?;
            let node = model.graph.node(n);
            let x = node.inputs.get(subject.linear.form.x).copied().flatten()?;
            Some((subject, x, node.outputs.first().copied().flatten()?))
        })
        .collect();
    let (runtime, inputs) = ((cx.runtime, cx.threads), (cx.samples, cx.options.batch));
    let walk = |facts| Walk::new(runtime, (model, facts), inputs, cx.options.memory / 6);
    let (mut walk, idle) = (walk(facts.clone())?, walk(facts.clone())?);
    let samples = walk.samples().to_vec();
    let held = |bytes: u64| held(cx, bytes);
    let mut out = Vec::new();
    for (i, (subject, x, y)) in all.iter().enumerate() {
        if (cx.progress)(i, all.len()) {
            return Err(RecoverError::Interrupted);
        }
        let ahead: Vec<ValueId> = all[i + 1..].iter().flat_map(|(_, x, y)| [*x, *y]).collect();
        let points = match units(model, subject, pattern) {
            Err(why) => Err(why),
            Ok(units) => {
                let target = Target::Own(*y);
                let mut stream = Stream::of_map(cx, (&walk, model), &idle, (*x, &target), &ahead)?;
                let mut parts = |range| stream.parts(range, &target, &subject.linear.form);
                let batches = Batches { samples: &samples, held: &held, parts: &mut parts };
                let observed = observe(batches, &subject.layout, subject.node, cx.options, false)?;
                let seen = stream.close().0;
                walk.keep(model, seen, &ahead);
                match observed {
                    Ok(observed) => one(subject, &units, &observed)?,
                    Err(why) => Err(why),
                }
                .map_err(Unmaskable::NotSolved)
            }
        };
        out.push(points);
    }
    (cx.progress)(all.len(), all.len());
    Ok(all.into_iter().map(|(subject, ..)| subject).zip(out).collect())
}

/// The curve of one weight.
fn curve(
    cx: &Recovery,
    model: &Model,
    (subject, units, density): (&Subject, &Units, f64),
    observed: &Observed,
    probe: &Probe,
) -> Result<Result<Vec<(f64, f64)>, Skipped>, RecoverError> {
    let ridge = subject.ridge(cx.options.ridge);
    let equations = observed.equations(subject, ridge);
    let found =
        choose(&equations, units, density, WORK, None).and_then(|c| Some((solved(&equations, units, &c.kept)?, c)));
    let Some((weights, choice)) = found else { return Ok(Err(Skipped::Singular)) };
    let weights = weights.into_iter().enumerate();
    let maps: Vec<Map> = weights.map(|(g, w)| equations[g].completed(w, &subject.map(g), ridge)).collect();
    let mut alone = model.clone();
    subject.write(&mut alone, &maps.iter().collect::<Vec<_>>())?;
    let relative = choice.error / choice.explained.max(f64::MIN_POSITIVE);
    let weight = &model.graph.value(subject.value).name;
    let worth = probe(weight, &alone, relative)? / choice.error.max(f64::MIN_POSITIVE);
    Ok(Ok(choice.curve.into_iter().map(|(share, error)| (share, error * worth)).collect()))
}
