//! Checks models given on the command line against the oracle of the tests, ten random plans each:
//! `cargo run --release -p sparsec-passes --example oracle -- model.onnx …`

#![allow(clippy::print_stdout, reason = "a command for people")]

#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod common;

use common::{Keep, Subject, runtimes};
use sparsec_ir::{Data, ElemType, Tensor, Type};
use sparsec_testkit::Random;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtimes = runtimes();
    let mut failed = false;
    for path in std::env::args().skip(1) {
        let model = sparsec_onnx::load(path.as_ref())?.model;
        let started = std::time::Instant::now();
        let subject = Subject::of(model);
        let solved = started.elapsed();
        let (all, prunable) = subject.channels.params;
        println!(
            "{path}: {} slots, {} groups, {} units, {prunable} of {all} parameters, solved in {solved:.2?}",
            subject.channels.axes.slot_count(),
            subject.channels.groups.len(),
            subject.channels.units.len(),
        );
        let breaches = sparsec_analysis::audit(&subject.model, &subject.facts, &subject.table, &subject.channels);
        failed |= !breaches.is_empty();
        println!("  {} breaches {:?}", breaches.len(), breaches.first());
        for i in 0..10 {
            let mut random = Random::new(i);
            let removal = subject.removal(&mut random, if i % 5 == 4 { Keep::One } else { Keep::Some });
            let inputs = inputs(&subject, &mut random);
            match subject.check(&removal, &runtimes, &inputs) {
                Ok(verdict) => println!("  plan {i}: {verdict:?}"),
                Err(why) => {
                    failed = true;
                    println!("  plan {i}: FAILED: {why}");
                }
            }
        }
    }
    if failed { Err("the oracle found a difference".into()) } else { Ok(()) }
}

/// Random inputs: floats are normal, whole numbers 0 or 1; named sizes are 2.
fn inputs(subject: &Subject, random: &mut Random) -> Vec<Tensor> {
    let graph = &subject.model.graph;
    let mut out = Vec::new();
    for v in graph.inputs() {
        let Some(Type::Tensor { elem, shape: Some(shape) }) = &graph.value(v).ty else { continue };
        let dims: Vec<u64> = shape.iter().map(|d| d.as_size().unwrap_or(2)).collect();
        let count = dims.iter().product::<u64>();
        out.push(match elem {
            ElemType::F32 => Tensor::f32(&dims, &(0..count).map(|_| random.normal() as f32).collect::<Vec<_>>()),
            ElemType::I32 => {
                let bytes: Vec<u8> = (0..count).flat_map(|_| (random.below(2) as i32).to_le_bytes()).collect();
                Tensor { elem: ElemType::I32, dims, data: Data::Raw(bytes.into()), ..Tensor::i64(&[0], &[]) }
            }
            _ => Tensor::i64(&dims, &(0..count).map(|_| random.below(2) as i64).collect::<Vec<_>>()),
        });
    }
    out
}
