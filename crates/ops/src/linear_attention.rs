//! `LinearAttention`: a recurrent state of keys × values for each head. Spec: ai.onnx `LinearAttention`, version 27.
//!  R1  Heads and head dimension are packed in the last axis of q, k, v and y, as for `Attention` of rank 3.
//!  R2  Values of a head of q are contracted with those of k, which are also axis 2 of the state, and those of k with
//!      the state: those that leave are worth zero. A scale that is not stated is that of the original size.
//!  R3  Values of a head of v are those of y and axis 3 of the state; axis 1 of the state is the key head.
//!  R4  The decay has a slot for each key head, or for each value of it; the update rate one for each key head or 1.
//!  R5  Batch axes are the same; positions are frozen: the state runs over them. Numbers of heads follow.

use crate::form::{dims, freeze, normalised, product, sizes, tie, unnamed, whole};
use crate::heads::{self, Heads, compose, size_of, virtual_axis};
use sparsec_ir::{
    Affine, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, Resized,
    ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "LinearAttention",
    domain: ONNX,
    since: &[27],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Operands.
const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const STATE: usize = 3;
const DECAY: usize = 4;
const RATE: usize = 5;

fn heads(node: &NodeRef) -> Result<Heads, OpError> {
    for index in [Q, K, V] {
        if node.rank(index)? != 3 {
            return Err(OpError::Unsupported("operands of linear attention that are not of rank 3"));
        }
    }
    Heads::stated(node, "q_num_heads", "kv_num_heads")
}

/// Size of a head of an operand, where it is known.
fn size(node: &NodeRef, index: usize, heads: u64) -> Result<Option<u64>, OpError> {
    node.need_input(index)?.size(2).map(|packed| size_of(Some(packed), heads)).transpose()
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let heads = heads(node)?;
    let q = dims(node, Q)?;
    let of = |packed: &Dim, axis: usize| {
        let size = packed.div_exact(&whole(heads.key)?);
        // y has no such axis: the symbol stands for the size wherever it occurs.
        Ok::<_, OpError>(size.unwrap_or_else(|| unnamed(node, 0, axis)))
    };
    size(node, Q, heads.query)?;
    size(node, K, heads.key)?;
    size(node, V, heads.key)?;
    let (keys, values) = (of(&dims(node, K)?[2], 3)?, of(&dims(node, V)?[2], 4)?);
    let hidden = whole(heads.query)?.mul(&values).ok_or(OpError::Overflow)?;
    let elem = node.need_input(Q)?.fact.elem;
    let state = node.input(STATE).and_then(|s| s.fact.elem).or(elem);
    Ok(vec![
        Fact { elem, shape: Some(vec![q[0].clone(), q[1].clone(), hidden]), content: None },
        Fact { elem: state, shape: Some(vec![q[0].clone(), whole(heads.key)?, keys, values]), content: None },
    ])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (heads, y) = (heads(node)?, node.need_output(0)?);
    let (q, k, v) = (node.need_input(Q)?, node.need_input(K)?, node.need_input(V)?);
    let known = |index, heads| size(node, index, heads)?.ok_or(OpError::UnboundSize { index });
    let (key, query) = (virtual_axis(r, heads.key), virtual_axis(r, heads.queries()));
    let q_value = virtual_axis(r, known(Q, heads.query)?);
    let k_value = virtual_axis(r, known(K, heads.key)?);
    let v_value = virtual_axis(r, known(V, heads.key)?);
    compose(r, q.axis(2), &[key, query, q_value], "R1");
    compose(r, k.axis(2), &[key, k_value], "R1");
    compose(r, v.axis(2), &[key, v_value], "R1");
    compose(r, y.axis(2), &[key, query, v_value], "R1");
    r.contract(q_value.0, k_value.0, q_value.1, "R2");
    for o in [&q, &k] {
        r.absorb(o.axis(2), o.size(2).ok_or(OpError::UnboundSize { index: Q })?, "R2");
    }
    let states = [node.input(STATE), node.output(1)];
    for state in states.iter().flatten() {
        compose(r, state.axis(1), &[key], "R3");
        compose(r, state.axis(2), &[k_value], "R2");
        compose(r, state.axis(3), &[v_value], "R3");
    }
    let gates = [node.input(DECAY), node.input(RATE)];
    for gate in gates.iter().flatten() {
        match gate.size(2) {
            Some(n) if n == heads.key => compose(r, gate.axis(2), &[key], "R4"),
            Some(n) if n == k.size(2).unwrap_or(0) => compose(r, gate.axis(2), &[key, k_value], "R4"),
            _ => freeze(r, gate, [2], &normalised(node)),
        }
    }
    for o in [&q, &k, &v, &y].into_iter().chain(gates.iter().flatten()) {
        freeze(r, o, [1], &normalised(node)); // R5
    }
    for o in [&q, &k, &v].into_iter().chain(states.iter().flatten()).chain(gates.iter().flatten()) {
        tie(r, (&y, 0), (o, 0), "R5");
    }
    Ok(())
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (heads, q, v) = (heads(node)?, sizes(node, Q)?, sizes(node, V)?);
    let (keys, values) = (q[2] / heads.query, v[2] / heads.key);
    let steps = product(&[q[0], q[1]])?;
    // A step updates the state of each key head and reads it for each query head.
    let batch = product(&[steps, heads.query.checked_add(heads.key).ok_or(OpError::Overflow)?])?;
    let kernel = Kernel::BatchedMatMul { batch, m: 1, n: values, k: keys };
    Ok(Work { kernel, macs: product(&[batch, keys, values])? })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let (node, heads) = (&cut.before, heads(&cut.before)?);
    let (q, k) = (node.need_input(Q)?, node.need_input(K)?);
    let names = [("q_num_heads", (q.value, 2), 0, heads.query), ("kv_num_heads", (k.value, 2), 0, heads.key)];
    heads::resize(cut, &names, size_of(q.size(2), heads.query)?) // R2, R5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work};

    const TEXT: &str = r#"<ir_version: 10, opset_import: ["" : 27]>
        g (float[1,5,32] q, float[1,5,16] k, float[1,5,12] v, float[1,2,8,6] s, float[1,5,2] d, float[1,5,1] b) => (y)
        { y, t = LinearAttention <q_num_heads=4, kv_num_heads=2> (q, k, v, s, d, b) }"#;

    #[test]
    fn r1_r2_r3_r4_r5_heads_and_values_of_a_head_pass() {
        check_shape(TEXT, "float[1,5,24]; float[1,2,8,6]");
        let over = |v: &str| format!("freeze {v}:1: LinearAttention works over the whole axis\n");
        let positions: String = ["q", "k", "v", "y", "d", "b"].map(over).concat();
        let batches: String = ["q", "k", "v", "s", "t", "d", "b"].map(|v| format!("R5 y:0 = {v}:0\n")).concat();
        check_relation(
            TEXT,
            &format!(
                "R1 q:2 = $0(2) x $1(2) x $2(8)
                 R1 k:2 = $0(2) x $3(8)
                 R1 v:2 = $0(2) x $4(6)
                 R1 y:2 = $0(2) x $1(2) x $4(6)
                 R2 $2(8) * $3(8)
                 R2 q:2 * q:2
                 R2 k:2 * k:2
                 R3 s:1 = $0(2)
                 R2 s:2 = $3(8)
                 R3 s:3 = $4(6)
                 R3 t:1 = $0(2)
                 R2 t:2 = $3(8)
                 R3 t:3 = $4(6)
                 R4 d:2 = $0(2)
                 freeze b:2: LinearAttention works over the whole axis
                 {positions}{batches}"
            ),
        );
    }

    #[test]
    fn r2_r5_numbers_of_heads_follow_and_the_scale_stays() {
        let first: Vec<u32> = (0..16).collect();
        let key: Vec<u32> = (0..8).collect();
        check_resize(TEXT, &[("q", 2, &first), ("k", 2, &key)], "q_num_heads=Int(2) kv_num_heads=Int(1)");
        let some: Vec<u32> = (0..32).filter(|i| i % 8 < 4).collect();
        check_resize(TEXT, &[("q", 2, &some)], "scale=Float(0.35355338)");
    }

    #[test]
    fn work_counts_updates_and_reads_of_the_state() {
        check_work(TEXT, &[], Kernel::BatchedMatMul { batch: 30, m: 1, n: 6, k: 8 }, 30 * 48);
    }
}
