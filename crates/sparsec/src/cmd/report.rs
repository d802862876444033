//! `sparsec report`: what a compilation did.

use crate::cmd::model::read;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::record::figure;
use crate::table::Column::{Number, Text};
use crate::table::{bytes, count, fitted, ms, screen, table};
use crate::talk::{self, Talk};
use clap::Args;
use sparsec_report::{Report, ReportError, Side};
use std::path::PathBuf;

/// Print the report of a compilation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec report out
  sparsec report out --html page.html")]
pub(crate) struct ReportArgs {
    /// Folder that `sparsec compile` wrote, or the `report.json` in it.
    #[arg(value_name = "OUT")]
    place: PathBuf,
    /// Render the page anew into this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs, talk: Talk) -> Result<Exit, CliError> {
    args.html.as_deref().map_or(Ok(()), output::expect_file)?;
    let path = if args.place.is_dir() { args.place.join("report.json") } else { args.place.clone() };
    let broken = |source: ReportError| CliError::Report { path: path.clone(), source };
    let json = read(&path)?;
    let report = Report::from_json(&json).map_err(broken)?;
    if let Some(page) = &args.html {
        output::file(page, sparsec_report::page(&report).map_err(broken)?.as_bytes())?;
    }
    // The file is the JSON form already.
    let shown = if talk.is_json() { json } else { text(&report) };
    talk::data(&shown).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

fn text(r: &Report) -> String {
    let row = |name: &str, of: &dyn Fn(&Side) -> f64, show: &dyn Fn(f64) -> String| {
        let (before, after) = (of(&r.before), of(&r.after));
        let change = if before == 0.0 { String::new() } else { format!("{:+.1} %", 100.0 * (after / before - 1.0)) };
        vec![name.to_string(), show(before), show(after), change]
    };
    let whole = |show: fn(u64) -> String| move |v: f64| show(v.max(0.0) as u64);
    let mut rows = vec![
        row("latency", &|s| s.latency_ms.total, &ms),
        row("memory", &|s| s.memory_bytes.peak as f64, &whole(bytes)),
        row("energy", &|s| s.energy_mj, &|v| format!("{v:.3} mJ")),
        row("MACs", &|s| s.macs as f64, &whole(count)),
        row("parameters", &|s| s.params as f64, &whole(count)),
        row("file", &|s| s.file_bytes as f64, &whole(bytes)),
    ];
    if let (Some(before), Some(after)) = (&r.before.metric, &r.after.metric) {
        let change = format!("{:+.2}", after.value - before.value);
        let show = |v: f64| figure(&after.unit, v);
        rows.push(vec![before.name.clone(), show(before.value), show(after.value), change]);
    }
    let mut out = format!("{} on {}\n\n", r.model, r.target.name);
    out += &table(&[Text(""), Number("before"), Number("after"), Number("change")], &rows);
    if !r.limits.is_empty() {
        let row = |l: &sparsec_report::Limit| {
            let met = if l.met { "met" } else { "not met" };
            vec![l.name.clone(), figure(&l.unit, l.asked), figure(&l.unit, l.reached), met.to_string()]
        };
        let rows: Vec<Vec<String>> = r.limits.iter().map(row).collect();
        out += &format!("\n{}", table(&[Text("limit"), Number("asked"), Number("reached"), Text("")], &rows));
    }
    let cut: Vec<Vec<String>> = r
        .groups
        .iter()
        .filter(|g| g.kept < g.units)
        .map(|g| vec![g.title.clone(), g.id.clone(), g.units.to_string(), g.kept.to_string()])
        .collect();
    if !cut.is_empty() {
        out += &format!("\n{}", fitted(&[Text("group"), Text("id"), Number("units"), Number("kept")], &cut, screen()));
    }
    let row = |b: &sparsec_report::Branch| {
        let choice = if b.dropped { "dropped" } else { "kept" };
        let cells = [b.layers.join(", "), b.id.clone(), count(b.params), count(b.macs), choice.to_string()];
        let error = b.error.map_or(String::new(), |e| format!("{e:.2e}"));
        cells.into_iter().chain([error, b.why.clone()]).collect()
    };
    let branches: Vec<Vec<String>> = r.branches.iter().map(row).collect();
    if !branches.is_empty() {
        let columns =
            [Text("branch"), Text("id"), Number("parameters"), Number("MACs"), Text(""), Number("error"), Text("why")];
        out += &format!("\n{}", fitted(&columns, &branches, screen()));
    }
    for (what, lines) in [("warning", &r.warnings), ("note", &r.notes)] {
        for line in lines {
            out += &format!("{what}: {line}\n");
        }
    }
    out
}
