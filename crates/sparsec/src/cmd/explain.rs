//! `sparsec explain`: an error or remark at length.

use crate::diagnostics::{ENTRIES, find};
use crate::error::CliError;
use crate::exit::Exit;
use crate::table::Column::Text;
use crate::table::table;
use crate::talk::Talk;
use clap::Args;
use serde::Serialize;

/// Explain an error by its code, or list all codes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec explain S0203
  sparsec explain")]
pub(crate) struct ExplainArgs {
    /// Code, as errors print it.
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

#[derive(Serialize)]
struct Explanations<'a> {
    codes: Vec<&'a crate::diagnostics::Entry>,
}

/// Runs the command.
pub(crate) fn run(args: &ExplainArgs, talk: Talk) -> Result<Exit, CliError> {
    let shown = match &args.code {
        Some(code) => vec![find(code).ok_or_else(|| CliError::UnknownCode { code: code.clone() })?],
        None => ENTRIES.iter().collect(),
    };
    let text = match (&args.code, shown.as_slice()) {
        (Some(_), [e]) => format!("{}: {}\n\n{}\n\nWhat to do: {}\n", e.code, e.title, e.text, e.action),
        _ => {
            let rows: Vec<Vec<String>> = shown.iter().map(|e| vec![format!("{}  {}", e.code, e.title)]).collect();
            table(&[Text("code   meaning")], &rows)
        }
    };
    talk.result("explain", &Explanations { codes: shown }, &text).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}
