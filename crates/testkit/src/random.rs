//! Random models: a seed and a number of steps give one graph, the same everywhere and always.
//!
//! Each step takes a value that is there and applies one block to it: a layer, an attention block, a join with another
//! value, a detour of reshapes. A step draws from its own stream, so the graph of fewer steps is a prefix of the graph
//! of more, and a failure shrinks by its number of steps. Axis 0 of every value between blocks is the symbolic batch
//! `n`; other sizes are small and mostly different.

mod attention;
mod build;
mod image;
mod sequence;
mod spelling;

use build::{Builder, Kind, Value};
use sparsec_ir::{Attr, Dim, Draw, ElemType, Model, Tensor, Type, ValueId};

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

/// The model of `seed` after `steps` steps, at operator set [`OPSET`](crate::OPSET).
pub fn random_model(seed: u64, steps: usize) -> Model {
    let mut b = Builder::new(seed);
    let mut pool = vec![input(&mut b)];
    for step in 1..=steps as u64 {
        b.restart(seed, step);
        if b.random.chance(8) {
            pool.push(input(&mut b));
        }
        // The latest value mostly, so that graphs are deep.
        let back = if b.random.chance(75) { 0 } else { b.random.below(pool.len() as u64) as usize };
        let from = pool[pool.len() - 1 - back].clone();
        let made = match from.kind() {
            Kind::Image => image::step(&mut b, &from, &pool),
            Kind::Sequence => sequence::step(&mut b, &from, &pool),
            Kind::Vector => sequence::vector_step(&mut b, &from, &pool),
        };
        pool.extend(made);
    }
    b.restart(seed, 0);
    finish(b, &pool)
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
            // Rows of an embedding: the generator's tables have VOCABULARY rows.
            _ => Tensor::i64(&dims, &(0..count).map(|_| random.below(VOCABULARY) as i64).collect::<Vec<_>>()),
        }
    };
    model.graph.inputs().map(input).collect()
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
    let (mut graph, outputs) = (b.graph, b.outputs);
    graph.set_outputs(&outputs);
    Model::new(graph, 10, crate::OPSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_graph_and_more_steps_extend_it() {
        let text = |steps| crate::full(&random_model(7, steps));
        assert_eq!(text(5), text(5));
        assert!(random_model(7, 6).graph.nodes().count() > random_model(7, 3).graph.nodes().count());
    }

    #[test]
    fn graphs_are_well_formed() {
        for seed in 0..200 {
            let model = random_model(seed, 10);
            let faults = sparsec_ir::verify(&model);
            assert!(faults.is_ok(), "seed {seed}: {faults:?}\n{}", crate::summary(&model));
        }
    }
}
