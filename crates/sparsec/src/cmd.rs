//! One file a command: what it takes, what it does, what it prints.

#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod apply;
pub(crate) mod bench;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod estimate;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod inspect;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod limits;
pub(crate) mod model;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod opt;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod plan;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod report;
pub(crate) mod samples;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod sensitivity;
pub(crate) mod target;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod verify;
#[allow(dead_code, reason = "wired in with the driver")]
pub(crate) mod why;

use crate::cli::{Cli, Command};
use crate::error::CliError;
use crate::exit::Exit;
use crate::talk::Talk;

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<Exit, CliError> {
    let talk = Talk::new(&cli.global);
    match cli.command {
        Command::Inspect(args) => inspect::run(&args, talk),
        Command::Estimate(args) => estimate::run(&args, talk),
        Command::Eval(args) => eval::run(&args, &cli.global, talk),
        Command::Bench(args) => bench::run(&args, &cli.global, talk),
        Command::Target(args) => target::run(&args, talk),
        Command::Explain(args) => explain::run(&args, talk),
        Command::Completions(args) => completions::run(&args),
    }
}
