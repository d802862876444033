//! What the samples say: the order of each group's units, and the curve of the output's error.

use super::memory::{apart, bound, bytes_of, count, first};
use super::sampling::{LEAST_SAMPLES, needed, sampling};
use super::{DriveError, MaskCurves, Observer, Prepared, Samples, Sampling};
use serde::{Deserialize, Serialize};
use sparsec_analysis::{Removal, infer};
use sparsec_calib::{CalibError, Consumer, Gram, Known, Other, Prefix, Probe, Ranking, Reference, Sensitivity, Trial};
use sparsec_calib::{consumers, grams, rank, sensitivity, unit_norms};
use sparsec_cost::{Pricer, Target};
use sparsec_ir::{Facts, Model, OpTable, Tensor, ValueId};
use sparsec_passes::remove::mask;
use sparsec_plan::{Concessions, Curve};
use sparsec_runtime::{Runtime, batches_of_parts, run_each};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Order and error curve of one group, as `sparsec sensitivity` writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCurve {
    /// Group.
    pub id: String,
    /// Units by worth, the one most worth keeping first.
    pub order: Vec<u32>,
    /// Counts that the group may keep, ascending.
    pub counts: Vec<u32>,
    /// Divergence of the output at each count, all other groups whole.
    pub error: Vec<f64>,
    /// Units at the end of `order` of which the samples say nothing: the norm of their weights orders them.
    #[serde(default)]
    pub by_weight: u32,
}

/// Error of dropping one branch, as `sparsec sensitivity` writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchCurve {
    /// Branch.
    pub id: String,
    /// Divergence of the output without it, all else whole.
    pub error: f64,
}

/// Curves of all groups and branches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curves {
    /// Form of the file.
    pub schema: String,
    /// Samples behind the curves, where that is known.
    #[serde(default)]
    pub samples: Option<Sampling>,
    /// What the user allowed beyond exact cuts: the groups are those of the model under it.
    #[serde(default, skip_serializing_if = "Concessions::is_empty")]
    pub concessions: Concessions,
    /// One entry a group, in the model's order.
    pub groups: Vec<GroupCurve>,
    /// One entry a branch, in the model's order; without any, branches stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<BranchCurve>,
    /// What zeros in the weights cost; without them, weights stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<MaskCurves>,
}

impl Curves {
    /// Form of a file of curves.
    pub const SCHEMA: &str = "sparsec/curves@1";

    /// Checks that the curves are of this model.
    pub fn check(&self, dense: &Prepared) -> Result<(), DriveError> {
        let wrong = |id: &str, why| Err(DriveError::Curves { what: "group", id: id.to_string(), why });
        for (g, c) in dense.channels.groups.iter().zip(&self.groups) {
            let mut sorted = c.order.clone();
            sorted.sort_unstable();
            if g.id != c.id {
                return wrong(&c.id, "is not the group in its place");
            }
            if sorted.len() != g.units.len() || sorted.iter().zip(0..).any(|(a, b)| *a != b) {
                return wrong(&c.id, "does not order the units of the group");
            }
            let rising = c.counts.windows(2).all(|w| w[0] < w[1]);
            let full = c.counts.last() == Some(&(g.units.len() as u32)) && c.counts.first().is_some_and(|k| *k > 0);
            if !rising || !full || c.error.len() != c.counts.len() || c.error.iter().any(|e| !e.is_finite()) {
                return wrong(&c.id, "has counts or errors that do not fit");
            }
        }
        if dense.channels.groups.len() != self.groups.len() {
            return wrong("", "is missing");
        }
        let mut branches = dense.channels.branches.iter();
        for c in &self.branches {
            let wrong = |why| Err(DriveError::Curves { what: "branch", id: c.id.clone(), why });
            match branches.next() {
                Some(b) if b.id == c.id && c.error.is_finite() => {}
                Some(b) if b.id == c.id => return wrong("has an error that is no number"),
                _ => return wrong("is not the branch in its place"),
            }
        }
        match branches.next() {
            Some(b) if !self.branches.is_empty() => {
                Err(DriveError::Curves { what: "branch", id: b.id.clone(), why: "is missing" })
            }
            _ => self.masks.iter().try_for_each(|m| m.check(&dense.model)),
        }
    }
    /// Whether there are fewer samples than the measurements want.
    pub fn few_samples(&self) -> bool {
        self.samples.as_ref().is_some_and(Sampling::few)
    }
    /// What a user should know of how far the curves can be trusted.
    pub fn warnings(&self) -> Vec<String> {
        let mut out: Vec<String> =
            self.samples.iter().filter(|s| s.few()).map(|s| format!("{s} (`sparsec explain S0414`)")).collect();
        let blind = |g: &&GroupCurve| g.by_weight as usize == g.order.len();
        let blind: Vec<String> = self.groups.iter().filter(blind).map(|g| format!("`{}`", g.id)).collect();
        if let Some((first, rest)) = blind.split_first() {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more groups", rest.len()) };
            out.push(format!(
                "no statistics tell the units of {first}{more} apart: the norm of their weights orders them (`sparsec explain S0415`)"
            ));
        }
        out
    }
    /// Orders of the units, by group.
    pub fn orders(&self) -> Vec<Vec<u32>> {
        self.groups.iter().map(|g| g.order.clone()).collect()
    }
    /// Curves for the search: those of the groups; one for each branch, which has two counts, or one where it was not
    /// measured; and those of the weights that can be masked.
    pub fn curves(&self, dense: &Prepared) -> Vec<Curve> {
        let groups = self.groups.iter().map(|g| Curve::new(g.counts.clone(), g.error.clone()));
        let branch = |at: usize| match self.branches.get(at) {
            Some(b) => Curve::new(vec![0, 1], vec![b.error, 0.0]),
            None => Curve::new(vec![1], vec![0.0]),
        };
        let masks = self.masks.iter().flat_map(MaskCurves::curves);
        let channels = self.masks.as_ref().map_or(1.0, |m| m.footing.channels);
        let cut = groups.chain((0..dense.channels.branches.len()).map(branch)).map(|c| c.scaled(channels));
        cut.chain(masks).collect()
    }
}

/// Ridge of the compensation that probes use, relative to the mean variance.
const RIDGE: f64 = 1e-3;
/// Multiply-accumulates that one probe may cost: it compares outputs on as many samples as that allows, but on no fewer
/// and no more than so many.
const PROBE_WORK: u64 = 2_000_000_000;
const PROBE_SAMPLES: std::ops::RangeInclusive<u64> = LEAST_SAMPLES..=256;
/// Shares of a group's units at which its curve is measured.
const PROBE_SHARES: [f64; 3] = [0.75, 0.5, 0.25];
/// No group keeps less than this share of its units: what is left could not stand in for it.
const LEAST_SHARE: f64 = 0.1;

/// Nothing is known, and nothing kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Known for Nothing {
    fn error(&self, _: &str, _: u32) -> Option<f64> {
        None
    }
    fn found(&self, _: &str, _: u32, _: f64) {}
}

/// Part of the memory that activations may take from which changed models are run.
const PREFIX: u64 = 8;

/// Inputs of some runs, the first of `parts`, and the outputs of `model` on them, which those of edited copies are compared
/// with. `macs` are those of one sample.
pub(super) fn compared(
    (model, bound): (&Model, &Facts),
    (runtime, table): (&dyn Runtime, &OpTable),
    parts: &[Vec<Tensor>],
    samples: &Samples,
    macs: u64,
) -> Result<(Vec<Vec<Tensor>>, Reference), DriveError> {
    let wanted = (PROBE_WORK / macs.max(1)).clamp(*PROBE_SAMPLES.start(), *PROBE_SAMPLES.end());
    let outputs: u64 = model.graph.outputs().iter().map(|v| bytes_of(bound.get(*v))).sum();
    let some = first(parts, wanted.min(samples.memory / 8 / outputs.max(1)).max(1));
    let inputs = batches_of_parts(model, &some, samples.batch(model, bound))?;
    let reference = Reference::new(run_each(runtime, model, &inputs, samples.threads)?)
        .map_err(|source| CalibError::Activation { value: "output".to_string(), source })?;
    let (used, facts) = (count(&some), infer(model, table).facts);
    let bytes = |v: ValueId| bytes_of(bound.get(v)).saturating_mul(used);
    let with = (runtime, samples.threads);
    let prefix = Prefix::new(with, (model, &facts), &inputs, &bytes, samples.memory / PREFIX)?;
    Ok((inputs, reference.with_prefix(prefix)))
}

/// Ranks every group's units and measures its curve; errors that are `known` are taken as they are.
///
/// Groups are measured part by part, so that the statistics of a part fit into memory; each part runs the samples once.
pub fn measure(
    dense: &Prepared,
    runtime: &dyn Runtime,
    samples: &Samples,
    target: &Target,
    known: &dyn Known,
    watch: &dyn Observer,
) -> Result<Curves, DriveError> {
    let (model, facts, channels) = (&dense.model, &dense.facts, &dense.channels);
    let curves = |samples, groups, branches| {
        let (schema, concessions) = (Curves::SCHEMA.to_string(), dense.concessions.clone());
        Curves { schema, samples, concessions, groups, branches, masks: None }
    };
    if channels.groups.is_empty() && channels.branches.is_empty() {
        return Ok(curves(None, Vec::new(), Vec::new()));
    }
    let bound = bound(dense, samples)?;
    let consumers = within(consumers(model, facts, &dense.table, channels), &bound, samples.memory);
    let grids: Vec<Vec<u32>> = channels.groups.iter().map(|g| grid(g, target)).collect();
    let probes: Vec<Vec<u32>> = grids.iter().map(|g| probe_counts(g)).collect();
    let macs = Pricer::new(Cow::Borrowed(model), &bound, &dense.table, target).price(&bound).macs;
    let mut sampling = sampling(&samples.parts);
    let uninformed = |constant| DriveError::NoInformation { samples: samples.used(), constant };
    if sampling.constant {
        return Err(uninformed(true));
    }
    let most = sums(&consumers).into_iter().filter_map(|(v, axis)| needed_by(&bound, v, axis)).max();
    // Of fewer, any statistics are a perfect fit: these must be judged by samples that they have not seen.
    let few = sampling.distinct < most.unwrap_or(0);
    let (fitted, unseen) = if few { apart(&samples.parts) } else { (samples.parts.clone(), samples.parts.clone()) };

    let (inputs, reference) = compared((model, &bound), (runtime, &dense.table), &unseen, samples, macs)?;

    let masked = |removal: &Removal| mask(model, facts, channels, removal).map_err(|e| e.to_string());
    let none = BTreeMap::new();
    let probe = Probe {
        runtime,
        model,
        facts,
        table: &dense.table,
        channels,
        consumers: &consumers,
        grams: &none,
        inputs: &inputs,
        dense: &reference,
        mask: &masked,
        ridge: RIDGE,
    };
    let mut rankings: Vec<Ranking> = Vec::new();
    let mut found: Vec<Vec<(u32, f64)>> = Vec::new();
    for part in parts(&consumers, &bound, samples.memory / 4) {
        let wanted = sums(&consumers[part.clone()]);
        let passes = samples.passes(&bound, wanted.iter().map(|w| w.0));
        watch.stage("calibrate", count(&fitted).div_ceil(passes.batch as u64));
        let step = || {
            watch.done(1);
            watch.interrupted()
        };
        let grams = grams(runtime, model, facts, &fitted, &wanted, passes, &step)?;
        grams.iter().for_each(|((v, _), gram)| sampling.want(&model.graph.value(*v).name, gram, count(&fitted)));
        let doubted = |(key, gram): (_, Gram)| (key, if few { gram.shrunk() } else { gram });
        let grams: BTreeMap<(ValueId, usize), Gram> = grams.into_iter().map(doubted).collect();

        watch.stage("rank", part.len() as u64);
        for g in part.clone() {
            let group = &channels.groups[g];
            let mut views = Vec::new();
            for c in consumers[g].iter().filter(|c| grams[&(c.x, c.axis)].varies()) {
                let covariance = match c.other {
                    // Logits see the activations as they are, not about their mean.
                    Other::Activation(..) => grams[&(c.x, c.axis)].uncentred(),
                    Other::Constant(..) | Other::Grouped(..) => grams[&(c.x, c.axis)].covariance.clone(),
                };
                views.push((covariance, c.importance(model, &grams)?, c.units.clone()));
            }
            let mut ranking = rank(group.units.len(), &views, &|| watch.interrupted())?;
            if ranking.informed < group.units.len() {
                ranking.order_rest(&unit_norms(model, channels, group)?);
            }
            rankings.push(ranking);
            watch.done(1);
        }

        let work: Vec<(usize, u32)> = part.clone().flat_map(|g| probes[g].iter().map(move |k| (g, *k))).collect();
        watch.stage("sensitivity", work.len() as u64);
        let trials: Vec<Trial> = work.iter().map(|(g, keep)| Trial::Units(*g, &rankings[*g], *keep)).collect();
        let errors = sensitivity(&Probe { grams: &grams, ..probe }, &trials, known, &step)?;
        found.extend(part.map(|g| {
            let own = work.iter().zip(&errors).filter(|((of, _), _)| *of == g);
            own.map(|((_, keep), error)| (*keep, *error)).collect()
        }));
    }
    let trials: Vec<Trial> = (0..channels.branches.len()).map(Trial::Branch).collect();
    watch.stage("depth", trials.len() as u64);
    let step = || {
        watch.done(1);
        watch.interrupted()
    };
    let errors = sensitivity(&probe, &trials, known, &step)?;
    let branches = channels.branches.iter().zip(errors).map(|(b, error)| BranchCurve { id: b.id.clone(), error });
    let branches: Vec<BranchCurve> = branches.collect();
    if !rankings.is_empty() && rankings.iter().all(|r| r.informed == 0) {
        return Err(uninformed(false));
    }
    let mut groups = Vec::new();
    for ((group, ranking), (probes, counts)) in channels.groups.iter().zip(rankings).zip(found.into_iter().zip(grids)) {
        let sensitivity = Sensitivity { ranking, probes };
        let error = counts.iter().map(|k| sensitivity.error_at(*k)).collect();
        let curve = Curve::new(counts, error);
        let by_weight = (sensitivity.ranking.order.len() - sensitivity.ranking.informed) as u32;
        let (order, counts, error) = (sensitivity.ranking.order, curve.counts, curve.error);
        groups.push(GroupCurve { id: group.id.clone(), by_weight, order, counts, error });
    }
    Ok(curves(Some(sampling), groups, branches))
}

/// Square matrices of an activation's channels that its statistics and the ranking of its units hold at a time.
const MATRICES: u64 = 8;

/// The consumers whose statistics fit into `memory` bytes.
fn within(mut consumers: Vec<Vec<Consumer>>, bound: &Facts, memory: u64) -> Vec<Vec<Consumer>> {
    let fits = |(v, axis): (ValueId, usize)| {
        bound.get(v).size(axis).is_none_or(|n| n.saturating_mul(n).saturating_mul(8 * MATRICES) <= memory)
    };
    for group in &mut consumers {
        group.retain(|c| fits((c.x, c.axis)) && !matches!(c.other, Other::Activation(v, axis) if !fits((v, axis))));
    }
    consumers
}

/// Samples that an activation needs, by its size for one of them.
fn needed_by(bound: &Facts, value: ValueId, axis: usize) -> Option<u64> {
    let sizes = bound.get(value).sizes()?;
    let (channels, all) = (*sizes.get(axis)?, sizes.iter().product::<u64>());
    Some(needed(channels, all / channels.max(1)))
}

/// Axes whose statistics the consumers need, sorted.
fn sums(consumers: &[Vec<Consumer>]) -> Vec<(ValueId, usize)> {
    let mut out: Vec<(ValueId, usize)> = Vec::new();
    for c in consumers.iter().flatten() {
        out.push((c.x, c.axis));
        if let Other::Activation(v, axis) = c.other {
            out.push((v, axis));
        }
    }
    out.sort();
    out.dedup();
    out
}

/// Runs of groups whose statistics take at most `room` bytes, or that are alone.
fn parts(consumers: &[Vec<Consumer>], bound: &Facts, room: u64) -> Vec<Range<usize>> {
    let bytes = |g: usize| -> u64 {
        let squared = |(v, axis): (ValueId, usize)| bound.get(v).size(axis).map_or(0, |n| n.saturating_mul(n) * 8);
        sums(&consumers[g..=g]).into_iter().map(squared).sum()
    };
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut taken = 0;
    for g in 0..consumers.len() {
        let own = bytes(g);
        match out.last_mut() {
            Some(part) if taken + own <= room => {
                part.end = g + 1;
                taken += own;
            }
            _ => {
                out.push(g..g + 1);
                taken = own;
            }
        }
    }
    out
}

/// Counts that a group may keep on the target: where each unit is `span` channels of an axis, `count · span` stays a
/// multiple of what keeps the target's fast path.
fn grid(group: &sparsec_analysis::Group, target: &Target) -> Vec<u32> {
    let units = group.units.len() as u32;
    let span = group.axes.iter().map(|(_, n)| *n).min().unwrap_or(1);
    let legal = u32::try_from(target.channels.legal).unwrap_or(1).max(1);
    let step = if units * span >= 2 * legal { legal / gcd(legal, span) } else { 1 };
    let least = ((f64::from(units) * LEAST_SHARE).ceil() as u32).max(1);
    let mut out: Vec<u32> = (1..units).filter(|k| k % step == 0 && *k >= least).collect();
    out.push(units);
    out
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Counts of the grid that lie nearest to the shares that are measured, without the full one.
fn probe_counts(grid: &[u32]) -> Vec<u32> {
    let Some((&units, rest)) = grid.split_last() else { return Vec::new() };
    let nearest = |share: &f64| {
        let wanted = share * f64::from(units);
        rest.iter().copied().min_by(|a, b| (f64::from(*a) - wanted).abs().total_cmp(&(f64::from(*b) - wanted).abs()))
    };
    let mut out: Vec<u32> = PROBE_SHARES.iter().filter_map(nearest).collect();
    out.sort_unstable();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_lie_on_the_grid_and_never_at_all_units() {
        assert_eq!(probe_counts(&[4, 8, 12, 16]), [4, 8, 12]);
        assert_eq!(probe_counts(&[1, 2]), [1]);
        assert_eq!(probe_counts(&[3]), Vec::<u32>::new());
    }

    #[test]
    fn statistics_that_do_not_fit_are_not_taken() {
        let m = sparsec_testkit::model(
            "g (float[2,4] x) => (float[2,3] y)
             <float[4,64] u = [\"location\": \"random:1\"], float[64,8] v = [\"location\": \"random:2\"],
              float[8,3] w = [\"location\": \"random:3\"]>
             { a = MatMul (x, u) r = Relu (a) b = MatMul (r, v) s = Relu (b) y = MatMul (s, w) }",
        );
        let concessions = crate::drive::Concessions::default();
        let dense = crate::drive::prepare(&m, sparsec_ops::table(), None, &concessions, &crate::drive::Quiet).unwrap();
        let left = |memory| -> Vec<usize> {
            let all = consumers(&dense.model, &dense.facts, &dense.table, &dense.channels);
            within(all, &dense.facts, memory).iter().map(Vec::len).collect()
        };
        let (wide, narrow) = (8 * MATRICES * 64 * 64, 8 * MATRICES * 8 * 8);
        assert_eq!((left(wide), left(wide - 1), left(narrow - 1)), (vec![1, 1], vec![0, 1], vec![0, 0]));
    }
}
