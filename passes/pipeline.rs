//! Which passes run, in which order, and why in that order.

use crate::canonicalise::{
    DEAD_CODE, FOLD_BATCHNORM, FOLD_CONSTANTS, FOLD_SHAPES, INLINE_FUNCTIONS, MERGE_TRANSPOSES, REMOVE_IDENTITY,
    RESOLVE_CASTS, UNLIST_CONSTANTS, UNSHARE_CONSTANTS,
};
use crate::{PassDef, PassError, Step};

/// Makes a graph that the analyses can read. Changes no result beyond rounding.
pub const CANONICALISE: &[Step] = &[
    // First: no other pass, and no analysis, looks into a function.
    Step::Once(&INLINE_FUNCTIONS),
    // Before all that read or change a constant: nobody gives another one.
    Step::Once(&UNLIST_CONSTANTS),
    Step::Fixpoint(&[
        // Before constants: a cast may wait for the type of an activation only.
        &RESOLVE_CASTS,
        // Before all that read the contents of an operand: it may be computed from constants.
        &FOLD_CONSTANTS,
        // Before identities: a reshape whose target has become constant may turn out to be one.
        &FOLD_SHAPES,
        // Before folding normalisations: an identity between a convolution and what follows it hides the pair.
        &REMOVE_IDENTITY,
        &MERGE_TRANSPOSES,
        // Before folding normalisations: a reader that nobody reads is no reason to keep a result.
        &DEAD_CODE,
        &FOLD_BATCHNORM,
    ]),
    // After all that could remove a reader, or give two of them one constant.
    Step::Once(&UNSHARE_CONSTANTS),
    // Last: whatever the others have cut off.
    Step::Once(&DEAD_CODE),
];

/// Every pass that can be named on a command line, sorted.
pub const ALL: &[&PassDef] = &[
    &DEAD_CODE,
    &FOLD_BATCHNORM,
    &FOLD_CONSTANTS,
    &FOLD_SHAPES,
    &INLINE_FUNCTIONS,
    &MERGE_TRANSPOSES,
    &REMOVE_IDENTITY,
    &RESOLVE_CASTS,
    &UNLIST_CONSTANTS,
    &UNSHARE_CONSTANTS,
];

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
