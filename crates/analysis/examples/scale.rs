//! Solves large models and prints how long it takes: `cargo run --release -p sparsec-analysis --example scale`.

#![allow(clippy::print_stdout, reason = "a command for people")]

use sparsec_analysis::{Channels, channels, infer};
use sparsec_ir::{Attr, Dim, ElemType, Graph, Model, Node, Tensor, Type, ValueId};
use std::time::Instant;

fn main() {
    for layers in [50, 100, 200] {
        report(&format!("{layers} residual layers of 2 matrices 4096 x 4096"), &residual(layers, 4096));
    }
    for layers in [250, 500, 1000] {
        report(&format!("{layers} shuffled convolutions of 96 channels"), &shuffled(layers, 96));
    }
    for layers in [8, 16, 32] {
        report(&format!("{layers} attention blocks of 32 heads of 64"), &attention(layers, 32, 64));
    }
}

fn report(what: &str, model: &Model) {
    let table = sparsec_ops::table();
    let started = Instant::now();
    let inferred = infer(model, &table);
    let between = Instant::now();
    let c: Channels = channels(model, &inferred.facts, &table);
    println!(
        "{what}: {} slots, {} groups, {} units; shapes {:.0?}, channels {:.0?}",
        c.axes.slot_count(),
        c.groups.len(),
        c.units.len(),
        between - started,
        between.elapsed()
    );
}

/// A float constant of zeros; all share one buffer.
fn zeros(graph: &mut Graph, dims: &[u64], buffer: &bytes::Bytes) -> ValueId {
    let len = dims.iter().product::<u64>() as usize * 4;
    let tensor = Tensor::raw(ElemType::F32, dims.to_vec(), buffer.slice(..len)).expect("the buffer is long enough");
    graph.add_constant("w", tensor)
}

fn node(graph: &mut Graph, node: Node) -> ValueId {
    let id = graph.add_node(node, &["v"]);
    graph.node(id).outputs[0].expect("it is named")
}

fn finish(mut graph: Graph, out: ValueId) -> Model {
    graph.set_outputs(&[out]);
    Model::new(graph, 10, 18)
}

fn residual(layers: usize, width: u64) -> Model {
    let buffer = bytes::Bytes::from(vec![0u8; (width * width * 4) as usize]);
    let mut g = Graph::new("residual");
    let x = g.add_input("x", Type::tensor(ElemType::F32, [Dim::sym("n"), Dim::from(8)]));
    let first = zeros(&mut g, &[8, width], &buffer);
    let mut x = node(&mut g, Node::new("MatMul").input(x).input(first));
    for _ in 0..layers {
        let (a, b) = (zeros(&mut g, &[width, width], &buffer), zeros(&mut g, &[width, width], &buffer));
        let h = node(&mut g, Node::new("MatMul").input(x).input(a));
        let h = node(&mut g, Node::new("Relu").input(h));
        let y = node(&mut g, Node::new("MatMul").input(h).input(b));
        x = node(&mut g, Node::new("Add").input(x).input(y));
    }
    let last = zeros(&mut g, &[width, 8], &buffer);
    let y = node(&mut g, Node::new("MatMul").input(x).input(last));
    finish(g, y)
}

fn shuffled(layers: usize, channels: i64) -> Model {
    let c = channels as u64;
    let buffer = bytes::Bytes::from(vec![0u8; (c * c * 4) as usize]);
    let mut g = Graph::new("shuffled");
    let mut x =
        g.add_input("x", Type::tensor(ElemType::F32, [Dim::sym("n"), Dim::from(channels), Dim::from(7), Dim::from(7)]));
    let apart = g.add_constant("apart", Tensor::i64(&[5], &[0, 4, channels / 4, 7, 7]));
    let flat = g.add_constant("flat", Tensor::i64(&[4], &[0, channels, 7, 7]));
    for _ in 0..layers {
        let w = zeros(&mut g, &[c, c, 1, 1], &buffer);
        x = node(&mut g, Node::new("Conv").input(x).input(w));
        x = node(&mut g, Node::new("Reshape").input(x).input(apart));
        x = node(&mut g, Node::new("Transpose").input(x).attr("perm", Attr::Ints(vec![0, 2, 1, 3, 4])));
        x = node(&mut g, Node::new("Reshape").input(x).input(flat));
    }
    finish(g, x)
}

fn attention(layers: usize, heads: i64, each: i64) -> Model {
    let width = (heads * each) as u64;
    let buffer = bytes::Bytes::from(vec![0u8; (width * width * 12) as usize]);
    let mut g = Graph::new("attention");
    let x = g.add_input("x", Type::tensor(ElemType::F32, [Dim::sym("n"), Dim::from(16), Dim::from(8)]));
    let first = zeros(&mut g, &[8, width], &buffer);
    let mut x = node(&mut g, Node::new("MatMul").input(x).input(first));
    let apart = g.add_constant("apart", Tensor::i64(&[5], &[0, 16, 3, heads, each]));
    let flat = g.add_constant("flat", Tensor::i64(&[3], &[0, 16, heads * each]));
    let index: Vec<ValueId> = (0..3).map(|i| g.add_constant("index", Tensor::i64(&[], &[i]))).collect();
    for _ in 0..layers {
        let (qkv, out) = (zeros(&mut g, &[width, 3 * width], &buffer), zeros(&mut g, &[width, width], &buffer));
        let f = node(&mut g, Node::new("MatMul").input(x).input(qkv));
        let f = node(&mut g, Node::new("Reshape").input(f).input(apart));
        let f = node(&mut g, Node::new("Transpose").input(f).attr("perm", Attr::Ints(vec![2, 0, 3, 1, 4])));
        let part = |g: &mut Graph, i: usize| node(g, Node::new("Gather").input(f).input(index[i]));
        let (q, k, v) = (part(&mut g, 0), part(&mut g, 1), part(&mut g, 2));
        let k = node(&mut g, Node::new("Transpose").input(k).attr("perm", Attr::Ints(vec![0, 1, 3, 2])));
        let s = node(&mut g, Node::new("MatMul").input(q).input(k));
        let s = node(&mut g, Node::new("Softmax").input(s));
        let m = node(&mut g, Node::new("MatMul").input(s).input(v));
        let m = node(&mut g, Node::new("Transpose").input(m).attr("perm", Attr::Ints(vec![0, 2, 1, 3])));
        let m = node(&mut g, Node::new("Reshape").input(m).input(flat));
        let y = node(&mut g, Node::new("MatMul").input(m).input(out));
        x = node(&mut g, Node::new("Add").input(x).input(y));
    }
    let last = zeros(&mut g, &[width, 8], &buffer);
    let y = node(&mut g, Node::new("MatMul").input(x).input(last));
    finish(g, y)
}
