//! Time of the search for a plan against the number of groups: `cargo run --release --example search_time`.
//!
//! Chains of convolutions of 64 channels, 3 x 3 taps on 16 x 16 positions, with made-up curves of 16 counts a group.

#![allow(clippy::print_stdout, reason = "a command for people")]

use sparsec::drive::{Concessions, Curves, GroupCurve, Pricing, Quiet, decide, prepare};
use sparsec_cost::Target;
use sparsec_ir::{Attr, Dim, Draw, ElemType, Graph, Model, Node, Tensor, Type, ValueId};
use sparsec_plan::{Evaluate, Limit, LimitKind};
use std::collections::BTreeMap;
use std::time::Instant;

const CHANNELS: u64 = 64;
const STEP: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = Target::named_or_file("generic-x86")?;
    println!("groups   MACs to 50 %   time to 60 %   memory to 70 %");
    for groups in [20, 40, 80, 160, 320] {
        let dense = prepare(&chain(groups)?, sparsec_ops::table(), None, &Concessions::default(), &Quiet)?;
        let facts = dense.bind(&dense.sizes(1, &BTreeMap::new())?);
        let curves = curves(&dense.channels.groups);
        let pricing = Pricing::new(&dense, facts, &target, curves.orders(), 0, &Quiet);
        let before = pricing.price(&dense.whole());
        let seconds = |kind: LimitKind, share: f64| -> Result<f64, Box<dyn std::error::Error>> {
            let limit = Limit { kind, at_most: share * kind.of(&before) };
            let start = Instant::now();
            decide(&dense, &curves, &pricing, &[limit])?;
            Ok(start.elapsed().as_secs_f64())
        };
        println!(
            "{:6} {:12.2} s {:12.2} s {:14.2} s",
            dense.channels.groups.len(),
            seconds(LimitKind::Macs, 0.5)?,
            seconds(LimitKind::Latency, 0.6)?,
            seconds(LimitKind::Memory, 0.7)?
        );
    }
    Ok(())
}

/// A chain with `groups` groups of channels.
fn chain(groups: u64) -> Result<Model, Box<dyn std::error::Error>> {
    let mut g = Graph::new("chain");
    let sizes = [Dim::sym("n"), Dim::from(3), Dim::from(16), Dim::from(16)];
    let mut x = g.add_input("x", Type::tensor(ElemType::F32, sizes));
    for layer in 0..=groups {
        let inputs = if layer == 0 { 3 } else { CHANNELS };
        let outputs = if layer == groups { 3 } else { CHANNELS };
        let count = (outputs * inputs * 9) as usize;
        // Layers differ, so that no pass takes two weights for one.
        let weight = Tensor::f32(&[outputs, inputs, 3, 3], &vec![layer as f32; count]);
        let weight = g.add_constant("w", weight);
        let conv = Node::new("Conv").input(x).input(weight).attr("pads", Attr::Ints(vec![1; 4]));
        let conv = node(&mut g, conv)?;
        x = node(&mut g, Node::new("Relu").input(conv))?;
    }
    g.set_outputs(&[x]);
    Ok(Model::new(g, 10, 18))
}

fn node(graph: &mut Graph, node: Node) -> Result<ValueId, Box<dyn std::error::Error>> {
    let id = graph.add_node(node, &["v"]);
    Ok(graph.node(id).outputs[0].ok_or("a node has a result")?)
}

/// Curves of random height: the error grows with the square of the share that leaves.
fn curves(groups: &[sparsec_analysis::Group]) -> Curves {
    let mut draw = Draw::new(1);
    let mut one = |g: &sparsec_analysis::Group| {
        let units = g.units.len() as u32;
        let counts: Vec<u32> = (1..=units).filter(|k| k % STEP as u32 == 0).collect();
        let height = 0.01 + draw.unit();
        let error = counts.iter().map(|k| height * (1.0 - f64::from(*k) / f64::from(units)).powi(2)).collect();
        GroupCurve { id: g.id.clone(), order: (0..units).collect(), counts, error, by_weight: 0 }
    };
    let (schema, concessions) = (Curves::SCHEMA.to_string(), Concessions::default());
    let groups = groups.iter().map(&mut one).collect();
    Curves { schema, samples: None, concessions, groups, branches: Vec::new(), masks: None }
}
