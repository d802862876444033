//! One file a command: what it takes, what it does, what it prints.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod samples;
pub(crate) mod target;

use crate::cli::{Cli, Command};
use crate::error::CliError;
use crate::exit::Exit;
use crate::talk::Talk;

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<Exit, CliError> {
    let talk = Talk::new(&cli.global);
    match cli.command {
        Command::Eval(args) => eval::run(&args, &cli.global, talk),
        Command::Bench(args) => bench::run(&args, &cli.global, talk),
        Command::Target(args) => target::run(&args, talk),
        Command::Explain(args) => explain::run(&args, talk),
        Command::Completions(args) => completions::run(&args),
    }
}
