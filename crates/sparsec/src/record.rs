//! What a compilation leaves behind beside the model: the report and the lock.

use crate::cmd::model::{sha256, sha256_of};
use crate::error::CliError;
use crate::table::{bytes, count, ms, significant};
use serde::Serialize;
use sparsec::drive::{Curves, Decision, Prepared, Pricing};
use sparsec_analysis::{AxisOwner, node_ref};
use sparsec_ir::LinearRule;
use sparsec_plan::{Evaluate, Indices, Price};
use sparsec_report::{Frozen, Group};
use std::collections::BTreeMap;
use std::path::Path;

/// The lock: what went in and what was decided, exactly.
#[derive(Serialize)]
pub(crate) struct Lock {
    pub(crate) schema: &'static str,
    pub(crate) tool: String,
    pub(crate) runtime: String,
    pub(crate) inputs: BTreeMap<&'static str, LockedFile>,
    pub(crate) target: LockedFile,
    /// Options that the result depends on.
    pub(crate) options: BTreeMap<String, String>,
    /// Seed of a random plan.
    pub(crate) seed: Option<u64>,
    /// Units kept of each group that was cut.
    pub(crate) kept: BTreeMap<String, Indices>,
    pub(crate) outputs: BTreeMap<&'static str, String>,
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
    /// A file whose hash is known.
    pub(crate) fn known(path: &Path, sha256: &str) -> Self {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Self { name, sha256: sha256.to_string() }
    }
}

/// The groups of a report. `curves` and `pricing` are there where units were ranked by data.
pub(crate) fn groups(dense: &Prepared, decision: &Decision, measured: Option<(&Curves, &Pricing)>) -> Vec<Group> {
    let graph = &dense.model.graph;
    let producers = producers(dense);
    let full = dense.whole();
    let mut out = Vec::new();
    for (i, g) in dense.channels.groups.iter().enumerate() {
        let makers: Vec<&str> = g
            .axes
            .iter()
            .filter_map(|(axis, _)| match dense.channels.axes.owner(*axis) {
                AxisOwner::Value(v, a) => producers.get(&(graph.value(v).name.as_str(), a)).map(String::as_str),
                AxisOwner::Virtual(_) | AxisOwner::Digit => None,
            })
            .collect();
        let title = match makers[..] {
            [] => g.id.clone(),
            [a] => a.to_string(),
            [a, b] => format!("{a}, {b}"),
            [a, b, ..] => format!("{a}, {b} and {} more", makers.len() - 2),
        };
        let kept = decision.keep[i];
        let (mut curve, mut macs_share, mut why) = (Vec::new(), 0.0, String::new());
        if let Some((curves, pricing)) = measured {
            let c = &curves.groups[i];
            curve = c.counts.iter().map(|k| u64::from(*k)).zip(c.error.iter().copied()).collect();
            let mut least = full.clone();
            least[i] = c.counts[0];
            let dense_macs = decision.before.macs.max(1.0);
            let gone = 1.0 - f64::from(c.counts[0]) / f64::from(full[i]);
            macs_share = (dense_macs - pricing.price(&least).macs) / dense_macs / gone.max(f64::MIN_POSITIVE);
            why = why_not_more(i, kept, c, decision, pricing);
        }
        out.push(Group {
            id: g.id.clone(),
            title,
            units: g.units.len() as u64,
            kept: u64::from(kept),
            axes: g.axes.iter().map(|(axis, _)| dense.channels.axes.label(graph, *axis)).collect(),
            params: g.params,
            macs_share,
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

/// Weight axes that hold output channels, with the layer that they belong to.
fn producers(dense: &Prepared) -> BTreeMap<(&str, u32), String> {
    let graph = &dense.model.graph;
    let mut out = BTreeMap::new();
    for (id, node) in graph.nodes() {
        let Some(LinearRule::By(rule)) = dense.table.get(&node.domain, &node.op).map(|d| d.linear) else { continue };
        let Ok(Some(form)) = rule(&node_ref(&dense.model, &dense.facts, id)) else { continue };
        if let Some(w) = node.inputs.get(form.w).copied().flatten() {
            let weight = graph.value(w).name.as_str();
            // PyTorch names weights after the layers of the source; nodes it only numbers.
            let layer = weight.strip_suffix(".weight").map_or_else(|| graph.label(id), ToString::to_string);
            out.entry((weight, form.w_out as u32)).or_insert(layer);
        }
    }
    out
}

/// The frozen axes of a report.
pub(crate) fn frozen(dense: &Prepared) -> Vec<Frozen> {
    let graph = &dense.model.graph;
    let one = |f: &sparsec_analysis::FrozenAxis| match dense.channels.axes.owner(f.axis) {
        AxisOwner::Value(v, axis) => Some(Frozen {
            value: graph.value(v).name.clone(),
            axis,
            reason: f.freeze.reason.to_string(),
            params: f.params,
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
        "points" => format!("{value:.2} points"),
        "nats" | "mse" | "cosine" => format!("{} {unit}", significant(value)),
        _ => count(value as u64),
    }
}
