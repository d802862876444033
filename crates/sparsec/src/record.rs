//! What a compilation leaves behind beside the model: the report and the lock.

use crate::cli::{Cli, Global};
use crate::cmd::model::{sha256, sha256_of};
use crate::error::CliError;
use crate::held_back::macs_per_element;
use crate::names::Names;
use crate::remedy::Remedies;
use crate::table::{bytes, count, ms, significant};
use clap::{ArgMatches, CommandFactory};
use serde::Serialize;
use sparsec::drive::{Curves, Decision, Prepared, Pricing, inside, macs, macs_of_branch, macs_on};
use sparsec_analysis::{AxisOwner, BranchId};
use sparsec_ir::{Facts, Model};
use sparsec_plan::{Bits, Evaluate, Ordered, Price};
use sparsec_report::{Branch, Frozen, Group, Prunable};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

/// The lock: what went in and what was decided, exactly.
#[derive(Serialize)]
pub(crate) struct Lock {
    pub(crate) schema: &'static str,
    pub(crate) tool: String,
    pub(crate) runtime: String,
    pub(crate) inputs: BTreeMap<String, LockedFile>,
    pub(crate) target: LockedFile,
    /// Options that the result depends on, as they were given or by default.
    pub(crate) options: BTreeMap<String, Vec<String>>,
    /// Seed of a random plan.
    pub(crate) seed: Option<u64>,
    /// Units kept of each group that was cut or put into another order, in the order in which they lie.
    pub(crate) kept: BTreeMap<String, Ordered>,
    /// Branches that were dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropped: Vec<String>,
    /// What stays of each weight that is masked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) masks: BTreeMap<String, Bits>,
    pub(crate) outputs: BTreeMap<&'static str, String>,
}

/// Arguments of `sparsec compile` that the lock holds in another form: as a file with its hash, the name and version of
/// the runtime, the seed.
const ELSEWHERE: &[&str] = &["model", "data", "eval", "target", "runtime", "random_plan", "ops"];
/// Arguments that no byte of a result depends on.
const WITHOUT_EFFECT: &[&str] = &["output", "json", "threads", "quiet", "verify_each", "print_after", "remarks"];

/// What a lock says of the command line: every option but those above. A new one is recorded unless it is listed there.
pub(crate) fn options(matches: &ArgMatches) -> BTreeMap<String, Vec<String>> {
    let Some((name, given)) = matches.subcommand() else { return BTreeMap::new() };
    let value = |id: String| {
        let values = given.get_raw(&id)?.map(|v| v.to_string_lossy().into_owned()).collect();
        Some((id, values))
    };
    recorded(name).into_iter().filter_map(value).collect()
}

/// Names of the options of a command that a lock records.
fn recorded(command: &str) -> Vec<String> {
    let mut cli = Cli::command();
    cli.build();
    let args = cli.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    let help = |a: &&clap::Arg| {
        use clap::ArgAction::{Help, HelpLong, HelpShort, Version};
        matches!(a.get_action(), Help | HelpLong | HelpShort | Version)
    };
    let ids = args.filter(|a| !help(a)).map(|a| a.get_id().to_string());
    ids.filter(|id| !ELSEWHERE.contains(&id.as_str()) && !WITHOUT_EFFECT.contains(&id.as_str())).collect()
}

/// A file by its name and contents.
#[derive(Clone, Serialize)]
pub(crate) struct LockedFile {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

impl LockedFile {
    /// A file, or a folder by the names and hashes of all files in it.
    pub(crate) fn of(path: &Path) -> Result<Self, CliError> {
        if !path.is_dir() {
            return Ok(Self::known(path, &sha256_of(path)?));
        }
        let mut lines = Vec::new();
        let mut folders = vec![path.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let error = |source| CliError::Read { path: folder.clone(), source };
            for entry in std::fs::read_dir(&folder).map_err(error)? {
                let entry = entry.map_err(error)?.path();
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    let name = entry.strip_prefix(path).unwrap_or(&entry).display().to_string();
                    lines.push(format!("{}  {name}\n", sha256_of(&entry)?));
                }
            }
        }
        lines.sort();
        Ok(Self::known(path, &sha256(lines.concat().as_bytes())))
    }
    /// A model's files by what they are to it: the model itself and those that its weights lie in; and the file that
    /// teaches operators.
    pub(crate) fn inputs(path: &Path, model: &Model, global: &Global) -> Result<BTreeMap<String, Self>, CliError> {
        let mut out = BTreeMap::from([("model".to_string(), Self::known(path, &sha256_of(path)?))]);
        let tensors = model.graph.values().filter_map(|(v, _)| model.graph.constant(v)?.external.as_ref());
        let places = tensors.flat_map(|e| e.entries.iter().filter(|(key, _)| key == "location").map(|(_, at)| at));
        for place in places {
            if let Entry::Vacant(entry) = out.entry(format!("weights {place}")) {
                entry.insert(Self::of(&path.parent().unwrap_or(Path::new("")).join(place))?);
            }
        }
        if let Some(ops) = &global.ops {
            out.insert("operators".to_string(), Self::of(ops)?);
        }
        Ok(out)
    }
    /// A file whose hash is known.
    pub(crate) fn known(path: &Path, sha256: &str) -> Self {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Self { name, sha256: sha256.to_string() }
    }
}

/// The groups of a report. `curves` and `pricing` are there where units were ranked by data.
pub(crate) fn groups(
    dense: &Prepared,
    facts: &Facts,
    decision: &Decision,
    measured: Option<(&Curves, &Pricing)>,
) -> Vec<Group> {
    let graph = &dense.model.graph;
    let names = Names::of(graph);
    let mut bound = facts.clone();
    let all_macs = macs(dense, facts).0;
    let inside = inside(dense);
    let around = |i: usize| {
        let lies = |b: &&BranchId| inside[dense.channels.groups.len() + **b].contains(&i);
        decision.removal.dropped().iter().find(lies).map(|b| &dense.channels.branches[*b])
    };
    let mut out = Vec::new();
    for (i, g) in dense.channels.groups.iter().enumerate() {
        let branch = around(i);
        let kept = if branch.is_some() { 0 } else { decision.keep[i] };
        let (mut curve, mut why) = (Vec::new(), String::new());
        if let Some((curves, pricing)) = measured {
            let c = &curves.groups[i];
            curve = c.counts.iter().map(|k| u64::from(*k)).zip(c.error.iter().copied()).collect();
            why = why_not_more(i, kept, c, decision, pricing);
        }
        if let Some(branch) = branch {
            why = format!("lies in `{}`, which is dropped", branch.id);
        }
        out.push(Group {
            id: g.id.clone(),
            title: names.title(dense, g),
            units: g.units.len() as u64,
            kept: u64::from(kept),
            axes: g.axes.iter().map(|(axis, _)| dense.channels.axes.label(graph, *axis)).collect(),
            params: g.params,
            macs_share: (all_macs > 0).then(|| macs_on(dense, &mut bound, g) as f64 / all_macs as f64),
            curve,
            why_not_more: why,
        });
    }
    out
}

/// What the next smaller count would have cost and brought.
fn why_not_more(
    group: usize,
    kept: u32,
    curve: &sparsec::drive::GroupCurve,
    decision: &Decision,
    pricing: &Pricing,
) -> String {
    let Some(at) = curve.counts.iter().position(|k| *k == kept) else { return String::new() };
    if at == 0 {
        return "kept at the least count that is allowed".to_string();
    }
    let next = curve.counts[at - 1];
    let mut trial = decision.keep.clone();
    trial[group] = next;
    let (now, then): (Price, Price) = (decision.after, pricing.price(&trial));
    let saved = |a: f64, b: f64| 100.0 * (a - b) / a.max(f64::MIN_POSITIVE);
    format!(
        "{next} instead of {kept} would raise the output's divergence by {:.2e} to save {:.1} % of the MACs and {:.1} % of the time",
        curve.error[at - 1] - curve.error[at],
        saved(now.macs, then.macs),
        saved(now.latency_ms, then.latency_ms)
    )
}

/// The branches of a report. `facts` are bound.
pub(crate) fn branches(
    dense: &Prepared,
    decision: &Decision,
    measured: Option<(&Curves, &Pricing)>,
    facts: &Facts,
) -> Vec<Branch> {
    let graph = &dense.model.graph;
    let names = Names::of(graph);
    let one = |(i, b): (usize, &sparsec_analysis::Branch)| {
        let choice = dense.channels.groups.len() + i;
        let around = dense.channels.branch_around(i, decision.removal.dropped());
        let error = measured.and_then(|(curves, _)| curves.branches.get(i)).map(|c| c.error);
        let why = match (around, measured.zip(error)) {
            (Some(outer), _) => format!("lies in `{}`, which is dropped", dense.channels.branches[outer].id),
            (None, Some(((_, pricing), error))) => why_branch(choice, error, decision, pricing),
            (None, None) => String::new(),
        };
        Branch {
            id: b.id.clone(),
            layers: names.layers(graph, b),
            sum: names.node(graph, b.sum),
            params: b.params,
            macs: macs_of_branch(dense, facts, b),
            error,
            dropped: around.is_some() || decision.keep[choice] == 0,
            why,
        }
    };
    dense.channels.branches.iter().enumerate().map(one).collect()
}

/// What the other choice for a branch would have cost or brought.
fn why_branch(choice: usize, error: f64, decision: &Decision, pricing: &Pricing) -> String {
    let mut trial = decision.keep.clone();
    trial[choice] = 1 - trial[choice];
    let (now, then) = (decision.after, pricing.price(&trial));
    let share = |a: f64, b: f64| 100.0 * (a - b).abs() / a.max(f64::MIN_POSITIVE);
    let (macs, time) = (share(now.macs, then.macs), share(now.latency_ms, then.latency_ms));
    match trial[choice] {
        0 => format!(
            "dropping it would raise the output's divergence by {error:.2e} to save {macs:.1} % of the MACs and {time:.1} % of the time"
        ),
        _ => format!(
            "to keep it would lower the output's divergence by {error:.2e} and take {macs:.1} % more MACs and {time:.1} % more time"
        ),
    }
}

/// How much of the model any plan could cut. `facts` are bound.
pub(crate) fn prunable(dense: &Prepared, facts: &Facts) -> Prunable {
    let share = |(all, can): (u64, u64)| can as f64 / all.max(1) as f64;
    let macs = macs(dense, facts);
    Prunable { params: share(dense.channels.params), macs: (macs.0 > 0).then(|| share(macs)) }
}

/// The frozen axes of a report. `facts` are bound.
pub(crate) fn frozen(dense: &Prepared, facts: &Facts) -> Vec<Frozen> {
    let graph = &dense.model.graph;
    let names = Names::of(graph);
    let (remedies, macs) = (Remedies::of(dense), macs_per_element(dense, facts));
    let one = |f: &sparsec_analysis::FrozenAxis| match dense.channels.axes.owner(f.axis) {
        AxisOwner::Value(v, axis) => Some(Frozen {
            value: graph.value(v).name.clone(),
            layer: names.layer_of(graph, v).map(str::to_string),
            axis,
            reason: f.freeze.reason.to_string(),
            params: f.params,
            macs: macs.get(&v).map(|m| (m * f.params as f64).round() as u64),
            remedy: remedies.remedy(&f.freeze.reason, f.freeze.node, &[f]),
        }),
        AxisOwner::Virtual(_) | AxisOwner::Digit => None,
    };
    dense.channels.frozen.iter().filter_map(one).collect()
}

/// A figure of a limit as people read it.
pub(crate) fn figure(unit: &str, value: f64) -> String {
    match unit {
        "ms" => ms(value),
        "B" => bytes(value as u64),
        "mJ" => format!("{} mJ", significant(value)),
        "MAC" => count(value as u64),
        "" if value >= 1000.0 || value.fract() == 0.0 => count(value as u64),
        "%" | "points" => format!("{value:.2} {unit}"),
        _ => format!("{} {unit}", significant(value)).trim_end().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    #[test]
    fn every_option_of_compile_is_in_the_lock_or_known_to_change_nothing() {
        let mut cli = Cli::command();
        cli.build();
        let all: Vec<String> = cli
            .find_subcommand("compile")
            .into_iter()
            .flat_map(clap::Command::get_arguments)
            .map(|a| a.get_id().to_string())
            .filter(|id| id != "help" && id != "version")
            .collect();
        for listed in ELSEWHERE.iter().chain(WITHOUT_EFFECT) {
            assert!(all.iter().any(|id| id == listed), "`{listed}` is no longer an option");
        }
        // A line for each option, so that whoever adds one sees it arrive in the lock.
        assert_eq!(
            recorded("compile"),
            [
                "metric",
                "slice",
                "keep",
                "dim",
                "max_latency",
                "max_memory",
                "max_macs",
                "max_params",
                "max_size",
                "max_drop",
                "mask",
                "mask_density",
                "scale",
                "max_samples",
                "image",
                "allow",
                "give_up",
                "rewrite_limit"
            ]
        );
        assert_eq!(all.len(), recorded("compile").len() + ELSEWHERE.len() + WITHOUT_EFFECT.len());
    }

    #[test]
    fn options_are_recorded_as_they_were_given() {
        let line = "sparsec compile m.onnx -o out --data d.npz --eval e.npz --metric top1 --max-macs 50% --max-samples 64 \
                    --scale a=1/255 --scale b=2 --image plain --rewrite-limit 9 --threads 3 --json";
        let matches = Cli::command().try_get_matches_from(line.split_whitespace()).unwrap();
        assert!(Cli::from_arg_matches(&matches).is_ok());
        let said: Vec<String> = options(&matches).iter().map(|(k, v)| format!("{k}={}", v.join(" "))).collect();
        assert_eq!(
            said,
            ["image=plain", "max_macs=50%", "max_samples=64", "metric=top1", "rewrite_limit=9", "scale=a=1/255 b=2"]
        );
    }
}
