//! `sparsec reduce`: a small graph that fails as a large one does.

use crate::cli::Global;
use crate::cmd::model::{is_text, load_unchecked};
use crate::error::CliError;
use crate::exit::Exit;
use crate::interrupt;
use crate::output;
use crate::progress::Stage;
use crate::table::count;
use crate::talk::Talk;
use clap::Args;
use serde::Serialize;
use sparsec_ir::Model;
use sparsec_ir::text::{PrintOptions, Weights, print_model};
use sparsec_passes::reduce::{Judgement, Size, reduce};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Shrink a model on which a command fails to a small one on which it fails in the same way.
#[derive(Debug, Args)]
#[command(after_help = "\
What fails is either a command of sparsec, given after `--` without the model: the small model must
end it with the same exit status, error code and, for a defect, at the same place of the source. Or
it is a command of your own, which ends with 0 where the model is of interest; `{}` in it is the path
of an ONNX file.

Examples:
  sparsec reduce model.onnx -o small.onnxtxt -- compile --random-plan 3 --keep 0.7
  sparsec reduce model.onnx -o small.onnxtxt -- opt --passes fold-constants
  sparsec reduce model.onnx -o small.onnxtxt --command './differs.sh {}' --seconds 300")]
pub(crate) struct ReduceArgs {
    /// Model to shrink.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Where the small model goes: `.onnxtxt`, or `.onnx`.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A command that ends with 0 for models of interest.
    #[arg(long, value_name = "COMMAND", conflicts_with = "own")]
    command: Option<String>,
    /// Seconds after which the smallest model so far is written.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    seconds: u64,
    /// Seconds after which one run of the command is ended; a command that hangs on the model counts as failing.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    timeout: u64,
    /// A command of sparsec, with its options and without the model.
    #[arg(last = true, value_name = "SPARSEC COMMAND", required_unless_present = "command")]
    own: Vec<String>,
}

#[derive(Serialize)]
struct Reduced {
    /// How the command fails.
    failure: String,
    before: SizeJson,
    after: SizeJson,
    /// Models that the command was run on.
    tried: u64,
    /// Whether time ended the search.
    stopped: bool,
}

#[derive(Serialize)]
struct SizeJson {
    nodes: u64,
    elements: u64,
}

impl From<Size> for SizeJson {
    fn from(s: Size) -> Self {
        Self { nodes: s.nodes, elements: s.elements }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ReduceArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    output::expect_file(&args.output)?;
    let started = Instant::now();
    let model = load_unchecked(&args.model, talk)?.model;
    let trial = Trial::new(args, global)?;
    let failure = trial.of(&model)?;
    // What POSIX shells say of a command that they cannot start.
    let start = match failure {
        Some(Failure::Ended { status: 127, .. }) if args.command.is_some() => Some(ErrorKind::NotFound),
        Some(Failure::Ended { status: 126, .. }) if args.command.is_some() => Some(ErrorKind::PermissionDenied),
        _ => None,
    };
    if let Some(kind) = start {
        return Err(CliError::Start { command: trial.shown(&args.model), source: kind.into() });
    }
    let failure = failure.filter(|f| f.is_wanted(args.command.is_some()));
    let failure = failure.ok_or_else(|| CliError::NoFailure { command: trial.shown(&args.model) })?;

    let before = Size::of(&model);
    let stage = Stage::new(talk, "reduce", before.nodes);
    let mut left = before.nodes;
    let mut broken: Option<CliError> = None;
    let mut judge = |candidate: &Model| {
        if interrupt::requested() || started.elapsed() > Duration::from_secs(args.seconds) {
            return Judgement::Stop;
        }
        match trial.of(candidate) {
            Ok(Some(found)) if found == failure => {
                let nodes = Size::of(candidate).nodes;
                stage.advance(left.saturating_sub(nodes));
                left = nodes;
                Judgement::Keep
            }
            Ok(_) => Judgement::Reject,
            Err(e) => {
                broken = Some(e);
                Judgement::Stop
            }
        }
    };
    let done = reduce(&model, &sparsec_ops::table(), &mut judge);
    drop(stage);
    if let Some(e) = broken {
        return Err(e);
    }
    if is_text(&args.output) {
        output::file(&args.output, print_model(&done.model, &PrintOptions::weights(Weights::Full)).as_bytes())?;
    } else {
        sparsec_onnx::save(&done.model, &args.output, sparsec_onnx::Weights::Inline)?;
    }
    // The text leaves out what its syntax has no place for.
    if trial.on(&args.output)? != failure {
        talk.note(&format!("`{}` does not fail as the model does: write an `.onnx` file", args.output.display()));
    }
    interrupt::check()?;
    let reduced = Reduced {
        failure: failure.to_string(),
        before: before.into(),
        after: Size::of(&done.model).into(),
        tried: done.tried,
        stopped: done.stopped,
    };
    let size = |s: &SizeJson| format!("{} nodes, {} numbers", s.nodes, count(s.elements));
    let text = format!(
        "{}\n{} became {} in {} runs{}\n{}\n",
        reduced.failure,
        size(&reduced.before),
        size(&reduced.after),
        reduced.tried,
        if reduced.stopped { ", and could be smaller: time was up" } else { "" },
        args.output.display()
    );
    talk.result("reduce", &reduced, &text).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// It ran too long.
    Hangs,
    /// It was ended by a signal, as a stack that overflows is.
    Killed,
    /// It ended by itself.
    Ended {
        status: i32,
        /// The error's code.
        code: Option<String>,
        /// For a defect, the place in the source.
        place: Option<String>,
    },
}

impl Failure {
    /// Whether it is what to look for: a failure of sparsec, or a 0 of another command.
    fn is_wanted(&self, foreign: bool) -> bool {
        match self {
            Self::Ended { status, .. } => (*status == 0) == foreign,
            Self::Hangs | Self::Killed => !foreign,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hangs => f.write_str("the command hangs"),
            Self::Killed => f.write_str("the command is killed"),
            Self::Ended { status, code, place } => {
                write!(f, "the command ends with {status}")?;
                code.iter().try_for_each(|c| write!(f, ", {c}"))?;
                place.iter().try_for_each(|p| write!(f, " {p}"))
            }
        }
    }
}

/// The command, and a folder for what it reads and writes.
struct Trial<'a> {
    args: &'a ReduceArgs,
    global: &'a Global,
    exe: PathBuf,
    scratch: TempDir,
}

/// Commands of sparsec that write files and must be told where.
const WRITERS: &[&str] = &["apply", "compile"];

impl<'a> Trial<'a> {
    fn new(args: &'a ReduceArgs, global: &'a Global) -> Result<Self, CliError> {
        let exe = std::env::current_exe().map_err(|source| CliError::Start { command: "sparsec".into(), source })?;
        let scratch = tempfile::Builder::new().prefix("sparsec-reduce-").tempdir();
        let scratch = scratch.map_err(|source| CliError::Write { path: std::env::temp_dir(), source })?;
        Ok(Self { args, global, exe, scratch })
    }
    /// How the command ends on a model; `None` for one that cannot be written.
    fn of(&self, model: &Model) -> Result<Option<Failure>, CliError> {
        let path = self.scratch.path().join("model.onnx");
        match sparsec_onnx::save(model, &path, sparsec_onnx::Weights::Inline) {
            Err(e @ sparsec_onnx::OnnxError::Write { .. }) => Err(e.into()),
            Err(_) => Ok(None),
            Ok(()) => self.on(&path).map(Some),
        }
    }
    /// How the command ends on a file.
    fn on(&self, path: &Path) -> Result<Failure, CliError> {
        let said = self.scratch.path().join("stderr");
        let stderr = File::create(&said).map_err(|source| CliError::Write { path: said.clone(), source })?;
        let mut command = self.command(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn();
        let mut child = child.map_err(|source| CliError::Start { command: self.shown(path), source })?;
        let Some(status) = wait(&mut child, Duration::from_secs(self.args.timeout)) else { return Ok(Failure::Hangs) };
        let Some(status) = status else { return Ok(Failure::Killed) };
        if self.args.command.is_some() {
            // Whatever it prints, only its status counts.
            return Ok(Failure::Ended { status, code: None, place: None });
        }
        let mut text = String::new();
        // Errors stand at the end of little text; bytes that are no text hold none.
        let _ = File::open(&said).and_then(|f| f.take(1 << 20).read_to_string(&mut text));
        let code = text.split_once("error[").and_then(|(_, rest)| rest.get(..5)).map(str::to_string);
        let place = text.lines().find_map(|l| l.strip_prefix("  at ")).filter(|_| code.as_deref() == Some("S0001"));
        Ok(Failure::Ended { status, place: place.map(|p| format!("at {p}")), code })
    }
    fn command(&self, path: &Path) -> Command {
        if let Some(own) = &self.args.command {
            let mut command = Command::new("sh");
            let with = if own.contains("{}") { own.replace("{}", "\"$1\"") } else { format!("{own} \"$1\"") };
            command.args(["-c", &with, "sh"]).arg(path);
            return command;
        }
        let own = &self.args.own;
        let mut command = Command::new(&self.exe);
        command.args(own.first()).arg(path).args(own.iter().skip(1));
        let given =
            |flags: &[&str]| own.iter().any(|a| flags.iter().any(|f| a == f || a.starts_with(&format!("{f}="))));
        if own.first().is_some_and(|c| WRITERS.contains(&c.as_str())) && !given(&["-o", "--output"]) {
            command.arg("-o").arg(self.scratch.path().join("out"));
        }
        if !given(&["--runtime"]) {
            command.args(["--runtime", &self.global.runtime]);
        }
        if let Some(ops) = self.global.ops.as_ref().filter(|_| !given(&["--ops"])) {
            command.arg("--ops").arg(ops);
        }
        command
    }
    /// The command as people write it.
    fn shown(&self, path: &Path) -> String {
        match &self.args.command {
            Some(own) => own.replace("{}", &path.display().to_string()),
            None => {
                let (first, rest) = self.args.own.split_first().map_or(("", [].as_slice()), |(f, r)| (f.as_str(), r));
                format!("sparsec {first} {} {}", path.display(), rest.join(" ")).trim_end().to_string()
            }
        }
    }
}

/// Status of a child that ends in time, `Some(None)` where a signal ended it.
fn wait(child: &mut Child, most: Duration) -> Option<Option<i32>> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.code()),
            Ok(None) if started.elapsed() < most && !interrupt::requested() => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}
