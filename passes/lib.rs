//! Everything that changes a model: one folder a stage, one file a pass.
//!
//! ```
//! use sparsec_passes::{CANONICALISE, Manager};
//! let table = sparsec_ir::OpTable::default();
//! let mut model = sparsec_testkit::model("g (float x) => (float y) { y = Relu (x) z = Neg (x) }");
//! let mut manager = Manager::new(&table);
//! let mut cx = manager.context();
//! let _ = manager.run(&mut model, CANONICALISE, &mut cx).unwrap();
//! assert_eq!(model.graph.nodes().count(), 1);
//! ```

pub mod canonicalise;
mod manager;
pub mod mask;
mod pipeline;
pub mod recover;
pub mod reduce;
pub mod remove;

pub use manager::{
    Changed, Event, Manager, PassCx, PassDef, PassError, PassRun, PrintAfter, Refusal, Remark, Stage, Step, Verify,
};
pub use pipeline::{ALL, CANONICALISE, find, parse};
