//! Pieces of `testdata/operators` as blocks: layers give their inputs the sizes that they are written for.

use super::build::{Builder, Value};
use crate::Snippet;
use sparsec_ir::{Attr, Def, Dim, ElemType, Graph, Type, ValueId, topological};
use std::collections::BTreeMap;

/// Sizes behind the batch of a float value; `None` for any other.
fn sizes(graph: &Graph, v: ValueId) -> Option<Vec<u64>> {
    let Some(Type::Tensor { elem: ElemType::F32, shape: Some(shape) }) = &graph.value(v).ty else { return None };
    let (batch, rest) = shape.split_first()?;
    (*batch == Dim::sym("n")).then(|| rest.iter().map(Dim::as_size).collect())?
}

/// Adds a piece. `next` says what each float input is made from; other inputs become the graph's. Results of another
/// form than a block's become outputs.
pub(super) fn add(b: &mut Builder, piece: &Snippet, next: &mut dyn FnMut(&mut Builder) -> Value) -> Vec<Value> {
    let g = &piece.model.graph;
    let prefix = format!("p{}_", b.graph.value_bound());
    let mut map: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (v, value) in g.values() {
        let name = format!("{prefix}{}", value.name);
        let id = match (&value.def, sizes(g, v)) {
            (Def::Input, Some(dims)) => {
                let from = next(b);
                fit(b, &from, &dims).id
            }
            (Def::Input, None) => b.graph.add_input(&name, value.ty.clone().expect("inputs of pieces are typed")),
            (Def::Constant(t), _) => b.graph.add_constant(&name, t.clone()),
            _ => {
                names.insert(value.name.clone(), name);
                continue;
            }
        };
        names.insert(value.name.clone(), b.graph.value(id).name.clone());
        map.insert(v, id);
    }
    for n in topological(g).expect("texts are in order") {
        let mut node = g.node(n).clone();
        node.inputs = node.inputs.iter().map(|v| v.map(|v| map[&v])).collect();
        node.attrs.values_mut().for_each(|a| rename(a, &names, &prefix));
        let results = std::mem::take(&mut node.outputs);
        let called: Vec<&str> = results.iter().map(|v| v.map_or("", |v| names[&g.value(v).name].as_str())).collect();
        let id = b.graph.add_node(node, &called);
        let made = b.graph.node(id).outputs.clone();
        map.extend(results.into_iter().zip(made).filter_map(|(old, new)| old.zip(new)));
    }
    for import in &piece.model.opsets {
        if !import.domain.is_empty() && !b.opsets.contains(import) {
            b.opsets.push(import.clone());
        }
    }
    let mut made = Vec::new();
    for &v in g.outputs() {
        match sizes(g, v) {
            Some(dims) if matches!(dims.len(), 1..=3) => made.push(Value { id: map[&v], dims }),
            Some(dims) => made.push(flat(b, &Value { id: map[&v], dims })),
            None => b.outputs.push(map[&v]),
        }
    }
    made
}

/// Gives what subgraphs define and use the names that it has in the new graph.
fn rename(attr: &mut Attr, names: &BTreeMap<String, String>, prefix: &str) {
    let graphs = match attr {
        Attr::Graph(g) => std::slice::from_mut(g.as_mut()),
        Attr::Graphs(gs) => gs.as_mut_slice(),
        _ => return,
    };
    for g in graphs {
        let all: Vec<ValueId> = g.values().map(|(v, _)| v).collect();
        for v in all {
            let old = g.value(v).name.clone();
            let new = names.get(&old).cloned().unwrap_or_else(|| format!("{prefix}{old}"));
            g.rename_value(v, &new);
        }
        let nodes: Vec<_> = g.nodes().map(|(n, _)| n).collect();
        for n in nodes {
            for (key, mut nested) in g.node(n).attrs.clone() {
                rename(&mut nested, names, prefix);
                g.set_attr(n, &key, nested);
            }
        }
    }
}

/// `x` with these sizes: as it is, behind a layer over its channels, or behind one over all its numbers.
pub(super) fn fit(b: &mut Builder, x: &Value, dims: &[u64]) -> Value {
    let differ: Vec<usize> = (0..dims.len()).filter(|&a| x.dims.get(a) != Some(&dims[a])).collect();
    match (x.dims.as_slice(), dims, differ.as_slice()) {
        (have, want, []) if have.len() == want.len() => return x.clone(),
        ([c, _, _], [out, _, _], [0]) => {
            let (w, k) = (b.weight(&[*out, *c, 1, 1]), b.bias(&[*out]));
            let id = b.op("Conv", &[x.id, w, k], &[]);
            return x.resized(id, 0, *out);
        }
        ([_, d], [_, out], [1]) => {
            let w = b.matrix(*d, *out);
            let id = b.op("MatMul", &[x.id, w], &[]);
            return x.resized(id, 1, *out);
        }
        _ => {}
    }
    let x = flat(b, x);
    let want: u64 = dims.iter().product();
    let w = b.matrix(x.dims[0], want);
    let y = Value { id: b.op("MatMul", &[x.id, w], &[]), dims: vec![want] };
    if dims.len() == 1 {
        return y;
    }
    let shape = b.ints(&std::iter::once(0).chain(dims.iter().map(|&d| d as i64)).collect::<Vec<_>>());
    Value { id: b.op("Reshape", &[y.id, shape], &[]), dims: dims.to_vec() }
}

/// All numbers of a slot of the batch on one axis.
fn flat(b: &mut Builder, x: &Value) -> Value {
    let all: u64 = x.dims.iter().product();
    if x.dims.len() == 1 {
        return x.clone();
    }
    let shape = b.ints(&[if x.dims.is_empty() { -1 } else { 0 }, all as i64]);
    Value { id: b.op("Reshape", &[x.id, shape], &[]), dims: vec![all] }
}
