//! Attention with the projections inside. Spec: com.microsoft `Attention` (1).
//!  R1  x axis 2 is contracted with w axis 0. Columns of w, and the bias with them, are those of the queries, the keys
//!      and the values, each heads × head dimension (rule H1 of `heads.rs`); y axis 2 is that of the values.
//!  R2  Queries are contracted with keys: a slot of the head dimension that leaves is worth zero in w and in the bias.
//!  R3  Positions are frozen (H2); the batch is that of x.
//!  R4  Past and present hold keys and values in one tensor: the head dimension is that of both.
//!  R5  A bias of the scores may have an axis of heads. Masks speak of positions.
//!  R6  With `do_rotary` the head dimension is rotated in pairs by angles that depend on their place: frozen.
//!  R7  `num_heads`, `scale` (H3) and `qkv_hidden_sizes` follow.

use crate::form::{contract, dims, freeze_all, mismatch, positive, product, result_sizes, sizes, tie, unnamed, whole};
use crate::heads::{self, freeze_positions, masks, size_of};
use sparsec_ir::{
    Affine, Attr, Dim, Edit, Fact, Kernel, LinearRule, LinkKind, NodeRef, OpDef, OpError, Operand, Reason, Relate,
    Relations, Resize, Resized, Row, ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Attention",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Operands and the sizes of queries, keys and values.
struct Attention<'g> {
    x: Operand<'g>,
    w: Operand<'g>,
    bias: Option<Operand<'g>>,
    heads: u64,
    /// Columns of the queries, and of the keys.
    keys: u64,
    /// Columns of the values.
    values: u64,
}

impl<'g> Attention<'g> {
    fn view(node: &NodeRef<'g>) -> Result<Self, OpError> {
        for (operand, rank) in [(0, 3), (1, 2)] {
            if node.rank(operand)? != rank {
                return Err(mismatch("rank of an operand of an attention", node.rank(operand)?, rank));
            }
        }
        let w = node.need_input(1)?;
        let columns = w.size(1).ok_or(OpError::Unsupported("a hidden size that is not known"))?;
        let (keys, values) = match node.ints("qkv_hidden_sizes")?.as_deref() {
            None | Some([]) => (columns / 3, columns / 3),
            Some(&[q, k, v]) if q == k && q > 0 && v > 0 => (q as u64, v as u64),
            Some(_) => return Err(OpError::Unsupported("queries and keys of different sizes")),
        };
        if keys.checked_mul(2).and_then(|k| k.checked_add(values)) != Some(columns) {
            return Err(mismatch("columns of queries, keys and values", columns, format!("{keys}, {keys}, {values}")));
        }
        Ok(Self {
            x: node.need_input(0)?,
            w,
            bias: node.input(2),
            heads: positive(node, "num_heads", 0)?,
            keys,
            values,
        })
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let a = Attention::view(node)?;
    let x = dims(node, 0)?;
    let y =
        Fact { elem: a.x.fact.elem, shape: Some(vec![x[0].clone(), x[1].clone(), whole(a.values)?]), content: None };
    if node.output(1).is_none() {
        return Ok(vec![y]);
    }
    let past = node.input(4).and_then(|p| p.fact.shape.as_ref()?.get(3).cloned());
    let positions = match (past, node.input(4)) {
        (Some(past), _) => past.add(&x[1]).ok_or(OpError::Overflow)?,
        (None, None) => x[1].clone(),
        _ => unnamed(node, 1, 3),
    };
    let head = whole(size_of(Some(a.keys), a.heads)?)?;
    let present = vec![Dim::from(2), x[0].clone(), whole(a.heads)?, positions, head];
    Ok(vec![y, Fact { elem: a.x.fact.elem, shape: Some(present), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (a, y) = (Attention::view(node)?, node.need_output(0)?);
    let (size, size_v) = (size_of(Some(a.keys), a.heads)?, size_of(Some(a.values), a.heads)?);
    tie(r, (&a.x, 0), (&y, 0), "R3");
    freeze_positions(r, &[(&a.x, 1), (&y, 1)]);
    contract(r, (&a.x, 2), (&a.w, 0), "R1");
    let row = |o: &Operand, axis: usize, start: u64| Row { axis: o.axis(axis), start: start as u32, step: 1 };
    if let Some(bias) = &a.bias {
        tie(r, (&a.w, 1), (bias, 0), "R1");
        r.link(row(bias, 0, 0), row(bias, 0, a.keys), a.keys, LinkKind::Contract, "R2");
    }
    r.link(row(&a.w, 1, 0), row(&a.w, 1, a.keys), a.keys, LinkKind::Contract, "R2");
    r.segment(a.w.axis(1), 2 * a.keys, y.axis(2), a.values, "R1");
    let (queries, heads) = (r.virtual_axis(a.keys), r.virtual_axis(a.heads));
    let (numbers, numbers_v) = (r.virtual_axis(size), r.virtual_axis(size_v));
    r.segment(a.w.axis(1), 0, queries, a.keys, "R1");
    r.product(queries, &[heads, numbers], "H1");
    r.product(y.axis(2), &[heads, numbers_v], "H1");
    if node.int_or("do_rotary", 0)? != 0 {
        r.freeze(numbers, Reason::Rule("rotated in pairs")); // R6
    }
    for state in [node.input(4), node.output(1)].into_iter().flatten() {
        if state.rank() != Some(5) || size != size_v {
            freeze_all(r, &state, &Reason::Rule("keys and values of different sizes in one tensor"));
            continue;
        }
        r.freeze(state.axis(0), Reason::Rule("keys beside values"));
        tie(r, (&a.x, 0), (&state, 1), "R4");
        r.tie(heads, state.axis(2), a.heads, "R4");
        freeze_positions(r, &[(&state, 3)]);
        r.tie(numbers, state.axis(4), size, "R4");
        r.tie(numbers_v, state.axis(4), size, "R4");
    }
    if let Some(mask) = node.input(3) {
        masks(r, &a.x, &mask, None, "R5");
    }
    if let Some(scores) = node.input(5) {
        let of_heads = scores.size(1) == Some(a.heads) && a.heads > 1;
        masks(r, &a.x, &scores, of_heads.then_some(1), "R5");
        if of_heads {
            r.tie(heads, scores.axis(1), a.heads, "R5");
        }
    }
    Ok(())
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (x, w, y) = (sizes(node, 0)?, sizes(node, 1)?, result_sizes(node, 0)?);
    let ([batch, positions, k], [_, n], [_, _, values]) = (x.as_slice(), w.as_slice(), y.as_slice()) else {
        return Err(OpError::Unsupported("an attention over other than three axes"));
    };
    let past = node.input(4).and_then(|p| p.fact.size(3)).unwrap_or(0);
    let m = product([batch, positions])?;
    let keys = n.saturating_sub(*values) / 2;
    let attended = past.checked_add(*positions).ok_or(OpError::Overflow)?;
    let scores = product(&[m, attended, keys + values])?;
    let macs = product(&[m, *n, *k])?.checked_add(scores).ok_or(OpError::Overflow)?;
    Ok(Work { kernel: Kernel::Gemm { m, n: *n, k: *k }, macs })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let (a, y) = (Attention::view(&cut.before)?, cut.before.need_output(0)?);
    let size = size_of(Some(a.keys), a.heads)?;
    let mut edits = heads::resize(cut, &[("num_heads", (a.w.value, 1), 0, a.heads)], size)?;
    let left = |o: &Operand, axis| cut.dim(o.value, axis).and_then(|d| d.as_size());
    let (Some(columns), Some(values)) = (left(&a.w, 1), left(&y, 2)) else { return Ok(edits) };
    let keys = columns.saturating_sub(values) / 2;
    if keys != values || cut.before.ints("qkv_hidden_sizes")?.is_some_and(|s| !s.is_empty()) {
        edits.push(Edit::Attr("qkv_hidden_sizes", Attr::Ints(vec![keys as i64, keys as i64, values as i64])));
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape, check_work};
    use sparsec_ir::Kernel;

    fn text(attrs: &str, columns: usize, results: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[n,5,6] x) => (y)
            <float[6,{columns}] w = ["location": "random:1"], float[{columns}] b = ["location": "random:2"]>
            {{ {results} = com.microsoft.Attention <num_heads=2{attrs}> (x, w, b) }}"#
        )
    }

    #[test]
    fn r1_r2_r3_columns_are_heads_of_queries_keys_and_values() {
        check_relation(
            &text(", qkv_hidden_sizes=[4,4,6]", 14, "y"),
            "freeze x:1: positions attend to each other
             freeze y:1: positions attend to each other
             R1 x:2 * w:0
             R1 w:1 = b:0
             R2 b:0[0+1]#4 * b:0[4+1]#4
             R2 w:1[0+1]#4 * w:1[4+1]#4
             R1 w:1[8+1]#6 = y:2
             R1 w:1[0+1]#4 = $0(4)
             H1 $0(4) = $1(2) x $2(2)
             H1 y:2 = $1(2) x $3(3)",
        );
    }

    #[test]
    fn r5_masks_and_biases_of_scores_keep_their_positions() {
        let text = r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
            g (float[n,5,6] x, int32[n,5] m, float[1,2,5,5] s) => (y) <float[6,12] w = ["location": "random:1"]>
            { y = com.microsoft.Attention <num_heads=2> (x, w, , m, , s) }"#;
        check_relation(
            text,
            "freeze x:1: positions attend to each other
             freeze y:1: positions attend to each other
             R1 x:2 * w:0
             R2 w:1[0+1]#4 * w:1[4+1]#4
             R1 w:1[8+1]#4 = y:2
             R1 w:1[0+1]#4 = $0(4)
             H1 $0(4) = $1(2) x $2(2)
             H1 y:2 = $1(2) x $3(2)
             freeze m:1: positions attend to each other
             freeze s:2: positions attend to each other
             freeze s:3: positions attend to each other
             R5 $1(2) = s:1",
        );
    }

    #[test]
    fn r4_present_keys_and_values_have_the_sizes_of_a_head() {
        check_shape(&text("", 18, "y, p"), "float[n,5,6]; float[2,n,2,5,3]");
    }

    #[test]
    fn r7_heads_scale_and_sizes_follow() {
        let text = text("", 18, "y");
        let head = [3, 4, 5, 9, 10, 11, 15, 16, 17];
        check_resize(&text, &[("w", 1, &head), ("b", 0, &head), ("y", 2, &[3, 4, 5])], "num_heads=Int(1)");
        let numbers = [0, 2, 3, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17];
        check_resize(
            &text,
            &[("w", 1, &numbers), ("b", 0, &numbers)],
            "scale=Float(0.57735026) qkv_hidden_sizes=Ints([4, 4, 6])",
        );
    }

    #[test]
    fn work_counts_projections_and_scores() {
        let kernel = Kernel::Gemm { m: 10, n: 18, k: 6 };
        check_work(&text("", 18, "y"), &[("n", 2)], kernel, 10 * 18 * 6 + 10 * 5 * 12);
    }
}
