//! One file a command: what it takes, what it does, what it prints.

pub(crate) mod apply;
pub(crate) mod bench;
pub(crate) mod compile;
mod compile_out;
pub(crate) mod completions;
pub(crate) mod curves;
pub(crate) mod estimate;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod limits;
pub(crate) mod masks;
pub(crate) mod model;
pub(crate) mod opt;
pub(crate) mod plan;
pub(crate) mod reduce;
pub(crate) mod report;
pub(crate) mod samples;
mod scores;
pub(crate) mod sensitivity;
pub(crate) mod sizes;
pub(crate) mod slot;
pub(crate) mod target;
pub(crate) mod verify;
pub(crate) mod why;
mod why_term;

use crate::cli::{Cli, Command};
use crate::error::CliError;
use crate::exit::Exit;
use crate::record;
use crate::talk::Talk;
use clap::ArgMatches;

/// Runs a command; `matches` are what `cli` was made of.
pub(crate) fn run(cli: Cli, matches: &ArgMatches) -> Result<Exit, CliError> {
    let talk = Talk::new(&cli.global);
    match cli.command {
        Command::Inspect(args) => inspect::run(&args, &cli.global, talk),
        Command::Estimate(args) => estimate::run(&args, &cli.global, talk),
        Command::Why(args) => why::run(&args, &cli.global, talk),
        Command::Compile(args) => compile::run(&args, record::options(matches), &cli.global, talk),
        Command::Sensitivity(args) => sensitivity::run(&args, &cli.global, talk),
        Command::Plan(args) => plan::run(&args, &cli.global, talk),
        Command::Apply(args) => apply::run(&args, &cli.global, talk),
        Command::Verify(args) => verify::run(&args, &cli.global, talk),
        Command::Report(args) => report::run(&args, talk),
        Command::Opt(args) => opt::run(&args, &cli.global, talk),
        Command::Reduce(args) => reduce::run(&args, &cli.global, talk),
        Command::Eval(args) => eval::run(&args, &cli.global, talk),
        Command::Bench(args) => bench::run(&args, &cli.global, talk),
        Command::Target(args) => target::run(&args, talk),
        Command::Explain(args) => explain::run(&args, talk),
        Command::Completions(args) => completions::run(&args, talk),
    }
}
