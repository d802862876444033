//! What a user may allow beyond exact cuts.

use std::fmt;
use std::str::FromStr;

/// A kind of cut after which the model differs from the masked one, so that it is refused unless a user allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Channels leave an axis that is normalised over: its statistics are then those of the channels that stay.
    NormalisedWidth,
}

impl Policy {
    /// Every policy.
    pub const ALL: &[Self] = &[Self::NormalisedWidth];

    /// Its name on the command line and in plans.
    pub fn name(self) -> &'static str {
        match self {
            Self::NormalisedWidth => "normalised-width",
        }
    }
    /// What is inexact about it.
    pub fn about(self) -> &'static str {
        match self {
            Self::NormalisedWidth => "and statistics are taken over these",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
        let british = name.replace("normalized", "normalised");
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.name() == british)
            .ok_or_else(|| format!("`{name}` is none of {}", names()))
    }
}
