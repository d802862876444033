//! merge-transposes on random chains: the results stay what they were, and chains get shorter.

use sparsec_ir::{Attr, ElemType, Graph, Model, Node, NodeId, Tensor, Type, ValueId};
use sparsec_passes::{Manager, Verify, find};
use sparsec_runtime::default_runtime;

/// A small generator (xorshift), so that failures come back.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A shape with the same elements: neighbouring axes are merged, one is taken apart, or one of size 1 comes or goes.
fn reshaped(shape: &[u64], r: &mut Random) -> Vec<u64> {
    let mut out = shape.to_vec();
    let at = r.below(out.len());
    match r.below(4) {
        0 if at + 1 < out.len() => {
            let next = out.remove(at + 1);
            out[at] *= next;
        }
        1 if out[at].is_multiple_of(2) => {
            out[at] /= 2;
            out.insert(at, 2);
        }
        2 => out.insert(at, 1),
        _ => out.retain(|&d| d != 1),
    }
    if out.is_empty() { vec![1] } else { out }
}

fn result(graph: &Graph, node: NodeId) -> ValueId {
    graph.node(node).outputs[0].expect("every node has a result")
}

/// x → Relu → a chain of `len` reshapes and transposes → Relu → y, with the shape of x.
fn chain(len: usize, r: &mut Random) -> (Model, Vec<u64>) {
    let start: Vec<u64> = [2, 6, 4, 3, 1][r.below(3)..].to_vec();
    let mut shape = start.clone();
    let mut g = Graph::new("g");
    let x = g.add_input("x", Type::tensor(ElemType::F32, start.iter().map(|&d| (d as i64).into())));
    let first = g.add_node(Node::new("Relu").input(x), &["a"]);
    let mut value = result(&g, first);
    for i in 0..len {
        let node = if r.below(2) == 0 {
            let mut perm: Vec<usize> = (0..shape.len()).collect();
            perm.swap(0, r.below(shape.len()));
            let last = shape.len() - 1;
            perm.swap(last, r.below(shape.len()));
            shape = perm.iter().map(|&a| shape[a]).collect();
            Node::new("Transpose").input(value).attr("perm", Attr::Ints(perm.iter().map(|&a| a as i64).collect()))
        } else {
            shape = reshaped(&shape, r);
            let sizes: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
            let target = g.add_constant(&format!("s{i}"), Tensor::i64(&[sizes.len() as u64], &sizes));
            Node::new("Reshape").input(value).input(target)
        };
        let id = g.add_node(node, &[&format!("h{i}")]);
        value = result(&g, id);
    }
    let last = g.add_node(Node::new("Relu").input(value), &["y"]);
    let y = result(&g, last);
    g.set_outputs(&[y]);
    (Model::new(g, 10, 18), start)
}

fn run(model: &Model, shape: &[u64]) -> Tensor {
    let count: u64 = shape.iter().product();
    let x = Tensor::f32(shape, &(1..=count).map(|i| i as f32).collect::<Vec<_>>());
    let session = default_runtime().and_then(|r| r.load(model, &[shape.to_vec()], 1)).expect("the chain loads");
    session.run(&[x]).expect("the chain runs").remove(0)
}

#[test]
fn results_of_random_chains_stay() {
    let table = sparsec_ops::table();
    let pass = find("merge-transposes").expect("the pass exists");
    let mut r = Random(0x9e37_79b9_7f4a_7c15);
    let (mut shorter, mut cases) = (0, 0);
    for case in 0..400 {
        let (before, shape) = chain(1 + case % 6, &mut r);
        let mut after = before.clone();
        let mut manager = Manager::new(&table).verify(Verify::Each);
        let mut cx = manager.context();
        let _ = manager.run_pass(&mut after, pass, &mut cx).expect("the pass runs");
        assert_eq!(run(&before, &shape), run(&after, &shape), "{}", sparsec_testkit::full(&before));
        let nodes = |m: &Model| m.graph.nodes().count();
        shorter += usize::from(nodes(&after) < nodes(&before));
        cases += 1;
    }
    assert!(shorter * 4 > cases, "only {shorter} of {cases} chains got shorter");
}
