//! What a long stage is at, for people at a terminal.

use crate::talk::Talk;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error with the name of the stage and the time that is left; nothing in pipes or where quiet is asked.
/// It vanishes when dropped.
pub(crate) struct Stage(ProgressBar);

impl Stage {
    /// Starts a stage of `len` steps.
    pub(crate) fn new(talk: Talk, name: &'static str, len: u64) -> Self {
        let target = if talk.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(len), target).with_message(name);
        if let Ok(style) = ProgressStyle::with_template("{msg:>14} {wide_bar} {pos}/{len} {eta:>5}") {
            bar.set_style(style);
        }
        Self(bar)
    }
    /// Counts `n` steps as done.
    pub(crate) fn advance(&self, n: u64) {
        self.0.inc(n);
    }
    /// Prints without tearing the bar.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
