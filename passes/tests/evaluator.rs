//! What fold-constants asks of a runtime, and what it does when that fails.

use sparsec_ir::{Model, Tensor};
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::{Changed, Manager, Refusal, Remark, Verify, find};
use sparsec_runtime::{AnySize, Runtime, RuntimeError, Session, default_runtime};
use sparsec_testkit::model;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The built-in runtime without one operator; it counts loads.
struct Without {
    operator: &'static str,
    loads: Arc<AtomicUsize>,
}

impl Runtime for Without {
    fn name(&self) -> String {
        "test".into()
    }
    fn any_size(&self) -> Option<&dyn AnySize> {
        None
    }
    fn load(&self, model: &Model, inputs: &[Vec<u64>], threads: usize) -> Result<Box<dyn Session>, RuntimeError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        match model.graph.nodes().find(|(_, n)| n.op == self.operator) {
            Some((node, n)) => Err(RuntimeError::Unsupported {
                runtime: self.name(),
                operator: n.op.clone(),
                node: model.graph.label(node),
                why: "a test".into(),
            }),
            None => default_runtime()?.load(model, inputs, threads),
        }
    }
}

/// A runtime that gives nothing of what was asked.
struct Liar;

impl Runtime for Liar {
    fn name(&self) -> String {
        "liar".into()
    }
    fn any_size(&self) -> Option<&dyn AnySize> {
        None
    }
    fn load(&self, _: &Model, _: &[Vec<u64>], _: usize) -> Result<Box<dyn Session>, RuntimeError> {
        Ok(Box::new(Liar))
    }
}

impl Session for Liar {
    fn run(&self, _: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        Ok(vec![Tensor::i64(&[1], &[3])])
    }
}

fn fold(model: &mut Model, runtime: Arc<dyn Runtime>) -> (Changed, Vec<Remark>) {
    let table = sparsec_ops::table();
    let mut manager = Manager::new(&table).verify(Verify::Each);
    let mut cx = manager.context();
    cx.put(Evaluator(runtime));
    let pass = find("fold-constants").expect("the pass exists");
    let changed = manager.run_pass(model, pass, &mut cx).expect("the pass runs");
    (changed, cx.remarks)
}

const FOUR: &str = "g (float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}>
    { a = Add (w, w)  b = Mul (a, w)  c = Neg (b)  d = Sqrt (c)  e = Sub (w, a)  h = Add (x, d)  y = Add (h, e) }";

#[test]
fn everything_is_computed_in_one_load() {
    let loads = Arc::new(AtomicUsize::new(0));
    let mut m = model(FOUR);
    let _ = fold(&mut m, Arc::new(Without { operator: "", loads: loads.clone() }));
    assert_eq!((m.graph.nodes().count(), loads.load(Ordering::Relaxed)), (2, 1));
}

#[test]
fn what_feeds_an_operator_that_the_runtime_lacks_is_computed_still() {
    let loads = Arc::new(AtomicUsize::new(0));
    let mut m = model(FOUR);
    let (changed, remarks) = fold(&mut m, Arc::new(Without { operator: "Neg", loads: loads.clone() }));
    let left: Vec<&str> = m.graph.nodes().map(|(_, n)| n.op.as_str()).collect();
    assert_eq!((changed, left), (Changed::Yes, vec!["Neg", "Sqrt", "Add", "Add"]));
    let b = m.graph.find("b").and_then(|v| m.graph.constant(v)).expect("b is constant");
    assert_eq!(b.to_f32().expect("floats"), [2.0, 8.0]);
    assert!(remarks.iter().all(|r| matches!(&r.reason, Refusal::Runtime { why } if why.contains("Neg"))));
    assert!(loads.load(Ordering::Relaxed) < 10);
    let again = fold(&mut m, Arc::new(Without { operator: "Neg", loads }));
    assert_eq!(again.0, Changed::No);
}

#[test]
fn results_of_another_type_are_not_believed() {
    let mut m = model("g (float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}> { a = Neg (w)  y = Add (x, a) }");
    let (changed, remarks) = fold(&mut m, Arc::new(Liar));
    assert_eq!((changed, remarks.len()), (Changed::No, 1));
    let mut m = model(FOUR);
    assert_eq!(fold(&mut m, Arc::new(Liar)).0, Changed::No);
}
