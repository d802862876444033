//! From a loaded model to one that the analyses can read, with its channels.

use super::concede::{Original, narrow};
use super::{DriveError, Observer};
use sparsec_analysis::{Allowed, BranchId, Channels, Group, Inferred, Removal, ShapeProblem};
use sparsec_analysis::{channels_allowing, infer, infer_node, start};
use sparsec_ir::{Dim, Facts, Model, OpTable, Type, topological};
use sparsec_passes::canonicalise::{Evaluator, overridable};
use sparsec_passes::{CANONICALISE, Manager, Remark, Verify};
use sparsec_plan::Concessions;
use sparsec_runtime::Runtime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A canonical model and what is known of it.
pub struct Prepared {
    /// The model, canonical.
    pub model: Model,
    /// Shapes, symbolic where the inputs are.
    pub facts: Facts,
    /// What can be cut.
    pub channels: Channels,
    /// The operators.
    pub table: OpTable,
    /// What the user allowed beyond exact cuts.
    pub concessions: Concessions,
    /// The canonical model with all that the user gave up, where something was.
    pub original: Option<Original>,
    /// What the passes left alone.
    pub remarks: Vec<Remark>,
}

/// Canonicalises a model, takes out what the user gives up, and solves the channels of what is left by the operators of
/// `table`. Constants are folded by `runtime`, where there is one.
pub fn prepare(
    model: &Model,
    table: OpTable,
    runtime: Option<Arc<dyn Runtime>>,
    concessions: &Concessions,
    watch: &dyn Observer,
) -> Result<Prepared, DriveError> {
    let mut manager = Manager::new(&table);
    if cfg!(debug_assertions) {
        manager = manager.verify(Verify::Each);
    }
    prepare_with(model, runtime, &mut manager, (table.clone(), concessions), watch)
}

/// [`prepare`] under a manager of the caller's, which may print, verify and stop early.
pub fn prepare_with(
    model: &Model,
    runtime: Option<Arc<dyn Runtime>>,
    manager: &mut Manager,
    (table, concessions): (OpTable, &Concessions),
    watch: &dyn Observer,
) -> Result<Prepared, DriveError> {
    let mut model = model.clone();
    says_of_listed(&model).iter().for_each(|line| watch.note(line));
    watch.stage("canonicalise", 1);
    let mut cx = manager.context();
    if let Some(runtime) = runtime {
        cx.put(Evaluator(runtime));
    }
    let _ = manager.run(&mut model, CANONICALISE, &mut cx)?;
    let remarks = std::mem::take(&mut cx.remarks);
    let Inferred { mut facts, problems } = infer(&model, &table);
    // What follows from the operators holds: a statement that contradicts it would only be written on.
    for problem in problems {
        if let ShapeProblem::Contradicted { value, .. } = problem
            && !model.graph.is_output(value)
        {
            model.graph.set_type(value, None);
        }
    }
    let mut original = None;
    if !concessions.give_up.is_empty() {
        let (narrow, given_up) = narrow(&model, &facts, &table, &concessions.give_up)?;
        let of_narrow = infer(&narrow, &table).facts;
        let (model, facts) = (std::mem::replace(&mut model, narrow), std::mem::replace(&mut facts, of_narrow));
        original = Some(Original { model, facts, given_up });
    }
    let allowed = Allowed { policies: concessions.allow.iter().copied().collect(), ..Allowed::default() };
    let channels = channels_allowing(&model, &facts, &table, allowed);
    watch.done(1);
    Ok(Prepared { model, facts, channels, table, concessions: concessions.clone(), original, remarks })
}

/// What a user has to know of constants that callers of the model could override, and no longer can.
pub fn says_of_listed(model: &Model) -> Option<String> {
    let listed = overridable(model);
    let first = &model.graph.value(*listed.first()?).name;
    let what = match listed.len() {
        1 => format!("the constant `{first}` is listed as an input too: it is"),
        n => format!("{n} constants are listed as inputs too, `{first}` first: they are"),
    };
    Some(format!("{what} taken as constant and no longer listed"))
}

/// Facts of `model` with `sizes` bound, inferred anew: some sizes are no polynomials of others, such as the length of a
/// slice that ends where another tensor does, and known only once those are.
pub fn bound_facts(model: &Model, table: &OpTable, sizes: &BTreeMap<String, u64>) -> Facts {
    let size = |s: &str| sizes.get(s).copied();
    let mut out = start(model);
    out.facts = out.facts.bind(&size);
    for id in topological(&model.graph).unwrap_or_default() {
        infer_node(model, table, id, &mut out);
    }
    // What the operators do not give is taken from the file, which has the symbols.
    out.facts.bind(&size)
}

impl Prepared {
    /// Sizes of every symbol of the inputs: `batch` for the first axes, `sizes` by name for the others.
    ///
    /// # Errors
    /// A size that nothing gives, and a name that no input has.
    pub fn sizes(&self, batch: u64, sizes: &BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, DriveError> {
        let mut known = sizes.clone();
        let graph = &self.model.graph;
        let open: BTreeSet<String> = graph
            .inputs()
            .flat_map(|v| self.facts.get(v).shape.iter().flatten())
            .flat_map(|dim| dim.syms().map(|s| s.to_string()))
            .collect();
        if let Some(name) = sizes.keys().find(|name| !open.contains(*name)) {
            // Sizes without a name in the file are made up, and nobody means them.
            let known = open.into_iter().filter(|s| !s.starts_with('?')).collect();
            return Err(DriveError::NoSuchSize { name: name.clone(), known });
        }
        for v in graph.inputs() {
            let Some(Type::Tensor { shape: Some(shape), .. }) = &graph.value(v).ty else { continue };
            let shape = self.facts.get(v).shape.as_ref().unwrap_or(shape);
            for (axis, dim) in shape.iter().enumerate() {
                for s in dim.syms() {
                    if axis == 0 {
                        known.entry(s.to_string()).or_insert(batch);
                    } else if !known.contains_key(s.as_ref()) {
                        return Err(DriveError::OpenSize { input: graph.value(v).name.clone(), axis });
                    }
                }
            }
        }
        Ok(known)
    }

    /// What a removal keeps: units of each group, then 1 for each branch that stays and 0 for each that is dropped.
    pub fn kept(&self, removal: &Removal) -> Vec<u32> {
        let units = |g: &Group| g.units.iter().filter(|u| !removal.leaves(**u)).count() as u32;
        let branch = |b: BranchId| u32::from(!removal.dropped().contains(&b));
        let (groups, branches) = (&self.channels.groups, 0..self.channels.branches.len());
        groups.iter().map(units).chain(branches.map(branch)).collect()
    }

    /// What a plan keeps that cuts nothing.
    pub fn whole(&self) -> Vec<u32> {
        self.kept(&Removal::none(&self.channels))
    }

    /// Facts with every size of the inputs bound.
    pub fn bind(&self, sizes: &BTreeMap<String, u64>) -> Facts {
        bound_facts(&self.model, &self.table, sizes)
    }

    /// Sizes that samples of these shapes (first axis: samples) give to the symbols of the inputs, with one sample.
    pub fn sizes_of(&self, shapes: &[Vec<u64>]) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        for (v, sizes) in self.model.graph.inputs().zip(shapes) {
            let dims = self.facts.get(v).shape.clone().unwrap_or_default();
            for (axis, (dim, size)) in dims.iter().zip(sizes).enumerate() {
                if let Some(s) = Dim::as_sym(dim) {
                    out.entry(s.to_string()).or_insert(if axis == 0 { 1 } else { *size });
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Quiet;

    #[test]
    fn the_smaller_of_two_sizes_is_known_once_both_are() {
        let text = "g (float[n,len] x) => (y)
            <float[1,6] p = [\"location\": \"random:1\"], int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}>
            { s = Shape (x) end = Slice (s, one, two) y = Slice (p, zero, end, one) }";
        let dense = prepare(&sparsec_testkit::model(text), sparsec_ops::table(), None, &Concessions::default(), &Quiet)
            .unwrap();
        let y = dense.model.graph.outputs()[0];
        let length = |len: u64| dense.bind(&BTreeMap::from([("n".into(), 1), ("len".into(), len)])).get(y).size(1);
        assert_eq!([3, 9].map(length), [Some(3), Some(6)]);
    }
}
