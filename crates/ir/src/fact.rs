//! What shape inference knows of a value.

use crate::{Dim, ElemType, IdMap, Tensor, ValueId};

/// Inferred type, shape and, for small whole-number tensors, contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// Element type, where known.
    pub elem: Option<ElemType>,
    /// Sizes, symbolic where they depend on the input; `None` where the rank is unknown.
    pub shape: Option<Vec<Dim>>,
    /// Elements in row-major order, for whole-number tensors of rank ≤ 1 that speak of sizes. Shape arithmetic is
    /// evaluated on them symbolically.
    pub content: Option<Vec<Dim>>,
}

/// Whole-number tensors up to this many elements have their contents tracked: larger ones do not speak of shapes.
const MAX_CONTENT: u64 = 4096;

impl Fact {
    /// A fact about a tensor of known shape.
    pub fn new(elem: ElemType, shape: Vec<Dim>) -> Self {
        Self { elem: Some(elem), shape: Some(shape), content: None }
    }
    /// A fact about a tensor of unknown rank.
    pub fn unranked(elem: Option<ElemType>) -> Self {
        Self { elem, shape: None, content: None }
    }
    /// Everything there is to know of a constant.
    pub fn of(tensor: &Tensor) -> Self {
        let sizes = tensor.elem.is_int() && (tensor.elem == ElemType::Bool || !tensor.elem.holds_weights());
        let small = sizes && tensor.count() <= MAX_CONTENT && tensor.dims.len() <= 1;
        let content = if small { tensor.to_i64().ok() } else { None };
        Self {
            elem: Some(tensor.elem),
            shape: Some(tensor.dims.iter().map(|&d| Dim::from(d as i64)).collect()),
            content: content.map(|c| c.into_iter().map(Dim::from).collect()),
        }
    }
    /// The same fact with contents.
    pub fn with_content(mut self, content: Option<Vec<Dim>>) -> Self {
        self.content = content;
        self
    }
    /// Rank, where known.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }
    /// Static size of `axis`, if the rank is known and the size is a constant.
    pub fn size(&self, axis: usize) -> Option<u64> {
        self.shape.as_ref()?.get(axis)?.as_size()
    }
    /// All sizes, if every one is a constant.
    pub fn sizes(&self) -> Option<Vec<u64>> {
        self.shape.as_ref()?.iter().map(Dim::as_size).collect()
    }
    /// Contents as plain numbers, if every one is a constant.
    pub fn ints(&self) -> Option<Vec<i64>> {
        self.content.as_ref()?.iter().map(Dim::as_const).collect()
    }
    /// The fact with symbols bound to sizes.
    pub fn bind(&self, size: &dyn Fn(&str) -> Option<u64>) -> Fact {
        let all = |dims: &Vec<Dim>| dims.iter().map(|d| d.substitute(size)).collect::<Option<Vec<_>>>();
        Fact { elem: self.elem, shape: self.shape.as_ref().and_then(all), content: self.content.as_ref().and_then(all) }
    }
}

/// Inferred facts of every value of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    map: IdMap<ValueId, Fact>,
}

impl Facts {
    /// The fact of `value`; the empty fact where nothing was inferred.
    pub fn get(&self, value: ValueId) -> &Fact {
        const NOTHING: &Fact = &Fact { elem: None, shape: None, content: None };
        self.map.get(value).unwrap_or(NOTHING)
    }
    /// States the fact of `value`.
    pub fn set(&mut self, value: ValueId, fact: Fact) {
        self.map.set_or_grow(value, fact, Fact::default());
    }
    /// Facts with every symbol bound by `size`.
    pub fn bind(&self, size: &dyn Fn(&str) -> Option<u64>) -> Facts {
        let mut out = Facts::default();
        for (v, f) in self.map.iter() {
            out.set(v, f.bind(size));
        }
        out
    }
}
