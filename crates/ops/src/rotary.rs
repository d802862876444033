//! `RotaryEmbedding`: pairs along the head dimension turned by an angle of their position. Spec: ai.onnx, version 23.
//!  R1  y has the slots of x. Heads are axis 1 of rank 4, or packed with the head dimension in axis 2 of rank 3; they pass.
//!  R2  The two values of a pair leave together, with their angle: the last axis of both caches. Pairs are (i, i + n/2)
//!      of the n first slots of the head dimension, or (2i, 2i + 1) if interleaved.
//!  R3  `num_heads` follows for rank 3; so does `rotary_embedding_dim` where it is stated.
//!  R4  Batch axes are the same, that of caches of rank 3 included; positions are frozen.

use crate::form::{differ, dims, freeze, like, mismatch, positive, tie, tie_same};
use crate::heads::{self, Long, compose, size_of, virtual_axis};
use crate::work::light;
use sparsec_ir::{
    Affine, Attr, Dim, Edit, Fact, LinearRule, LinkKind, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations,
    Resize, Resized, Row, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "RotaryEmbedding",
    domain: ONNX,
    since: &[23],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(light),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

const CACHES: [usize; 2] = [1, 2];
const POSITIONS: Reason = Reason::Rule("positions of tokens");

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = dims(node, 0)?;
    let pairs = heads(node).and_then(|(_, size)| turned(node, size)).ok().map(|n| Dim::from((n / 2) as i64));
    for cache in CACHES {
        let cache = dims(node, cache)?;
        let batch = if cache.len() == 3 { Some((&cache[0], &x[0])) } else { None };
        let mut expected = batch.into_iter().chain(cache.last().zip(pairs.as_ref()));
        if let Some((has, wanted)) = expected.find(|(has, wanted)| differ(has, wanted)) {
            return Err(mismatch("sizes of a cache of angles", has, wanted));
        }
    }
    Ok(vec![like(node, 0)?])
}

/// Number of heads and size of one.
fn heads(node: &NodeRef) -> Result<(u64, u64), OpError> {
    let (x, rank) = (node.need_input(0)?, node.rank(0)?);
    let unbound = OpError::UnboundSize { index: 0 };
    match rank {
        4 => Ok((x.size(1).unwrap_or(1), x.size(3).ok_or(unbound)?)),
        3 => {
            let heads = positive(node, "num_heads", 0)?;
            Ok((heads, size_of(x.size(2), heads)?))
        }
        _ => Err(mismatch("rank of embeddings", rank, "3 or 4")),
    }
}

/// Slots of the head dimension that are turned.
fn turned(node: &NodeRef, size: u64) -> Result<u64, OpError> {
    match u64::try_from(node.int_or("rotary_embedding_dim", 0)?) {
        Ok(0) => Ok(size),
        Ok(n) if n <= size && n % 2 == 0 => Ok(n),
        _ => {
            let expected = "an even part of the head dimension";
            Err(OpError::BadAttribute { name: "rotary_embedding_dim".to_string(), expected })
        }
    }
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank, (heads, size)) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?, heads(node)?);
    let turned = turned(node, size)?;
    let position = rank - 2;
    tie_same(r, &x, &y, (0..rank).filter(|a| *a != position), "R1");
    for o in [&x, &y] {
        freeze(r, o, [position], &POSITIONS); // R4
    }
    let value: Long = if rank == 4 { (x.axis(3), size) } else { virtual_axis(r, size) };
    if rank == 3 {
        let head = virtual_axis(r, heads);
        compose(r, x.axis(2), &[head, value], "R1");
    }
    let half = turned / 2;
    let (step, second) = if node.int_or("interleaved", 0)? != 0 { (2, 1) } else { (1, half) };
    let row = |axis, start: u64, step| Row { axis, start: u32::try_from(start).unwrap_or(u32::MAX), step };
    r.link(row(value.0, 0, step), row(value.0, second, step), half, LinkKind::Same, "R2");
    for cache in CACHES {
        let cache = node.need_input(cache)?;
        let rank = cache.rank().unwrap_or(1);
        let last = rank.saturating_sub(1);
        if cache.size(last) != Some(half) {
            return Err(mismatch("angles against pairs of values", cache.size(last).unwrap_or(0), half));
        }
        r.link(row(value.0, 0, step), row(cache.axis(last), 0, 1), half, LinkKind::Same, "R2");
        // Rows of each sample where nothing names positions; else a table of them.
        if rank == 3 {
            tie(r, (&x, 0), (&cache, 0), "R4");
        }
        freeze(r, &cache, rank.saturating_sub(2)..last, &POSITIONS);
    }
    if let Some(ids) = node.input(3) {
        freeze(r, &ids, [1], &POSITIONS);
        tie(r, (&x, 0), (&ids, 0), "R4");
    }
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let (node, (heads, size)) = (&cut.before, heads(&cut.before)?);
    let (x, cache) = (node.need_input(0)?, node.need_input(CACHES[0])?);
    let mut edits = Vec::new();
    if node.rank(0)? == 3 {
        edits = heads::numbers(cut, &[("num_heads", (x.value, 2), 0, heads)], size)?.0; // R3
    }
    let angles = cache.rank().and_then(|rank| (cut.kept)(cache.value, rank.checked_sub(1)?));
    if let Some(angles) = angles
        && node.int_or("rotary_embedding_dim", 0)? != 0
    {
        let turned = i64::try_from(2 * angles.len()).map_err(|_| OpError::Overflow)?;
        edits.push(Edit::Attr("rotary_embedding_dim", Attr::Int(turned))); // R3
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape};

    fn text(x: &str, attrs: &str, half: u64) -> String {
        format!(
            "<ir_version: 10, opset_import: [\"\" : 23]> g (float[{x}] x, float[9,{half}] c, float[9,{half}] s, int64[2,5] i) => (y)
            {{ y = RotaryEmbedding {attrs} (x, c, s, i) }}"
        )
    }
    const POSITIONS: &str = "freeze i:1: positions of tokens
        R4 x:0 = i:0";

    #[test]
    fn r1_r2_halves_of_a_head_are_pairs() {
        check_shape(&text("2,3,5,8", "", 4), "float[2,3,5,8]");
        check_relation(
            &text("2,3,5,8", "", 4),
            &format!(
                "R1 x:0 = y:0
                 R1 x:1 = y:1
                 R1 x:3 = y:3
                 freeze x:2: positions of tokens
                 freeze y:2: positions of tokens
                 R2 x:3[0+1]#4 = x:3[4+1]#4
                 R2 x:3[0+1]#4 = c:1
                 freeze c:0: positions of tokens
                 R2 x:3[0+1]#4 = s:1
                 freeze s:0: positions of tokens
                 {POSITIONS}"
            ),
        );
    }

    #[test]
    fn r1_r2_neighbours_are_pairs_if_interleaved_and_heads_may_be_packed() {
        check_relation(
            &text("2,5,24", "<num_heads=3, interleaved=1, rotary_embedding_dim=4>", 2),
            &format!(
                "R1 x:0 = y:0
                 R1 x:2 = y:2
                 freeze x:1: positions of tokens
                 freeze y:1: positions of tokens
                 R1 x:2 = $1(3) x $0(8)
                 R2 $0(8)[0+2]#2 = $0(8)[1+2]#2
                 R2 $0(8)[0+2]#2 = c:1
                 freeze c:0: positions of tokens
                 R2 $0(8)[0+2]#2 = s:1
                 freeze s:0: positions of tokens
                 {POSITIONS}"
            ),
        );
    }

    #[test]
    fn r4_caches_without_positions_have_the_batch_of_x() {
        let text = |batch: u64| {
            format!(
                "<ir_version: 10, opset_import: [\"\" : 23]> g (float[2,3,5,8] x, float[{batch},5,4] c, float[{batch},5,4] s) => (y)
                {{ y = RotaryEmbedding (x, c, s) }}"
            )
        };
        check_shape(&text(3), "error: sizes of a cache of angles: 3 against 2");
        check_relation(
            &text(2),
            "R1 x:0 = y:0
             R1 x:1 = y:1
             R1 x:3 = y:3
             freeze x:2: positions of tokens
             freeze y:2: positions of tokens
             R2 x:3[0+1]#4 = x:3[4+1]#4
             R2 x:3[0+1]#4 = c:2
             R4 x:0 = c:0
             freeze c:1: positions of tokens
             R2 x:3[0+1]#4 = s:2
             R4 x:0 = s:0
             freeze s:1: positions of tokens",
        );
    }

    #[test]
    fn r3_numbers_of_heads_and_of_turned_values_follow() {
        let kept: Vec<u32> = (0..24).filter(|i| i / 8 != 1 && i % 8 > 1).collect();
        let packed = text("2,5,24", "<num_heads=3, interleaved=1, rotary_embedding_dim=4>", 2);
        check_resize(&packed, &[("x", 2, &kept), ("c", 1, &[1])], "num_heads=Int(2) rotary_embedding_dim=Int(2)");
        check_resize(&text("2,3,5,8", "", 4), &[("x", 3, &[0, 4]), ("c", 1, &[0])], "");
    }
}
