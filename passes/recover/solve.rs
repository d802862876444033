//! Solves one linear map over the samples, batch by batch.

use super::equations::{Layout, Ridge, Solution, Sums, solve_group};
use super::least_squares::{RecoverError, RecoverOptions, Skipped, windows};
use super::observations::{Part, Rows, has_rows, pick};
use rayon::prelude::*;
use sparsec_calib::{CalibError, Linear, read_bias, write_bias};
use sparsec_ir::{Facts, Id, Model, NodeId, OpTable, ValueId};
use std::ops::Range;

/// Inputs and targets of a map, a few batches at a time.
pub(super) struct Batches<'a> {
    /// Samples of each batch.
    pub(super) samples: &'a [u64],
    /// How many batches of so many bytes to hold at a time.
    pub(super) held: &'a dyn Fn(u64) -> usize,
    /// Parts of a range of batches, in order.
    pub(super) parts: &'a mut dyn FnMut(Range<usize>) -> Result<Vec<Part<'a>>, RecoverError>,
}

/// Every eighth observation tells whether a solution holds beyond those that it was made from.
const HELD_OUT: usize = 8;

/// Solves the map of `node` and writes its weight and bias.
pub(super) fn solve(
    (model, facts, table): (&mut Model, &Facts, &OpTable),
    (node, linear): (NodeId, &Linear),
    batches: Batches,
    options: RecoverOptions,
) -> Result<Result<(f64, f64), Skipped>, RecoverError> {
    let form = &linear.form;
    if !has_rows(form) {
        return Ok(Err(Skipped::Form));
    }
    let w_value = linear.weight_of(model, node).expect("a linear map has a weight");
    let tensor = model.graph.constant(w_value).expect("a linear map's weight is constant").clone();
    let name = model.graph.value(w_value).name.clone();
    let broken = |source| CalibError::Weight { value: name.clone(), source };
    let mut weight = linear.weight(&tensor).map_err(broken)?;
    let layout = Layout::of(&weight, form);
    let bias = linear.bias(model, facts, table, node);
    if std::iter::once(w_value).chain(bias.as_ref().and_then(|b| b.value())).any(|v| shared(model, v)) {
        return Ok(Err(Skipped::Shared));
    }
    let (width, targets) = (layout.width(), layout.per_group * layout.spread);
    let bytes = 8 * (width as u64 * (width + targets) as u64) * layout.groups as u64;
    // The sums, those of the batch at work, the equations and their factor.
    if bytes.saturating_mul(4) > options.memory {
        return Ok(Err(Skipped::TooLarge { unknowns: width, bytes: bytes.saturating_mul(4) }));
    }
    let mut shift = match &bias {
        Some(bias) => read_bias(model, bias, layout.outputs())?,
        None => vec![0.0; layout.outputs()],
    };
    // A bias that is added outside the node is not part of the map's own result, which the target is.
    let inside = bias.as_ref().is_some_and(|b| b.is_inside());
    let old_shift = if inside { shift.clone() } else { vec![0.0; layout.outputs()] };

    let wanted = options.work / (width as f64).powi(2).max(1.0) / layout.groups as f64;
    let wanted = (wanted as usize).max(32 * width);
    let observed = observe(batches, &layout, wanted, node.index() as u64, options.memory, bytes)?;
    if observed.used < width {
        return Ok(Err(Skipped::TooFew { observations: observed.used, unknowns: width }));
    }
    // Groups are independent: a depthwise convolution has hundreds of small ones.
    let solutions: Option<Vec<Solution>> = (0..layout.groups)
        .into_par_iter()
        .map(|g| {
            let old = layout.read(&weight, &old_shift, g);
            let ridge = Ridge { biased: bias.is_some(), spread: layout.spread, lambda: options.ridge };
            solve_group(&observed.sums[g], &observed.held[g], &old, ridge)
        })
        .collect();
    let Some(solutions) = solutions else { return Ok(Err(Skipped::Singular)) };
    let total = |f: fn(&Solution) -> f64| solutions.iter().map(f).sum::<f64>();
    let signal = total(|s| s.signal).max(f64::MIN_POSITIVE);
    let (before, after) = (total(|s| s.before) / signal, total(|s| s.after) / signal);
    if after.is_nan() || after >= before {
        return Ok(Err(Skipped::NoGain { before, after }));
    }
    for (g, s) in solutions.iter().enumerate() {
        layout.write(&mut weight, &s.map, g);
        for (o, b) in s.map.bias.iter().step_by(layout.spread).enumerate() {
            let at = g * layout.per_group + o;
            shift[at] += b - old_shift[at];
        }
    }
    let solved = weight.to_tensor(&tensor).map_err(broken)?;
    // Stored in fewer bits than it was solved in.
    if !solved.to_f64().map_err(broken)?.iter().all(|v| v.is_finite()) {
        return Ok(Err(Skipped::Singular));
    }
    model.graph.set_constant(w_value, solved);
    if let Some(bias) = &bias {
        write_bias(model, node, bias, &shift)?;
    }
    Ok(Ok((before, after)))
}

/// Sums and held-out rows of each group.
struct Observed {
    sums: Vec<Sums>,
    held: Vec<Rows>,
    /// Observations in the sums.
    used: usize,
}

/// Streams the batches: a batch is summed up and dropped. About `wanted` observations are drawn from all of them.
fn observe(
    batches: Batches,
    layout: &Layout,
    wanted: usize,
    seed: u64,
    memory: u64,
    bytes: u64,
) -> Result<Observed, RecoverError> {
    let (width, targets) = (layout.width(), layout.per_group * layout.spread);
    let sizes = (width, targets);
    let empty = || Rows { count: 0, width, targets, x: Vec::new(), y: Vec::new() };
    let mut out = Observed {
        sums: (0..layout.groups).map(|_| Sums::zeros(width, targets)).collect(),
        held: (0..layout.groups).map(|_| empty()).collect(),
        used: 0,
    };
    let first = (batches.parts)(0..1)?;
    let (count, of) = (first.first().map_or(0, Part::count), batches.samples.first().copied().unwrap_or(1).max(1));
    // Batches of fewer samples have proportionally fewer observations.
    let mut starts = vec![0usize];
    for samples in batches.samples {
        starts.push(starts[starts.len() - 1] + (count as u64 * samples / of) as usize);
    }
    let picked = pick(starts[starts.len() - 1], wanted, seed);
    let rows = memory / 8 / (4 * (width + targets) * layout.groups).max(1) as u64;
    let every = HELD_OUT.max(picked.len().div_ceil(rows.max(1) as usize));

    let held = (batches.held)(first.iter().map(Part::bytes).sum::<u64>() + bytes).max(1);
    let mut first = Some(first);
    for range in windows(batches.samples.len(), held) {
        let parts = match first.take() {
            Some(first) => first,
            None => (batches.parts)(range.clone())?,
        };
        let summed: Vec<Vec<(Sums, Rows)>> = parts
            .par_iter()
            .zip(range.clone())
            .map(|(part, batch)| {
                let (from, to) = (starts[batch], starts[batch + 1].min(starts[batch] + part.count()));
                let place = |start: usize| picked.partition_point(|p| *p < start);
                let own = place(from)..place(to);
                let (mut used, mut test) = (Vec::new(), Vec::new());
                for (i, p) in own.clone().zip(&picked[own]) {
                    if i % every == every - 1 { &mut test } else { &mut used }.push(p - from);
                }
                let group = |g: usize| (Sums::of(part, g, &used, sizes), part.rows(g, &test));
                (0..layout.groups).into_par_iter().map(group).collect()
            })
            .collect();
        // Added in the order of batches, so that results do not depend on how many are held or on threads.
        for groups in summed {
            for ((sums, rows), (total, all)) in groups.into_iter().zip(out.sums.iter_mut().zip(&mut out.held)) {
                total.add(&sums);
                all.append(rows);
            }
        }
    }
    out.used = out.sums.first().map_or(0, Sums::count);
    Ok(out)
}

/// Whether changing a constant would change more than one operand.
pub(super) fn shared(model: &Model, value: ValueId) -> bool {
    model.graph.value(value).uses.len() > 1 || model.graph.is_output(value)
}
