//! `sparsec opt`: passes by name, for those who work on them.

use crate::cli::{Global, PassArgs};
use crate::cmd::model::{evaluator, is_text, load, manager, show_remarks, table};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::table::plural;
use crate::talk::Talk;
use crate::watch::Watch;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sparsec::drive::{DriveError, says_of_listed};
use sparsec_ir::text::{PrintOptions, Weights, print_model};
use sparsec_passes::{ALL, CANONICALISE, Changed, parse};
use std::path::PathBuf;

/// Run named passes and print the graph as text.
#[derive(Debug, Args)]
#[command(after_help = passes())]
pub(crate) struct OptArgs {
    /// An ONNX model, or a graph in ONNX's text syntax (`.onnxtxt`).
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Passes, in order, each run once [default: those that make a graph canonical]
    #[arg(long, value_name = "A,B,…")]
    passes: Option<String>,
    /// How much of the constants is printed; a summary cannot be read back.
    #[arg(long, value_enum, default_value = "summary")]
    weights: Shown,
    /// Write the model to this file instead (`.onnx`, or `.onnxtxt` with all weights).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: PassArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shown {
    /// Types and magnitudes.
    Summary,
    /// Every element.
    Full,
}

/// What follows the options on the help page: the passes there are.
fn passes() -> String {
    let width = ALL.iter().map(|p| p.name.len()).max().unwrap_or(0);
    let line = |p: &&sparsec_passes::PassDef| format!("  {:width$}  {}\n", p.name, p.summary);
    let list: String = ALL.iter().map(line).collect();
    format!(
        "Passes:\n{list}\nExamples:\n  sparsec opt model.onnx\n  \
         sparsec opt model.onnx --passes fold-constants,fold-batchnorm --print-after fold-constants\n  \
         sparsec opt graph.onnxtxt -o graph.onnx"
    )
}

#[derive(Serialize)]
struct Optimised {
    changed: bool,
    rewrites: u64,
    nodes_before: usize,
    nodes_after: usize,
    /// The graph, where it was not written to a file.
    graph: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &OptArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    args.output.as_deref().map_or(Ok(()), output::expect_file)?;
    let watch = Watch::new(talk);
    let mut model = load(&args.model, talk)?.model;
    says_of_listed(&model).iter().for_each(|line| talk.note(line));
    let nodes_before = model.graph.nodes().count();
    let table = table(global)?;
    let mut manager = manager(&args.options, &table, &watch)?;
    let mut cx = manager.context();
    if let Some(evaluator) = evaluator(global)? {
        cx.put(evaluator);
    }
    let named = args.passes.as_deref().map(parse).transpose().map_err(DriveError::from)?;
    let steps = named.as_deref().unwrap_or(CANONICALISE);
    let changed = manager.run(&mut model, steps, &mut cx).map_err(DriveError::from)?;
    show_remarks(&args.options, &cx.remarks);
    let shown = |weights| print_model(&model, &PrintOptions::weights(weights));
    let graph = match &args.output {
        Some(path) if is_text(path) => {
            output::file(path, shown(Weights::Full).as_bytes())?;
            None
        }
        Some(path) => {
            sparsec_onnx::save(&model, path, sparsec_onnx::Weights::AsLoaded)?;
            None
        }
        None => Some(shown(match args.weights {
            Shown::Summary => Weights::Summary,
            Shown::Full => Weights::Full,
        })),
    };
    let done = Optimised {
        changed: changed == Changed::Yes,
        rewrites: cx.rewrites(),
        nodes_before,
        nodes_after: model.graph.nodes().count(),
        graph,
    };
    let summary = format!(
        "{}, {} after {}\n",
        plural(done.nodes_before, "node", "nodes"),
        done.nodes_after,
        plural(done.rewrites as usize, "rewrite", "rewrites")
    );
    talk.result("opt", &done, done.graph.as_deref().unwrap_or(&summary)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}
