//! The command line of sparsec.

mod cli;
mod cmd;
mod diagnostics;
mod error;
mod exit;
mod held_back;
mod infer;
mod interrupt;
mod names;
mod origins;
mod output;
mod progress;
mod record;
mod remedy;
mod render;
mod table;
mod talk;
mod unit_kind;
mod values;
mod watch;

use clap::{CommandFactory, FromArgMatches};
use exit::Exit;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_defect));
    interrupt::install();
    let parsed = cli::Cli::command().try_get_matches();
    let (cli, matches) = match parsed.and_then(|m| Ok((cli::Cli::from_arg_matches(&m)?, m))) {
        Ok(parsed) => parsed,
        Err(e) => {
            // Help and version are errors to clap, too; they go to standard output.
            let exit = if e.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = e.print();
            return exit.into();
        }
    };
    // Nothing of what a panic may leave half changed is looked at afterwards.
    let talk = talk::Talk::new(&cli.global);
    match std::panic::catch_unwind(AssertUnwindSafe(|| cmd::run(cli, &matches))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => {
            render::show(&error, talk);
            error.exit().into()
        }
        Err(_) => Exit::Internal.into(),
    }
}

/// What a panic prints: a panic is always a defect of sparsec, whatever the input was.
fn report_defect(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "an unknown place".to_string(), ToString::to_string);
    let message = info.payload_as_str().unwrap_or("no message");
    talk::complaint(&format!(
        "error[S0001]: sparsec {} has a defect: {message}\n  at {place}\n\
         help: please report it, with this text, the command line and, if you may share it, the model\n",
        env!("CARGO_PKG_VERSION")
    ));
}
