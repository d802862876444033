//! Attention over projected queries, keys and values. Spec: com.microsoft `MultiHeadAttention`,
//! `GroupQueryAttention` (1).
//!  R1  `MultiHeadAttention`: queries, keys and values are heads × head dimension (rule H1 of `heads.rs`).
//!      Queries are contracted with keys; y is the heads times the numbers of the values. Keys and values that are
//!      split already have the heads on axis 1 and the numbers on axis 3, as past and present ones do.
//!  R2  Its bias runs over queries, keys and values one after the other.
//!  R3  `GroupQueryAttention`: queries are groups × queries of a group × numbers; keys and values are groups × numbers.
//!      Without keys the three stand in one operand, one after the other. The numbers are frozen: runtimes take heads
//!      of multiples of 8 only.
//!  R4  Positions are frozen (H2); the batch is that of the queries.
//!  R5  A bias of the scores, or a sink, may have an axis of heads. Masks and lengths speak of positions.
//!  R6  Numbers of heads and `scale` (H3) follow.

use crate::form::{contract, dims, freeze_all, positive, product, sizes, tie, unnamed, whole};
use crate::heads::{self, Heads, absorb, freeze_positions, masks, size_of};
use sparsec_ir::{
    Affine, AxisRef, Edit, Fact, Kernel, LinearRule, LinkKind, NodeRef, OpDef, OpError, Operand, Reason, Relate,
    Relations, Resize, Resized, Row, ShapeRule, Work, WorkRule,
};

const MULTI_HEAD: OpDef = OpDef {
    name: "MultiHeadAttention",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(multi_head_shape),
    relate: Relate::By(relate_multi_head),
    work: WorkRule::By(work),
    resize: Resize::By(resize_multi_head),
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "GroupQueryAttention",
        shape: ShapeRule::By(grouped_shape),
        relate: Relate::By(relate_grouped),
        resize: Resize::By(resize_grouped),
        ..MULTI_HEAD
    },
    MULTI_HEAD,
];

/// Queries, keys and values of three or four axes each.
struct MultiHead<'g> {
    q: Operand<'g>,
    k: Operand<'g>,
    v: Operand<'g>,
    heads: u64,
    /// Numbers of a head in queries and keys, and in values.
    size: u64,
    size_v: u64,
    /// Whether keys and values are split into heads already.
    split: bool,
}

impl<'g> MultiHead<'g> {
    fn view(node: &NodeRef<'g>) -> Result<Self, OpError> {
        let packed = OpError::Unsupported("queries, keys and values packed in one operand");
        let (q, Some(k), Some(v)) = (node.need_input(0)?, node.input(1), node.input(2)) else { return Err(packed) };
        let heads = positive(node, "num_heads", 0)?;
        if q.rank() != Some(3) || k.rank() != v.rank() {
            return Err(packed);
        }
        let size = size_of(q.size(2), heads)?;
        let (split, size_v) = match k.rank() {
            Some(3) => (false, size_of(v.size(2), heads)?),
            Some(4) => {
                let size_v = v.size(3).ok_or(OpError::Unsupported("a hidden size that is not known"))?;
                heads.checked_mul(size_v).ok_or(OpError::Overflow)?;
                (true, size_v)
            }
            _ => return Err(packed),
        };
        Ok(Self { q, k, v, heads, size, size_v, split })
    }
}

fn multi_head_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let a = MultiHead::view(node)?;
    let q = dims(node, 0)?;
    let elem = a.q.fact.elem;
    let hidden = whole(a.heads.checked_mul(a.size_v).ok_or(OpError::Overflow)?)?;
    let y = Fact { elem, shape: Some(vec![q[0].clone(), q[1].clone(), hidden]), content: None };
    let keys = dims(node, 1)?[if a.split { 2 } else { 1 }].clone();
    let state = |result: usize, past: usize, size: u64| -> Result<Fact, OpError> {
        let positions = match node.input(past) {
            None => keys.clone(),
            Some(p) => match p.fact.shape.as_ref().and_then(|s| s.get(2)) {
                Some(before) => before.add(&keys).ok_or(OpError::Overflow)?,
                None => unnamed(node, result, 2),
            },
        };
        Ok(Fact { elem, shape: Some(vec![q[0].clone(), whole(a.heads)?, positions, whole(size)?]), content: None })
    };
    Ok(vec![y, state(1, 6, a.size)?, state(2, 7, a.size_v)?])
}

fn relate_multi_head(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (a, y) = (MultiHead::view(node)?, node.need_output(0)?);
    let (heads, numbers, numbers_v) = (r.virtual_axis(a.heads), r.virtual_axis(a.size), r.virtual_axis(a.size_v));
    for o in [&a.k, &a.v, &y] {
        tie(r, (&a.q, 0), (o, 0), "R4");
    }
    r.product(a.q.axis(2), &[heads, numbers], "H1");
    r.product(y.axis(2), &[heads, numbers_v], "H1");
    if a.split {
        freeze_positions(r, &[(&a.q, 1), (&a.k, 2), (&a.v, 2), (&y, 1)]);
        split(r, &a.k, heads, numbers, "R1");
        split(r, &a.v, heads, numbers_v, "R1");
        r.absorb(a.k.axis(3), a.size, "R1");
    } else {
        freeze_positions(r, &[(&a.q, 1), (&a.k, 1), (&a.v, 1), (&y, 1)]);
        contract(r, (&a.q, 2), (&a.k, 2), "R1");
        tie(r, (&a.v, 2), (&y, 2), "R1");
    }
    if let Some(bias) = node.input(3) {
        let (keys, values) = (a.heads * a.size, a.heads * a.size_v);
        let all = keys.checked_mul(2).and_then(|k| k.checked_add(values));
        if a.split || all.is_none() || bias.size(0) != all {
            return Err(OpError::Unsupported("a bias of other than queries, keys and values"));
        }
        let row = |axis: AxisRef, start: u64| Row { axis, start: start as u32, step: 1 };
        r.tie(a.q.axis(2), bias.axis(0), keys, "R2");
        r.link(row(bias.axis(0), 0), row(bias.axis(0), keys), keys, LinkKind::Contract, "R2");
        r.link(row(y.axis(2), 0), row(bias.axis(0), 2 * keys), values, LinkKind::Same, "R2");
    }
    for (state, numbers) in
        [(node.input(6), numbers), (node.input(7), numbers_v), (node.output(1), numbers), (node.output(2), numbers_v)]
    {
        let Some(state) = state else { continue };
        tie(r, (&a.q, 0), (&state, 0), "R4");
        freeze_positions(r, &[(&state, 2)]);
        split(r, &state, heads, numbers, "R1");
    }
    if let Some(past) = node.input(6) {
        r.absorb(past.axis(3), a.size, "R1");
    }
    for other in [4, 8, 9].into_iter().filter_map(|i| node.input(i)) {
        masks(r, &a.q, &other, None, "R5");
    }
    if let Some(scores) = node.input(5) {
        let of_heads = scores.size(1) == Some(a.heads) && a.heads > 1;
        masks(r, &a.q, &scores, of_heads.then_some(1), "R5");
        if of_heads {
            r.tie(heads, scores.axis(1), a.heads, "R5");
        }
    }
    if let Some(scores) = node.output(3) {
        freeze_all(r, &scores, &Reason::Rule("scores of all heads"));
        r.freeze(heads, Reason::Rule("scores of all heads"));
    }
    Ok(())
}

/// Keys or values with their heads on axis 1 and the numbers on axis 3.
fn split(r: &mut Relations, o: &Operand, heads: AxisRef, numbers: AxisRef, rule: &'static str) {
    for (axis, with) in [(1, heads), (3, numbers)] {
        if let Some(len) = o.size(axis) {
            r.tie(with, o.axis(axis), len, rule);
        }
    }
}

fn resize_multi_head(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let a = MultiHead::view(&cut.before)?;
    heads::resize(cut, &[("num_heads", (a.q.value, 2), 0, a.heads)], a.size) // R6
}

/// Queries in groups that share a head of keys and values.
struct Grouped<'g> {
    q: Operand<'g>,
    /// Keys and values, where they are operands of their own.
    kv: Option<(Operand<'g>, Operand<'g>)>,
    groups: u64,
    /// Heads of queries in one group.
    queries: u64,
    size: u64,
}

impl<'g> Grouped<'g> {
    fn view(node: &NodeRef<'g>) -> Result<Self, OpError> {
        let (q, stated) = (node.need_input(0)?, Heads::stated(node, "num_heads", "kv_num_heads")?);
        if q.rank() != Some(3) {
            return Err(OpError::Unsupported("queries of other than three axes"));
        }
        let (heads, groups) = (stated.query, stated.key);
        let kv = node.input(1).zip(node.input(2));
        let all = if kv.is_some() { Some(heads) } else { groups.checked_mul(2).and_then(|g| g.checked_add(heads)) };
        let size = size_of(q.size(2), all.ok_or(OpError::Overflow)?)?;
        Ok(Self { q, kv, groups, queries: stated.queries(), size })
    }
    /// Slots of the queries, and of the keys.
    fn lens(&self) -> (u64, u64) {
        let keys = self.groups * self.size;
        (keys * self.queries, keys)
    }
}

fn grouped_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let a = Grouped::view(node)?;
    let q = dims(node, 0)?;
    let elem = a.q.fact.elem;
    let y = Fact { elem, shape: Some(vec![q[0].clone(), q[1].clone(), whole(a.lens().0)?]), content: None };
    let state = |result: usize| -> Result<Fact, OpError> {
        let elem = node.input(result + 2).and_then(|p| p.fact.elem).or(elem);
        let shape = vec![q[0].clone(), whole(a.groups)?, unnamed(node, result, 2), whole(a.size)?];
        Ok(Fact { elem, shape: Some(shape), content: None })
    };
    Ok(vec![y, state(1)?, state(2)?])
}

fn relate_grouped(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (a, y) = (Grouped::view(node)?, node.need_output(0)?);
    let (queries, keys) = a.lens();
    let (groups, of_a_group, numbers) = (r.virtual_axis(a.groups), r.virtual_axis(a.queries), r.virtual_axis(a.size));
    r.freeze(numbers, Reason::Rule("runtimes take heads of multiples of 8 only"));
    tie(r, (&a.q, 0), (&y, 0), "R4");
    freeze_positions(r, &[(&a.q, 1), (&y, 1)]);
    let heads = [groups, of_a_group, numbers];
    r.product(y.axis(2), &heads, "R3");
    match &a.kv {
        Some((k, v)) => {
            r.product(a.q.axis(2), &heads, "R3");
            for o in [k, v] {
                tie(r, (&a.q, 0), (o, 0), "R4");
                freeze_positions(r, &[(o, 1)]);
                r.product(o.axis(2), &[groups, numbers], "R3");
            }
            r.absorb(k.axis(2), keys, "R3");
        }
        None => {
            for (start, len, factors) in [
                (0, queries, &heads[..]),
                (queries, keys, &[groups, numbers]),
                (queries + keys, keys, &[groups, numbers]),
            ] {
                let part = r.virtual_axis(len);
                r.segment(a.q.axis(2), start, part, len, "R3");
                r.product(part, factors, "R3");
            }
            absorb(r, &a.q, 2, queries, keys, "R3");
        }
    }
    for state in [node.input(3), node.input(4), node.output(1), node.output(2)].into_iter().flatten() {
        tie(r, (&a.q, 0), (&state, 0), "R4");
        freeze_positions(r, &[(&state, 2)]);
        split(r, &state, groups, numbers, "R3");
    }
    for other in [5, 6, 9, 16].into_iter().filter_map(|i| node.input(i)) {
        masks(r, &a.q, &other, None, "R5");
    }
    // Angles, scales and norms run over the head dimension.
    for fixed in [7, 8, 12, 13, 14, 15].into_iter().filter_map(|i| node.input(i)) {
        freeze_all(r, &fixed, &Reason::Rule("runs over the head dimension"));
    }
    for (o, axis) in [(node.input(10), 1), (node.input(11), 0)] {
        let Some(o) = o else { continue };
        let of_heads = o.size(axis).is_some_and(|n| n > 1);
        masks(r, &a.q, &o, of_heads.then_some(axis), "R5");
        if of_heads {
            r.product(o.axis(axis), &[groups, of_a_group], "R5");
        }
    }
    if let Some(scores) = node.output(3) {
        freeze_all(r, &scores, &Reason::Rule("scores of all heads"));
        r.freeze(groups, Reason::Rule("scores of all heads"));
        r.freeze(of_a_group, Reason::Rule("scores of all heads"));
    }
    Ok(())
}

fn resize_grouped(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let (a, y) = (Grouped::view(&cut.before)?, cut.before.need_output(0)?);
    let (queries, _) = a.lens();
    let keys = match &a.kv {
        Some((k, _)) => ((k.value, 2), 0),
        None => ((a.q.value, 2), queries),
    };
    let names = [("num_heads", (y.value, 2), 0, a.groups * a.queries), ("kv_num_heads", keys.0, keys.1, a.groups)];
    heads::resize(cut, &names, a.size) // R6
}

/// Scores and sums over values; positions of keys that a state adds are not known before the run.
fn work(node: &NodeRef) -> Result<Work, OpError> {
    let q = sizes(node, 0)?;
    let [batch, m, hidden] = q.as_slice() else { return Err(OpError::Unsupported("queries packed with keys")) };
    let keys = node.input(1).and_then(|k| k.fact.size(if k.rank() == Some(4) { 2 } else { 1 })).unwrap_or(*m);
    let past = [3, 6].into_iter().filter_map(|i| node.input(i)).find(|p| p.rank() == Some(4)).and_then(|p| p.size(2));
    let n = keys.checked_add(past.unwrap_or(0)).ok_or(OpError::Overflow)?;
    let macs = product(&[2, *batch, *m, n, *hidden])?;
    Ok(Work { kernel: Kernel::BatchedMatMul { batch: *batch, m: *m, n, k: hidden.saturating_mul(2) }, macs })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape};

    fn text(inputs: &str, results: &str, call: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g ({inputs}) => (y)
            {{ {results} = com.microsoft.{call} }}"#
        )
    }
    const THREE: &str = "float[n,5,6] q, float[n,7,6] k, float[n,7,4] v, float[16] b";

    #[test]
    fn r1_r2_queries_keys_and_values_share_their_heads() {
        let text = text(THREE, "y", "MultiHeadAttention <num_heads=2> (q, k, v, b)");
        check_relation(
            &text,
            "H1 q:2 = $0(2) x $1(3)
             H1 y:2 = $0(2) x $2(2)
             freeze q:1: positions attend to each other
             freeze k:1: positions attend to each other
             freeze v:1: positions attend to each other
             freeze y:1: positions attend to each other
             R1 q:2 * k:2
             R1 v:2 = y:2
             R2 q:2 = b:0[0+1]#6
             R2 b:0[0+1]#6 * b:0[6+1]#6
             R2 y:2 = b:0[12+1]#4",
        );
        check_shape(&text, "float[n,5,4]; float[n,2,7,3]; float[n,2,7,2]");
        check_resize(&text, &[("q", 2, &[3, 4, 5]), ("k", 2, &[3, 4, 5]), ("v", 2, &[2, 3])], "num_heads=Int(1)");
        check_resize(&text, &[("q", 2, &[0, 1, 3, 4]), ("k", 2, &[0, 1, 3, 4])], "scale=Float(0.57735026)");
    }

    #[test]
    fn r5_masks_and_biases_of_scores_keep_their_positions() {
        let text = text(
            "float[2,5,6] q, float[2,5,6] k, float[2,5,4] v, float[2,5] m, float[1,3,5,5] s",
            "y",
            "MultiHeadAttention <num_heads=2> (q, k, v, , m, s)",
        );
        let frozen = |axes: &[&str]| {
            let line = |a: &&str| format!("freeze {a}: positions attend to each other\n");
            axes.iter().map(line).collect::<String>()
        };
        check_relation(
            &text,
            &format!(
                "R4 q:0 = k:0
                 R4 q:0 = v:0
                 R4 q:0 = y:0
                 H1 q:2 = $0(2) x $1(3)
                 H1 y:2 = $0(2) x $2(2)
                 {}R1 q:2 * k:2
                 R1 v:2 = y:2
                 R5 q:0 = m:0
                 {}",
                frozen(&["q:1", "k:1", "v:1", "y:1"]),
                frozen(&["m:1", "s:1", "s:2", "s:3"])
            ),
        );
    }

    #[test]
    fn r3_groups_share_keys_and_keep_the_size_of_a_head() {
        let text = text(
            "float[n,5,32] q, float[n,5,16] k, float[n,5,16] v, int32[n] s, int32 t",
            "y, pk, pv",
            "GroupQueryAttention <num_heads=4, kv_num_heads=2> (q, k, v, , , s, t)",
        );
        check_relation(
            &text,
            "freeze $2(8): runtimes take heads of multiples of 8 only
             freeze q:1: positions attend to each other
             freeze y:1: positions attend to each other
             R3 y:2 = $0(2) x $1(2) x $2(8)
             R3 q:2 = $0(2) x $1(2) x $2(8)
             freeze k:1: positions attend to each other
             R3 k:2 = $0(2) x $2(8)
             freeze v:1: positions attend to each other
             R3 v:2 = $0(2) x $2(8)
             R3 k:2 * k:2
             freeze pk:2: positions attend to each other
             R3 $0(2) = pk:1
             R3 $2(8) = pk:3
             freeze pv:2: positions attend to each other
             R3 $0(2) = pv:1
             R3 $2(8) = pv:3",
        );
        check_shape(&text, "float[n,5,32]; float[n,2,?pk.2,8]; float[n,2,?pv.2,8]");
        let second: Vec<u32> = (16..32).collect();
        let keys: Vec<u32> = (8..16).collect();
        check_resize(
            &text,
            &[("q", 2, &second), ("y", 2, &second), ("k", 2, &keys), ("v", 2, &keys)],
            "num_heads=Int(2) kv_num_heads=Int(1)",
        );
    }

    #[test]
    fn r3_one_operand_may_hold_all_three() {
        let text = text(
            "float[n,5,64] q, int32[n] s, int32 t",
            "y",
            "GroupQueryAttention <num_heads=4, kv_num_heads=2> (q, , , , , s, t)",
        );
        check_relation(
            &text,
            "freeze $2(8): runtimes take heads of multiples of 8 only
             freeze q:1: positions attend to each other
             freeze y:1: positions attend to each other
             R3 y:2 = $0(2) x $1(2) x $2(8)
             R3 q:2[0+1]#32 = $3(32)
             R3 $3(32) = $0(2) x $1(2) x $2(8)
             R3 q:2[32+1]#16 = $4(16)
             R3 $4(16) = $0(2) x $2(8)
             R3 q:2[48+1]#16 = $5(16)
             R3 $5(16) = $0(2) x $2(8)
             R3 q:2[32+1]#16 * q:2[32+1]#16",
        );
    }
}
