//! `Attention`: softmax(q · kᵀ) · v for each head. Spec: ai.onnx `Attention`, versions 23, 24, 25.
//!  R1  A head of k and v leaves with its slots in past and present, and with the query heads that read it; of several
//!      query heads that read one key head, each of every key head's leaves at once (`heads.rs`).
//!  R2  Values of a head of q are contracted with those of k: those of q that leave are worth zero. A scale that is not
//!      stated is that of the original size.
//!  R3  Values of a head of v are those of y and of past and present.
//!  R4  With operands of rank 3 heads and head dimension are packed in the last axis; the numbers of heads follow.
//!  R5  Batch axes are the same. Positions are frozen: the softmax is taken over them, masks name them.
//!  R6  The mask is broadcast to (batch, query head, position of q, position of k).

use crate::form::{dims, freeze, normalised, product, sizes, tie, unnamed};
use crate::heads::{self, Heads, Long, compose, size_of, virtual_axis};
use sparsec_ir::{
    Affine, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Relate, Relations, Resize,
    Resized, ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Attention",
    domain: ONNX,
    since: &[23, 24, 25],
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
const MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
const LENGTHS: usize = 6;

/// Whether heads have an axis of their own, axis 1 of 4, or are packed into the last of 3.
fn packed(node: &NodeRef) -> Result<bool, OpError> {
    match (node.rank(Q)?, node.rank(K)?, node.rank(V)?) {
        (4, 4, 4) => Ok(false),
        (3, 3, 3) => Ok(true),
        _ => Err(OpError::Unsupported("operands of attention that are not all of rank 3 or all of rank 4")),
    }
}

fn heads(node: &NodeRef) -> Result<Heads, OpError> {
    if packed(node)? {
        return Heads::stated(node, "q_num_heads", "kv_num_heads");
    }
    let number = |index| node.need_input(index)?.size(1).ok_or(OpError::UnboundSize { index });
    Heads::new(number(Q)?, number(K)?)
}

/// Sizes of q, k or v as (batch, heads, positions, head dimension). A head dimension that is not known is called
/// after axis 3 of `result`.
fn unpacked(node: &NodeRef, index: usize, result: usize) -> Result<[Dim; 4], OpError> {
    let all = dims(node, index)?;
    if let [b, h, s, d] = all {
        return Ok([b, h, s, d].map(Dim::clone));
    }
    let [b, s, hidden] = all else { return Err(OpError::UnknownRank { index }) };
    let heads = heads(node)?;
    let number = Dim::from(i64::try_from(if index == Q { heads.query } else { heads.key }).unwrap_or(i64::MAX));
    if let (Some(hidden), Some(number)) = (hidden.as_size(), number.as_size()) {
        size_of(Some(hidden), number)?;
    }
    let size = hidden.div_exact(&number).unwrap_or_else(|| unnamed(node, result, 3));
    Ok([b.clone(), number, s.clone(), size])
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let is_packed = packed(node)?;
    let [batch, q_heads, q_len, _] = unpacked(node, Q, 0)?;
    let [_, k_heads, k_len, k_size] = unpacked(node, K, 1)?;
    let [_, v_heads, _, v_size] = unpacked(node, V, 0)?;
    let total = match node.input(PAST_KEY) {
        None => Some(k_len),
        Some(past) => past.fact.shape.as_ref().and_then(|p| p.get(2)?.add(&k_len)),
    };
    let total = |result| total.clone().unwrap_or_else(|| unnamed(node, result, 2));
    let y = if is_packed {
        let hidden = q_heads.mul(&v_size).ok_or(OpError::Overflow)?;
        vec![batch.clone(), q_len.clone(), hidden]
    } else {
        vec![batch.clone(), q_heads.clone(), q_len.clone(), v_size.clone()]
    };
    let fact = |of: usize, shape| Ok(Fact { elem: node.need_input(of)?.fact.elem, shape: Some(shape), content: None });
    Ok(vec![
        fact(Q, y)?,
        fact(K, vec![batch.clone(), k_heads, total(1), k_size])?,
        fact(V, vec![batch.clone(), v_heads, total(2), v_size])?,
        fact(Q, vec![batch, q_heads, q_len, total(3)])?,
    ])
}

/// Axes that the relations speak of.
struct Axes {
    key_head: Long,
    query_of_head: Long,
    q_value: Long,
    k_value: Long,
    v_value: Long,
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (is_packed, heads, y) = (packed(node)?, heads(node)?, node.need_output(0)?);
    let (q, k, v) = (node.need_input(Q)?, node.need_input(K)?, node.need_input(V)?);
    let last = if is_packed { 2 } else { 3 };
    let value = |r: &mut Relations, o: &Operand, index: usize, heads: u64| -> Result<Long, OpError> {
        let size = o.size(last).ok_or(OpError::UnboundSize { index })?;
        Ok(if is_packed { virtual_axis(r, size_of(Some(size), heads)?) } else { (o.axis(3), size) })
    };
    let a = Axes {
        key_head: virtual_axis(r, heads.key),
        query_of_head: virtual_axis(r, heads.queries()),
        q_value: value(r, &q, Q, heads.query)?,
        k_value: value(r, &k, K, heads.key)?,
        v_value: value(r, &v, V, heads.key)?,
    };
    for (o, value, of_query) in
        [(&q, a.q_value, true), (&k, a.k_value, false), (&v, a.v_value, false), (&y, a.v_value, true)]
    {
        let mut factors = vec![a.key_head];
        factors.extend(of_query.then_some(a.query_of_head));
        if is_packed {
            factors.push(value);
            compose(r, o.axis(2), &factors, "R4");
        } else {
            compose(r, o.axis(1), &factors, "R1");
        }
    }
    if !is_packed {
        tie(r, (&v, 3), (&y, 3), "R3");
    }
    r.contract(a.q_value.0, a.k_value.0, a.q_value.1, "R2");
    if is_packed && let Some(hidden) = q.size(2) {
        r.absorb(q.axis(2), hidden, "R2");
    }
    let caches = [
        (node.input(PAST_KEY), a.k_value),
        (node.input(PAST_VALUE), a.v_value),
        (node.output(1), a.k_value),
        (node.output(2), a.v_value),
    ];
    for (cache, (value, size)) in caches.into_iter().filter_map(|(cache, value)| Some((cache?, value))) {
        compose(r, cache.axis(1), &[a.key_head], "R1");
        r.tie(cache.axis(3), value, size, "R3");
        freeze(r, &cache, [2], &normalised(node)); // R5
    }
    if let Some(scores) = node.output(3) {
        compose(r, scores.axis(1), &[a.key_head, a.query_of_head], "R1");
        freeze(r, &scores, 2..4, &normalised(node));
    }
    mask(node, &a, heads, r);
    let positions = if is_packed { 1 } else { 2 };
    for o in [&q, &k, &v, &y] {
        freeze(r, o, [positions], &normalised(node)); // R5
    }
    let inputs = [Q, K, V, PAST_KEY, PAST_VALUE, LENGTHS].into_iter().filter_map(|i| node.input(i));
    for o in inputs.chain((1..node.output_count()).filter_map(|i| node.output(i))) {
        tie(r, (&y, 0), (&o, 0), "R5");
    }
    Ok(())
}

/// R6.
fn mask(node: &NodeRef, a: &Axes, heads: Heads, r: &mut Relations) {
    let Some(mask) = node.input(MASK) else { return };
    let rank = mask.rank().unwrap_or(0);
    for axis in 0..rank {
        match rank - axis {
            1 | 2 => freeze(r, &mask, [axis], &normalised(node)),
            3 if mask.size(axis) == Some(heads.query) => {
                compose(r, mask.axis(axis), &[a.key_head, a.query_of_head], "R6");
            }
            4 => {
                if let (Some(y), Some(len)) = (node.output(0), mask.size(axis).filter(|&n| n > 1)) {
                    r.tie(y.axis(0), mask.axis(axis), len, "R6");
                }
            }
            _ => {}
        }
    }
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let is_packed = packed(node)?;
    let (q, k, v) = (sizes(node, Q)?, sizes(node, K)?, sizes(node, V)?);
    let past = match node.input(PAST_KEY) {
        Some(_) => sizes(node, PAST_KEY)?.get(2).copied().unwrap_or(0),
        None => 0,
    };
    let (positions, last) = if is_packed { (1, 2) } else { (2, 3) };
    let (m, n) = (q[positions], k[positions].checked_add(past).ok_or(OpError::Overflow)?);
    // Sizes follow a plan, the attributes do not yet: where heads are packed their number only splits the work.
    let heads = heads(node)?;
    let of_a_head = |all: u64, heads: u64| if is_packed { all / heads } else { all };
    let batch = product(&[q[0], heads.query])?;
    let k = of_a_head(q[last], heads.query).checked_add(of_a_head(v[last], heads.key)).ok_or(OpError::Overflow)?;
    Ok(Work { kernel: Kernel::BatchedMatMul { batch, m, n, k }, macs: product(&[batch, m, n, k])? })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (heads, q, k) = (heads(node)?, node.need_input(Q)?, node.need_input(K)?);
    if packed(node)? {
        let names = [("q_num_heads", (q.value, 2), 0, heads.query), ("kv_num_heads", (k.value, 2), 0, heads.key)];
        return heads::resize(cut, &names, size_of(q.size(2), heads.query)?); // R4
    }
    let old = q.size(3).ok_or(OpError::UnboundSize { index: Q })?;
    Ok(if (cut.kept)(q.value, 3).is_some() { heads::keep_scale(node, old)? } else { Vec::new() }) // R2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work, relations};

    fn opset(text: &str) -> String {
        format!("<ir_version: 10, opset_import: [\"\" : 23]> {text}")
    }
    fn four() -> String {
        opset("g (float[1,4,5,8] q, float[1,2,7,8] k, float[1,2,7,6] v) => (y) { y = Attention (q, k, v) }")
    }
    fn three() -> String {
        opset(
            "g (float[1,5,32] q, float[1,7,16] k, float[1,7,12] v) => (y)
            { y = Attention <q_num_heads=4, kv_num_heads=2> (q, k, v) }",
        )
    }

    #[test]
    fn r1_r2_r3_heads_of_keys_take_their_queries_along() {
        check_shape(&four(), "float[1,4,5,6]; float[1,2,7,8]; float[1,2,7,6]; float[1,4,5,7]");
        check_relation(
            &four(),
            "R1 q:1 = $0(2) x $1(2)
             R1 k:1 = $0(2)
             R1 v:1 = $0(2)
             R1 y:1 = $0(2) x $1(2)
             R3 v:3 = y:3
             R2 q:3 * k:3
             freeze q:2: Attention works over the whole axis
             freeze k:2: Attention works over the whole axis
             freeze v:2: Attention works over the whole axis
             freeze y:2: Attention works over the whole axis
             R5 y:0 = q:0
             R5 y:0 = k:0
             R5 y:0 = v:0",
        );
    }

    #[test]
    fn r4_packed_heads_are_unpacked() {
        check_shape(&three(), "float[1,5,24]; float[1,2,7,8]; float[1,2,7,6]; float[1,4,5,7]");
        check_relation(
            &three(),
            "R4 q:2 = $0(2) x $1(2) x $2(8)
             R4 k:2 = $0(2) x $3(8)
             R4 v:2 = $0(2) x $4(6)
             R4 y:2 = $0(2) x $1(2) x $4(6)
             R2 $2(8) * $3(8)
             R2 q:2 * q:2
             freeze q:1: Attention works over the whole axis
             freeze k:1: Attention works over the whole axis
             freeze v:1: Attention works over the whole axis
             freeze y:1: Attention works over the whole axis
             R5 y:0 = q:0
             R5 y:0 = k:0
             R5 y:0 = v:0",
        );
        let odd = opset(
            "g (float[1,5,30] q, float[1,7,16] k, float[1,7,12] v) => (y)
            { y = Attention <q_num_heads=4, kv_num_heads=2> (q, k, v) }",
        );
        check_shape(&odd, "error: hidden size against heads: 30 against 4");
    }

    #[test]
    fn r2_r4_numbers_of_heads_follow_and_the_scale_stays() {
        let first: Vec<u32> = (0..16).collect();
        let key: Vec<u32> = (0..8).collect();
        check_resize(&three(), &[("q", 2, &first), ("k", 2, &key)], "q_num_heads=Int(2) kv_num_heads=Int(1)");
        let half: Vec<u32> = (0..32).filter(|i| i % 8 < 2).collect();
        let half_key: Vec<u32> = (0..16).filter(|i| i % 8 < 2).collect();
        check_resize(&three(), &[("q", 2, &half), ("k", 2, &half_key)], "scale=Float(0.35355338)");
        check_resize(&four(), &[("q", 3, &[0, 1]), ("k", 3, &[0, 1])], "scale=Float(0.35355338)");
        check_resize(&four(), &[("v", 3, &[0, 1])], "");
    }

    #[test]
    fn r3_r5_r6_caches_grow_and_masks_have_heads() {
        let text = opset(
            "g (float[2,2,5,8] q, float[2,2,7,8] k, float[2,2,7,6] v, bool[2,5,p] m, float[2,2,9,8] pk, float[2,2,9,6] pv)
            => (y) { y, nk, nv = Attention (q, k, v, m, pk, pv) }",
        );
        check_shape(&text, "float[2,2,5,6]; float[2,2,16,8]; float[2,2,16,6]; float[2,2,5,16]");
        check_relation(
            &text,
            "R1 q:1 = $0(2)
             R1 k:1 = $0(2)
             R1 v:1 = $0(2)
             R1 y:1 = $0(2)
             R3 v:3 = y:3
             R2 q:3 * k:3
             R1 pk:1 = $0(2)
             R3 pk:3 = k:3
             freeze pk:2: Attention works over the whole axis
             R1 pv:1 = $0(2)
             R3 pv:3 = v:3
             freeze pv:2: Attention works over the whole axis
             R1 nk:1 = $0(2)
             R3 nk:3 = k:3
             freeze nk:2: Attention works over the whole axis
             R1 nv:1 = $0(2)
             R3 nv:3 = v:3
             freeze nv:2: Attention works over the whole axis
             R6 m:0 = $0(2)
             freeze m:1: Attention works over the whole axis
             freeze m:2: Attention works over the whole axis
             freeze q:2: Attention works over the whole axis
             freeze k:2: Attention works over the whole axis
             freeze v:2: Attention works over the whole axis
             freeze y:2: Attention works over the whole axis
             R5 y:0 = q:0
             R5 y:0 = k:0
             R5 y:0 = v:0
             R5 y:0 = pk:0
             R5 y:0 = pv:0
             R5 y:0 = nk:0
             R5 y:0 = nv:0",
        );
    }

    #[test]
    fn work_counts_both_products() {
        let kernel = Kernel::BatchedMatMul { batch: 4, m: 5, n: 7, k: 14 };
        check_work(&four(), &[], kernel.clone(), 4 * 5 * 7 * 14);
        check_work(&three(), &[], kernel, 4 * 5 * 7 * 14);
    }

    #[test]
    fn r6_a_mask_has_the_query_heads() {
        let text = opset(
            "g (float[1,4,5,8] q, float[1,2,7,8] k, float[1,2,7,6] v, float[1,4,5,7] m) => (y) { y = Attention (q, k, v, m) }",
        );
        let all = relations(&text).unwrap();
        assert!(all.contains("R6 m:1 = $0(2) x $1(2)\n"), "{all}");
    }
}
