//! `sparsec compile`: the main job, from a model to a smaller one with its report.

use crate::cli::{ConcessionArgs, Global, PassArgs};
use crate::cmd::compile_out::{Outcome, estimate_of, price, price_of_written, write};
use crate::cmd::curves::{Measurement, STORE, measured};
use crate::cmd::limits::{LimitArgs, resolve};
use crate::cmd::masks::{self, MaskArgs};
use crate::cmd::model::{Source, folded, open_with, runtime};
use crate::cmd::samples::SampleArgs;
use crate::cmd::scores::{Yardstick, drop_unit};
use crate::error::CliError;
use crate::exit::Exit;
use crate::held_back::nothing_to_cut;
use crate::names::Names;
use crate::output;
use crate::record::LockedFile;
use crate::talk::Talk;
use crate::values::{self, EvalSet};
use crate::watch::Watch;
use clap::Args;
use sparsec::drive::{
    COMPARED, Comparison, Curves, Cut, Decision, DriveError, MaskDecision, NOT_FINITE, Prepared, Pricing, Samples,
    Stays, compare_canonical, cut, cut_and_recover, decide, decide_masks, difference, order_for_masks, random_inputs,
    random_removal, run as run_model, says_of_listed, weight_bytes,
};
use sparsec_analysis::Removal;
use sparsec_calib::metric::{Metric, Scored};
use sparsec_cost::{Target, params};
use sparsec_ir::{Facts, Model};
use sparsec_passes::remove::mask;
use sparsec_plan::{Evaluate, Limit, LimitKind, Pattern, Plan, Price};
use sparsec_report::Evaluation;
use sparsec_runtime::Runtime;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Make a model smaller and faster within limits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec compile model.onnx -o out --target generic-x86 --data calib.npz --scale 1/255 --max-macs 50%
  sparsec compile model.onnx -o out --target my-board.yaml --data calib.npz --eval val.npz --metric top1 \\
      --max-memory 64MiB --max-drop 1.0
  sparsec compile model.onnx -o out --data calib.npz --max-macs 50% --mask 4x1      # channels and masks in one plan
  sparsec compile model.onnx -o out --data calib.npz --max-macs 80% --mask 4x1 --mask-density 63%
  sparsec compile model.onnx -o out --random-plan 7 --keep 0.7      # no data: does removal work on this model?")]
pub(crate) struct CompileArgs {
    /// Model to compile.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Folder for the model, plan, lock and report.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Built-in target or target file.
    #[arg(long, value_name = "TARGET", default_value = "generic-x86")]
    pub(crate) target: String,
    /// Samples to calibrate with; labels are not used.
    #[arg(long, value_name = "SAMPLES", required_unless_present = "random_plan")]
    pub(crate) data: Option<PathBuf>,
    /// Samples to measure the metric on, labelled where the metric needs labels. May be given several times; the weight
    /// counts in the mean.
    #[arg(long, value_name = "[NAME[:WEIGHT]=]SAMPLES", requires = "metric")]
    pub(crate) eval: Vec<EvalSet>,
    /// What to measure.
    #[arg(long, value_name = "METRIC", requires = "eval")]
    pub(crate) metric: Option<Metric>,
    /// Also measure by slice: the samples of each value of an array of the evaluation samples, which holds a number or a text
    /// for each. May be given several times.
    #[arg(long, value_name = "COLUMN", requires = "eval")]
    pub(crate) slice: Vec<String>,
    /// Remove units and branches drawn at random from this seed, without data.
    #[arg(long, value_name = "SEED", requires = "keep",
          conflicts_with_all = ["data", "eval", "max_latency", "max_memory", "max_macs", "max_params", "max_size"])]
    pub(crate) random_plan: Option<u64>,
    /// Share of every group's units that a random plan keeps, e.g. `0.7`; below 1, one branch in four is dropped.
    #[arg(long, value_name = "SHARE", requires = "random_plan", value_parser = values::keep)]
    pub(crate) keep: Option<f64>,
    /// Size of an axis that the model leaves open, for the figures of a random plan; samples have theirs.
    #[arg(long, value_name = "NAME=N", requires = "random_plan", value_parser = values::dim)]
    pub(crate) dim: Vec<(String, u64)>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// What may be lost of the metric, e.g. `1.0`: in points, or for `kl`, `mse` and `cosine` in their own unit; on each
    /// evaluation set and each slice. Alone, it asks for the fastest model within that loss.
    #[arg(long, value_name = "POINTS", value_parser = values::points, requires = "eval", help_heading = "Limits")]
    pub(crate) max_drop: Option<f64>,
    #[command(flatten)]
    pub(crate) masks: MaskArgs,
    #[command(flatten)]
    pub(crate) samples: SampleArgs,
    #[command(flatten)]
    pub(crate) concessions: ConcessionArgs,
    #[command(flatten)]
    pub(crate) passes: PassArgs,
}

impl CompileArgs {
    /// Whether there is a limit for which channels are cut.
    fn cuts(&self) -> bool {
        !resolve(&self.limits, &Price::default()).is_empty() || self.max_drop.is_some()
    }
}

/// Everything that a compilation works with.
pub(super) struct Job<'a> {
    pub(super) args: &'a CompileArgs,
    /// What the lock says of the command line.
    pub(super) options: BTreeMap<String, Vec<String>>,
    pub(super) global: &'a Global,
    pub(super) talk: Talk,
    pub(super) watch: &'a Watch,
    pub(super) source: &'a Source,
    pub(super) dense: &'a Prepared,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) target: &'a Target,
    pub(super) started: Instant,
}

/// Runs the command.
pub(crate) fn run(
    args: &CompileArgs,
    options: BTreeMap<String, Vec<String>>,
    global: &Global,
    talk: Talk,
) -> Result<Exit, CliError> {
    let started = Instant::now();
    if !args.cuts() && args.masks.given(false).is_none() && args.random_plan.is_none() {
        return Err(CliError::NoLimit);
    }
    output::expect_folder(&args.output)?;
    let watch = Watch::new(talk);
    let target = Target::named_or_file(&args.target)?;
    let runtime = runtime(global)?;
    let (source, dense) = open_with(&args.model, (&args.passes, &args.concessions.concessions()), global, &watch)?;
    let job = Job {
        args,
        options,
        global,
        talk,
        watch: &watch,
        source: &source,
        dense: &dense,
        runtime,
        target: &target,
        started,
    };
    // All parallel work runs in this pool; what it computes does not depend on its size.
    let threads = global.threads();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| sparsec_runtime::RuntimeError::Threads { threads, why: e.to_string() })?;
    pool.install(|| match args.random_plan {
        Some(seed) => job.random(seed, args.keep.unwrap_or(1.0)),
        None => job.compile(),
    })
}

/// Tries to make what is written hold a limit that the plan holds.
const TRIES: usize = 3;

/// A plan carried out.
struct Attempt {
    decision: Decision,
    cut: Cut,
    masks: Option<MaskDecision>,
    scores: Option<Vec<Scored>>,
    /// Price of the model as it is written.
    written: Price,
}

impl Attempt {
    fn exceeds(&self, limit: &Limit) -> bool {
        limit.kind.of(&self.written) > limit.at_most
    }
}

impl Job<'_> {
    /// A random plan, checked against the masked model.
    fn random(&self, seed: u64, share: f64) -> Result<Exit, CliError> {
        let removal = random_removal(self.dense, seed, share);
        let cut = cut(self.dense, &removal, &[])?;
        let sizes = self.dense.sizes(1, &self.args.dim.iter().cloned().collect());
        let (facts, open) = match sizes {
            Ok(sizes) => (self.dense.bind(&sizes), None),
            Err(why @ DriveError::OpenSize { .. }) => (self.dense.facts.clone(), Some(why)),
            Err(wrong) => return Err(wrong.into()),
        };
        let keep = self.dense.kept(&removal);
        let pricing = self.pricing(&facts, None);
        let (before, after) = (pricing.price(&self.dense.whole()), pricing.price(&keep));
        let mut plan = Plan::of(&self.dense.channels, &removal);
        plan.concessions = self.dense.concessions.clone();
        let decision = Decision { keep, removal, plan, before, after, unmet: Vec::new() };
        let (verdict, mut warnings) = match self.compared_with_masked(&decision.removal, &cut.model, seed)? {
            Ok(verdict) => (Some(verdict), Vec::new()),
            Err(why) => (None, vec![format!("the model was not compared with the masked one: {why}")]),
        };
        match &open {
            Some(why) => {
                warnings.push(format!("{why}: MACs, time and memory leave out what depends on it; pass `--dim NAME=N`"))
            }
            None => warnings.extend(Names::of(&self.dense.model.graph).uncounted(self.dense, &facts)),
        }
        if let Some(why) = nothing_to_cut(self.dense) {
            warnings.push(why);
        } else if decision.removal.is_empty() {
            warnings.push("nothing was cut: no group has units to spare at this share".to_string());
        }
        let notes = self.says_of_cut(&decision.removal);
        let outcome = Outcome {
            decision,
            cut,
            facts,
            limits: Vec::new(),
            metrics: None,
            evaluations: Vec::new(),
            measured: None,
            masks: None,
            files: LockedFile::inputs(&self.args.model, &self.source.model, self.global)?,
            verdict,
            notes,
            warnings,
        };
        write(self, &outcome)?;
        Ok(if verdict.is_none_or(|v| v.equal()) { Exit::Done } else { Exit::Gate })
    }

    /// The cut model against the masked one on random inputs, and the canonical model against the file; or why nothing was
    /// compared, which is no failure of the cut:
    /// a runtime may lack operators or types of the masked model, or the weights be too many to be handed to it.
    fn compared_with_masked(
        &self,
        removal: &sparsec_analysis::Removal,
        cut: &Model,
        seed: u64,
    ) -> Result<Result<Comparison, String>, CliError> {
        let bytes = weight_bytes(&self.dense.model);
        if bytes > COMPARED {
            let (has, most) = (bytes >> 20, COMPARED >> 20);
            return Ok(Err(format!("its weights take {has} MiB, more than {most}; `sparsec verify` compares any")));
        }
        let runtime = self.runtime.as_ref();
        let inputs = match random_inputs(self.dense, seed, 2) {
            Ok(inputs) => inputs,
            Err(why) => return Ok(Err(why.to_string())),
        };
        if let Err(why) = compare_canonical(self.dense, &self.source.model, runtime, &inputs)? {
            self.talk.note(&format!("the canonical model was not compared with the file: {why}"));
        }
        let masked = mask(&self.dense.model, &self.dense.facts, &self.dense.channels, removal);
        let masked = masked.map_err(DriveError::from)?;
        let left = match run_model(&masked, runtime, &inputs) {
            Ok(left) => left,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let right = run_model(cut, runtime, &inputs)?;
        let found = difference(&masked, &left, &right)?;
        if found.vacuous() {
            return Ok(Err(NOT_FINITE.to_string()));
        }
        let dense = &self.dense.model;
        let effect = difference(dense, &run_model(dense, runtime, &inputs)?, &right)?;
        if effect.max_rel_error == 0.0 && !removal.is_empty() {
            self.talk.note("the removal changes no output on random inputs: `sparsec verify` compares on samples");
        }
        Ok(Ok(found))
    }

    fn compile(&self) -> Result<Exit, CliError> {
        let args = self.args;
        let path = args.data.as_deref().unwrap_or(Path::new(""));
        let with = (self.runtime.as_ref(), self.global.threads());
        let samples = args.samples.calibration(path, &self.source.model, with, self.talk)?;
        let facts = self.dense.bind(&self.dense.sizes(1, &self.dense.sizes_of(&samples.shapes()))?);
        let models = LockedFile::inputs(&args.model, &self.source.model, self.global)?;
        let what = Measurement {
            dense: self.dense,
            models: &models,
            rewrite_limit: args.passes.rewrite_limit,
            runtime: self.runtime.as_ref(),
            samples: &samples,
            target: self.target,
            masks: args.masks.planned(args.cuts()),
        };
        // Before what takes long: its samples may be of no use.
        let yardstick = Yardstick::open(self)?;
        let curves = args.cuts().then(|| measured(&what, &args.output.join(STORE), self.watch)).transpose()?;
        let pricing = self.pricing(&facts, curves.as_ref());
        let before = self.before(&pricing, &facts);
        let limits = resolve(&args.limits, &before);
        let attempt = |limits: &[Limit]| -> Result<Attempt, CliError> {
            let mut decision = match &curves {
                Some(curves) => decide(self.dense, curves, &pricing, limits)?,
                None => Decision::whole(self.dense, &pricing),
            };
            let wanted = self.masks(&decision, &pricing, limits);
            let (cut, masked) = self.carried_out(&decision.removal, wanted, &samples)?;
            let masks = masked.map(|(masks, removal)| {
                decision.reorder(self.dense, removal);
                masks
            });
            let scores = yardstick.as_ref().map(|y| y.score(self, &cut.model)).transpose()?;
            let mut written = price_of_written(self, &facts, &cut.model, limits)?;
            if what.masks.is_some() {
                written.macs -= masks.as_ref().map_or(0.0, |m| m.saved(&cut.masks));
            }
            Ok(Attempt { decision, cut, masks, scores, written })
        };
        let drop = |a: &Attempt| match (&yardstick, &a.scores) {
            (Some(y), Some(scores)) => y.worst_drop(scores),
            _ => 0.0,
        };
        let best = match args.max_drop {
            Some(most) if limits.is_empty() => self.fastest_within(most, before.latency_ms, &attempt, &drop)?,
            _ => hold(&limits, &attempt)?,
        };

        let mut rows: Vec<LimitRow> = limits.iter().map(|l| LimitRow::of(l, &best.written)).collect();
        let measured = yardstick.as_ref().zip(best.scores.as_ref());
        let evaluations = measured.map_or(Vec::new(), |(y, scores)| y.evaluations(scores));
        if let (Some(asked), Some(y)) = (args.max_drop, &yardstick) {
            let unit = drop_unit(y.metric);
            let row = |(name, reached)| LimitRow { name, asked, reached, unit };
            rows.extend(y.drops(&evaluations).into_iter().map(row));
        }
        let met = rows.iter().all(LimitRow::met);
        let mut warnings: Vec<String> = rows
            .iter()
            .filter(|r| !r.met())
            .map(|r| format!("limit `{}` is not met: this is the best that was found", r.name))
            .collect();
        warnings.extend(samples.remark());
        warnings.extend(curves.iter().flat_map(Curves::warnings));
        let graph = &self.dense.model.graph;
        let names = Names::of(graph);
        warnings.extend(names.uncounted(self.dense, &facts));
        warnings.extend(names.not_solved(graph, &best.cut.recovered));
        let cuts = args.cuts() && best.decision.plan.masks.is_empty();
        if let Some(why) = nothing_to_cut(self.dense).filter(|_| cuts) {
            warnings.push(why);
        } else if cuts && best.decision.removal.is_empty() {
            let why = if met && !limits.is_empty() {
                "the limits hold without"
            } else {
                "no plan within the limits is faster than the dense model"
            };
            warnings.push(format!("nothing was cut: {why}"));
        }
        let joint = what.masks.is_some();
        let mut files = models;
        let evaluation = |set: &EvalSet| match args.eval.len() {
            1 => ("evaluation".to_string(), set.path.clone()),
            _ => (format!("evaluation {}", set.name), set.path.clone()),
        };
        let calibration = args.data.iter().map(|path| ("calibration".to_string(), path.clone()));
        for (role, path) in calibration.chain(args.eval.iter().map(evaluation)) {
            files.insert(role, LockedFile::of(&path)?);
        }
        let metrics = measured.map(|(y, scores)| y.mean(scores).map(|(before, after)| (y.metric, before, after)));
        let metrics = metrics.transpose()?;
        let mut notes = self.says_of_cut(&best.decision.removal);
        notes.extend(names.quantised(self.dense, &best.decision.removal));
        notes.extend(evaluations.iter().filter_map(|e| self.says_of_drop(e, limits.is_empty())));
        let mut decision = best.decision;
        if let Some(found) = &best.masks {
            decision.plan.masks = masks::planned(found, &best.cut);
            let (note, warning) = masks::told(found, &self.target.name, joint);
            notes.push(note);
            warnings.extend(warning);
        }
        if joint && decision.plan.masks.is_empty() {
            notes.push(
                "no weight is masked: zeros save multiply-accumulates only, and the limits hold at less loss without"
                    .to_string(),
            );
        }
        let outcome = Outcome {
            decision,
            cut: best.cut,
            facts,
            limits: rows,
            metrics,
            evaluations,
            measured: curves.as_ref().map(|c| (c, &pricing)),
            masks: best.masks,
            files,
            verdict: None,
            notes,
            warnings,
        };
        write(self, &outcome)?;
        Ok(if met { Exit::Done } else { Exit::Limits })
    }

    /// Prices of plans; units leave in the order of the curves, or in their own.
    fn pricing(&self, facts: &Facts, curves: Option<&Curves>) -> Pricing<'_> {
        let groups = &self.dense.channels.groups;
        let own = || groups.iter().map(|g| (0..g.units.len() as u32).collect()).collect();
        let orders = curves.map_or_else(own, Curves::orders);
        let plain =
            Pricing::new(self.dense, facts.clone(), self.target, orders, self.source.stored_bytes(), self.watch);
        match curves.and_then(|c| c.masks.as_ref()) {
            Some(masks) => plain.with_masks(masks),
            None => plain,
        }
    }

    /// Masks that are wanted of the model that a decision leaves. Where they were planned, so many multiplications stay as
    /// the limits allow.
    fn masks(&self, decision: &Decision, pricing: &Pricing, limits: &[Limit]) -> Option<(Pattern, Stays)> {
        let (asked, limited) = (self.args.masks, self.args.cuts());
        let given = || asked.given(limited).map(|(pattern, share)| (pattern, Stays::Share(share)));
        let Some(pattern) = asked.planned(limited) else { return given() };
        let limit = limits.iter().find(|l| l.kind == LimitKind::Macs).filter(|_| !decision.plan.masks.is_empty())?;
        Some((pattern, Stays::Macs(limit.at_most, pricing.density(&decision.keep))))
    }

    /// The model without what leaves, and with masks: these are spread over the weights by what they cost in the model
    /// without what leaves, in another order of its channels where they cost less then.
    fn carried_out(
        &self,
        removal: &Removal,
        masks: Option<(Pattern, Stays)>,
        samples: &Samples,
    ) -> Result<(Cut, Option<(MaskDecision, Removal)>), CliError> {
        let (dense, runtime, watch) = (self.dense, self.runtime.as_ref(), self.watch);
        let mut removal = removal.clone();
        let bare = cut_and_recover(dense, &removal, &[], runtime, samples, watch)?;
        let Some(wanted) = masks else { return Ok((bare, None)) };
        let mut masks = decide_masks(dense, &bare.model, wanted, runtime, samples, watch)?;
        let blocks = (wanted.0, masks.reached());
        let ordered = order_for_masks(dense, &removal, &bare.model, blocks, runtime, samples, watch)?;
        if ordered != removal {
            let bare = cut_and_recover(dense, &ordered, &[], runtime, samples, watch)?;
            let others = decide_masks(dense, &bare.model, wanted, runtime, samples, watch)?;
            if others.error() < masks.error() {
                (masks, removal) = (others, ordered);
            }
        }
        let cut = cut_and_recover(dense, &removal, &masks.plans(), runtime, samples, watch)?;
        Ok((cut, Some((masks, removal))))
    }

    /// The fastest model that loses at most `most` points: the smallest share of the `dense` latency, halved down by
    /// trying.
    fn fastest_within(
        &self,
        most: f64,
        dense: f64,
        attempt: &dyn Fn(&[Limit]) -> Result<Attempt, CliError>,
        drop: &dyn Fn(&Attempt) -> f64,
    ) -> Result<Attempt, CliError> {
        let at = |share: f64| attempt(&[Limit { kind: LimitKind::Latency, at_most: share * dense }]);
        let (mut low, mut high) = (0.1, 1.0);
        let mut best = at(high)?;
        // Six tries narrow the share down to 1.5 % of the dense latency.
        for _ in 0..6 {
            let middle = f64::midpoint(low, high);
            let tried = at(middle)?;
            if drop(&tried) <= most && tried.decision.unmet.is_empty() {
                (best, high) = (tried, middle);
            } else {
                low = middle;
            }
        }
        Ok(best)
    }

    /// What was given up, where the cut is not exact, and what was dropped whole.
    fn says_of_cut(&self, removal: &Removal) -> Vec<String> {
        let graph = &self.dense.model.graph;
        let names = Names::of(graph);
        let mut lines = self.dense.conceded(removal, &|n| names.node(graph, n));
        lines.extend(folded(&self.source.model, self.dense));
        lines.extend(names.dropped(self.dense, removal));
        lines.extend(says_of_listed(&self.source.model));
        lines
    }

    /// Which samples a limit on the loss was judged by.
    fn says_of_drop(&self, evaluation: &Evaluation, chose: bool) -> Option<String> {
        self.args.max_drop?;
        let judged = format!("the drop is that on the {} samples of `{}`", evaluation.total.samples, evaluation.set);
        Some(match chose {
            true => format!("{judged}, by which the plan was chosen: on other samples it may be larger"),
            false => format!("{judged}; on other samples it may be larger"),
        })
    }

    /// The dense model's own figures: parameters and size of the file as it came, the rest of the canonical graph.
    pub(super) fn before(&self, pricing: &Pricing, facts: &Facts) -> Price {
        let canonical = match &self.dense.original {
            Some(original) => price(&estimate_of(self, facts, &original.model)),
            None => pricing.price(&self.dense.whole()),
        };
        let params = params(&self.source.model) as f64;
        Price { size: self.source.stored_bytes() as f64, params, ..canonical }
    }
}

/// Carries out a plan for the limits, and where what is written exceeds one that the plan holds, as by a bias that a layer
/// was given, plans again with the difference for a margin.
fn hold(limits: &[Limit], attempt: &dyn Fn(&[Limit]) -> Result<Attempt, CliError>) -> Result<Attempt, CliError> {
    let mut asked = limits.to_vec();
    let mut best = attempt(&asked)?;
    for _ in 1..TRIES {
        let mut tighter = asked.clone();
        for (ask, limit) in tighter.iter_mut().zip(limits).filter(|(_, l)| best.exceeds(l)) {
            if best.decision.unmet.contains(&limit.kind) {
                return Ok(best); // nothing more can be cut
            }
            let margin = limit.kind.of(&best.written) - limit.kind.of(&best.decision.after);
            ask.at_most = ask.at_most.min(limit.at_most - margin);
        }
        if tighter == asked || tighter.iter().any(|l| l.at_most <= 0.0) {
            break;
        }
        asked = tighter;
        let next = attempt(&asked)?;
        if !limits.iter().any(|l| next.exceeds(l) && !best.exceeds(l)) {
            best = next;
        }
    }
    Ok(best)
}

/// A limit, what was asked and what was reached.
pub(super) struct LimitRow {
    pub(super) name: String,
    pub(super) asked: f64,
    pub(super) reached: f64,
    pub(super) unit: &'static str,
}

impl LimitRow {
    fn of(limit: &Limit, reached: &Price) -> Self {
        let unit = match limit.kind {
            LimitKind::Macs => "MAC",
            LimitKind::Params => "",
            LimitKind::Size | LimitKind::Memory => "B",
            LimitKind::Latency => "ms",
        };
        Self { name: limit.kind.name().to_string(), asked: limit.at_most, reached: limit.kind.of(reached), unit }
    }
    pub(super) fn met(&self) -> bool {
        self.reached <= self.asked
    }
}
