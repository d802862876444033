//! `report.html`: one file, no scripts, nothing to load.

use crate::chart::{self, KernelChart, KernelRow, MemoryChart, Spark, at};
use crate::evaluation::{ScoreRow, rows};
use crate::report::{Better, Branch, Frozen, Group, Mask, Metric, Report};
use crate::{ReportError, text};
use askama::Template;

/// Rows of a table beyond which the page refers to `report.json`.
const MAX_ROWS: usize = 200;

/// The page of a report.
///
/// # Errors
/// The template cannot be written out, which takes a formatter that fails.
pub fn page(report: &Report) -> Result<String, ReportError> {
    Page::of(report).render().map_err(ReportError::Page)
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    model: String,
    target: String,
    target_source: String,
    calibrated: bool,
    tool: String,
    verdict: Verdict,
    cards: Vec<Card>,
    kernels: KernelChart,
    kernel_rows: Vec<KernelRow>,
    kernels_left_out: usize,
    memory: Option<MemoryChart>,
    memory_text: String,
    groups: Vec<GroupRow>,
    groups_left_out: usize,
    branches: Vec<BranchRow>,
    branches_left_out: usize,
    masks: Vec<MaskRow>,
    masks_left_out: usize,
    prunable: String,
    frozen: Vec<[String; 5]>,
    frozen_left_out: usize,
    limits: Vec<LimitRow>,
    scores: Vec<ScoreRow>,
    warnings: Vec<String>,
    notes: Vec<String>,
    provenance: Vec<[String; 2]>,
    inputs: Vec<[String; 3]>,
}

enum Verdict {
    None,
    Met(String),
    Missed(String),
}

/// A headline figure.
struct Card {
    title: String,
    value: String,
    from: String,
    change: Option<String>,
    /// `good`, `bad` or nothing: the class of the change.
    tone: &'static str,
    /// Bars and whiskers in a box of 200 by 22; none for figures that are no lengths.
    bars: Option<Bars>,
    /// Small print.
    more: String,
}

struct Bars {
    before: String,
    after: String,
    whiskers: Vec<Whisker>,
}

struct Whisker {
    y: &'static str,
    low: String,
    high: String,
}

struct GroupRow {
    id: String,
    title: String,
    kept: u64,
    units: u64,
    kept_width: String,
    params: String,
    macs: String,
    axes: Vec<String>,
    spark: Option<Spark>,
    why: String,
}

struct BranchRow {
    id: String,
    layers: Vec<String>,
    sum: String,
    params: String,
    macs: String,
    error: Option<String>,
    dropped: bool,
    why: String,
}

struct MaskRow {
    weight: String,
    title: String,
    pattern: String,
    density: String,
    density_width: String,
    macs: String,
    error: String,
    why: String,
}

struct LimitRow {
    name: String,
    asked: String,
    reached: String,
    met: bool,
}

impl Page {
    fn of(r: &Report) -> Self {
        let kernel_rows = chart::kernels(&r.before.nodes, &r.after.nodes);
        let kernels = chart::kernel_chart(&kernel_rows);
        let kernels_left_out = kernel_rows.len().saturating_sub(MAX_ROWS);
        let mut groups: Vec<&Group> = r.groups.iter().collect();
        groups.sort_by(|a, b| b.params.cmp(&a.params).then_with(|| a.id.cmp(&b.id)));
        let frozen = frozen(&r.frozen);
        let (old, new) = (&r.before.memory_bytes, &r.after.memory_bytes);
        let peaks = (text::bytes(old.lower_bound), text::bytes(new.lower_bound));
        let held = (text::bytes(old.activations), text::bytes(new.activations));
        Self {
            model: text::clean(&r.model),
            target: text::clean(&r.target.name),
            target_source: text::clean(&r.target.source),
            calibrated: r.target.calibrated,
            tool: text::clean(&format!("{} {}", r.tool.name, r.tool.version)),
            verdict: verdict(r),
            cards: cards(r),
            kernels,
            kernels_left_out,
            memory: chart::memory_chart(&r.before.timeline, &r.after.timeline),
            memory_text: format!(
                "The largest set that lives at once takes {} before and {} after: no runtime can do with less. With the buffers that \
                 this target's runtime plans, it is {} and {}.",
                peaks.0, peaks.1, held.0, held.1
            ),
            groups_left_out: groups.len().saturating_sub(MAX_ROWS),
            groups: groups.into_iter().take(MAX_ROWS).map(group).collect(),
            branches_left_out: r.branches.len().saturating_sub(MAX_ROWS),
            branches: r.branches.iter().take(MAX_ROWS).map(branch).collect(),
            masks_left_out: r.masks.len().saturating_sub(MAX_ROWS),
            masks: r.masks.iter().take(MAX_ROWS).map(mask).collect(),
            prunable: prunable(r),
            frozen_left_out: frozen.len().saturating_sub(MAX_ROWS),
            frozen: frozen.into_iter().take(MAX_ROWS).collect(),
            limits: r.limits.iter().map(limit).collect(),
            scores: rows(&r.evaluations),
            warnings: r.warnings.iter().map(|w| text::prose(w)).collect(),
            notes: r.notes.iter().map(|n| text::prose(n)).collect(),
            provenance: r.runtimes.iter().map(|u| [text::clean(&u.name), text::clean(&u.used_for)]).collect(),
            inputs: (r.inputs.iter())
                .map(|i| [text::clean(&i.role), text::clean(&i.name), text::clean(&i.sha256)])
                .collect(),
            kernel_rows: kernel_rows.into_iter().take(MAX_ROWS).collect(),
        }
    }
}

fn verdict(r: &Report) -> Verdict {
    let missed: Vec<String> = r.limits.iter().filter(|l| !l.met).map(|l| text::clean(&l.name)).collect();
    match (r.limits.len(), missed.len()) {
        (0, _) => Verdict::None,
        (1, 0) => Verdict::Met("The limit is met".to_string()),
        (n, 0) => Verdict::Met(format!("All {n} limits are met")),
        (n, m) => Verdict::Missed(format!("{m} of {n} limits not met: {}", missed.join(", "))),
    }
}

fn limit(l: &crate::Limit) -> LimitRow {
    LimitRow {
        name: text::clean(&l.name),
        asked: text::in_unit(l.asked, &l.unit),
        reached: text::in_unit(l.reached, &l.unit),
        met: l.met,
    }
}

fn cards(r: &Report) -> Vec<Card> {
    let (b, a) = (&r.before, &r.after);
    let (bi, ai) = (b.latency_ms, a.latency_ms);
    let mut latency = less("Latency", bi.total, ai.total, text::time, bi.high.max(ai.high));
    latency.more = format!("{} to {}", text::time(ai.low), text::time(ai.high));
    let scale = 200.0 / bi.high.max(ai.high).max(f64::MIN_POSITIVE);
    let whisker = |y, i: crate::Interval| Whisker { y, low: at(i.low * scale), high: at(i.high * scale) };
    if let Some(bars) = &mut latency.bars {
        bars.whiskers = vec![whisker("5", bi), whisker("17", ai)];
    }
    let whole = |title, before: u64, after: u64, show: fn(u64) -> String| {
        let (before, after) = (before as f64, after as f64);
        less(title, before, after, |v| show(v as u64), before.max(after))
    };
    let (bm, am) = (b.memory_bytes, a.memory_bytes);
    let mut memory = whole("Peak memory", bm.peak, am.peak, text::bytes);
    memory.more =
        format!("{} weights, {} activations as planned", text::bytes(am.weights), text::bytes(am.activations));
    let mut cards = vec![latency];
    cards.extend(metric(b.metric.as_ref(), a.metric.as_ref()));
    cards.push(memory);
    cards.push(whole("Multiply-accumulates", b.macs, a.macs, text::count));
    cards.push(whole("Parameters", b.params, a.params, text::count));
    cards.push(whole("File size", b.file_bytes, a.file_bytes, text::bytes));
    if b.energy_mj.max(a.energy_mj) > 0.0 {
        cards.push(less("Energy", b.energy_mj, a.energy_mj, text::energy, b.energy_mj.max(a.energy_mj)));
    }
    cards
}

/// A figure of which less is better; `full` is the length of the whole bar.
fn less(title: &'static str, before: f64, after: f64, show: impl Fn(f64) -> String, full: f64) -> Card {
    let width = |v: f64| at(if full > 0.0 { 200.0 * v / full } else { 0.0 });
    Card {
        title: title.to_string(),
        value: show(after),
        from: show(before),
        change: text::change(before, after),
        tone: tone(after.total_cmp(&before)),
        bars: (full > 0.0).then(|| Bars { before: width(before), after: width(after), whiskers: Vec::new() }),
        more: String::new(),
    }
}

fn tone(worse: std::cmp::Ordering) -> &'static str {
    match worse {
        std::cmp::Ordering::Less => "good",
        std::cmp::Ordering::Greater => "bad",
        std::cmp::Ordering::Equal => "",
    }
}

/// In place of a figure that is not known.
const NONE: &str = "–";

fn prunable(r: &Report) -> String {
    let Some(share) = r.prunable else { return String::new() };
    let macs = share.macs.map_or(String::new(), |m| format!(" and {} of the MACs", text::percent(m)));
    format!("{} of the parameters{macs} sit in channels that can leave.", text::percent(share.params))
}

/// Rows of the table of frozen axes, the dearest first. What many axes share is said once: every kernel of a convolution
/// is frozen for the same reason.
fn frozen(all: &[Frozen]) -> Vec<[String; 5]> {
    const MANY: usize = 6;
    let mut sorted: Vec<&Frozen> = all.iter().collect();
    sorted.sort_by(|a, b| b.params.cmp(&a.params).then_with(|| (&a.value, a.axis).cmp(&(&b.value, b.axis))));
    let alike = |f: &Frozen| sorted.iter().filter(|o| o.reason == f.reason).count();
    let why = |f: &Frozen| match &f.remedy {
        Some(remedy) => text::prose(&format!("{}; {remedy}", f.reason)),
        None => text::prose(&f.reason),
    };
    let name = |f: &Frozen| match &f.layer {
        Some(layer) => text::clean(&format!("{layer} ({})", f.value)),
        None => text::clean(&f.value),
    };
    let macs = |f: &Frozen| f.macs.map_or(NONE.to_string(), text::count);
    let mut said: Vec<&str> = Vec::new();
    let mut out = Vec::new();
    for f in &sorted {
        let count = alike(f);
        if count < MANY {
            out.push([name(f), f.axis.to_string(), why(f), text::count(f.params), macs(f)]);
        } else if !said.contains(&f.reason.as_str()) {
            said.push(&f.reason);
            let most = format!("{} at most", text::count(f.params));
            out.push([format!("{} and {} more", name(f), count - 1), String::new(), why(f), most, String::new()]);
        }
    }
    out
}

fn metric(before: Option<&Metric>, after: Option<&Metric>) -> Option<Card> {
    let after = after?;
    // Four digits that count, for percentages as for divergences near 0.
    let digits = if after.value.abs() >= 10.0 { 2 } else { 4 };
    let unit = if after.unit.is_empty() { String::new() } else { format!(" {}", text::clean(&after.unit)) };
    let show = |v: f64| format!("{v:.digits$}{unit}");
    let before = before.filter(|b| b.name == after.name);
    let change = before.map(|b| after.value - b.value);
    let worse = before.map(|b| match after.better {
        Better::Higher => b.value.total_cmp(&after.value),
        Better::Lower => after.value.total_cmp(&b.value),
    });
    let signed = |d: f64| format!("{}{:.digits$}", if d < 0.0 { '−' } else { '+' }, d.abs());
    let samples = if after.samples == 1 { "1 sample".to_string() } else { format!("{} samples", after.samples) };
    Some(Card {
        title: format!("Metric: {}", text::clean(&after.name)),
        value: show(after.value),
        from: before.map_or("not measured".to_string(), |b| show(b.value)),
        change: change.map(signed),
        tone: worse.map_or("", tone),
        bars: None,
        more: format!("on {samples}"),
    })
}

fn mask(m: &Mask) -> MaskRow {
    MaskRow {
        weight: text::clean(&m.weight),
        title: text::clean(&m.title),
        pattern: text::clean(&m.pattern),
        density: text::percent(m.density),
        density_width: at(120.0 * m.density.clamp(0.0, 1.0)),
        macs: text::count(m.macs),
        error: m.error.map_or_else(String::new, |e| format!("{e:.4}")),
        why: text::clean(&m.why),
    }
}

fn group(g: &Group) -> GroupRow {
    let share = if g.units == 0 { 0.0 } else { (g.kept as f64 / g.units as f64).min(1.0) };
    GroupRow {
        id: text::clean(&g.id),
        title: text::clean(&g.title),
        kept: g.kept,
        units: g.units,
        kept_width: at(120.0 * share),
        params: text::count(g.params),
        macs: g.macs_share.map_or(NONE.to_string(), text::percent),
        axes: g.axes.iter().map(|a| text::clean(a)).collect(),
        spark: chart::spark(&g.curve, g.units, g.kept),
        why: text::clean(&g.why_not_more),
    }
}

fn branch(b: &Branch) -> BranchRow {
    BranchRow {
        id: text::clean(&b.id),
        layers: b.layers.iter().map(|l| text::clean(l)).collect(),
        sum: text::clean(&b.sum),
        params: text::count(b.params),
        macs: text::count(b.macs),
        error: b.error.map(text::significant),
        dropped: b.dropped,
        why: text::clean(&b.why),
    }
}
