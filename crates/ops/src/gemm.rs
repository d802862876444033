//! `Gemm`: y = alpha·A·B + beta·C with optional transposes. Spec: ai.onnx `Gemm`, versions 1, 6, 7, 9, 11, 13.
//!  R1  The contracted axes of A and B are tied: axis 1 of A (0 if `transA`), axis 0 of B (1 if `transB`).
//!  R2  y axis 0 is the other axis of A, y axis 1 the other axis of B.
//!  R3  C is broadcast to y from the right; an axis of length 1 relates to nothing.
//!  R4  With alpha other than 0: linear in A with a constant B where C is a constant row, and in B with a constant A
//!      where C is a constant column. C may also be left out or count for nothing (beta 0).

use crate::form::{contract, differ, dims, mismatch, product, sizes, tie};
use sparsec_ir::{
    Affine, Contraction, Dim, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Relate, Relations,
    Resize, ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Gemm",
    domain: ONNX,
    since: &[1, 6, 7, 9, 11, 13],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::By(linear),
    affine: Affine::Never,
}];

/// Operands, and which of their axes is which.
pub(crate) struct Gemm<'g> {
    pub(crate) a: Operand<'g>,
    pub(crate) b: Operand<'g>,
    c: Option<Operand<'g>>,
    /// Axes of A: rows, contracted.
    pub(crate) m: usize,
    pub(crate) a_k: usize,
    /// Axes of B: contracted, columns.
    pub(crate) b_k: usize,
    pub(crate) n: usize,
}

/// Where a product has A, B and C.
pub(crate) type Places = [usize; 3];

const PLAIN: Places = [0, 1, 2];

impl<'g> Gemm<'g> {
    pub(crate) fn view(node: &NodeRef<'g>, [a, b, c]: Places) -> Result<Self, OpError> {
        for operand in [a, b] {
            let rank = node.rank(operand)?;
            if rank != 2 {
                return Err(mismatch("rank of a matrix", rank, 2));
            }
        }
        let axes = |transposed: i64| if transposed != 0 { (1, 0) } else { (0, 1) };
        let (m, a_k) = axes(node.int_or("transA", 0)?);
        let (b_k, n) = axes(node.int_or("transB", 0)?);
        Ok(Self { a: node.need_input(a)?, b: node.need_input(b)?, c: node.input(c), m, a_k, b_k, n })
    }
}

pub(crate) fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    shape_of(node, PLAIN)
}

/// Shape of a product with its operands at `places`; the element type is that of A.
pub(crate) fn shape_of(node: &NodeRef, places: Places) -> Result<Vec<Fact>, OpError> {
    let g = Gemm::view(node, places)?;
    let (a, b) = (dims(node, places[0])?, dims(node, places[1])?);
    if differ(&a[g.a_k], &b[g.b_k]) {
        return Err(mismatch("contracted sizes", &a[g.a_k], &b[g.b_k]));
    }
    let out = vec![a[g.m].clone(), b[g.n].clone()]; // R2
    Ok(vec![Fact { elem: g.a.fact.elem.or(g.b.fact.elem), shape: Some(out), content: None }])
}

pub(crate) fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, PLAIN, r)
}

/// Relations of a product with its operands at `places`.
pub(crate) fn relate_of(node: &NodeRef, places: Places, r: &mut Relations) -> Result<(), OpError> {
    let g = Gemm::view(node, places)?;
    let y = node.need_output(0)?;
    contract(r, (&g.a, g.a_k), (&g.b, g.b_k), "R1");
    tie(r, (&y, 0), (&g.a, g.m), "R2");
    tie(r, (&y, 1), (&g.b, g.n), "R2");
    if let Some(c) = &g.c {
        let rank = c.rank().filter(|r| *r <= 2).ok_or(OpError::UnknownRank { index: places[2] })?;
        for axis in (0..rank).filter(|a| c.size(*a) != Some(1)) {
            tie(r, (&y, 2 - rank + axis), (c, axis), "R3");
        }
    }
    Ok(())
}

pub(crate) fn work(node: &NodeRef) -> Result<Work, OpError> {
    work_of(node, PLAIN)
}

/// Work of a product with its operands at `places`.
pub(crate) fn work_of(node: &NodeRef, places: Places) -> Result<Work, OpError> {
    let g = Gemm::view(node, places)?;
    let (a, b) = (sizes(node, places[0])?, sizes(node, places[1])?);
    let (m, n, k) = (a[g.m], b[g.n], a[g.a_k]);
    let constant = g.b.tensor.is_some();
    let kernel = if constant { Kernel::Gemm { m, n, k } } else { Kernel::BatchedMatMul { batch: 1, m, n, k } };
    Ok(Work { kernel, macs: product(&[m, n, k])? })
}

fn linear(node: &NodeRef) -> Result<Option<Contraction>, OpError> {
    let g = Gemm::view(node, PLAIN)?;
    let (alpha, beta) = (node.float_or("alpha", 1.0)?, node.float_or("beta", 1.0)?);
    if alpha == 0.0 || !alpha.is_finite() || !beta.is_finite() {
        return Ok(None);
    }
    let one = Dim::from(1);
    let c = g.c.as_ref().filter(|_| beta != 0.0);
    // Sizes of C where it is constant: a row is one number a column of B, a column one a row of A.
    let sizes = c.map(|c| c.tensor.and(c.fact.shape.as_deref()).unwrap_or_default());
    let (m, n) = (g.a.fact.shape.as_ref().map(|a| &a[g.m]), g.b.fact.shape.as_ref().map(|b| &b[g.n]));
    let row = match sizes {
        None => true,
        Some([len]) => Some(len) == n,
        Some([first, len]) => *first == one && Some(len) == n,
        Some(_) => false,
    };
    let column = sizes.is_none_or(|s| matches!(s, [len, last] if Some(len) == m && *last == one));
    let form = |x: usize, bias: Option<usize>| Contraction {
        x,
        w: 1 - x,
        bias,
        w_scale: f64::from(alpha),
        bias_scale: if beta != 0.0 { f64::from(beta) } else { 1.0 },
        x_axis: if x == 0 { g.a_k } else { g.b_k },
        y_axis: 1 - x,
        w_in: if x == 0 { g.b_k } else { g.a_k },
        w_out: if x == 0 { g.n } else { g.m },
        groups: 1,
        window: None,
        transposed: false,
    };
    Ok(match (g.a.tensor.is_some(), g.b.tensor.is_some()) {
        (_, true) if row => Some(form(0, (beta != 0.0).then_some(2))), // R4
        // A bias that is left out would be added as a row.
        (true, false) if column => Some(form(1, c.map(|_| 2))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_shape, check_work, linear};

    fn text(a: &str, b: &str, c: &str, attrs: &str) -> String {
        let row = r#"= ["location": "random:1"]"#;
        format!("g (float[{a}] a) => (y) <float[{b}] b {row}, float[{c}] c {row}> {{ y = Gemm <{attrs}> (a, b, c) }}")
    }

    #[test]
    fn r1_r2_r3_transposes_pick_the_axes() {
        check_relation(&text("n,3", "5,3", "5", "transB=1"), "R1 a:1 * b:1\nR2 y:1 = b:0\nR3 y:1 = c:0");
        let both = "R1 a:0 * b:0\nR2 y:0 = a:1\nR2 y:1 = b:1\nR3 y:1 = c:1";
        check_relation(&text("3,2", "3,5", "1,5", "transA=1"), both);
    }

    #[test]
    fn contracted_sizes_must_agree() {
        check_shape(&text("n,3", "5,3", "5", "transB=1"), "float[n,5]");
        check_shape(&text("n,3", "5,3", "5", ""), "error: contracted sizes: 3 against 5");
    }

    #[test]
    fn work_of_a_constant_matrix() {
        check_work(&text("n,3", "5,3", "5", "transB=1"), &[("n", 7)], Kernel::Gemm { m: 7, n: 5, k: 3 }, 105);
    }

    #[test]
    fn r4_linear_with_a_row() {
        let axes = |t: &str| linear(t).unwrap().map(|c| (c.w_in, c.w_out, c.bias));
        assert_eq!(axes(&text("n,3", "5,3", "5", "transB=1")), Some((1, 0, Some(2))));
        assert_eq!(axes(&text("n,3", "3,5", "1,5", "")), Some((0, 1, Some(2))));
        assert_eq!(axes(&text("n,3", "3,5", "1", "")), None);
        assert_eq!(axes(&text("n,3", "3,5", "5", "alpha=0.0")), None);
        assert_eq!(axes(&text("n,3", "3,5", "1", "beta=0.0")), Some((0, 1, None)));
        let scaled = linear(&text("3,n", "3,5", "5", "transA=1, alpha=0.5, beta=2.0")).unwrap().unwrap();
        assert_eq!((scaled.x_axis, scaled.y_axis, scaled.w_scale, scaled.bias_scale), (0, 1, 0.5, 2.0));
        let left = |c: &str| {
            let random = r#"= ["location": "random:1"]"#;
            let weights = format!("float[2,3] a {random}, float[{c}] c {random}");
            linear(&format!("g (float[3,n] b) => (y) <{weights}> {{ y = Gemm (a, b, c) }}")).unwrap()
        };
        let c = left("2,1").unwrap();
        assert_eq!((c.x, c.x_axis, c.y_axis, c.w_in, c.w_out, c.bias), (1, 0, 0, 1, 0, Some(2)));
        assert_eq!(left("1"), None);
    }
}
