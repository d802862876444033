//! Product with a matrix of a few bits a number. Spec: com.microsoft `MatMulNBits` (1).
//!  R1  The last axis of y is axis 0 of B, of K × `bits` packed bytes in blocks: N × blocks × bytes of a block. It is
//!      axis 0 of the scales and zero points, or the outer factor where they are flat, and the bias.
//!  R2  The last axis of A is blocks × numbers of a block; the numbers of a block share a scale and leave together. Zero
//!      points of fewer than 8 bits lie beside each other across blocks, an order (`g_idx`) mixes blocks, and a last
//!      block may not be full: each of these freezes the axis.
//!  R3  A slot of A that leaves is worth zero. The other axes of y are those of A.
//!  R4  `N` and `K` follow.

use crate::form::{freeze, freeze_all, product, sizes, tie, tie_same};
use crate::quantised::single;
use sparsec_ir::{
    Affine, Attr, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, OpDef, OpError, Operand, Reason, Relate, Relations,
    Resize, Resized, ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "MatMulNBits",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

const B: usize = 1;
const SCALES: usize = 2;
const ZEROS: usize = 3;
const ORDER: usize = 4;
const BIAS: usize = 5;

/// A size in an attribute, which must be given.
fn attribute(node: &NodeRef, name: &'static str) -> Result<u64, OpError> {
    let bad = || OpError::BadAttribute { name: name.to_string(), expected: "a positive whole number" };
    node.int(name)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(bad)
}

/// Rank of A, which is not 0.
fn rank(node: &NodeRef) -> Result<usize, OpError> {
    node.rank(0).and_then(|r| if r > 0 { Ok(r) } else { Err(OpError::AxisOutOfRange { axis: -1, rank: 0 }) })
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (rank, n) = (rank(node)?, attribute(node, "N")?);
    let mut shape = crate::form::dims(node, 0)?.to_vec();
    shape[rank - 1] = Dim::from(i64::try_from(n).map_err(|_| OpError::Overflow)?);
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(shape), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (a, b, y, rank) = (node.need_input(0)?, node.need_input(B)?, node.need_output(0)?, rank(node)?);
    let (n, k, block) = (attribute(node, "N")?, attribute(node, "K")?, attribute(node, "block_size")?);
    if b.rank() != Some(3) || node.int_or("weight_prepacked", 0)? != 0 {
        return Err(OpError::Unsupported("weights in a layout of one device"));
    }
    tie_same(r, &a, &y, 0..rank - 1, "R3");
    tie(r, (&y, rank - 1), (&b, 0), "R1");
    let inner = Reason::Rule("numbers packed in bytes");
    freeze(r, &b, [2], &inner);
    let zeros = node.input(ZEROS);
    // Zero points of the scales' type are as many as the blocks; packed ones may share a byte.
    let packed = |z: &Operand| z.fact.elem.is_none_or(|e| !e.is_float()) && node.int_or("bits", 4) != Ok(8);
    let stuck = match () {
        _ if node.input(ORDER).is_some() => Some("an order mixes its blocks"),
        _ if !k.is_multiple_of(block) => Some("the last block of a scale is not full"),
        _ if zeros.as_ref().is_some_and(packed) => Some("zero points of several blocks share a byte"),
        _ => None,
    };
    match stuck {
        Some(why) => {
            freeze(r, &a, [rank - 1], &Reason::Rule(why)); // R2
            freeze(r, &b, [1], &Reason::Rule(why));
        }
        None => {
            let within = r.virtual_axis(block);
            r.freeze(within, Reason::Rule("a block shares one scale"));
            r.product(a.axis(rank - 1), &[b.axis(1), within], "R2");
            r.absorb(a.axis(rank - 1), k, "R3");
        }
    }
    for parameter in [node.input(SCALES), zeros].into_iter().flatten() {
        match (parameter.rank(), parameter.size(0)) {
            _ if single(&parameter) && n > 1 => freeze_all(r, &parameter, &Reason::Rule("a scale of the wrong size")),
            (Some(1), Some(len)) if len.is_multiple_of(n) => {
                // Flat: N × what there is of each row, blocks or packed bytes.
                let row = if Some(len / n) == b.size(1) { b.axis(1) } else { packed_row(r, len / n, inner.clone()) };
                r.product(parameter.axis(0), &[b.axis(0), row], "R1");
            }
            (Some(2), _) => {
                tie(r, (&b, 0), (&parameter, 0), "R1");
                if parameter.size(1) == b.size(1) {
                    tie(r, (&b, 1), (&parameter, 1), "R1");
                } else {
                    freeze(r, &parameter, [1], &inner);
                }
            }
            _ => return Err(OpError::Unsupported("scales of unknown shape")),
        }
    }
    if let Some(order) = node.input(ORDER) {
        freeze_all(r, &order, &Reason::Rule("an order mixes its blocks"));
    }
    if let Some(bias) = node.input(BIAS) {
        tie(r, (&b, 0), (&bias, 0), "R1");
    }
    Ok(())
}

/// What a row holds in packed bytes.
fn packed_row(r: &mut Relations, len: u64, reason: Reason) -> sparsec_ir::AxisRef {
    let row = r.virtual_axis(len);
    r.freeze(row, reason);
    row
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (a, b) = (sizes(node, 0)?, sizes(node, B)?);
    let (Some((&k, batch)), Some(&n)) = (a.split_last(), b.first()) else {
        return Err(OpError::Unsupported("a matrix product with a scalar"));
    };
    let m = product(batch)?;
    Ok(Work { kernel: Kernel::Gemm { m, n, k }, macs: product(&[m, n, k])? })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (a, b, rank) = (node.need_input(0)?, node.need_input(B)?, rank(node)?);
    let mut edits = Vec::new();
    for (name, value, axis) in [("N", b.value, 0), ("K", a.value, rank - 1)] {
        if let (Some(kept), old) = ((cut.kept)(value, axis), attribute(node, name)?)
            && kept.len() as u64 != old
        {
            edits.push(Edit::Attr(name, Attr::Int(kept.len() as i64)));
        }
    }
    Ok(edits) // R4
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape, check_work};
    use sparsec_ir::Kernel;

    fn text(parameters: &str, operands: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[n,64] a) => (y)
            <uint8[6,4,8] b = ["location": "random:1"], {parameters}>
            {{ y = com.microsoft.MatMulNBits <K=64, N=6, bits=4, block_size=16> (a, b, {operands}) }}"#
        )
    }
    const FLAT: &str = r#"float[24] s = ["location": "random:2"]"#;

    #[test]
    fn r1_r2_r3_blocks_of_inputs_and_single_outputs_leave() {
        check_relation(
            &text(FLAT, "s"),
            "R1 y:1 = b:0
             freeze b:2: numbers packed in bytes
             freeze $0(16): a block shares one scale
             R2 a:1 = b:1 x $0(16)
             R3 a:1 * a:1
             R1 s:0 = b:0 x b:1",
        );
        check_shape(&text(FLAT, "s"), "float[n,6]");
        check_work(&text(FLAT, "s"), &[("n", 2)], Kernel::Gemm { m: 2, n: 6, k: 64 }, 768);
    }

    #[test]
    fn r2_zero_points_in_shared_bytes_freeze_the_inputs() {
        check_relation(
            &text(&format!(r#"{FLAT}, uint8[12] z = ["location": "random:3"]"#), "s, z"),
            "R1 y:1 = b:0
             freeze b:2: numbers packed in bytes
             freeze a:1: zero points of several blocks share a byte
             freeze b:1: zero points of several blocks share a byte
             R1 s:0 = b:0 x b:1
             freeze $0(2): numbers packed in bytes
             R1 z:0 = b:0 x $0(2)",
        );
    }

    #[test]
    fn r4_sizes_follow() {
        let blocks: Vec<u32> = (16..48).collect();
        check_resize(&text(FLAT, "s"), &[("b", 0, &[0, 2, 5]), ("a", 1, &blocks)], "N=Int(3) K=Int(32)");
    }
}
