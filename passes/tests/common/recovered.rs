//! A cut and its recovery.

use sparsec_ir::Model;
use sparsec_passes::mask::Places;
use sparsec_passes::recover::{RecoverOptions, Recovered, Recovery, recover};
use sparsec_testkit::random_inputs;

/// Recovers the cut of a model to the first two units of its first group, on 64 random samples.
pub(crate) fn recovered(dense: &Model, options: RecoverOptions) -> (Model, Vec<Recovered>) {
    let table = sparsec_ops::table();
    let facts = sparsec_analysis::infer(dense, &table).facts;
    let channels = sparsec_analysis::channels(dense, &facts, &table);
    let mut removal = sparsec_analysis::Removal::none(&channels);
    channels.groups[0].units[2..].iter().for_each(|u| removal.set(*u, true));
    let mut cut = sparsec_passes::remove::remove(dense, &facts, &table, &channels, &removal).expect("the plan fits");
    let runtime = sparsec_runtime::default_runtime().expect("tests are built with tract");
    let inputs = random_inputs(dense, 1, 64);
    let cx = Recovery {
        dense,
        kept: &|v, axis| channels.kept_of(v, axis, &removal),
        masks: &Places::new(),
        table: &table,
        runtime: runtime.as_ref(),
        samples: &[inputs],
        threads: 2,
        options,
        progress: &|_, _| false,
    };
    let done = recover(&cx, &mut cut).expect("the model runs");
    (cut, done)
}
