//! `MatMul`: matrix product over the last two axes, the others broadcast (`numpy.matmul`). Spec: ai.onnx `MatMul`,
//! versions 1, 9, 13.
//!  R1  The last axis of a is contracted with the second last of b. An operand of rank 1 has only the contracted axis.
//!  R2  The second last axis of y is that of a, the last that of b.
//!  R3  The other axes are aligned from the right and tied; an axis of length 1 relates to nothing.
//!  R4  Linear in a with a constant matrix b, and in b with a constant matrix a.

use crate::broadcast::common;
use crate::form::{At, contract, differ, dims, mismatch, product, result_sizes, sizes, tie, unnamed};
use sparsec_ir::{
    Affine, Contraction, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule,
    Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "MatMul",
    domain: ONNX,
    since: &[1, 9, 13],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::By(linear),
    affine: Affine::Never,
}];

/// Where a matrix product has its operands, and whether their last two axes are swapped.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) swap_a: bool,
    pub(crate) swap_b: bool,
}

impl Form {
    /// Operands as they are.
    pub(crate) const fn plain(a: usize, b: usize) -> Self {
        Self { a, b, swap_a: false, swap_b: false }
    }
}

const PLAIN: Form = Form::plain(0, 1);

/// Which axis of each operand and of the result is which, from the ranks alone.
pub(crate) struct MatMul {
    /// Axes of a: rows (none for rank 1), contracted.
    pub(crate) m: Option<usize>,
    pub(crate) a_k: usize,
    /// Axes of b: contracted, columns (none for rank 1).
    pub(crate) b_k: usize,
    pub(crate) n: Option<usize>,
    /// Number of batch axes of a, b and y.
    a_batch: usize,
    b_batch: usize,
    pub(crate) y_batch: usize,
}

impl MatMul {
    pub(crate) fn view(node: &NodeRef, form: Form) -> Result<Self, OpError> {
        let (a, b) = (node.rank(form.a)?, node.rank(form.b)?);
        if a == 0 || b == 0 {
            return Err(OpError::Unsupported("a matrix product with a scalar"));
        }
        let (a_batch, b_batch) = (a.saturating_sub(2), b.saturating_sub(2));
        let (mut m, mut a_k) = ((a > 1).then(|| a - 2), a - 1);
        let (mut b_k, mut n) = (b_batch, (b > 1).then(|| b - 1));
        if let (Some(rows), true) = (m, form.swap_a) {
            (m, a_k) = (Some(a_k), rows);
        }
        if let (Some(columns), true) = (n, form.swap_b) {
            (b_k, n) = (columns, Some(b_k));
        }
        Ok(Self { m, a_k, b_k, n, a_batch, b_batch, y_batch: a_batch.max(b_batch) })
    }
    /// Axis of y with the columns of b.
    pub(crate) fn y_n(&self) -> usize {
        self.y_batch + usize::from(self.m.is_some())
    }
    /// Batch axis of a and of b under batch axis `axis` of y, aligned from the right.
    fn batch(&self, axis: usize) -> (Option<usize>, Option<usize>) {
        let of = |batch: usize| (axis + batch).checked_sub(self.y_batch);
        (of(self.a_batch), of(self.b_batch))
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    shape_of(node, PLAIN)
}

/// Shape of a matrix product of any form; the element type is that of a.
pub(crate) fn shape_of(node: &NodeRef, form: Form) -> Result<Vec<Fact>, OpError> {
    let v = MatMul::view(node, form)?;
    let (a, b) = (dims(node, form.a)?, dims(node, form.b)?);
    if differ(&a[v.a_k], &b[v.b_k]) {
        return Err(mismatch("contracted sizes", &a[v.a_k], &b[v.b_k]));
    }
    let mut out = Vec::new();
    for axis in 0..v.y_batch {
        out.push(match v.batch(axis) {
            (Some(i), Some(j)) => common(&a[i], &b[j])?.unwrap_or_else(|| unnamed(node, 0, axis)),
            (Some(i), None) => a[i].clone(),
            (None, Some(j)) => b[j].clone(),
            (None, None) => return Err(OpError::Unsupported("a batch axis of neither operand")),
        });
    }
    out.extend(v.m.map(|m| a[m].clone())); // R2
    out.extend(v.n.map(|n| b[n].clone()));
    let elem = node.need_input(form.a)?.fact.elem.or(node.need_input(form.b)?.fact.elem);
    Ok(vec![Fact { elem, shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, PLAIN, r)
}

/// Relations of a matrix product of any form.
pub(crate) fn relate_of(node: &NodeRef, form: Form, r: &mut Relations) -> Result<(), OpError> {
    let v = MatMul::view(node, form)?;
    let (a, b, y) = (node.need_input(form.a)?, node.need_input(form.b)?, node.need_output(0)?);
    contract(r, (&a, v.a_k), (&b, v.b_k), "R1");
    if let Some(m) = v.m {
        tie(r, (&y, v.y_batch), (&a, m), "R2");
    }
    if let Some(n) = v.n {
        tie(r, (&y, v.y_n()), (&b, n), "R2");
    }
    for axis in 0..v.y_batch {
        let (i, j) = v.batch(axis);
        let sides: [Option<At>; 2] = [i.map(|i| (&a, i)), j.map(|j| (&b, j))];
        for side in sides.into_iter().flatten().filter(|(o, at)| o.size(*at) != Some(1)) {
            tie(r, (&y, axis), side, "R3");
        }
    }
    Ok(())
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    work_of(node, PLAIN)
}

/// Work of a matrix product of any form.
pub(crate) fn work_of(node: &NodeRef, form: Form) -> Result<Work, OpError> {
    let v = MatMul::view(node, form)?;
    let (a, b, y) = (sizes(node, form.a)?, sizes(node, form.b)?, result_sizes(node, 0)?);
    let batch = product(y.get(..v.y_batch).ok_or(OpError::Unsupported("the result has too few axes"))?)?;
    let (m, n, k) = (v.m.map_or(1, |m| a[m]), v.n.map_or(1, |n| b[n]), a[v.a_k]);
    let matrix = product(&b[..v.b_batch])? == 1 && node.need_input(form.b)?.tensor.is_some();
    let kernel =
        if matrix { Kernel::Gemm { m: product(&[batch, m])?, n, k } } else { Kernel::BatchedMatMul { batch, m, n, k } };
    Ok(Work { kernel, macs: product(&[batch, m, n, k])? })
}

fn linear(node: &NodeRef) -> Result<Option<Contraction>, OpError> {
    let v = MatMul::view(node, PLAIN)?;
    let right = v.b_batch == 0 && v.n.is_some() && node.need_input(1)?.tensor.is_some();
    let left = v.a_batch == 0 && v.m.is_some() && v.n.is_some() && node.need_input(0)?.tensor.is_some();
    if !right && !left {
        return Ok(None);
    }
    let (x, w) = if right { (0, 1) } else { (1, 0) };
    let (x_axis, y_axis) = if right { (v.a_k, v.y_n()) } else { (v.b_k, v.y_batch) };
    Ok(Some(Contraction {
        x,
        w,
        bias: None,
        w_scale: 1.0,
        bias_scale: 1.0,
        x_axis,
        y_axis,
        w_in: x,
        w_out: w,
        groups: 1,
        window: None,
        transposed: false,
    })) // R4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_shape, check_work, linear};

    fn text(a: &str, b: &str) -> String {
        format!("g (float[{a}] a, float[{b}] b) => (y) {{ y = MatMul (a, b) }}")
    }
    const WEIGHT: &str = r#"g (float[n,7,3] a) => (y) <float[3,5] b = ["location": "random:1"]> { y = MatMul (a, b) }"#;

    #[test]
    fn r1_r2_r3_batches_align_from_the_right() {
        check_relation(
            &text("2,4,7,3", "4,3,5"),
            "R1 a:3 * b:1
             R2 y:2 = a:2
             R2 y:3 = b:2
             R3 y:0 = a:0
             R3 y:1 = a:1
             R3 y:1 = b:0",
        );
        check_relation(
            &text("4,7,3", "1,3,5"),
            "R1 a:2 * b:1
             R2 y:1 = a:1
             R2 y:2 = b:2
             R3 y:0 = a:0",
        );
    }

    #[test]
    fn r1_operands_of_rank_1_have_only_the_contracted_axis() {
        check_relation(&text("3", "2,3,5"), "R1 a:0 * b:1\nR2 y:1 = b:2\nR3 y:0 = b:0");
        check_relation(&text("2,7,3", "3"), "R1 a:2 * b:0\nR2 y:1 = a:1\nR3 y:0 = a:0");
        check_shape(&text("3", "2,3,5"), "float[2,5]");
        check_shape(&text("2,7,3", "3"), "float[2,7]");
        check_shape(&text("3", "3"), "float[]");
    }

    #[test]
    fn r1_a_constant_left_side_is_the_weight() {
        let left = r#"g (float[3,5] b) => (y) <float[7,3] a = ["location": "random:1"]> { y = MatMul (a, b) }"#;
        check_relation(left, "R1 b:0 * a:1\nR2 y:0 = a:0\nR2 y:1 = b:1");
        let c = linear(left).unwrap().unwrap();
        assert_eq!((c.x, c.w, c.x_axis, c.y_axis, c.w_in, c.w_out), (1, 0, 0, 0, 1, 0));
    }

    #[test]
    fn batch_sizes_broadcast_or_clash() {
        check_shape(&text("n,1,7,3", "4,3,5"), "float[n,4,7,5]");
        check_shape(&text("n,7,3", "n,3,5"), "float[n,7,5]");
        check_shape(&text("2,7,3", "4,3,5"), "error: sizes that cannot be broadcast: 2 against 4");
    }

    #[test]
    fn work_tells_weights_from_activations() {
        check_work(WEIGHT, &[("n", 2)], Kernel::Gemm { m: 14, n: 5, k: 3 }, 210);
        check_work(&text("2,7,3", "2,3,5"), &[], Kernel::BatchedMatMul { batch: 2, m: 7, n: 5, k: 3 }, 210);
    }

    #[test]
    fn r4_linear_over_the_last_axis() {
        let c = linear(WEIGHT).unwrap().unwrap();
        assert_eq!((c.x_axis, c.y_axis, c.w_in, c.w_out, c.bias), (2, 2, 0, 1, None));
        assert_eq!(linear(&text("7,3", "3,5")), Ok(None));
    }
}
