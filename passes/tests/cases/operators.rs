//! Every operator of the table between weights: whatever leaves, the pruned model equals the masked one.

use crate::common::{Keep, Subject, Verdict, runtimes};
use sparsec_analysis::{Removal, audit};
use sparsec_ir::{Def, Graph, Relate, ValueId};
use sparsec_runtime::Runtime;
use sparsec_testkit::{Random, Snippet, model_of, random_inputs, snippets};
use std::collections::BTreeSet;

/// Plans tried on each piece.
const PLANS: u64 = 6;

/// Operators that relate axes and whose cuts no runtime confirms: only that cuts are carried out and shapes follow.
const UNCHECKED: &[(&str, &str)] = &[
    ("SwiGLU", "no runtime has operator set 28"),
    ("ai.onnx.preview.FlexAttention", "no runtime has operators that ONNX tries out"),
    ("com.microsoft.BiasAdd", "ONNX Runtime has it on GPUs only"),
    ("com.microsoft.GemmFastGelu", "ONNX Runtime has it on GPUs only"),
    ("com.microsoft.NhwcConv", "ONNX Runtime has it on GPUs only"),
    ("com.microsoft.NhwcFusedConv", "ONNX Runtime has it in half precision on Arm only"),
];

/// Operators of nodes with an operand or a result that lost slots.
fn cut_operators(subject: &Subject, removal: &Removal) -> BTreeSet<String> {
    let after = subject.channels.facts_after(&subject.model, &subject.facts, removal);
    let g: &Graph = &subject.model.graph;
    let cut = |v: &ValueId| {
        let sparse = matches!(g.value(*v).def, Def::Sparse(_));
        !sparse && after.get(*v).shape != subject.facts.get(*v).shape
    };
    let touched = g.nodes().filter(|(_, n)| n.inputs.iter().chain(&n.outputs).flatten().any(cut));
    touched.map(|(_, n)| n.op_name()).collect()
}

/// What is wrong with a piece under one plan; else the operators that were cut.
fn check(piece: &Snippet, seed: u64, runtimes: &[Box<dyn Runtime>]) -> Result<BTreeSet<String>, String> {
    let subject = Subject::of(model_of(piece));
    let breaches = audit(&subject.model, &subject.facts, &subject.table, &subject.channels);
    if !breaches.is_empty() {
        return Err(format!("breaches: {breaches:?}"));
    }
    let removal = subject.removal(&mut Random::new(seed), Keep::Some);
    let inputs = random_inputs(&subject.model, seed, 2);
    for runtime in runtimes {
        let wanted = piece.only.as_deref().is_none_or(|only| runtime.name().starts_with(only));
        match (subject.check(&removal, std::slice::from_ref(runtime), &inputs), wanted) {
            (Ok(Verdict::Whole), _) => return Ok(BTreeSet::new()),
            (Ok(Verdict::Equal), true) | (Ok(Verdict::NoRuntime), false) => {}
            // What a runtime says that is known to get the operator wrong counts for nothing.
            (Err(_), false) => {}
            (Ok(Verdict::Equal), false) => return Err(format!("{} runs it: `only` is out of date", runtime.name())),
            (Ok(Verdict::NoRuntime), true) => {
                let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
                let run = runtime.load(&subject.model, &shapes, 1).and_then(|s| s.run(&inputs));
                return Err(format!("{} does not run it: {:?}", runtime.name(), run.err().map(|e| e.to_string())));
            }
            (Err(why), true) => return Err(format!("{}: {why}", runtime.name())),
        }
    }
    Ok(cut_operators(&subject, &removal))
}

#[test]
fn every_operator_that_relates_axes_is_cut_exactly() {
    let runtimes = runtimes();
    let (mut covered, mut unconfirmed, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for piece in snippets() {
        for seed in 0..PLANS {
            match check(&piece, seed, &runtimes) {
                Ok(cut) if piece.only.as_deref() == Some("none") => unconfirmed.extend(cut),
                Ok(cut) => covered.extend(cut),
                Err(why) => {
                    wrong.push(format!("{} with plan {seed}: {why}", piece.name));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let unchecked: BTreeSet<&str> = UNCHECKED.iter().map(|(op, _)| *op).collect();
    let table = sparsec_ops::table();
    let related = table.iter().filter(|d| matches!(d.relate, Relate::By(_) | Relate::Given(_)));
    let name = |domain: &str, op: &str| if domain.is_empty() { op.to_string() } else { format!("{domain}.{op}") };
    let related: BTreeSet<String> = related.map(|d| name(d.domain, d.name)).collect();
    let missing: Vec<&String> = related
        .iter()
        .filter(|op| match unchecked.contains(op.as_str()) {
            true => !unconfirmed.contains(*op),
            false => !covered.contains(*op),
        })
        .collect();
    assert!(missing.is_empty(), "no piece of testdata/operators cuts {missing:?}");
    let stale: Vec<&&str> = unchecked.iter().filter(|op| covered.contains(**op) || !related.contains(**op)).collect();
    assert!(stale.is_empty(), "checked after all, or not in the table: {stale:?}");
}
