//! `sparsec verify`: does a smaller model compute what it should?

use crate::cli::Global;
use crate::cmd::apply::read_plan;
use crate::cmd::model::{PLAN, load, open, runtime};
use crate::cmd::samples::SampleArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::Names;
use crate::table::plural;
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::{
    DriveError, NOT_FINITE, Prepared, RESOLVED, changed_weights, compare_canonical, compare_narrow, random_inputs,
    verify,
};
use sparsec_analysis::{Removal, infer};
use sparsec_ir::{Graph, Model, Type, ValueId};
use sparsec_passes::mask::holds;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Check a removal: the smaller model must equal the dense one with the removed channels masked.
#[derive(Debug, Args)]
#[command(after_help = "\
Weights that were re-solved are put into the dense model first: checked is the removal, not the recovery. \
All others must be the dense model's at the channels that the plan keeps.
Masked weights must be zero where the plan says; what is left of them counts as re-solved.

Examples:
  sparsec verify model.onnx pruned.onnx --plan out/plan.yaml
  sparsec verify model.onnx pruned.onnx --plan out/plan.yaml --data calib.npz --scale 1/255")]
pub(crate) struct VerifyArgs {
    /// Dense model.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Smaller model.
    #[arg(value_name = "PRUNED")]
    pruned: PathBuf,
    /// Plan that leads from one to the other.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Compare on these samples instead of random inputs.
    #[arg(long, value_name = "SAMPLES", conflicts_with = "seed")]
    data: Option<PathBuf>,
    /// Seed of the random inputs.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Samples to compare on, where the model leaves that open.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    batch: u64,
    #[command(flatten)]
    samples: SampleArgs,
}

#[derive(Serialize)]
struct Verified {
    equal: bool,
    /// What was given up, and where the cut is exact only by the definition of a policy.
    conceded: Vec<String>,
    /// Branches that the plan drops, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
    /// Largest relative difference that taking out what was given up makes to what stays; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up_error: Option<f64>,
    /// Null where shapes differ or one side is not a number.
    max_abs_error: f64,
    /// Relative to the largest value of the same output.
    max_rel_error: f64,
    /// Weights that the plan masks.
    masks: usize,
    /// Those of them that are not zero where the plan says, or in fewer places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_masked: Vec<String>,
    /// Largest relative difference between the file and its canonical form, which the removal starts from; absent where the
    /// runtime cannot run the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_error: Option<f64>,
    /// Weights that recovery changed: of them only the structure is checked.
    resolved: usize,
    /// Weights that are neither the dense model's at the channels kept nor such as recovery changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    foreign: Vec<String>,
    /// Largest relative difference that the removal makes: where it is zero, the comparison saw nothing.
    effect: f64,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let watch = Watch::new(talk);
    let runtime = runtime(global)?;
    let (plan, _) = read_plan(&args.plan, &args.model)?;
    let (source, dense) = open(&args.model, &plan.concessions, global, &watch)?;
    let removal = plan.removal(&dense.channels).map_err(DriveError::from)?;
    let pruned = load(&args.pruned, talk)?.model;
    check_family(args, &dense.model.graph, &pruned.graph)?;
    let inputs = match &args.data {
        Some(path) => args.samples.first(path, &dense.model, args.batch, talk)?,
        None => random_inputs(&dense, args.seed, args.batch)?,
    };
    let canonical = compare_canonical(&dense, &source.model, runtime.as_ref(), &inputs)?;
    if let Err(why) = &canonical {
        talk.note(&format!("the canonical model was not compared with the file: {why}"));
    }
    let (resolved, foreign) = weights(&dense, &pruned, &removal)?;
    let (found, effect) = verify(&dense, &pruned, &removal, runtime.as_ref(), &inputs)?;
    let (max_abs_error, max_rel_error) = (found.max_abs_error, found.max_rel_error);
    let narrow = match &dense.original {
        Some(original) => Some(compare_narrow(&dense, original, runtime.as_ref(), &inputs)?),
        None => None,
    };
    let effect = effect.max_rel_error;
    let facts = infer(&pruned, &dense.table).facts;
    let not_masked = holds((&pruned, &facts, &dense.table), &plan.masks).map_err(DriveError::from)?;
    let names = Names::of(&dense.model.graph);
    let verified = Verified {
        equal: found.equal()
            && !found.vacuous()
            && foreign.is_empty()
            && not_masked.is_empty()
            && narrow.is_none_or(|n| n.equal()),
        conceded: dense.conceded(&removal, &|n| names.node(&dense.model.graph, n)),
        dropped: names.dropped(&dense, &removal),
        given_up_error: narrow.map(|n| n.max_rel_error),
        max_abs_error,
        max_rel_error,
        masks: plan.masks.len(),
        not_masked,
        canonical_error: canonical.ok().map(|c| c.max_rel_error),
        resolved: resolved.len(),
        foreign,
        effect,
    };
    let mut text = match verified.equal {
        _ if found.vacuous() => format!("not compared: {NOT_FINITE}\n"),
        equal => {
            let verdict = if equal { "equal" } else { "different" };
            format!("{verdict}: largest difference {max_abs_error:.3e}, relative {max_rel_error:.3e}\n")
        }
    };
    text += &format!("the cut itself changes the outputs by {effect:.3e}, relative\n");
    if let Some(error) = verified.canonical_error {
        text += &format!("its canonical form differs from the dense file by {error:.3e}, relative\n");
    }
    if !resolved.is_empty() {
        text += &format!(
            "of {} that were re-solved only the structure is checked\n",
            plural(resolved.len(), "weight", "weights")
        );
    }
    if let Some(n) = narrow {
        text += &format!("without what was given up, the rest differs by {:.3e}, relative\n", n.max_rel_error);
    }
    if dense.channels.inexact_cuts(&removal).next().is_some() {
        text += "the masked model works on the channels that stay where a policy lets others go: the cut is inexact\n";
    }
    if verified.masks > 0 && verified.not_masked.is_empty() {
        text += &format!("{} zero where the plan says\n", plural(verified.masks, "weight is", "weights are"));
    }
    verified.conceded.iter().chain(&verified.dropped).for_each(|line| text += &format!("{line}\n"));
    if effect == 0.0 && !removal.is_empty() {
        talk.note("the removal changes no output on these inputs: other samples would show more");
    }
    talk.result("verify", &verified, &text).map_err(CliError::Stdout)?;
    if !verified.not_masked.is_empty() {
        return Err(CliError::NotMasked { weights: verified.not_masked });
    }
    match verified.foreign.first() {
        _ if verified.equal => Ok(Exit::Done),
        Some(first) => Err(CliError::Foreign { weights: verified.foreign.len(), first: first.clone() }),
        None if found.vacuous() => Err(CliError::NotCompared),
        None => {
            // What was given up is left out of the first comparison.
            let worst = narrow.filter(|n| !n.equal()).unwrap_or(found);
            Err(CliError::Unequal { max_abs_error: worst.max_abs_error, max_rel_error: worst.max_rel_error })
        }
    }
}

/// Weights that are not those of the dense model at the channels kept: what recovery changed, and what nothing explains. A
/// model that sparsec has not written may have been trained on: all that changed counts as the first.
fn weights(dense: &Prepared, pruned: &Model, removal: &Removal) -> Result<(Vec<String>, Vec<String>), CliError> {
    let changed = changed_weights(dense, pruned, removal)?;
    let said = |key: &str| pruned.meta.iter().find(|(k, _)| k == key).map(|(_, names)| names.as_str());
    let own = said(PLAN).is_some();
    let resolved: BTreeSet<&str> = said(RESOLVED).unwrap_or_default().lines().collect();
    Ok(changed.into_iter().partition(|name| !own || resolved.contains(name.as_str())))
}

/// Refuses a model that has other inputs or outputs than the dense one: no plan leads there.
fn check_family(args: &VerifyArgs, dense: &Graph, pruned: &Graph) -> Result<(), CliError> {
    let ports = |graph: &Graph, values: Vec<ValueId>| {
        let port = |v: ValueId| match &graph.value(v).ty {
            Some(Type::Tensor { elem, shape }) => {
                let rank = shape.as_ref().map_or(String::new(), |s| format!("[{}]", vec!["·"; s.len()].join(",")));
                format!("`{}` {elem}{rank}", graph.value(v).name)
            }
            _ => format!("`{}`", graph.value(v).name),
        };
        values.into_iter().map(port).collect::<Vec<_>>().join(", ")
    };
    let sides = |graph: &Graph| {
        [("inputs are", graph.inputs().collect::<Vec<_>>()), ("outputs are", graph.outputs().to_vec())]
            .map(|(what, values)| (what, ports(graph, values)))
    };
    for ((what, wanted), (_, found)) in sides(dense).into_iter().zip(sides(pruned)) {
        if wanted != found {
            let (pruned, model) = (args.pruned.clone(), args.model.clone());
            return Err(CliError::OtherFamily { pruned, model, what, found, wanted });
        }
    }
    Ok(())
}
