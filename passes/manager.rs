//! Passes, what they are given, and the manager that runs them.
//!
//! A pass is a constant and a function, without state between runs. Around each the manager checks that the pass
//! reported what it did, verifies the model where asked to, and tells an observer. The clock is read here only.

use sparsec_analysis::Inferred;
use sparsec_ir::text::{PrintOptions, Weights, print_model};
use sparsec_ir::{Model, OpError, OpTable, TensorError, Violation, verify};
use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Part of the flow that a pass belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Makes a graph that the analyses can read; changes no result.
    Canonicalise,
    /// Executes a plan.
    Remove,
    /// Re-solves the weights that are left.
    Recover,
    /// Suits the graph to its target.
    Lower,
}

impl Stage {
    /// Its name, which is also its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Canonicalise => "canonicalise",
            Self::Remove => "remove",
            Self::Recover => "recover",
            Self::Lower => "lower",
        }
    }
}

/// Whether a pass changed the model.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// It left the model as it was.
    #[default]
    No,
    /// It changed something.
    Yes,
}

impl Changed {
    /// Whether either changed something.
    pub fn or(self, other: Changed) -> Changed {
        self.max(other)
    }
}

/// A pass.
#[derive(Clone, Copy)]
pub struct PassDef {
    /// Name on the command line; also the name of its file, with dashes.
    pub name: &'static str,
    /// Where in the flow it belongs.
    pub stage: Stage,
    /// One line for people.
    pub summary: &'static str,
    /// Runs it.
    pub run: fn(&mut Model, &mut PassCx) -> Result<Changed, PassError>,
}

/// Why a pass left a place alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A result has other readers, which need it as it is.
    SharedResult {
        /// The result.
        value: String,
    },
    /// A name that callers rely on would change.
    NeededName {
        /// Its owner.
        value: String,
    },
    /// A subgraph uses the value.
    Captured {
        /// The value.
        value: String,
    },
    /// An operand is computed at run time.
    NotConstant {
        /// The operand.
        value: String,
    },
    /// The node has no operand that could take a shift.
    NoBias,
    /// The numbers are not finite.
    NotFinite,
    /// Operand or result have a size or type that the rewrite does not cover.
    Shape {
        /// What does not fit.
        what: &'static str,
    },
    /// A facet of an operator could not answer.
    Facet(OpError),
    /// A function body means another version of an operator set than the model.
    OpsetDiffers {
        /// Domain.
        domain: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedResult { value } => write!(f, "`{value}` has other readers"),
            Self::NeededName { value } => write!(f, "the name `{value}` is relied on"),
            Self::Captured { value } => write!(f, "a subgraph uses `{value}`"),
            Self::NotConstant { value } => write!(f, "`{value}` is computed at run time"),
            Self::NoBias => f.write_str("there is no operand that could take the shift"),
            Self::NotFinite => f.write_str("the numbers are not finite"),
            Self::Shape { what } => f.write_str(what),
            Self::Facet(e) => write!(f, "{e}"),
            Self::OpsetDiffers { domain } => write!(f, "its body means another version of operator set `{domain}`"),
        }
    }
}

/// A place that a pass looked at and left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The pass.
    pub pass: &'static str,
    /// Label of the node.
    pub place: String,
    /// Why.
    pub reason: Refusal,
}

/// Why a pass or the manager gave up.
#[derive(Debug, Error)]
pub enum PassError {
    /// A constant that the pass reads or writes is broken.
    #[error("constant `{value}`: {source}")]
    Constant {
        /// The constant.
        value: String,
        /// What is wrong.
        source: TensorError,
    },
    /// What a pass needs was not put into its context.
    #[error("pass `{pass}` needs a `{what}`, which was not given")]
    MissingArtifact {
        /// The pass.
        pass: &'static str,
        /// Type of the artifact.
        what: &'static str,
    },
    /// Functions call each other in a circle.
    #[error("function `{name}` calls itself")]
    RecursiveFunction {
        /// One of them.
        name: String,
    },
    /// The model was broken before the pass.
    #[error("the model is broken: {}", violations.first().map(ToString::to_string).unwrap_or_default())]
    BrokenInput {
        /// What is broken.
        violations: Vec<Violation>,
    },
    /// A rewrite would make the model unreasonably large.
    #[error("inlining `{name}` makes more than {limit} nodes")]
    TooManyNodes {
        /// What was being inlined.
        name: String,
        /// Nodes that are allowed.
        limit: usize,
    },
    /// No pass has this name.
    #[error("there is no pass `{name}`")]
    UnknownPass {
        /// The name.
        name: String,
    },
    /// A pass changed the model and said it did not.
    #[error("pass `{pass}` changed the model without saying so")]
    Unreported {
        /// The pass.
        pass: &'static str,
    },
    /// A pass broke an invariant.
    #[error("pass `{pass}` left a broken model: {}", violations.first().map(ToString::to_string).unwrap_or_default())]
    Broken {
        /// The pass.
        pass: &'static str,
        /// What is broken.
        violations: Vec<Violation>,
    },
    /// A group of passes does not come to rest.
    #[error("passes `{first}` and `{second}` undo each other: still changing after {rounds} rounds")]
    NoFixpoint {
        /// First pass that still changes something.
        first: &'static str,
        /// Last one.
        second: &'static str,
        /// Rounds that were tried.
        rounds: usize,
    },
}

/// What a pass is given besides the model.
pub struct PassCx<'t> {
    /// What is known of operators.
    pub table: &'t OpTable,
    /// Places that passes left alone, in order.
    pub remarks: Vec<Remark>,
    pass: &'static str,
    artifacts: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
    rewrites: u64,
    limit: u64,
}

impl<'t> PassCx<'t> {
    /// A context without artifacts or a limit to rewrites.
    pub fn new(table: &'t OpTable) -> Self {
        Self { table, remarks: Vec::new(), pass: "", artifacts: BTreeMap::new(), rewrites: 0, limit: u64::MAX }
    }
    /// Facts about every value of the model's graph.
    pub fn infer(&self, model: &Model) -> Inferred {
        sparsec_analysis::infer(model, self.table)
    }
    /// Records that the pass left `place` alone.
    pub fn remark(&mut self, place: impl Into<String>, reason: Refusal) {
        self.remarks.push(Remark { pass: self.pass, place: place.into(), reason });
    }
    /// Puts what later passes read: a plan, statistics. One of each type; a second replaces the first.
    pub fn put<T: Any + Send + Sync>(&mut self, artifact: T) {
        self.artifacts.insert(TypeId::of::<T>(), Arc::new(artifact));
    }
    /// The artifact of type `T`.
    ///
    /// # Errors
    /// [`PassError::MissingArtifact`] where nobody put one.
    pub fn get<T: Any + Send + Sync>(&self) -> Result<Arc<T>, PassError> {
        let found = self.artifacts.get(&TypeId::of::<T>()).cloned().and_then(|a| a.downcast().ok());
        found.ok_or(PassError::MissingArtifact { pass: self.pass, what: type_name::<T>() })
    }
    /// Makes one rewrite, unless the limit is reached. Every change that a pass makes goes through here, so that a
    /// wrong one can be found by bisection over the limit.
    pub fn rewrite(&mut self, change: impl FnOnce() -> Result<(), PassError>) -> Result<Changed, PassError> {
        if self.rewrites >= self.limit {
            return Ok(Changed::No);
        }
        self.rewrites += 1;
        change().map(|()| Changed::Yes)
    }
    /// Rewrites made so far, by all passes.
    pub fn rewrites(&self) -> u64 {
        self.rewrites
    }
}

/// When the model is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// After each pass that changed something.
    Each,
    /// Never.
    Never,
}

/// After which passes the model is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrintAfter {
    /// Each.
    All,
    /// The one with this name.
    Pass(String),
}

/// One run of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRun {
    /// The pass.
    pub pass: &'static str,
    /// Whether it changed something.
    pub changed: Changed,
    /// Rewrites it made.
    pub rewrites: u64,
    /// Time it took.
    pub elapsed: Duration,
}

/// What an observer hears, in the order in which it happens.
pub enum Event<'a> {
    /// A pass has run; the model is as it left it.
    Ran {
        /// The run.
        run: &'a PassRun,
        /// The model.
        model: &'a Model,
    },
    /// The printed model that was asked for.
    Printed {
        /// The pass before.
        pass: &'static str,
        /// Text with weights summed up.
        text: &'a str,
    },
}

/// Step of a pipeline.
#[derive(Clone, Copy)]
pub enum Step {
    /// Runs once.
    Once(&'static PassDef),
    /// Run in turn until none changes anything.
    Fixpoint(&'static [&'static PassDef]),
}

/// Rounds after which a fixpoint is given up. Each round makes the graph smaller, so real models take a handful.
const MAX_ROUNDS: usize = 32;

/// Runs passes over a model.
pub struct Manager<'m> {
    table: &'m OpTable,
    verify: Verify,
    print_after: Vec<PrintAfter>,
    limit: u64,
    observer: Box<dyn FnMut(Event) + 'm>,
}

impl<'m> Manager<'m> {
    /// A manager that verifies in debug builds, prints nothing and sets no limit.
    pub fn new(table: &'m OpTable) -> Self {
        let verify = if cfg!(debug_assertions) { Verify::Each } else { Verify::Never };
        Self { table, verify, print_after: Vec::new(), limit: u64::MAX, observer: Box::new(|_| {}) }
    }
    /// When to verify.
    pub fn verify(mut self, when: Verify) -> Self {
        self.verify = when;
        self
    }
    /// Prints the model after a pass, to the observer.
    pub fn print_after(mut self, which: PrintAfter) -> Self {
        self.print_after.push(which);
        self
    }
    /// Stops all passes from rewriting anything after `limit` rewrites.
    pub fn rewrite_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }
    /// Tells `observer` of every pass.
    pub fn observe(mut self, observer: impl FnMut(Event) + 'm) -> Self {
        self.observer = Box::new(observer);
        self
    }
    /// A context to put artifacts into before running.
    pub fn context(&self) -> PassCx<'m> {
        PassCx { limit: self.limit, ..PassCx::new(self.table) }
    }

    /// Runs a pipeline.
    ///
    /// # Errors
    /// Those of the passes; [`PassError::Unreported`], [`PassError::Broken`] and [`PassError::NoFixpoint`] name a
    /// pass that does not keep its promises.
    pub fn run(&mut self, model: &mut Model, steps: &[Step], cx: &mut PassCx) -> Result<Changed, PassError> {
        let mut changed = Changed::No;
        for step in steps {
            changed = changed.or(match step {
                Step::Once(pass) => self.run_pass(model, pass, cx)?,
                Step::Fixpoint(passes) => self.fixpoint(model, passes, cx)?,
            });
        }
        Ok(changed)
    }
    /// Runs `passes` in turn until a whole round changes nothing.
    fn fixpoint(&mut self, model: &mut Model, passes: &[&PassDef], cx: &mut PassCx) -> Result<Changed, PassError> {
        let mut any = Changed::No;
        let mut restless: Vec<&'static str> = Vec::new();
        for _ in 0..MAX_ROUNDS {
            restless.clear();
            for pass in passes {
                if self.run_pass(model, pass, cx)? == Changed::Yes {
                    restless.push(pass.name);
                }
            }
            if restless.is_empty() {
                return Ok(any);
            }
            any = Changed::Yes;
        }
        let (first, second) = (restless[0], restless[restless.len() - 1]);
        Err(PassError::NoFixpoint { first, second, rounds: MAX_ROUNDS })
    }
    /// Runs one pass.
    ///
    /// # Errors
    /// As for [`Manager::run`].
    pub fn run_pass(&mut self, model: &mut Model, pass: &PassDef, cx: &mut PassCx) -> Result<Changed, PassError> {
        let (revision, functions) = (model.graph.revision(), model.functions.len());
        let (rewrites, start) = (cx.rewrites, Instant::now());
        cx.pass = pass.name;
        // A pass that runs again says again what it leaves alone.
        cx.remarks.retain(|r| r.pass != pass.name);
        let changed = (pass.run)(model, cx)?;
        let run = PassRun { pass: pass.name, changed, rewrites: cx.rewrites - rewrites, elapsed: start.elapsed() };
        if changed == Changed::No && (revision, functions) != (model.graph.revision(), model.functions.len()) {
            return Err(PassError::Unreported { pass: pass.name });
        }
        if changed == Changed::Yes && self.verify == Verify::Each {
            verify(model).map_err(|violations| PassError::Broken { pass: pass.name, violations })?;
        }
        (self.observer)(Event::Ran { run: &run, model });
        if self.print_after.iter().any(|p| matches!(p, PrintAfter::All) || *p == PrintAfter::Pass(pass.name.into())) {
            let text = print_model(model, &PrintOptions::weights(Weights::Summary));
            (self.observer)(Event::Printed { pass: pass.name, text: &text });
        }
        Ok(changed)
    }
}
