//! The command line as clap reads it. What each command takes stands in its own file under `cmd`.

use crate::cmd;
use clap::{Args, Parser, Subcommand};
use sparsec::drive::{Concessions, GivenUp};
use sparsec_ir::Policy;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Makes trained ONNX models smaller and faster.
#[derive(Debug, Parser)]
#[command(name = "sparsec", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done; 1 defect of sparsec; 2 wrong use; 3 invalid or unsupported input; 4 limits cannot be \
met; 5 a verification or gate failed; 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print one JSON object on standard output instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Threads to work with; results do not depend on them [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = crate::values::threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// What runs models: `tract`, or `ort=PATH` for ONNX Runtime's library or the folder of an installed package.
    #[arg(long, global = true, value_name = "RUNTIME", default_value = "tract")]
    pub(crate) runtime: String,
    /// File that teaches operators which sparsec does not know; see `docs/teaching.md`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ops: Option<PathBuf>,
}

impl Global {
    /// Threads to work with.
    pub(crate) fn threads(&self) -> usize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

/// What a user allows beyond exact cuts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Concessions")]
pub(crate) struct ConcessionArgs {
    /// Allow cuts that are not exact: `normalised-width` lets channels leave an axis that is normalised over (LayerNorm,
    /// RMSNorm); may be given several times.
    #[arg(long, value_name = "POLICY")]
    pub(crate) allow: Vec<Policy>,
    /// Give up entries of an output, or of a table that no data will look up, e.g. `logits:1=0-9,17`; may be given
    /// several times.
    #[arg(long, value_name = "VALUE:AXIS=INDICES")]
    pub(crate) give_up: Vec<GivenUp>,
}

impl ConcessionArgs {
    /// As plans have it.
    pub(crate) fn concessions(&self) -> Concessions {
        let mut allow = self.allow.clone();
        allow.sort_unstable();
        allow.dedup();
        Concessions { allow, give_up: self.give_up.clone() }
    }
}

/// Options of commands that run passes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Passes")]
pub(crate) struct PassArgs {
    /// Verify the graph after every pass.
    #[arg(long)]
    pub(crate) verify_each: bool,
    /// Print the graph after this pass, on standard error; may be given several times.
    #[arg(long, value_name = "PASS")]
    pub(crate) print_after: Vec<String>,
    /// Stop rewriting after N rewrites, to find the one that breaks a model.
    #[arg(long, value_name = "N")]
    pub(crate) rewrite_limit: Option<u64>,
    /// Print every remark: what was left alone, and why.
    #[arg(long)]
    pub(crate) remarks: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(cmd::inspect::InspectArgs),
    Why(cmd::why::WhyArgs),
    Estimate(cmd::estimate::EstimateArgs),
    Compile(Box<cmd::compile::CompileArgs>),
    Sensitivity(cmd::sensitivity::SensitivityArgs),
    Plan(cmd::plan::PlanArgs),
    Apply(cmd::apply::ApplyArgs),
    Verify(cmd::verify::VerifyArgs),
    Report(cmd::report::ReportArgs),
    Opt(cmd::opt::OptArgs),
    Reduce(cmd::reduce::ReduceArgs),
    Eval(cmd::eval::EvalArgs),
    Bench(cmd::bench::BenchArgs),
    Target(cmd::target::TargetArgs),
    Explain(cmd::explain::ExplainArgs),
    Completions(cmd::completions::CompletionsArgs),
}
