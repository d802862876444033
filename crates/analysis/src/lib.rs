//! Analyses: pure functions of a model and the operator table. Opens no file, runs no model.

mod shapes;

pub use shapes::{Inferred, ShapeProblem, infer, node_ref};
