//! `sparsec target`: the devices that estimates are made for.

use crate::error::CliError;
use crate::exit::Exit;
use crate::table::Column::{Number, Text};
use crate::table::table;
use crate::talk::Talk;
use clap::{Args, Subcommand};
use serde::Serialize;
use sparsec_cost::{Target, builtin};

/// List and show target files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec target list
  sparsec target show generic-arm > my-board.yaml     # then edit, and use with --target my-board.yaml")]
pub(crate) struct TargetArgs {
    #[command(subcommand)]
    command: TargetCommand,
}

#[derive(Debug, Subcommand)]
enum TargetCommand {
    /// List the built-in targets.
    List,
    /// Print a target file.
    Show {
        /// Name of a built-in target, or path to a target file.
        #[arg(value_name = "TARGET")]
        target: String,
    },
}

#[derive(Serialize)]
struct List {
    targets: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    runtime: String,
    isa: String,
    threads: u64,
    calibrated: bool,
}

/// Runs the command.
pub(crate) fn run(args: &TargetArgs, talk: Talk) -> Result<Exit, CliError> {
    match &args.command {
        TargetCommand::List => list(talk)?,
        TargetCommand::Show { target } => {
            let target = Target::named_or_file(target)?;
            talk.result("target", &target, &target.to_yaml()?).map_err(CliError::Stdout)?;
        }
    }
    Ok(Exit::Done)
}

fn list(talk: Talk) -> Result<(), CliError> {
    let row = |(name, text): &(&str, &str)| {
        let t = Target::from_yaml(text, name)?;
        Ok::<_, CliError>(Row {
            name: t.name,
            runtime: t.runtime,
            isa: t.isa,
            threads: t.threads,
            calibrated: t.calibrated,
        })
    };
    let list = List { targets: builtin().iter().map(row).collect::<Result<_, _>>()? };
    let cells = |r: &Row| {
        let calibrated = if r.calibrated { "measured" } else { "assumed" };
        vec![r.name.clone(), r.runtime.clone(), r.isa.clone(), r.threads.to_string(), calibrated.to_string()]
    };
    let rows: Vec<Vec<String>> = list.targets.iter().map(cells).collect();
    let text = table(&[Text("target"), Text("runtime"), Text("isa"), Number("threads"), Text("figures")], &rows);
    talk.result("target-list", &list, &text).map_err(CliError::Stdout)
}
