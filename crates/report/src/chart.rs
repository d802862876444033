//! Geometry of the charts, in the units of their view boxes. Colours and fonts are the template's business.

use crate::report::{Moment, Node};
use crate::text;
use std::collections::BTreeMap;

/// One kernel before and after.
pub(crate) struct KernelRow {
    /// Full label.
    pub(crate) label: String,
    /// Label that fits its column.
    pub(crate) short: String,
    /// Kernel before, and after where that differs.
    pub(crate) kernel: String,
    pub(crate) before_ms: f64,
    pub(crate) after_ms: f64,
    pub(crate) before: String,
    pub(crate) after: String,
    /// Top of the row.
    pub(crate) y: usize,
    pub(crate) before_width: String,
    pub(crate) after_width: String,
}

/// Paired bars of kernels.
pub(crate) struct KernelChart {
    pub(crate) rows: Vec<KernelRow>,
    pub(crate) height: usize,
    /// Right end of the longest bar, as a time.
    pub(crate) full: String,
}

/// Rows of the chart beyond which kernels are summed up in one.
const MAX_ROWS: usize = 24;
const ROW_HEIGHT: usize = 30;
const BAR_SPACE: f64 = 560.0;

/// A coordinate; what is not finite stays out of the picture.
pub(crate) fn at(v: f64) -> String {
    let v = if v.is_finite() { v } else { 0.0 };
    let text = format!("{v:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}

/// Every kernel that takes time, the slowest first; kernels are matched by label, and by order where labels repeat.
pub(crate) fn kernels(before: &[Node], after: &[Node]) -> Vec<KernelRow> {
    let mut rows: Vec<KernelRow> = Vec::new();
    let mut by_label: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    let timed = |nodes: &'_ [Node]| -> Vec<usize> {
        (0..nodes.len()).filter(|&i| nodes[i].fused_into.is_none() && nodes[i].latency_ms.total > 0.0).collect()
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for i in timed(before) {
        let node = &before[i];
        let nth = seen.entry(&node.label).or_default();
        by_label.insert((&node.label, *nth), rows.len());
        *nth += 1;
        rows.push(row(&node.label, &node.kernel, node.latency_ms.total, 0.0));
    }
    seen.clear();
    for i in timed(after) {
        let node = &after[i];
        let nth = seen.entry(&node.label).or_default();
        match by_label.get(&(node.label.as_str(), *nth)) {
            Some(&r) => {
                rows[r].after_ms = node.latency_ms.total;
                let kernel = text::clean(&node.kernel);
                if rows[r].kernel != kernel {
                    rows[r].kernel = format!("{} → {kernel}", rows[r].kernel);
                }
            }
            None => rows.push(row(&node.label, &node.kernel, 0.0, node.latency_ms.total)),
        }
        *nth += 1;
    }
    for r in &mut rows {
        (r.before, r.after) = (text::time(r.before_ms), text::time(r.after_ms));
    }
    let longest = |r: &KernelRow| r.before_ms.max(r.after_ms);
    rows.sort_by(|a, b| longest(b).total_cmp(&longest(a)).then_with(|| a.label.cmp(&b.label)));
    rows
}

fn row(label: &str, kernel: &str, before_ms: f64, after_ms: f64) -> KernelRow {
    let label = text::clean(label);
    KernelRow {
        short: text::shorten(&label, 30),
        label,
        kernel: text::clean(kernel),
        before_ms,
        after_ms,
        before: String::new(),
        after: String::new(),
        y: 0,
        before_width: "0".to_string(),
        after_width: "0".to_string(),
    }
}

/// The chart of `rows`, which come sorted.
pub(crate) fn kernel_chart(rows: &[KernelRow]) -> KernelChart {
    let shown = if rows.len() > MAX_ROWS { MAX_ROWS - 1 } else { rows.len() };
    let (shown, others) = rows.split_at(shown);
    let mut out: Vec<KernelRow> = shown.iter().map(|r| row(&r.label, &r.kernel, r.before_ms, r.after_ms)).collect();
    let full = out.iter().map(|r| r.before_ms.max(r.after_ms)).fold(0.0, f64::max);
    for r in &mut out {
        let width = |ms: f64| at(if full > 0.0 { ms / full * BAR_SPACE } else { 0.0 });
        (r.before_width, r.after_width) = (width(r.before_ms), width(r.after_ms));
    }
    if !others.is_empty() {
        // A sum among single kernels: figures, but no bars that would set the scale.
        let sum = |f: fn(&KernelRow) -> f64| others.iter().map(f).sum::<f64>();
        let label = format!("{} other kernels", others.len());
        out.push(row(&label, "together", sum(|r| r.before_ms), sum(|r| r.after_ms)));
    }
    for (i, r) in out.iter_mut().enumerate() {
        (r.before, r.after) = (text::time(r.before_ms), text::time(r.after_ms));
        r.y = i * ROW_HEIGHT;
    }
    KernelChart { height: out.len() * ROW_HEIGHT, rows: out, full: text::time(full) }
}

/// A grid line with its label.
pub(crate) struct Tick {
    pub(crate) at: String,
    pub(crate) label: String,
}

/// A column of the memory chart that answers to the pointer.
pub(crate) struct Hover {
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) title: String,
}

/// Memory over time.
pub(crate) struct MemoryChart {
    pub(crate) before_area: String,
    pub(crate) before_line: String,
    pub(crate) after_area: String,
    pub(crate) after_line: String,
    pub(crate) y_ticks: Vec<Tick>,
    pub(crate) x_ticks: Vec<Tick>,
    pub(crate) hovers: Vec<Hover>,
}

const LEFT: f64 = 76.0;
const RIGHT: f64 = 952.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 230.0;
/// More columns than this cannot be told apart: kernels are grouped, by their maximum.
const MAX_COLUMNS: usize = 400;

/// The chart of two timelines on the same axes; `None` where there is nothing to show.
pub(crate) fn memory_chart(before: &[Moment], after: &[Moment]) -> Option<MemoryChart> {
    let kernels = before.len().max(after.len());
    let peak = before.iter().chain(after).map(|m| m.bytes).max().filter(|&p| p > 0)?;
    let per_column = kernels.div_ceil(MAX_COLUMNS);
    let columns = |side: &[Moment]| -> Vec<u64> {
        side.chunks(per_column).map(|c| c.iter().map(|m| m.bytes).max().unwrap_or(0)).collect()
    };
    let (old, new) = (columns(before), columns(after));
    let all = kernels.div_ceil(per_column);
    // A power of two makes round numbers of KiB and MiB; three to five lines.
    let step = (peak as f64 / 4.0).log2().ceil().exp2().max(1.0);
    let top = (peak as f64 / step).ceil() * step;
    let x = |column: usize| LEFT + (RIGHT - LEFT) * column as f64 / all as f64;
    let y = |bytes: f64| BOTTOM - (BOTTOM - TOP) * bytes / top;
    let line = |side: &[u64]| {
        let mut path = String::new();
        for (i, &b) in side.iter().enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            path += &format!("{command}{} {}H{}", at(x(i)), at(y(b as f64)), at(x(i + 1)));
        }
        path
    };
    let area = |side: &[u64]| match side {
        [] => String::new(),
        _ => format!("{}V{}H{}Z", line(side), at(BOTTOM), at(x(0))),
    };
    let ticks = (0..).map(|i| i as f64 * step).take_while(|&b| b <= top);
    let every = all.div_ceil(8).max(1);
    let title = |column: usize| {
        let first = column * per_column;
        let label = before.get(first).or(after.get(first)).map_or("", |m| &m.label);
        let size = |side: &[u64]| side.get(column).map_or("–".to_string(), |&b| text::bytes(b));
        format!("{}: {} before, {} after", text::clean(label), size(&old), size(&new))
    };
    Some(MemoryChart {
        before_area: area(&old),
        before_line: line(&old),
        after_area: area(&new),
        after_line: line(&new),
        y_ticks: ticks.map(|b| Tick { at: at(y(b)), label: text::bytes(b as u64) }).collect(),
        x_ticks: (0..all)
            .step_by(every)
            .map(|c| Tick { at: at(x(c)), label: (c * per_column + 1).to_string() })
            .collect(),
        hovers: (0..all).map(|c| Hover { x: at(x(c)), width: at(x(c + 1) - x(c)), title: title(c) }).collect(),
    })
}

/// An error curve in a box of 120 by 28.
pub(crate) struct Spark {
    pub(crate) path: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) title: String,
}

/// The curve of a group with the point that was chosen; `None` where fewer than two points are known.
pub(crate) fn spark(curve: &[(u64, f64)], units: u64, kept: u64) -> Option<Spark> {
    let mut points: Vec<(u64, f64)> = curve.iter().copied().filter(|p| p.1.is_finite()).collect();
    points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let worst = points.iter().map(|p| p.1).fold(0.0, f64::max);
    let chosen = *points.iter().min_by_key(|p| p.0.abs_diff(kept))?;
    if points.len() < 2 || units == 0 {
        return None;
    }
    let x = |kept: u64| at(4.0 + 112.0 * (kept as f64 / units as f64).min(1.0));
    let y = |error: f64| at(24.0 - if worst > 0.0 { 20.0 * error.max(0.0) / worst } else { 0.0 });
    let path = points.iter().enumerate().map(|(i, p)| {
        let command = if i == 0 { 'M' } else { 'L' };
        format!("{command}{} {}", x(p.0), y(p.1))
    });
    let describe = |p: &(u64, f64)| format!("{:.3e} with {} kept", p.1, p.0);
    let title = match points.as_slice() {
        [first, .., last] => format!("error {}; {}; {}", describe(first), describe(&chosen), describe(last)),
        _ => String::new(),
    };
    Some(Spark { path: path.collect(), x: x(chosen.0), y: y(chosen.1), title })
}
