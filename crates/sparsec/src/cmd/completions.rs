//! `sparsec completions`: a script that completes the command line in a shell.

use crate::cli::Cli;
use crate::error::CliError;
use crate::exit::Exit;
use crate::talk::Talk;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

/// Print a script that completes sparsec's command line in a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec completions bash > ~/.local/share/bash-completion/completions/sparsec
  sparsec completions zsh > ~/.zfunc/_sparsec
  sparsec completions fish > ~/.config/fish/completions/sparsec.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Serialize)]
struct Completions {
    shell: String,
    script: String,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs, talk: Talk) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sparsec", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let completions = Completions { shell: args.shell.to_string(), script };
    talk.result("completions", &completions, &completions.script).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}
