//! What the blocks share: a graph under construction, its random stream, and weights.

use super::Random;
use crate::OPSET;
use sparsec_ir::{Attr, Graph, Model, Node, OpsetImport, Tensor, ValueId};

/// A float value; `dims` leaves out axis 0, the batch.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) id: ValueId,
    pub(super) dims: Vec<u64>,
}

/// What a value can be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[n, c, h, w]`.
    Image,
    /// `[n, t, d]`.
    Sequence,
    /// `[n, d]`.
    Vector,
}

impl Value {
    pub(super) fn kind(&self) -> Kind {
        match self.dims.len() {
            3 => Kind::Image,
            2 => Kind::Sequence,
            _ => Kind::Vector,
        }
    }
    /// The value with another size of one axis (the batch not counted).
    pub(super) fn resized(&self, id: ValueId, axis: usize, size: u64) -> Value {
        let mut dims = self.dims.clone();
        dims[axis] = size;
        Value { id, dims }
    }
    /// Another value of the same sizes.
    pub(super) fn same(&self, id: ValueId) -> Value {
        Value { id, dims: self.dims.clone() }
    }
}

/// A graph under construction.
pub(super) struct Builder {
    pub(super) graph: Graph,
    pub(super) random: Random,
    pub(super) outputs: Vec<ValueId>,
    /// Version of ONNX's operator set.
    pub(super) version: i64,
    /// Other operator sets.
    pub(super) opsets: Vec<OpsetImport>,
    /// Matrices made so far, for sharing.
    matrices: Vec<(Vec<u64>, ValueId)>,
}

impl Builder {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        let graph = Graph::new("random");
        Self { graph, random, outputs: Vec::new(), version: OPSET, opsets: Vec::new(), matrices: Vec::new() }
    }
    /// The model of the graph.
    pub(super) fn into_model(mut self) -> Model {
        self.graph.set_outputs(&self.outputs);
        let mut model = Model::new(self.graph, 10, self.version);
        model.opsets.extend(self.opsets);
        model
    }
    /// Starts the stream of one step.
    pub(super) fn restart(&mut self, seed: u64, step: u64) {
        self.random = Random::new(seed.rotate_left(17) ^ step.wrapping_mul(0xd6e8_feb8_6659_fd93));
        self.random.bits();
    }

    /// A weight whose elements have the variance 1 / (elements of one slot of axis 0).
    pub(super) fn weight(&mut self, dims: &[u64]) -> ValueId {
        let fan = dims[1..].iter().product::<u64>().max(1) as f64;
        self.floats("w", dims, |r| r.normal() / fan.sqrt())
    }
    /// A matrix for `x · w`; now and then one that was used before.
    pub(super) fn matrix(&mut self, rows: u64, columns: u64) -> ValueId {
        let dims = vec![rows, columns];
        let known: Vec<ValueId> = self.matrices.iter().filter(|(d, _)| *d == dims).map(|(_, v)| *v).collect();
        if !known.is_empty() && self.random.chance(40) {
            return self.random.pick(&known);
        }
        let id = self.floats("w", &dims, |r| r.normal() / (rows as f64).sqrt());
        self.matrices.push((dims, id));
        id
    }
    /// Biases: not 0.
    pub(super) fn bias(&mut self, dims: &[u64]) -> ValueId {
        self.floats("b", dims, |r| r.normal() * 0.5)
    }
    /// Scales and variances: uniform in [0.5, 1.5).
    pub(super) fn positive(&mut self, dims: &[u64]) -> ValueId {
        self.floats("s", dims, |r| 0.5 + r.uniform())
    }
    fn floats(&mut self, name: &str, dims: &[u64], draw: impl Fn(&mut Random) -> f64) -> ValueId {
        let count = dims.iter().product::<u64>();
        let values: Vec<f32> = (0..count).map(|_| draw(&mut self.random) as f32).collect();
        self.graph.add_constant(name, Tensor::f32(dims, &values))
    }
    /// A float scalar.
    pub(super) fn scalar(&mut self, value: f32) -> ValueId {
        self.graph.add_constant("k", Tensor::f32(&[], &[value]))
    }
    /// Whole numbers.
    pub(super) fn ints(&mut self, values: &[i64]) -> ValueId {
        self.graph.add_constant("i", Tensor::i64(&[values.len() as u64], values))
    }
    /// A column of whole numbers.
    pub(super) fn table(&mut self, values: &[i64]) -> ValueId {
        self.graph.add_constant("i", Tensor::i64(&[values.len() as u64, 1], values))
    }
    /// A whole number of rank 0.
    pub(super) fn int(&mut self, value: i64) -> ValueId {
        self.graph.add_constant("i", Tensor::i64(&[], &[value]))
    }

    /// A node with one result.
    pub(super) fn op(&mut self, op: &str, inputs: &[ValueId], attrs: &[(&str, Attr)]) -> ValueId {
        self.ops(op, &inputs.iter().copied().map(Some).collect::<Vec<_>>(), attrs, 1)[0]
    }
    /// A node with several results, or with operands left out.
    pub(super) fn ops(
        &mut self,
        op: &str,
        inputs: &[Option<ValueId>],
        attrs: &[(&str, Attr)],
        results: usize,
    ) -> Vec<ValueId> {
        let mut node = Node::new(op);
        node.inputs = inputs.to_vec();
        for (name, value) in attrs {
            node = node.attr(name, value.clone());
        }
        let name = op.to_lowercase();
        let names: Vec<String> = (0..results).map(|_| format!("{name}_{}", self.graph.value_bound())).collect();
        // A name that is taken gets a suffix, so equal names of one node are told apart.
        let id = self.graph.add_node(node, &names.iter().map(String::as_str).collect::<Vec<_>>());
        self.graph.node(id).outputs.iter().flatten().copied().collect()
    }
    /// `Transpose`.
    pub(super) fn transpose(&mut self, x: ValueId, perm: &[i64]) -> ValueId {
        self.op("Transpose", &[x], &[("perm", Attr::Ints(perm.to_vec()))])
    }
    /// `Reshape` to a shape in one of several spellings. `dims` leaves out the batch, which stays axis 0.
    pub(super) fn reshape(&mut self, x: ValueId, dims: &[u64]) -> ValueId {
        let sizes: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let shape = match self.random.below(4) {
            0 => self.ints(&[&[0], sizes.as_slice()].concat()),
            1 => self.ints(&[&[-1], sizes.as_slice()].concat()),
            2 => {
                let mut all = [&[0], sizes.as_slice()].concat();
                *all.last_mut().expect("axis 0 is there") = -1;
                self.ints(&all)
            }
            _ => {
                // As exporters with a symbolic batch write it.
                let sizes_of = self.op("Shape", &[x], &[]);
                let zero = self.int(0);
                let batch = self.op("Gather", &[sizes_of, zero], &[]);
                let axes = self.ints(&[0]);
                let batch = self.op("Unsqueeze", &[batch, axes], &[]);
                let rest = self.ints(&sizes);
                self.op("Concat", &[batch, rest], &[("axis", Attr::Int(0))])
            }
        };
        self.op("Reshape", &[x, shape], &[])
    }
    /// A smooth or kinked function of single elements.
    pub(super) fn activate(&mut self, x: ValueId) -> ValueId {
        match self.random.below(8) {
            0 | 1 => self.op("Relu", &[x], &[]),
            2 => self.op("Sigmoid", &[x], &[]),
            3 => self.op("HardSwish", &[x], &[]),
            4 => {
                let (low, high) = (self.scalar(-0.7), self.scalar(1.3));
                self.op("Clip", &[x, low, high], &[])
            }
            5 => self.op("Tanh", &[x], &[]),
            6 => self.op("LeakyRelu", &[x], &[("alpha", Attr::Float(0.2))]),
            _ => {
                let gate = self.op("Sigmoid", &[x], &[]);
                self.op("Mul", &[x, gate], &[])
            }
        }
    }
    /// `x · w + b` over the last axis of `x`, in one of several spellings.
    pub(super) fn linear(&mut self, x: &Value, out: u64) -> Value {
        let last = x.dims.len() - 1;
        let d = x.dims[last];
        let id = match (self.random.below(5), x.kind()) {
            (0 | 1, Kind::Vector) => {
                let transposed = self.random.chance(50);
                let w = if transposed { self.weight(&[out, d]) } else { self.matrix(d, out) };
                let b = self.bias(&[out]);
                self.op("Gemm", &[x.id, w, b], &[("transB", Attr::Int(i64::from(transposed)))])
            }
            (2, Kind::Sequence) => {
                let w = self.matrix(d, out);
                self.op("Einsum", &[x.id, w], &[("equation", Attr::String("ntd,de->nte".into()))])
            }
            (3, Kind::Sequence) => {
                let w = self.weight(&[out, d]);
                let turned = self.transpose(w, &[1, 0]);
                self.op("MatMul", &[x.id, turned], &[])
            }
            _ => {
                let (w, b) = (self.matrix(d, out), self.bias(&[out]));
                let y = self.op("MatMul", &[x.id, w], &[]);
                if self.random.chance(50) { self.op("Add", &[y, b], &[]) } else { self.op("Add", &[b, y], &[]) }
            }
        };
        x.resized(id, last, out)
    }
    /// One more layer with a fixed number of results.
    pub(super) fn project(&mut self, x: &Value) -> Value {
        match x.kind() {
            Kind::Image => {
                let (w, b) = (self.weight(&[2, x.dims[0], 1, 1]), self.bias(&[2]));
                let id = self.op("Conv", &[x.id, w, b], &[]);
                x.resized(id, 0, 2)
            }
            _ => self.linear(x, 3),
        }
    }
    /// Sizes of `parts` parts that sum to `total`, equal or not.
    pub(super) fn parts(&mut self, total: u64, parts: u64) -> Vec<u64> {
        if total.is_multiple_of(parts) && self.random.chance(50) {
            return vec![total / parts; parts as usize];
        }
        let mut left = total;
        let mut out = Vec::new();
        for i in (1..parts).rev() {
            let n = 1 + self.random.below(left - i);
            out.push(n);
            left -= n;
        }
        out.push(left);
        out
    }
    /// `Split` of an axis (the batch counted) into two or three values.
    pub(super) fn split(&mut self, x: &Value, axis: usize) -> Vec<Value> {
        let total = x.dims[axis];
        let count = if total >= 3 && self.random.chance(40) { 3 } else { 2 };
        let sizes = self.parts(total, count);
        let operand = self.ints(&sizes.iter().map(|&s| s as i64).collect::<Vec<_>>());
        let attr = [("axis", Attr::Int(axis as i64 + 1))];
        let ids = self.ops("Split", &[Some(x.id), Some(operand)], &attr, sizes.len());
        ids.into_iter().zip(sizes).map(|(id, n)| x.resized(id, axis, n)).collect()
    }
    /// `Slice` or constant `Gather` of an axis (the batch not counted).
    pub(super) fn select(&mut self, x: &Value, axis: usize) -> Value {
        let total = x.dims[axis];
        let at = axis as i64 + 1;
        if self.random.chance(50) {
            let count = 1 + self.random.below(total);
            let indices: Vec<i64> = (0..count).map(|_| self.random.below(total) as i64).collect();
            let operand = self.ints(&indices);
            let id = self.op("Gather", &[x.id, operand], &[("axis", Attr::Int(at))]);
            return x.resized(id, axis, count);
        }
        let (start, step) = (self.random.below(total.min(3)) as i64, self.random.pick(&[1, 1, 2, -1]));
        let (from, to, count) = match step {
            -1 => (total as i64 - 1 - start, i64::MIN, total - start as u64),
            _ => (start, i64::MAX, (total - start as u64).div_ceil(step as u64)),
        };
        let operands = [from, to, at, step].map(|n| self.ints(&[n]));
        let id = self.op("Slice", &[&[x.id], operands.as_slice()].concat(), &[]);
        x.resized(id, axis, count)
    }
    /// `Concat` along an axis (the batch not counted).
    pub(super) fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        let ids: Vec<ValueId> = parts.iter().map(|p| p.id).collect();
        let id = self.op("Concat", &ids, &[("axis", Attr::Int(axis as i64 + 1))]);
        parts[0].resized(id, axis, parts.iter().map(|p| p.dims[axis]).sum())
    }
    /// A value of `pool` that has the sizes of `x` except along `axis` (the batch not counted).
    pub(super) fn partner(&mut self, x: &Value, pool: &[Value], axis: usize) -> Option<Value> {
        let fits =
            |v: &&Value| v.dims.len() == x.dims.len() && (0..x.dims.len()).all(|a| a == axis || v.dims[a] == x.dims[a]);
        let all: Vec<&Value> = pool.iter().filter(fits).collect();
        let at = self.random.below(all.len().max(1) as u64) as usize;
        all.get(at).map(|v| (*v).clone())
    }
}
