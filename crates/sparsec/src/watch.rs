//! How people see the flow at work, and stop it.

use crate::interrupt;
use crate::progress::Stage;
use crate::talk::{Talk, complaint};
use sparsec::drive::Observer;
use std::sync::{Mutex, PoisonError};

/// Shows one stage at a time, and stops at Ctrl-C.
pub(crate) struct Watch {
    talk: Talk,
    stage: Mutex<Option<Stage>>,
}

impl Watch {
    /// Nothing is shown until a stage begins.
    pub(crate) fn new(talk: Talk) -> Self {
        Self { talk, stage: Mutex::new(None) }
    }
    /// Takes the bar away, so that what follows is printed on clean lines.
    pub(crate) fn clear(&self) {
        self.with(|stage| *stage = None);
    }
    /// How to reach the user.
    pub(crate) fn talk(&self) -> Talk {
        self.talk
    }
    /// Prints to standard error, around the bar.
    pub(crate) fn print(&self, text: &str) {
        self.with(|stage| match stage {
            Some(stage) => stage.suspend(|| complaint(text)),
            None => complaint(text),
        });
    }
    // A bar is whole whatever panicked while it was held.
    fn with(&self, change: impl FnOnce(&mut Option<Stage>)) {
        change(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Observer for Watch {
    fn stage(&self, name: &'static str, steps: u64) {
        self.with(|stage| {
            // The old bar goes before the new one is drawn.
            *stage = None;
            *stage = Some(Stage::new(self.talk, name, steps));
        });
    }
    fn done(&self, steps: u64) {
        self.with(|stage| stage.iter().for_each(|s| s.advance(steps)));
    }
    fn interrupted(&self) -> bool {
        interrupt::requested()
    }
    fn note(&self, text: &str) {
        self.with(|stage| match stage {
            Some(stage) => stage.suspend(|| self.talk.note(text)),
            None => self.talk.note(text),
        });
    }
}
