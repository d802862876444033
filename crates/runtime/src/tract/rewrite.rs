//! tract's rewrites, no more of them than a model can need.
//!
//! Two of tract's rules may undo each other without end: axes moved to and fro past a recurrence, for one. Each rewrite by
//! itself leaves an equal model, so wherever they stop it is right. What a rewrite replaces stays in the model until its
//! pass is over, and each rewrite looks at all that is there; so a pass that goes on and on is paused to clear it away.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::optim::{Optimizer, OptimizerSession, TypedPass};

/// Rewrites for each node of a model. Networks take up to 3 in all passes together.
const MOST: usize = 4;

/// `model`, simplified and lowered to tract's own kernels.
pub(super) fn optimised(model: TypedModel) -> TractResult<TypedModel> {
    rewritten(Optimizer::codegen(), rewritten(Optimizer::declutter(), model)?)
}

fn rewritten(optimizer: Optimizer, mut model: TypedModel) -> TractResult<TypedModel> {
    let nodes = model.nodes().len();
    let at_once = nodes.div_ceil(4);
    let paused = |pass| Box::new(Paused { pass, at_once, left: at_once }) as Box<dyn TypedPass>;
    let passes = optimizer.passes.into_iter().map(paused).collect();
    Optimizer { passes, steps: Some(MOST * nodes) }.optimize(&mut model)?;
    Ok(model)
}

/// A pass that is over after so many rewrites; the optimiser clears up, and runs it again.
#[derive(Clone, Debug)]
struct Paused {
    pass: Box<dyn TypedPass>,
    at_once: usize,
    left: usize,
}

impl TypedPass for Paused {
    fn reset(&mut self) -> TractResult<()> {
        self.left = self.at_once;
        self.pass.reset()
    }

    fn next(&mut self, session: &mut OptimizerSession, model: &TypedModel) -> TractResult<Option<TypedModelPatch>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.pass.next(session, model)
    }

    fn run_direct(&mut self, model: &mut TypedModel) -> TractResult<bool> {
        self.pass.run_direct(model)
    }
}
