//! Masks without a cut.

use sparsec_ir::Model;
use sparsec_passes::mask::{Places, places};
use sparsec_passes::recover::{RecoverOptions, Recovered, Recovery, recover};
use sparsec_plan::MaskPlan;
use sparsec_testkit::random_inputs;

/// Calls with a context for `dense`, 96 random samples and some masks.
pub(crate) fn with_samples<T>(
    dense: &Model,
    masks: &Places,
    (threads, options): (usize, RecoverOptions),
    call: impl FnOnce(&Recovery) -> T,
) -> T {
    let runtime = sparsec_runtime::default_runtime().expect("tests are built with tract");
    call(&Recovery {
        dense,
        kept: &|_, _| None,
        masks,
        table: &sparsec_ops::table(),
        runtime: runtime.as_ref(),
        samples: &[random_inputs(dense, 1, 96)],
        threads,
        options,
        progress: &|_, _| false,
    })
}

/// A model with masks, on two threads.
pub(crate) fn masked(dense: &Model, masks: &[MaskPlan], options: RecoverOptions) -> (Model, Vec<Recovered>) {
    let table = sparsec_ops::table();
    let facts = sparsec_analysis::infer(dense, &table).facts;
    let places = places((dense, &facts, &table), masks).expect("the masks fit");
    let mut out = dense.clone();
    let done = with_samples(dense, &places, (2, options), |cx| recover(cx, &mut out).expect("the model runs"));
    (out, done)
}
