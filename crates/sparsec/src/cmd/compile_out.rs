//! What `sparsec compile` writes and prints.

use crate::cmd::compile::{Job, LimitRow};
use crate::cmd::estimate::EstimateJson;
use crate::cmd::masks;
use crate::cmd::model::{sha256, sha256_of, stamp};
use crate::cmd::scores::in_words;
use crate::error::CliError;
use crate::names::Names;
use crate::output::Folder;
use crate::record::{self, Lock, LockedFile, figure};
use crate::table::Column::{Number, Text};
use crate::table::{bytes, count, ms, plural, significant, table};
use serde::Serialize;
use sparsec::drive::{Comparison, Curves, Cut, Decision, MaskDecision, Pricing, bound_facts};
use sparsec_calib::metric::{Metric, Score};
use sparsec_cost::{Estimate, estimate, params};
use sparsec_ir::{Facts, Model};
use sparsec_plan::{Limit, LimitKind, Price};
use sparsec_report::{
    Better, Evaluation, Input, NonzeroMacs, Report, ReportError, RuntimeUse, SCHEMA, Side, TargetInfo, Tool, page,
};
use std::collections::BTreeMap;
use std::path::Path;

/// What a compilation came to.
pub(super) struct Outcome<'a> {
    pub(super) decision: Decision,
    pub(super) cut: Cut,
    /// Facts of the dense model, bound to the sizes of one sample.
    pub(super) facts: Facts,
    pub(super) limits: Vec<LimitRow>,
    /// Metric, dense and after.
    pub(super) metrics: Option<(Metric, Score, Score)>,
    /// The same on each evaluation set, by slice and class.
    pub(super) evaluations: Vec<Evaluation>,
    pub(super) measured: Option<(&'a Curves, &'a Pricing<'a>)>,
    pub(super) masks: Option<MaskDecision>,
    /// Files that went in, by their role.
    pub(super) files: BTreeMap<String, LockedFile>,
    /// A random plan's comparison with the masked model.
    pub(super) verdict: Option<Comparison>,
    pub(super) notes: Vec<String>,
    pub(super) warnings: Vec<String>,
}

#[derive(Serialize)]
struct Result_ {
    before: EstimateJson,
    after: EstimateJson,
    limits: Vec<sparsec_report::Limit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evaluations: Vec<Evaluation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    masks: Vec<sparsec_report::Mask>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonzero_macs: Option<NonzeroMacs>,
    verify: Option<VerifyJson>,
    notes: Vec<String>,
    warnings: Vec<String>,
    outputs: Vec<String>,
}

#[derive(Serialize)]
struct VerifyJson {
    equal: bool,
    max_abs_error: f64,
    max_rel_error: f64,
}

/// Writes the output folder and prints the outcome.
pub(super) fn write(job: &Job, outcome: &Outcome) -> Result<(), CliError> {
    let tool = format!("sparsec {}", env!("CARGO_PKG_VERSION"));
    let mut plan = outcome.decision.plan.clone();
    plan.model_sha256 = outcome.files.get("model").map(|f| f.sha256.clone());
    plan.target = Some(job.target.name.clone());
    let groups = record::groups(job.dense, &outcome.facts, &outcome.decision, outcome.measured);
    Names::of(&job.dense.model.graph).annotate(job.dense, &mut plan);
    for p in &mut plan.groups {
        let why = groups.iter().find(|g| g.id == p.id).map(|g| g.why_not_more.clone());
        p.why = why.filter(|w| !w.is_empty());
    }
    let plan_text = plan.to_yaml().map_err(sparsec::drive::DriveError::from)?;

    let plan_sha256 = sha256(plan_text.as_bytes());
    let mut model = outcome.cut.model.clone();
    stamp(&mut model, &job.dense.concessions, &plan_sha256);
    let report_error = |source| CliError::Report { path: job.args.output.clone(), source };
    let folder = Folder::begin(&job.args.output)?;
    let put = |name: &str, contents: &[u8]| crate::output::file(&folder.path().join(name), contents);
    let model_path = folder.path().join("model.onnx");
    sparsec_onnx::save(&model, &model_path, sparsec_onnx::Weights::AsLoaded)?;
    let mut hashes = BTreeMap::from([("model.onnx", sha256_of(&model_path)?), ("plan.yaml", plan_sha256)]);
    let data = folder.path().join("model.onnx.data");
    if data.exists() {
        hashes.insert("model.onnx.data", sha256_of(&data)?);
    }
    put("plan.yaml", plan_text.as_bytes())?;

    let original = job.dense.original.as_ref().map_or(&job.dense.model, |o| &o.model);
    let mut before = estimate_of(job, &outcome.facts, original);
    before.params = params(&job.source.model);
    before.file_bytes = job.source.stored_bytes();
    let mut after = estimate_of(job, &outcome.facts, &model);
    after.file_bytes = stored_bytes(&model_path);
    let names = Names::of(&job.dense.model.graph);
    names.relabel(&job.dense.model.graph, &mut before);
    names.relabel(&job.dense.model.graph, &mut after);

    let lock = lock(job, outcome, &tool, hashes)?;
    let lock = serde_json::to_string_pretty(&lock).map_err(ReportError::Json).map_err(report_error)?;
    put("sparsec.lock", format!("{lock}\n").as_bytes())?;
    let report = report(job, outcome, (&before, &after), groups);
    put("report.json", report.to_json().map_err(report_error)?.as_bytes())?;
    put("report.html", page(&report).map_err(report_error)?.as_bytes())?;
    if crate::interrupt::requested() {
        return Err(crate::interrupt::Interrupted.into());
    }
    let outputs = folder.finish("report.json")?;

    job.watch.clear();
    let side = |e: &Estimate, s: Option<&Score>| {
        let mut json = EstimateJson::from(e);
        json.side.metric = metric(outcome, s);
        json
    };
    let scores = outcome.metrics.as_ref();
    let json = Result_ {
        before: side(&before, scores.map(|m| &m.1)),
        after: side(&after, scores.map(|m| &m.2)),
        limits: outcome.limits.iter().map(sparsec_report::Limit::from).collect(),
        evaluations: outcome.evaluations.clone(),
        masks: report.masks.clone(),
        nonzero_macs: report.nonzero_macs,
        verify: outcome.verdict.map(|v| VerifyJson {
            equal: v.equal(),
            max_abs_error: v.max_abs_error,
            max_rel_error: v.max_rel_error,
        }),
        notes: outcome.notes.clone(),
        warnings: outcome.warnings.clone(),
        outputs: outputs.iter().map(|p| p.display().to_string()).collect(),
    };
    let text = text(job, outcome, (&before, &after), &json.outputs);
    job.talk.result("compile", &json, &text).map_err(CliError::Stdout)
}

/// Bytes of a model file that was written, with its data file.
fn stored_bytes(path: &std::path::Path) -> u64 {
    let bytes = |p: &std::path::Path| std::fs::metadata(p).map_or(0, |m| m.len());
    bytes(path) + bytes(&path.with_extension("onnx.data"))
}

/// The figures by which limits are judged: those of the model as it is written, not those that were planned with. The
/// model is written to find its size only where that is limited.
pub(super) fn price_of_written(job: &Job, facts: &Facts, model: &Model, limits: &[Limit]) -> Result<Price, CliError> {
    // Any plan's hash has the same length.
    let mut model = model.clone();
    stamp(&mut model, &job.dense.concessions, &sha256(b""));
    let e = estimate_of(job, facts, &model);
    let mut size = e.file_bytes;
    if limits.iter().any(|l| l.kind == LimitKind::Size) {
        let folder = Folder::begin(&job.args.output)?;
        let path = folder.path().join("model.onnx");
        sparsec_onnx::save(&model, &path, sparsec_onnx::Weights::AsLoaded)?;
        size = stored_bytes(&path);
    }
    Ok(Price { size: size as f64, ..price(&e) })
}

/// An estimate's figures.
pub(super) fn price(e: &Estimate) -> Price {
    Price {
        macs: e.macs as f64,
        params: e.params as f64,
        size: e.file_bytes as f64,
        latency_ms: e.latency_ms.mid,
        memory: e.memory.peak as f64,
    }
}

/// The estimate of a model with the inputs of the dense one, with the sizes of one sample.
pub(super) fn estimate_of(job: &Job, dense: &Facts, model: &Model) -> Estimate {
    let sizes: BTreeMap<String, u64> = job
        .dense
        .model
        .graph
        .inputs()
        .flat_map(|v| {
            let open = job.dense.facts.get(v).shape.clone().unwrap_or_default();
            let bound = dense.get(v).sizes().unwrap_or_default();
            let known = open.into_iter().zip(bound).filter_map(|(d, n)| Some((d.as_sym()?.to_string(), n)));
            known.collect::<Vec<_>>()
        })
        .collect();
    estimate(model, &bound_facts(model, &job.dense.table, &sizes), &job.dense.table, job.target)
}

impl From<&LimitRow> for sparsec_report::Limit {
    fn from(r: &LimitRow) -> Self {
        Self { name: r.name.clone(), asked: r.asked, reached: r.reached, unit: r.unit.to_string(), met: r.met() }
    }
}

fn lock(job: &Job, outcome: &Outcome, tool: &str, outputs: BTreeMap<&'static str, String>) -> Result<Lock, CliError> {
    let kept = outcome.decision.plan.groups.iter().map(|g| (g.id.clone(), g.keep.clone())).collect();
    Ok(Lock {
        schema: "sparsec/lock@1",
        tool: tool.to_string(),
        runtime: job.runtime.name(),
        inputs: outcome.files.clone(),
        target: LockedFile { name: job.target.name.clone(), sha256: sha256(job.target.to_yaml()?.as_bytes()) },
        options: job.options.clone(),
        seed: job.args.random_plan,
        kept,
        dropped: outcome.decision.plan.branches.clone(),
        masks: outcome.decision.plan.masks.iter().filter_map(|m| Some((m.weight.clone(), m.kept.clone()?))).collect(),
        outputs,
    })
}

/// A score as reports have it.
fn metric(outcome: &Outcome, score: Option<&Score>) -> Option<sparsec_report::Metric> {
    let ((metric, ..), score) = outcome.metrics.as_ref().zip(score)?;
    Some(sparsec_report::Metric {
        name: metric.name().to_string(),
        value: score.value,
        unit: if metric.is_percentage() { "%" } else { "" }.to_string(),
        samples: score.samples,
        better: if metric.higher_is_better() { Better::Higher } else { Better::Lower },
    })
}

/// What people call the model in a file: many are all called `model`, and told apart by their folder.
fn title(path: &Path) -> String {
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    let stem = path.file_stem().is_some_and(|s| s == "model");
    let folder = path.parent().and_then(name).filter(|_| stem);
    folder.or_else(|| name(path)).unwrap_or_else(|| path.display().to_string())
}

fn report(
    job: &Job,
    outcome: &Outcome,
    (before, after): (&Estimate, &Estimate),
    groups: Vec<sparsec_report::Group>,
) -> Report {
    let side = |e: &Estimate, score: Option<&Score>| Side { metric: metric(outcome, score), ..Side::from(e) };
    let scores = outcome.metrics.as_ref();
    let used_for = match (&outcome.metrics, outcome.measured.is_some() || outcome.masks.is_some()) {
        (Some(_), _) => "calibration, sensitivity, recovery, metric",
        (None, true) => "calibration, sensitivity, recovery",
        (None, false) => "comparison with the masked model",
    };
    let mut notes: Vec<String> = before.notes.iter().chain(&after.notes).cloned().collect();
    notes.sort();
    notes.dedup();
    if let Some(v) = outcome.verdict {
        notes.push(format!(
            "on random inputs the model differs from the masked one by {:.1e} of the largest output",
            v.max_rel_error
        ));
    }
    notes.extend(outcome.notes.iter().cloned());
    notes.push(format!("latency, memory and energy are estimates for `{}`, not measurements", job.target.name));
    Report {
        schema: SCHEMA.to_string(),
        model: title(&job.args.model),
        tool: Tool { name: "sparsec".to_string(), version: env!("CARGO_PKG_VERSION").to_string() },
        target: TargetInfo {
            name: job.target.name.clone(),
            calibrated: job.target.calibrated,
            source: job.target.source.clone(),
        },
        runtimes: vec![RuntimeUse { name: job.runtime.name(), used_for: used_for.to_string() }],
        before: side(before, scores.map(|m| &m.1)),
        after: side(after, scores.map(|m| &m.2)),
        limits: outcome.limits.iter().map(sparsec_report::Limit::from).collect(),
        evaluations: outcome.evaluations.clone(),
        groups,
        branches: record::branches(job.dense, &outcome.decision, outcome.measured, &outcome.facts),
        masks: outcome.masks.as_ref().map_or_else(Vec::new, |m| masks::rows(m, &outcome.cut)),
        nonzero_macs: nonzero(outcome, before, after),
        prunable: Some(record::prunable(job.dense, &outcome.facts)),
        frozen: record::frozen(job.dense, &outcome.facts),
        inputs: outcome
            .files
            .iter()
            .map(|(role, f)| Input { role: role.clone(), name: f.name.clone(), sha256: f.sha256.clone() })
            .collect(),
        notes,
        warnings: outcome.warnings.clone(),
    }
}

/// Multiplications that are not by zero, where weights are masked.
fn nonzero(outcome: &Outcome, before: &Estimate, after: &Estimate) -> Option<NonzeroMacs> {
    let saved = outcome.masks.as_ref()?.saved(&outcome.cut.masks);
    Some(NonzeroMacs { before: before.macs, after: after.macs.saturating_sub(saved.ceil() as u64) })
}

fn text(job: &Job, outcome: &Outcome, (before, after): (&Estimate, &Estimate), outputs: &[String]) -> String {
    let ratio = |a: f64, b: f64| format!("{:.1} %", 100.0 * b / a.max(f64::MIN_POSITIVE));
    let mut rows = Vec::new();
    let mut row = |name: &str, a: String, b: String, share: String| rows.push(vec![name.to_string(), a, b, share]);
    let span =
        |e: &Estimate| format!("{} ({} to {})", ms(e.latency_ms.mid), ms(e.latency_ms.low), ms(e.latency_ms.high));
    // A model of which no size is known has MACs all the same.
    match before.macs {
        0 => row("MACs", "–".to_string(), "–".to_string(), String::new()),
        _ => row("MACs", count(before.macs), count(after.macs), ratio(before.macs as f64, after.macs as f64)),
    }
    if let Some(m) = nonzero(outcome, before, after) {
        row("MACs that are not by zero", count(m.before), count(m.after), ratio(m.before as f64, m.after as f64));
    }
    row("parameters", count(before.params), count(after.params), ratio(before.params as f64, after.params as f64));
    let (a, b) = (before.file_bytes, after.file_bytes);
    row("file", bytes(a), bytes(b), ratio(a as f64, b as f64));
    row("latency, estimated", span(before), span(after), ratio(before.latency_ms.mid, after.latency_ms.mid));
    let (a, b) = (before.memory.peak, after.memory.peak);
    row("peak memory, estimated", bytes(a), bytes(b), ratio(a as f64, b as f64));
    if let Some((metric, dense, cut)) = &outcome.metrics {
        let show = |s: &Score| {
            if metric.is_percentage() { format!("{:.2} %", s.value) } else { significant(s.value) }
        };
        let change = cut.value - dense.value;
        let sign = if change > 0.0 { "+" } else { "" };
        let change =
            if metric.is_percentage() { format!("{change:+.2}") } else { sign.to_string() + &significant(change) };
        row(&format!("{metric} of {}", cut.samples), show(dense), show(cut), change);
    }
    let mut out = table(&[Text(""), Number("before"), Number("after"), Number("")], &rows);
    for e in &outcome.evaluations {
        let part =
            |name: &str, c: &sparsec_report::Compared| format!("{} on {name}: {}\n", e.metric, in_words(&e.unit, c));
        out += &part(&e.set, &e.total);
        e.slices.iter().for_each(|p| {
            out += &part(&format!("{} at {} ({} samples)", e.set, p.name, p.compared.samples), &p.compared)
        });
    }
    out += &format!("\ntarget {}{}\n", job.target.name, if job.target.calibrated { "" } else { " (uncalibrated)" });
    for l in &outcome.limits {
        let verdict = if l.met() { "met" } else { "NOT met" };
        out += &format!(
            "limit {}: asked {}, reached {}: {verdict}\n",
            l.name,
            figure(l.unit, l.asked),
            figure(l.unit, l.reached)
        );
    }
    if let Some(v) = outcome.verdict {
        let verdict = if v.equal() { "equals" } else { "DIFFERS FROM" };
        out += &format!("the model {verdict} the masked one (largest relative difference {:.1e})\n", v.max_rel_error);
    }
    let was = |n: usize| if n == 1 { "was" } else { "were" };
    let planned = &outcome.decision.plan.groups;
    let cut = planned.iter().filter(|g| g.keep.indices().len() < g.units as usize).count();
    let groups = job.dense.channels.groups.len();
    out += &format!("{cut} of {} {} cut\n", plural(groups, "group", "groups"), was(cut));
    let moved = planned.iter().filter(|g| !g.keep.ascend()).count();
    if moved > 0 {
        out += &format!("channels of {} {} put into another order\n", plural(moved, "group", "groups"), was(moved));
    }
    let (dropped, branches) = (outcome.decision.plan.branches.len(), job.dense.channels.branches.len());
    if dropped > 0 {
        out += &format!("{dropped} of {} {} dropped\n", plural(branches, "branch", "branches"), was(dropped));
    }
    for n in &outcome.notes {
        out += &format!("note: {n}\n");
    }
    for w in &outcome.warnings {
        out += &format!("warning: {w}\n");
    }
    out += "\n";
    for o in outputs {
        out += &format!("{o}\n");
    }
    out += &format!("\ntook {:.1} s\n", job.started.elapsed().as_secs_f64());
    out
}
