//! Shrinks a model of which something holds, mostly that something goes wrong with it, to a small one of which it still
//! holds: delta debugging (Zeller and Hildebrandt, *Simplifying and isolating failure-inducing input*, TSE 2002) over
//! nodes, outputs, operands, attributes, sizes and numbers.
//!
//! Every model that is tried passes the verifier and is smaller than the last one kept, so the search ends. It is
//! deterministic as long as the judge is.
//!
//! ```
//! use sparsec_passes::reduce::{Judgement, reduce};
//! let text = "g (float[2,8] x) => (float[2,8] y) { a = Neg (x)  b = Abs (a)  c = Exp (b)  y = Neg (c) }";
//! let mut has_exp = |m: &sparsec_ir::Model| match m.graph.nodes().any(|(_, n)| n.op == "Exp") {
//!     true => Judgement::Keep,
//!     false => Judgement::Reject,
//! };
//! let small = reduce(&sparsec_testkit::model(text), &sparsec_ops::table(), &mut has_exp).model;
//! assert_eq!(small.graph.nodes().count(), 1);
//! ```

mod sizes;
mod steps;

use crate::canonicalise::DEAD_CODE;
use crate::{Changed, PassCx};
use sparsec_analysis::{Inferred, ShapeProblem, infer};
use sparsec_ir::{Data, Def, ElemType, Graph, Model, OpTable, Sweep, Tensor, Type, Value, ValueId, verify};

/// What is thought of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It holds of this one: go on from here.
    Keep,
    /// It does not hold.
    Reject,
    /// Try no more.
    Stop,
}

/// What became of a model.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The smallest model of which it holds.
    pub model: Model,
    /// Models that were judged.
    pub tried: u64,
    /// Models that were kept.
    pub kept: u64,
    /// Whether the judge ended the search.
    pub stopped: bool,
}

/// Shrinks `model`, of which it must hold, by what `judge` says of smaller ones.
pub fn reduce(model: &Model, table: &OpTable, judge: &mut dyn FnMut(&Model) -> Judgement) -> Reduced {
    let inferred = infer(model, table);
    let mut search = Search {
        table,
        judge,
        best: model.clone(),
        size: Size::of(model),
        inferred,
        tried: 0,
        kept: 0,
        stopped: false,
    };
    loop {
        let before = search.kept;
        steps::all(&mut search);
        sizes::all(&mut search);
        if search.kept == before || search.stopped {
            break;
        }
    }
    Reduced { model: search.best, tried: search.tried, kept: search.kept, stopped: search.stopped }
}

/// How large a model is: nodes, then whatever else a reader has to look at, then numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Nodes, those of subgraphs and functions included.
    pub nodes: u64,
    /// Operands, attributes, inputs, outputs, functions, operator sets, stated types.
    pub parts: u64,
    /// Elements of constants and inputs; named sizes count as 1.
    pub elements: u64,
    /// Constants whose elements are not all 1, those of no simple pattern twice.
    pub elaborate: u64,
    /// Letters of names.
    pub names: u64,
}

impl Size {
    /// The size of a model.
    pub fn of(model: &Model) -> Self {
        let mut size = Self { nodes: 0, parts: 0, elements: 0, elaborate: 0, names: 0 };
        size.add(&model.graph);
        for f in &model.functions {
            size.parts += 1;
            size.add(&f.body);
        }
        size.parts += (model.opsets.len() + model.meta.len()) as u64;
        size.names += (model.producer.len() + model.producer_version.len()) as u64;
        size
    }
    fn add(&mut self, graph: &Graph) {
        for (_, n) in graph.nodes() {
            self.nodes += 1;
            self.parts += (n.inputs.iter().flatten().count() + n.attrs.len() + n.meta.len()) as u64;
            self.names += n.name.len() as u64;
            n.subgraphs().for_each(|g| self.add(g));
        }
        self.parts += (graph.listed_inputs().len() + graph.outputs().len()) as u64;
        for (_, v) in graph.values() {
            self.names += v.name.len() as u64;
            match (&v.def, &v.ty) {
                (Def::Constant(t), _) => {
                    self.elements = self.elements.saturating_add(t.count());
                    self.elaborate += u64::from(elaborate(t));
                }
                (Def::Sparse(s), _) => self.elements = self.elements.saturating_add(s.values.count()),
                (Def::Input, Some(Type::Tensor { shape: Some(shape), .. })) => {
                    let sizes = shape.iter().map(|d| d.as_size().unwrap_or(1));
                    self.elements = self.elements.saturating_add(sizes.fold(1, u64::saturating_mul));
                }
                (Def::Node { .. }, Some(_)) => self.parts += 1,
                _ => {}
            }
        }
    }
}

/// 0 for a constant of ones and for one that is not of floats, 1 for [`pattern`], 2 for anything else.
fn elaborate(tensor: &Tensor) -> u8 {
    let Ok(values) = tensor.to_f64() else { return 0 };
    if values.iter().all(|v| *v == 1.0) {
        0
    } else if values.iter().zip(0..).all(|(v, i)| *v == pattern(i)) {
        1
    } else {
        2
    }
}

/// Small whole numbers, different from neighbour to neighbour.
fn pattern(i: u64) -> f64 {
    (i * 5 % 7) as f64 - 3.0
}

/// A search at work.
struct Search<'a> {
    table: &'a OpTable,
    judge: &'a mut dyn FnMut(&Model) -> Judgement,
    best: Model,
    /// Of the best.
    size: Size,
    inferred: Inferred,
    tried: u64,
    kept: u64,
    stopped: bool,
}

impl Search<'_> {
    /// Judges a candidate, unless it is none; whether it was kept.
    fn attempt(&mut self, candidate: Option<Model>) -> bool {
        let Some(mut model) = candidate.filter(|_| !self.stopped) else { return false };
        let constant = |v: &Value| matches!(v.def, Def::Constant(_) | Def::Sparse(_));
        let constants = model.graph.values().filter(|(_, v)| constant(v)).map(|(id, _)| id);
        Sweep::of(&model.graph, constants).run(&mut model.graph);
        let size = Size::of(&model);
        if model.graph.outputs().is_empty() || size >= self.size || verify(&model).is_err() {
            return false;
        }
        self.tried += 1;
        match (self.judge)(&model) {
            Judgement::Keep => {
                self.inferred = infer(&model, self.table);
                (self.best, self.size) = (model, size);
                self.kept += 1;
                true
            }
            Judgement::Reject => false,
            Judgement::Stop => {
                self.stopped = true;
                false
            }
        }
    }
    /// Takes away runs of `items`, long ones first, as long as any can be. `without` gives the model without a run, of
    /// which some items may have gone already.
    fn chunks<T: Clone>(&mut self, items: &[T], without: impl Fn(&Self, &[T]) -> Option<Model>) {
        let mut left: Vec<T> = items.to_vec();
        let mut size = left.len().div_ceil(2);
        while size > 0 && !self.stopped {
            let mut at = 0;
            while at < left.len() {
                let end = (at + size).min(left.len());
                let candidate = without(self, &left[at..end]);
                if self.attempt(candidate) {
                    left.drain(at..end);
                } else {
                    at = end;
                }
            }
            size /= 2;
        }
    }
    /// The model without what nobody reads.
    fn alive(&self, mut model: Model) -> Option<Model> {
        let _: Changed = (DEAD_CODE.run)(&mut model, &mut PassCx::new(self.table)).ok()?;
        Some(model)
    }
    /// Nodes of which the shapes of results are not known, in a model.
    fn unknown(inferred: &Inferred) -> usize {
        inferred.problems.iter().filter(|p| matches!(p, ShapeProblem::Unknown { .. })).count()
    }
    /// The type of a value, as far as it is known.
    fn known_type(&self, v: ValueId) -> Option<Type> {
        self.inferred.facts.get(v).ty().or_else(|| self.best.graph.value(v).ty.clone())
    }
}

/// A tensor of floats with other elements.
fn refilled(tensor: &Tensor, value: impl Fn(u64) -> f64) -> Option<Tensor> {
    let values: Vec<f64> = (0..tensor.count()).map(value).collect();
    let plain = matches!(tensor.elem, ElemType::F16 | ElemType::BF16 | ElemType::F32 | ElemType::F64);
    let raw = matches!(tensor.data, Data::Raw(_));
    Tensor::from_f64(tensor.elem, &tensor.dims, &values).ok().filter(|_| plain && raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_testkit::{full, model};

    /// What is left of a graph when what `holds` must go on holding.
    #[track_caller]
    fn check(text: &str, holds: impl Fn(&Model) -> bool, expected: &str) {
        let mut judge = |m: &Model| if holds(m) { Judgement::Keep } else { Judgement::Reject };
        let small = reduce(&model(text), &sparsec_ops::table(), &mut judge).model;
        let text = full(&small);
        let lines: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        assert_eq!(lines.join(" "), expected);
    }
    fn has(m: &Model, op: &str) -> bool {
        m.graph.nodes().any(|(_, n)| n.op == op)
    }

    const NET: &str = "g (float[n,6] x) => (float[n,4] y, float[n,5] z)
        <float[6,5] w = [\"location\": \"random:1\"], float[5] b = [\"location\": \"random:2\"], float[5,4] v = [\"location\": \"random:3\"]>
        { h = MatMul (x, w)  c = Add (h, b)  r = Relu (c)  z = Exp (r)  s = Sigmoid <comment = 3> (r)  y = MatMul (s, v) }";

    #[test]
    fn what_does_not_matter_goes_and_sizes_shrink_together() {
        check(NET, |m| has(m, "Sigmoid"), "g (float[n,1] r) => (float[n,1] s) { s = Sigmoid (r) }");
        check(
            NET,
            |m| has(m, "Relu") && m.graph.nodes().any(|(_, n)| n.op == "MatMul" && n.inputs.len() == 2),
            "g (float[n,1] x, float[n,1] c) => (float[n,1] h, float[n,1] r) < float[1,1] w = {1.0} > \
             { h = MatMul (x, w) r = Relu (c) }",
        );
    }
    #[test]
    fn two_places_far_apart_stay_and_what_is_between_goes() {
        let products =
            |m: &Model| m.graph.nodes().filter(|(_, n)| n.op == "MatMul" && n.inputs.len() == 2).count() == 2;
        check(
            NET,
            products,
            "g (float[n,1] x, float[n,1] s) => (float[n,1] y, float[n,1] h) < float[1,1] w = {1.0}, float[1,1] v = {1.0} > \
             { h = MatMul (x, w) y = MatMul (s, v) }",
        );
    }
    #[test]
    fn operands_and_numbers_are_kept_where_they_matter() {
        let biased = |m: &Model| {
            let w = m
                .graph
                .values()
                .filter_map(|(v, _)| m.graph.constant(v))
                .any(|t| t.elem.is_float() && t.to_f64().is_ok_and(|v| v.contains(&2.0)));
            w && m.graph.nodes().any(|(_, n)| n.op == "Gemm" && n.attrs.contains_key("alpha"))
        };
        check(
            "g (float[n,2] x) => (float[n,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] b = {5, 6}>
             { y = Gemm <alpha = 2.0, beta = 3.0> (x, w, b) }",
            biased,
            "g (float[n,2] x) => (float[n,2] y) < float[2,2] w = {-3.0, 2.0, 0.0, -2.0} > { y = Gemm <alpha = 2.0> (x, w) }",
        );
    }
    #[test]
    fn the_judge_ends_the_search() {
        let mut calls = 0;
        let mut judge = |_: &Model| {
            calls += 1;
            if calls > 2 { Judgement::Stop } else { Judgement::Keep }
        };
        let done = reduce(&model(NET), &sparsec_ops::table(), &mut judge);
        assert!(done.stopped && done.kept == 2 && done.tried == 3);
    }
}
