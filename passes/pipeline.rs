//! Which passes run, in which order, and why in that order.

use crate::canonicalise::{DEAD_CODE, FOLD_BATCHNORM, FOLD_SHAPES, INLINE_FUNCTIONS, REMOVE_IDENTITY};
use crate::{PassDef, PassError, Step};

/// Makes a graph that the analyses can read. Changes no result beyond rounding.
pub const CANONICALISE: &[Step] = &[
    // First: no other pass, and no analysis, looks into a function.
    Step::Once(&INLINE_FUNCTIONS),
    Step::Fixpoint(&[
        // Before identities: a reshape whose target has become constant may turn out to be one.
        &FOLD_SHAPES,
        // Before folding normalisations: an identity between a convolution and what follows it hides the pair.
        &REMOVE_IDENTITY,
        // Before folding normalisations: a reader that nobody reads is no reason to keep a result.
        &DEAD_CODE,
        &FOLD_BATCHNORM,
    ]),
    // Last: whatever the others have cut off.
    Step::Once(&DEAD_CODE),
];

/// Every pass that can be named on a command line, sorted.
pub const ALL: &[&PassDef] = &[&DEAD_CODE, &FOLD_BATCHNORM, &FOLD_SHAPES, &INLINE_FUNCTIONS, &REMOVE_IDENTITY];

/// The pass called `name`.
///
/// # Errors
/// [`PassError::UnknownPass`].
pub fn find(name: &str) -> Result<&'static PassDef, PassError> {
    ALL.iter().copied().find(|p| p.name == name).ok_or_else(|| PassError::UnknownPass { name: name.to_string() })
}

/// The passes named in a list with commas, each to be run once.
///
/// # Errors
/// [`PassError::UnknownPass`].
pub fn parse(list: &str) -> Result<Vec<Step>, PassError> {
    list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| find(n).map(Step::Once)).collect()
}
