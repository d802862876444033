//! The oracle: on any input the pruned model equals the masked one.

use sparsec_analysis::{Allowed, Channels, Removal, channels_allowing, infer};
use sparsec_ir::{Dim, ElemType, Facts, Model, OpTable, Policy, Tensor, ValueId, verify};
use sparsec_passes::mask::Places;
use sparsec_passes::recover::{RecoverError, RecoverOptions, Recovery, recover};
use sparsec_passes::remove::{mask, remove, restore};
use sparsec_runtime::{Runtime, RuntimeError};
use sparsec_testkit::Random;
use std::collections::BTreeSet;

/// How many units of a group stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// A random number in random places, groups left whole now and then.
    Some,
    /// One.
    One,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both models agree.
    Equal,
    /// Nothing can be cut.
    Whole,
    /// The runtime cannot run the original model.
    NoRuntime,
}

/// A model with what the analyses say of it.
pub(crate) struct Subject {
    pub(crate) model: Model,
    pub(crate) table: OpTable,
    pub(crate) facts: Facts,
    pub(crate) channels: Channels,
}

impl Subject {
    pub(crate) fn of(model: Model) -> Self {
        Self::allowing(model, BTreeSet::new())
    }

    pub(crate) fn allowing(model: Model, policies: BTreeSet<Policy>) -> Self {
        let table = sparsec_ops::table();
        let facts = infer(&model, &table).facts;
        let allowed = Allowed { policies, ..Allowed::default() };
        let channels = channels_allowing(&model, &facts, &table, allowed);
        Self { model, table, facts, channels }
    }

    /// A random removal that leaves something of every group.
    pub(crate) fn removal(&self, random: &mut Random, keep: Keep) -> Removal {
        let mut removal = Removal::none(&self.channels);
        for (group_id, group) in self.channels.groups.iter().enumerate() {
            let n = group.units.len() as u64;
            let stay = match keep {
                Keep::One => 1,
                Keep::Some => 1 + random.below(n),
            };
            let mut order = group.units.clone();
            for i in (1..order.len()).rev() {
                order.swap(i, random.below(i as u64 + 1) as usize);
            }
            order.iter().skip(stay as usize).for_each(|u| removal.set(*u, true));
            self.disorder(&mut removal, group_id, random);
        }
        for branch in 0..self.channels.branches.len() {
            removal.set_branch(branch, random.below(4) == 0);
        }
        removal
    }

    /// Puts the units that stay of every other group that lets them change places into a random order.
    fn disorder(&self, removal: &mut Removal, group: usize, random: &mut Random) {
        if random.below(2) == 0 || !self.channels.interchangeable(group) {
            return;
        }
        let mut units = self.channels.groups[group].units.clone();
        units.retain(|u| !removal.leaves(*u));
        for i in (1..units.len()).rev() {
            units.swap(i, random.below(i as u64 + 1) as usize);
        }
        removal.arrange(&self.channels, group, &units).expect("they may change places");
    }

    /// Cuts, verifies, infers and runs; the error says what differs.
    pub(crate) fn check(
        &self,
        removal: &Removal,
        runtimes: &[Box<dyn Runtime>],
        inputs: &[Tensor],
    ) -> Result<Verdict, String> {
        if removal.changes_nothing() {
            return Ok(Verdict::Whole);
        }
        let pruned = remove(&self.model, &self.facts, &self.table, &self.channels, removal);
        let pruned = pruned.map_err(|e| format!("remove: {e}"))?;
        verify(&pruned).map_err(|v| format!("verifier: {v:?}"))?;
        self.compare_shapes(&pruned, removal)?;
        let masked = mask(&self.model, &self.facts, &self.channels, removal).map_err(|e| format!("mask: {e}"))?;
        verify(&masked).map_err(|v| format!("verifier on the masked model: {v:?}"))?;
        let mut verdict = Verdict::NoRuntime;
        for runtime in runtimes {
            let agree = self.agree(runtime.as_ref(), &masked, &pruned, inputs);
            if agree.map_err(|why| format!("{}: {why}", runtime.name()))? {
                verdict = Verdict::Equal;
            }
        }
        Ok(verdict)
    }

    /// Whether one runtime gives the same outputs for both models; `false` where it cannot run the original.
    fn agree(&self, runtime: &dyn Runtime, masked: &Model, pruned: &Model, inputs: &[Tensor]) -> Result<bool, String> {
        if outputs(runtime, &self.model, inputs).is_err() {
            return Ok(false);
        }
        let want = outputs(runtime, masked, inputs).map_err(|e| format!("masked model: {e}"))?;
        let have = outputs(runtime, pruned, inputs).map_err(|e| format!("pruned model: {e}"))?;
        for (i, (w, h)) in want.iter().zip(&have).enumerate() {
            if let Err(why) = close(&[w], h) {
                let nudged = |seed| Some(outputs(runtime, &nudged(masked, seed), inputs).ok()?.swap_remove(i));
                let others: Vec<Tensor> = (0..NUDGES).filter_map(nudged).collect();
                let all: Vec<&Tensor> = std::iter::once(w).chain(&others).collect();
                let label = &self.model.graph.value(self.model.graph.outputs()[i]).name;
                close(&all, h).map_err(|_| format!("output `{label}`: {why}"))?;
            }
        }
        Ok(true)
    }

    /// Cuts and recovers on `samples`; the result must equal the masked model with the weights that recovery found.
    pub(crate) fn check_recovered(
        &self,
        removal: &Removal,
        runtime: &dyn Runtime,
        samples: &[Tensor],
    ) -> Result<Verdict, String> {
        if removal.changes_nothing() {
            return Ok(Verdict::Whole);
        }
        let cut = || remove(&self.model, &self.facts, &self.table, &self.channels, removal);
        let mut pruned = cut().map_err(|e| format!("remove: {e}"))?;
        let cx = Recovery {
            dense: &self.model,
            kept: &|v, axis| self.channels.kept_of(v, axis, removal),
            masks: &Places::new(),
            table: &self.table,
            runtime,
            samples: &[samples.to_vec()],
            threads: 1,
            options: RecoverOptions::default(),
            progress: &|_, _| false,
        };
        match recover(&cx, &mut pruned) {
            Ok(done) if done.iter().any(|r| r.outcome.is_ok()) => {}
            Ok(_) => return Ok(Verdict::Whole),
            Err(RecoverError::Runtime(_)) => return Ok(Verdict::NoRuntime),
            Err(e) => return Err(format!("recover: {e}")),
        }
        let mut again = cut().map_err(|e| format!("remove: {e}"))?;
        recover(&Recovery { threads: 3, ..cx }, &mut again).map_err(|e| format!("recover: {e}"))?;
        let constants =
            |m: &Model| m.graph.values().filter_map(|(v, _)| m.graph.constant(v).cloned()).collect::<Vec<_>>();
        if constants(&again) != constants(&pruned) {
            return Err("weights depend on the number of threads".to_string());
        }
        let restored = restore(&self.model, &self.facts, &self.table, &pruned, &self.channels, removal)
            .map_err(|e| format!("restore: {e}"))?;
        let facts = infer(&restored, &self.table).facts;
        let masked = mask(&restored, &facts, &self.channels, removal).map_err(|e| format!("mask: {e}"))?;
        let equal = self.agree(runtime, &masked, &pruned, samples)?;
        Ok(if equal { Verdict::Equal } else { Verdict::NoRuntime })
    }

    /// Inference of the pruned model gives the sizes that the plan implies, for every value and without problems.
    fn compare_shapes(&self, pruned: &Model, removal: &Removal) -> Result<(), String> {
        let again = infer(pruned, &self.table);
        if again.problems.len() > infer(&self.model, &self.table).problems.len() {
            return Err(format!("inference of the pruned model: {:?}", again.problems));
        }
        let expected = self.channels.facts_after(&self.model, &self.facts, removal);
        let left: BTreeSet<ValueId> = pruned.graph.values().map(|(v, _)| v).collect();
        // Shape operands that were replaced are gone.
        for (v, value) in self.model.graph.values().filter(|(v, _)| left.contains(v)) {
            let (e, f) = (&expected.get(v).shape, &again.facts.get(v).shape);
            let sizes = |s: &Option<Vec<Dim>>| s.iter().flatten().map(Dim::as_const).collect::<Vec<_>>();
            if sizes(e) != sizes(f) {
                return Err(format!("`{}` is {:?}, planned {:?}", value.name, sizes(f), sizes(e)));
            }
        }
        Ok(())
    }
}

fn outputs(runtime: &dyn Runtime, model: &Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    runtime.load(model, &shapes, 1)?.run(inputs)
}

/// Whether a runtime gives the same outputs for a model and for what became of it; `false` where it cannot run the model.
pub(crate) fn same_outputs(
    runtime: &dyn Runtime,
    model: &Model,
    changed: &Model,
    inputs: &[Tensor],
) -> Result<bool, String> {
    let Ok(want) = outputs(runtime, model, inputs) else { return Ok(false) };
    let have =
        outputs(runtime, changed, inputs).map_err(|e| format!("{} on the changed model: {e}", runtime.name()))?;
    all_close(model, &want, &have).map_err(|e| format!("{}: {e}", runtime.name()))?;
    Ok(true)
}

fn all_close(model: &Model, want: &[Tensor], have: &[Tensor]) -> Result<(), String> {
    for ((w, h), v) in want.iter().zip(have).zip(model.graph.outputs()) {
        close(&[w], h).map_err(|e| format!("output `{}`: {e}", model.graph.value(*v).name))?;
    }
    Ok(())
}

/// Models that differ in the last bits of their numbers.
const NUDGES: u64 = 16;

/// The model, each number of single precision changed by up to 2^-20 of itself.
///
/// Where a number is rounded (by a quantisation) or a place chosen (of the largest), what lies within an error of
/// arithmetic of the edge may fall to either side of it, and two models that add in different orders may differ. So an
/// element is right, too, that the masked model has with numbers as close as that to its own.
fn nudged(model: &Model, seed: u64) -> Model {
    let mut random = Random::new(seed);
    let mut out = model.clone();
    for (v, _) in model.graph.values() {
        let Some(numbers) = model.graph.constant(v).filter(|t| t.elem == ElemType::F32).and_then(|t| t.to_f64().ok())
        else {
            continue;
        };
        let numbers: Vec<f64> =
            numbers.iter().map(|n| n * (1.0 + (2.0 * random.uniform() - 1.0) / f64::from(1 << 20))).collect();
        let dims = &model.graph.constant(v).expect("it has numbers").dims;
        out.graph.set_constant(v, Tensor::from_f64(ElemType::F32, dims, &numbers).expect("as many as before"));
    }
    out
}

/// Each element equals that of one of `wanted` up to 1e-4 of the largest finite element of the first.
pub(crate) fn close(wanted: &[&Tensor], have: &Tensor) -> Result<(), String> {
    let first = wanted[0];
    if first.dims != have.dims {
        return Err(format!("shape {:?} instead of {:?}", have.dims, first.dims));
    }
    let Ok(w) = first.to_f64() else {
        return if first.data == have.data { Ok(()) } else { Err("whole numbers differ".to_string()) };
    };
    let numbers = |t: &Tensor| t.to_f64().map_err(|e| e.to_string());
    let alike = wanted.iter().filter(|t| t.dims == first.dims);
    let (h, all) = (numbers(have)?, alike.map(|t| numbers(t)).collect::<Result<Vec<_>, _>>()?);
    let largest = w.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    let bound = 1e-4 * largest + 1e-6;
    let equal = |a: f64, b: f64| (a - b).abs() <= bound || a.is_nan() && b.is_nan() || a == b;
    match h.iter().enumerate().position(|(i, b)| !all.iter().any(|w| equal(w[i], *b))) {
        Some(i) => Err(format!("element {i} is {} instead of {}, where the largest is {largest}", h[i], w[i])),
        None => Ok(()),
    }
}

/// tract, and ONNX Runtime where `SPARSEC_ORT` names its library, as it must where everything is checked (`CI`).
pub(crate) fn runtimes() -> Vec<Box<dyn Runtime>> {
    let mut all = vec![sparsec_runtime::default_runtime().expect("tract is built in")];
    if std::env::var_os("SPARSEC_ORT").is_some() || std::env::var_os("CI").is_some() {
        all.push(sparsec_runtime::open("ort").expect("SPARSEC_ORT names ONNX Runtime"));
    }
    all
}
