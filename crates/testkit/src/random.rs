//! Random models: a seed and a number of steps give one graph, the same everywhere and always.
//!
//! Each step takes a value that is there and applies one block to it: a layer, an attention block, a join with another
//! value, a detour of reshapes. A step draws from its own stream, so the graph of fewer steps is a prefix of the graph
//! of more, and a failure shrinks by its number of steps. Axis 0 of every value between blocks is the symbolic batch
//! `n`; other sizes are small and mostly different.

mod attention;
mod build;
mod image;
mod piece;
mod sequence;
mod spelling;

use crate::{OPSET, Snippet};
use build::{Builder, Kind, Value};
use sparsec_ir::{Attr, Dim, Draw, ElemType, Model, Tensor, Type, ValueId};
use std::collections::BTreeSet;

/// Choices from a seeded stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(Draw);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Draw::new(seed))
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.bits()
    }
    /// A whole number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }
    /// One of `all`, which is not empty.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0.unit()
    }
    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The model of `seed` after `steps` steps. Some of them add one of `pieces`: those for the operator set of the model,
/// which is drawn from theirs.
pub fn random_model(seed: u64, steps: usize, pieces: &[&Snippet]) -> Model {
    let mut b = Builder::new(seed);
    b.version = version(&mut b.random, pieces);
    let pieces: Vec<&Snippet> = pieces.iter().copied().filter(|p| p.fits(b.version)).collect();
    let mut pool = vec![input(&mut b)];
    for step in 1..=steps as u64 {
        b.restart(seed, step);
        if b.random.chance(8) {
            pool.push(input(&mut b));
        }
        // The latest value mostly, so that graphs are deep.
        let back = if b.random.chance(75) { 0 } else { b.random.below(pool.len() as u64) as usize };
        let from = pool[pool.len() - 1 - back].clone();
        let made = if !pieces.is_empty() && b.random.chance(PIECES) {
            let piece = b.random.pick(&pieces);
            let mut first = Some(from);
            piece::add(&mut b, piece, &mut |b| {
                let any = b.random.below(pool.len() as u64) as usize;
                first.take().unwrap_or_else(|| pool[any].clone())
            })
        } else {
            match from.kind() {
                Kind::Image => image::step(&mut b, &from, &pool),
                Kind::Sequence => sequence::step(&mut b, &from, &pool),
                Kind::Vector => sequence::vector_step(&mut b, &from, &pool),
            }
        };
        pool.extend(made);
    }
    b.restart(seed, 0);
    finish(b, &pool)
}

/// How many of a hundred steps add a piece.
const PIECES: u64 = 35;

/// The operator set of a random model: one that `pieces` are written for, [`OPSET`] at least.
fn version(random: &mut Random, pieces: &[&Snippet]) -> i64 {
    let all: BTreeSet<i64> = pieces.iter().map(|p| p.version()).filter(|v| *v > OPSET).chain([OPSET]).collect();
    random.pick(&all.into_iter().collect::<Vec<_>>())
}

/// A piece between weights that all its axes can be cut with: a layer in front of each float input and one behind each
/// result.
pub fn model_of(piece: &Snippet) -> Model {
    let mut b = Builder::new(0);
    b.version = piece.version();
    let ty = Type::Tensor { elem: ElemType::F32, shape: Some(vec![Dim::sym("n"), Dim::from(5)]) };
    let x = Value { id: b.graph.add_input("x", ty), dims: vec![5] };
    let made = piece::add(&mut b, piece, &mut |_| x.clone());
    for value in made {
        // Other sizes than any piece has, so that there is always a layer.
        let y = piece::fit(&mut b, &value, &[31]);
        b.outputs.push(y.id);
    }
    b.into_model()
}

/// Random inputs for `model` with every symbol of its inputs bound to `batch`.
pub fn random_inputs(model: &Model, seed: u64, batch: u64) -> Vec<Tensor> {
    let mut random = Random::new(seed);
    let input = |v: ValueId| {
        let Some(Type::Tensor { elem, shape: Some(shape) }) = &model.graph.value(v).ty else {
            panic!("input `{}` has no shape", model.graph.value(v).name)
        };
        let dims: Vec<u64> = shape.iter().map(|d| d.as_size().unwrap_or(batch)).collect();
        let count = dims.iter().product::<u64>();
        match elem {
            ElemType::F32 => Tensor::f32(&dims, &(0..count).map(|_| random.normal() as f32).collect::<Vec<_>>()),
            _ => Tensor::i64(&dims, &tokens(&mut random, count as usize, dims.last().map_or(1, |d| *d as usize))),
        }
    };
    model.graph.inputs().map(input).collect()
}

/// `count` rows of an embedding, in sequences of `length`. No row comes twice within a sequence while there are others: two
/// places of equal content tie, and what picks one of them (`Hardmax`) then decides by the last bit of a sum.
fn tokens(random: &mut Random, count: usize, length: usize) -> Vec<i64> {
    let mut left = Vec::new();
    let token = |i: usize| {
        if i.is_multiple_of(length) || left.is_empty() {
            left = (0..VOCABULARY as i64).collect();
        }
        left.swap_remove(random.below(left.len() as u64) as usize)
    };
    (0..count).map(token).collect()
}

/// Rows of every embedding.
const VOCABULARY: u64 = 5;

fn input(b: &mut Builder) -> Value {
    let batch =
        |rest: &[u64]| std::iter::once(Dim::sym("n")).chain(rest.iter().map(|&d| Dim::from(d as i64))).collect();
    let typed = |elem, rest: &[u64]| Type::Tensor { elem, shape: Some(batch(rest)) };
    match b.random.below(4) {
        0 | 1 => {
            let (c, h, w) = (b.random.pick(&[2, 3, 4]), b.random.pick(&[4, 6, 5]), b.random.pick(&[4, 6]));
            Value { id: b.graph.add_input("x", typed(ElemType::F32, &[c, h, w])), dims: vec![c, h, w] }
        }
        2 => {
            let (t, d) = (b.random.pick(&[3, 4, 5]), b.random.pick(&[3, 5, 8]));
            Value { id: b.graph.add_input("x", typed(ElemType::F32, &[t, d])), dims: vec![t, d] }
        }
        _ => {
            let (t, d) = (b.random.pick(&[3, 4]), b.random.pick(&[4, 6, 8]));
            let tokens = b.graph.add_input("tokens", typed(ElemType::I64, &[t]));
            let table = b.weight(&[VOCABULARY, d]);
            let id = b.op("Gather", &[table, tokens], &[]);
            let value = Value { id, dims: vec![t, d] };
            if b.random.chance(30) {
                // The table once more, as the weight of the last layer.
                let turned = b.op("Transpose", &[table], &[("perm", Attr::Ints(vec![1, 0]))]);
                let logits = b.op("MatMul", &[value.id, turned], &[]);
                b.outputs.push(logits);
            }
            value
        }
    }
}

/// Makes every value that nothing reads an output, most of them behind one more layer: an output's own axes are frozen.
fn finish(mut b: Builder, pool: &[Value]) -> Model {
    let last = pool.len() - 1;
    for (i, value) in pool.iter().enumerate() {
        if i != last && !b.graph.value(value.id).uses.is_empty() {
            continue;
        }
        let value = if b.random.chance(70) { b.project(value) } else { value.clone() };
        // An input as an output is legal, but runtimes differ on it.
        let id = if b.graph.producer(value.id).is_none() { b.op("Identity", &[value.id], &[]) } else { value.id };
        b.outputs.push(id);
    }
    b.into_model()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_graph_and_more_steps_extend_it() {
        let pieces = crate::snippets();
        let pieces: Vec<&Snippet> = pieces.iter().collect();
        let model = |steps| random_model(7, steps, &pieces);
        assert_eq!(crate::full(&model(5)), crate::full(&model(5)));
        assert!(model(6).graph.nodes().count() > model(3).graph.nodes().count());
    }

    #[test]
    fn graphs_are_well_formed() {
        let pieces = crate::snippets();
        let pieces: Vec<&Snippet> = pieces.iter().collect();
        for seed in 0..200 {
            let model = random_model(seed, 10, &pieces);
            let faults = sparsec_ir::verify(&model);
            assert!(faults.is_ok(), "seed {seed}: {faults:?}\n{}", crate::summary(&model));
        }
    }
}
