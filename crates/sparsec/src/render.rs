//! Errors as people read them.

use crate::error::CliError;
use crate::exit::Exit;
use crate::talk::{self, Talk};
use miette::{Diagnostic, GraphicalReportHandler};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::io::IsTerminal;

/// An error as programs read it.
#[derive(Serialize)]
struct Failed {
    code: &'static str,
    message: String,
    because: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// Shows an error on standard error: drawn on a terminal, plain in a pipe. Programs get it as their one object, unless
/// they have a result and this only says what is wrong with it.
pub(crate) fn show(error: &CliError, talk: Talk) {
    if talk.is_json() && !matches!(error.exit(), Exit::Limits | Exit::Gate) {
        let (message, inner) = split(&error.to_string());
        let (mut because, mut source) = (Vec::new(), error.source());
        while let Some(e) = source {
            because.push(e.to_string());
            source = e.source();
        }
        let failed = Failed { code: error.code(), message, because, help: error.help().or(inner) };
        // Where standard output is what fails, standard error has it.
        let _ = talk.result("error", &failed, "");
    }
    let mut text = String::new();
    let drawn = std::io::stderr().is_terminal();
    if !drawn || GraphicalReportHandler::new().render_report(&mut text, &Shown(error)).is_err() {
        text = plain(error);
    }
    talk::complaint(&text);
}

/// `error[S0203]: …`, the chain of causes, and what to do.
fn plain(error: &CliError) -> String {
    let (message, inner) = split(&error.to_string());
    let mut out = format!("error[{}]: {message}\n", error.code());
    let mut last = message;
    let mut source = error.source();
    while let Some(e) = source {
        // Some errors already repeat their cause.
        let text = e.to_string();
        if !last.contains(&text) {
            out += &format!("  because: {text}\n");
        }
        last = text;
        source = e.source();
    }
    if let Some(help) = error.help().or(inner) {
        out += &format!("help: {help}\n");
    }
    out += &format!("`sparsec explain {}` says more\n", error.code());
    out
}

/// A message without the advice that it may end in, and the advice.
fn split(message: &str) -> (String, Option<String>) {
    match message.split_once("\nhelp: ") {
        Some((m, help)) => (m.to_string(), Some(help.to_string())),
        None => (message.to_string(), None),
    }
}

#[derive(Debug)]
struct Shown<'a>(&'a CliError);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&split(&self.0.to_string()).0)
    }
}

impl Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.code()))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.0.help().or_else(|| split(&self.0.to_string()).1)?;
        Some(Box::new(help))
    }
}
