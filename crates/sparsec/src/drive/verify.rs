//! The check of a removal: the pruned model against the masked one.

use super::{DriveError, Prepared};
use sparsec_analysis::{Removal, node_ref};
use sparsec_ir::{
    AxisRef, Data, Dim, Draw, ElemType, Kernel, Model, Reason, Relate, Relation, Relations, Tensor, TensorError,
    ValueId, WorkRule, element_count,
};
use sparsec_passes::remove::{mask, restore};
use sparsec_runtime::Runtime;
use std::collections::BTreeSet;

/// How two models' outputs compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Largest difference.
    pub max_abs_error: f64,
    /// Largest difference relative to the largest absolute value of the same output; of an output of whole numbers, which
    /// may be indices, the share of elements that differ.
    pub max_rel_error: f64,
    /// Elements of the first that say something: all but infinities and what is not a number.
    pub finite: u64,
}

/// Bytes of weights up to which models are compared without being asked to: a runtime is handed an encoded copy, and makes
/// its own of that.
pub const COMPARED: u64 = 1 << 30;

/// Bytes of the weights of a model.
pub fn weight_bytes(model: &Model) -> u64 {
    model.graph.values().filter_map(|(v, _)| model.graph.constant(v)).fold(0, |n, t| n.saturating_add(t.byte_len()))
}

/// Why nothing was compared.
pub const NOT_FINITE: &str = "no output has a finite element on these inputs";

/// Relative difference up to which two models count as equal: sums of a few thousand singles in another order.
const TOLERANCE: f64 = 1e-4;

impl Comparison {
    /// What outputs of another size, type or number give.
    const INCOMPARABLE: Self = Self { max_abs_error: f64::INFINITY, max_rel_error: f64::INFINITY, finite: 0 };

    /// Whether the two are equal to float tolerance.
    pub fn equal(&self) -> bool {
        self.max_rel_error <= TOLERANCE
    }
    /// Whether no difference was found where none could be: no output has a finite element.
    pub fn vacuous(&self) -> bool {
        self.finite == 0 && self.max_rel_error == 0.0
    }
}

/// Compares `pruned` with the dense model whose removed channels are masked and whose other weights are those of
/// `pruned`, on `inputs`; and with the dense model itself.
pub fn verify(
    dense: &Prepared,
    pruned: &Model,
    removal: &Removal,
    runtime: &dyn Runtime,
    inputs: &[Tensor],
) -> Result<(Comparison, Comparison), DriveError> {
    let restored = restore(&dense.model, &dense.facts, &dense.table, pruned, &dense.channels, removal)?;
    let masked = mask(&restored, &dense.facts, &dense.channels, removal)?;
    let (left, right) = (run(&masked, runtime, inputs)?, run(pruned, runtime, inputs)?);
    let effect = difference(&dense.model, &run(&dense.model, runtime, inputs)?, &right)?;
    Ok((difference(&masked, &left, &right)?, effect))
}

/// Relative difference up to which a canonical model counts as equal to its file where weights take 16 bits or fewer: what
/// is folded is rounded to another neighbour.
const NARROW_TOLERANCE: f64 = 2e-2;

/// Compares the canonical model, with all that a user gave up, with the `file` that it was made of; or says why nothing was
/// compared: a runtime may lack what passes resolve.
pub fn compare_canonical(
    dense: &Prepared,
    file: &Model,
    runtime: &dyn Runtime,
    inputs: &[Tensor],
) -> Result<Result<Comparison, String>, DriveError> {
    let canonical = dense.original.as_ref().map_or(&dense.model, |o| &o.model);
    let wanted = match run(file, runtime, inputs) {
        Ok(wanted) => wanted,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let found = difference(file, &wanted, &run(canonical, runtime, inputs)?)?;
    if found.vacuous() {
        return Ok(Err(NOT_FINITE.to_string()));
    }
    let narrow = |(v, _)| file.graph.constant(v).is_some_and(|t| t.elem.holds_weights() && t.elem.bits() <= 16);
    let tolerance = if file.graph.values().any(narrow) { NARROW_TOLERANCE } else { TOLERANCE };
    if found.max_rel_error <= tolerance {
        return Ok(Ok(found));
    }
    let Comparison { max_abs_error, max_rel_error, .. } = found;
    Err(DriveError::Canonical { max_abs_error, max_rel_error })
}

/// Key of a model's metadata: names of the constants that recovery changed, a line each.
pub const RESOLVED: &str = "sparsec.resolved";

/// Names of weights of `pruned` that are not those of the dense model at the slots that `removal` keeps.
pub fn changed_weights(dense: &Prepared, pruned: &Model, removal: &Removal) -> Result<Vec<String>, DriveError> {
    let graph = &dense.model.graph;
    let mut out = Vec::new();
    for (v, value) in graph.values() {
        let Some(whole) = graph.constant(v).filter(|t| t.elem.holds_weights()) else { continue };
        let Some(found) = pruned.graph.find(&value.name).and_then(|p| pruned.graph.constant(p)) else { continue };
        let source = |source| DriveError::Output { value: value.name.clone(), source };
        let mut wanted = whole.as_ref().clone();
        for axis in 0..whole.dims.len() {
            if let Some(kept) = dense.channels.kept_of(v, axis, removal) {
                wanted = wanted.gather(axis, &kept).map_err(source)?;
            }
        }
        if !alike(&wanted, found).map_err(source)? {
            out.push(value.name.clone());
        }
    }
    Ok(out)
}

/// Whether two weights are the same up to rounding: another runtime may have folded them.
fn alike(a: &Tensor, b: &Tensor) -> Result<bool, TensorError> {
    if a.dims != b.dims || a.elem != b.elem || !a.elem.is_float() {
        return Ok(a.dims == b.dims && a.elem == b.elem && a.data == b.data);
    }
    let tolerance = if a.elem.bits() <= 16 { NARROW_TOLERANCE } else { TOLERANCE };
    let (a, b) = (a.to_f64()?, b.to_f64()?);
    let scale = a.iter().map(|v| v.abs()).fold(0.0, f64::max);
    Ok(a.iter().zip(&b).all(|(a, b)| a == b || (a - b).abs() <= tolerance * scale || a.is_nan() && b.is_nan()))
}

/// Compares the outputs of two models with the same inputs.
pub fn compare(a: &Model, b: &Model, runtime: &dyn Runtime, inputs: &[Tensor]) -> Result<Comparison, DriveError> {
    let (left, right) = (run(a, runtime, inputs)?, run(b, runtime, inputs)?);
    difference(a, &left, &right)
}

/// The outputs of a model.
pub fn run(model: &Model, runtime: &dyn Runtime, inputs: &[Tensor]) -> Result<Vec<Tensor>, DriveError> {
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    Ok(runtime.load(model, &shapes, 1)?.run(inputs)?)
}

/// How the outputs `left` of `model` differ from those of another one.
pub fn difference(model: &Model, left: &[Tensor], right: &[Tensor]) -> Result<Comparison, DriveError> {
    let mut out = Comparison { max_abs_error: 0.0, max_rel_error: 0.0, finite: 0 };
    if left.len() != right.len() {
        return Ok(Comparison::INCOMPARABLE);
    }
    for ((x, y), v) in left.iter().zip(right).zip(model.graph.outputs()) {
        let source = |source| DriveError::Output { value: model.graph.value(*v).name.clone(), source };
        if x.dims != y.dims || x.elem != y.elem {
            return Ok(Comparison::INCOMPARABLE);
        }
        if let Data::Strings(all) = &x.data {
            if x.data != y.data {
                return Ok(Comparison::INCOMPARABLE);
            }
            out.finite += all.len() as u64;
            continue;
        }
        if !x.elem.is_float() {
            let (x, y) = (x.to_i64().map_err(source)?, y.to_i64().map_err(source)?);
            let most = x.iter().zip(&y).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            let differ = x.iter().zip(&y).filter(|(a, b)| a != b).count();
            out.finite += x.len() as u64;
            out.max_abs_error = out.max_abs_error.max(most as f64);
            out.max_rel_error = out.max_rel_error.max(differ as f64 / x.len().max(1) as f64);
            continue;
        }
        let (x, y) = (x.to_f64().map_err(source)?, y.to_f64().map_err(source)?);
        // NaN against NaN is no difference of the cut's making; NaN against a number is the largest there is.
        let distance = |(a, b): (&f64, &f64)| match (a.is_nan(), b.is_nan()) {
            (true, true) => 0.0,
            (true, false) | (false, true) => f64::INFINITY,
            _ if a == b => 0.0,
            _ => (a - b).abs(),
        };
        let error = x.iter().zip(&y).map(distance).fold(0.0, f64::max);
        let finite = || x.iter().filter(|v| v.is_finite());
        let scale = finite().map(|v| v.abs()).fold(f64::MIN_POSITIVE, f64::max);
        out.finite += finite().count() as u64;
        out.max_abs_error = out.max_abs_error.max(error);
        out.max_rel_error = out.max_rel_error.max(error / scale);
    }
    Ok(out)
}

/// Elements that a made-up input may have: they are drawn as doubles.
const MAX_INPUT: u64 = 1 << 24;

/// Inputs to compare models on: normal numbers for floating inputs; for whole ones, which may be indices, numbers below
/// the length of what they index that name nothing given up, else 0 or 1; `batch` for first axes that are open and 8 for others.
pub fn random_inputs(dense: &Prepared, seed: u64, batch: u64) -> Result<Vec<Tensor>, DriveError> {
    let mut draw = Draw::new(seed);
    let graph = &dense.model.graph;
    let mut out = Vec::new();
    for v in graph.inputs() {
        let fact = dense.facts.get(v);
        let name = &graph.value(v).name;
        let dims = fact.shape.clone().ok_or(DriveError::OpenSize { input: name.clone(), axis: 0 })?;
        let size = |(axis, d): (usize, &Dim)| d.as_size().unwrap_or(if axis == 0 { batch } else { 8 });
        let dims: Vec<u64> = dims.iter().enumerate().map(size).collect();
        let elem = fact.elem.unwrap_or(ElemType::F32);
        let count = element_count(&dims).ok().filter(|n| *n <= MAX_INPUT && elem.bits() >= 8);
        let open = || DriveError::OpenInput { input: name.clone(), ty: format!("{elem}{dims:?}") };
        let count = count.ok_or_else(open)? as usize;
        let source = |source| DriveError::Output { value: name.clone(), source };
        out.push(if elem.is_float() {
            let values: Vec<f64> = (0..count).map(|_| draw.normal()).collect();
            Tensor::from_f64(elem, &dims, &values).map_err(source)?
        } else {
            let width = (elem.bits() / 8).max(1) as usize;
            // Signed types of this width must hold it.
            let most = (1u64 << (8 * width - 1).min(62)) - 1;
            let (len, given_up) = indexed(dense, v);
            let below = if elem == ElemType::Bool { 2 } else { len.unwrap_or(2).clamp(1, most) };
            let named: Vec<u64> = (0..below).filter(|i| !given_up.contains(i)).collect();
            let number = |_| named.get((draw.bits() % named.len().max(1) as u64) as usize).copied().unwrap_or(0);
            let bytes: Vec<u8> = (0..count).map(number).flat_map(|n| n.to_le_bytes()[..width].to_vec()).collect();
            Tensor::raw(elem, dims, bytes.into()).map_err(source)?
        });
    }
    Ok(out)
}

/// The shortest axis that `value` indexes, itself or moved and reshaped, and what was given up of such axes. Asked of the
/// model before anything was given up: inputs name entries by their old numbers.
fn indexed(dense: &Prepared, value: ValueId) -> (Option<u64>, BTreeSet<u64>) {
    let (model, facts) = match &dense.original {
        Some(original) => (&original.model, &original.facts),
        None => (&dense.model, &dense.facts),
    };
    let graph = &model.graph;
    let (mut seen, mut todo, mut least) = (BTreeSet::new(), vec![value], None);
    let mut given_up = BTreeSet::new();
    while let Some(v) = todo.pop() {
        if !seen.insert(v) {
            continue;
        }
        for id in graph.consumers(v) {
            let node = graph.node(id);
            let Some(def) = dense.table.get(&node.domain, &node.op) else { continue };
            let node_ref = node_ref(model, facts, id);
            let mut relations = Relations::default();
            if let Relate::By(rule) = def.relate
                && rule(&node_ref, &mut relations).is_err()
            {
                continue;
            }
            let place = |r: &Relation| match r {
                Relation::Freeze {
                    axis: AxisRef::Value(of, axis), reason: Reason::Indexed | Reason::Lookup, ..
                } if *of != v => Some((*of, *axis as usize)),
                _ => None,
            };
            let places: Vec<(ValueId, usize)> = relations.all.iter().filter_map(place).collect();
            let lengths: Vec<u64> = places.iter().filter_map(|(of, axis)| facts.get(*of).size(*axis)).collect();
            for (of, axis) in places {
                let gone = dense.original.as_ref().and_then(|o| o.given_up_of(of, axis));
                given_up.extend(gone.into_iter().flatten().map(|i| u64::from(*i)));
            }
            least = least.into_iter().chain(lengths.iter().copied()).min();
            // Arithmetic would change the bound.
            let moves = matches!(def.work, WorkRule::By(rule) if rule(&node_ref)
                .is_ok_and(|w| matches!(w.kernel, Kernel::Move | Kernel::Free)));
            if lengths.is_empty() && moves {
                todo.extend(node.outputs.iter().flatten());
            }
        }
    }
    (least, given_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{Concessions, Quiet, prepare};

    #[test]
    fn whole_inputs_stay_below_what_they_index() {
        let text = "g (int64[n,5] i, int64[n,5] k, float[n,3] x, bool[n,1] b, int32[n,2] c) => (p, q, z, w, u)
            <float[9,4] t = [\"location\": \"random:1\"], int64[2] flat = {-1, 1}, int64 d = {6}, float[2] v = {0.0, 1.0}>
            { f = Reshape (i, flat) p = Gather (t, f) q = OneHot (k, d, v) z = Relu (x) w = Not (b) u = Neg (c) }";
        let none = Concessions::default();
        let dense = prepare(&sparsec_testkit::model(text), sparsec_ops::table(), None, &none, &Quiet).unwrap();
        let inputs = random_inputs(&dense, 1, 40).unwrap();
        let most = |i: usize| inputs[i].to_i64().unwrap().into_iter().max().unwrap();
        assert_eq!([0, 1, 3, 4].map(most), [8, 5, 1, 1]);
    }

    #[test]
    fn a_canonical_model_that_computes_something_else_than_its_file_is_found() {
        let file = sparsec_testkit::model(
            "g (float[n,2] x) => (y) <float[2] w = {1.0, 2.0}> { h = Identity (x) y = Mul (h, w) }",
        );
        let none = Concessions::default();
        let mut dense = prepare(&file, sparsec_ops::table(), None, &none, &Quiet).unwrap();
        let runtime = sparsec_runtime::default_runtime().unwrap();
        let inputs = random_inputs(&dense, 1, 3).unwrap();
        let compared = |dense: &Prepared| compare_canonical(dense, &file, runtime.as_ref(), &inputs);
        assert!(compared(&dense).unwrap().unwrap().equal());
        let w = dense.model.graph.find("w").unwrap();
        dense.model.graph.set_constant(w, Tensor::f32(&[2], &[1.0, 2.5]));
        assert!(matches!(compared(&dense), Err(DriveError::Canonical { .. })));
    }

    #[test]
    fn whole_outputs_differ_by_the_share_of_elements() {
        let model = |k: i64| {
            let text = format!("g (int64[4] i) => (o) <int64[4] k = {{0, 0, 0, {k}}}> {{ o = Add (i, k) }}");
            sparsec_testkit::model(&text)
        };
        let runtime = sparsec_runtime::default_runtime().unwrap();
        let inputs = [Tensor::i64(&[4], &[1, 2, 3, 4])];
        let found = compare(&model(0), &model(900), runtime.as_ref(), &inputs).unwrap();
        assert_eq!(found, Comparison { max_abs_error: 900.0, max_rel_error: 0.25, finite: 4 });
    }

    #[test]
    fn outputs_without_a_finite_element_say_nothing() {
        let model = sparsec_testkit::model("g (float[2] x) => (y) { y = Log (x) }");
        let outcome = |a: [f32; 2], b: [f32; 2]| {
            let found = difference(&model, &[Tensor::f32(&[2], &a)], &[Tensor::f32(&[2], &b)]).unwrap();
            (found.equal(), found.vacuous())
        };
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert_eq!(outcome([nan, inf], [nan, inf]), (true, true));
        assert_eq!(outcome([nan, 1.0], [nan, 1.0]), (true, false));
        assert_eq!(outcome([nan, inf], [nan, 1.0]), (false, false));
    }
}
