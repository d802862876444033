//! What the process tells its caller.

/// Exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// A defect of sparsec.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file is invalid, or asks for something that is not supported.
    Input = 3,
    /// Limits cannot be met.
    Limits = 4,
    /// A verification or gate failed.
    Gate = 5,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(e: Exit) -> Self {
        Self::from(e as u8)
    }
}
