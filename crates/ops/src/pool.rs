//! Pools: one number for each window, or for all of a channel. Spec: ai.onnx `MaxPool` (1, 8, 10, 11, 12, 22),
//! `AveragePool` (1, 7, 10, 11, 19, 22), `LpPool` (1, 2, 11, 18, 22) and the `Global…` ones; `MaxUnpool` (9, 11, 22).
//!  R1  Batch and channel axes of y are those of x.
//!  R2  Spatial axes are frozen: a window mixes them.
//!  R3  `MaxPool` with its second result: indices count over the whole tensor, so every axis is frozen.
//!  R4  A global pool leaves length 1 on every spatial axis.
//!  R5  With `ceil_mode` a window that begins in the padding after the axis does not count.
//!  R6  `MaxUnpool` writes where the indices of a pool say: every axis is frozen. y has the stated shape, or
//!      (d − 1) · stride + kernel − padding on a spatial axis.

use crate::form::{at_least, dims, freeze, freeze_all, mismatch, plus, tie_same, unnamed};
use crate::window::{Pads, Rounding, Sliding};
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, Work, WorkRule,
};

const fn pool(name: &'static str, since: &'static [i64], shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(work),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    pool("AveragePool", &[1, 7, 10, 11, 19, 22], window_shape),
    pool("GlobalAveragePool", &[1, 22], global_shape),
    pool("GlobalLpPool", &[1, 2, 22], global_shape),
    pool("GlobalMaxPool", &[1, 22], global_shape),
    pool("LpPool", &[1, 2, 11, 18, 22], window_shape),
    pool("MaxPool", &[1, 8, 10, 11, 12, 22], window_shape),
    OpDef { relate: Relate::Opaque(COUNT_OVER_ALL), ..pool("MaxUnpool", &[9, 11, 22], unpool_shape) },
];

const COUNT_OVER_ALL: &str = "indices of a pool count over the whole tensor";

fn rank(node: &NodeRef) -> Result<usize, OpError> {
    match node.rank(0)? {
        rank @ 3.. => Ok(rank),
        rank => Err(mismatch("rank of a pooled tensor", rank, "3 or more")),
    }
}

pub(crate) fn window_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (rank, x_dims) = (rank(node)?, dims(node, 0)?);
    let kernel = node.ints("kernel_shape")?.ok_or(OpError::Unsupported("`kernel_shape` is missing"))?;
    if kernel.len() + 2 != rank {
        return Err(mismatch("kernel_shape against spatial axes", kernel.len(), rank - 2));
    }
    let sliding = Sliding::read(node, at_least("kernel_shape", 1, kernel)?)?;
    let rounding = if node.int_or("ceil_mode", 0)? != 0 { Rounding::Up } else { Rounding::Down };
    let mut out = x_dims[..2].to_vec(); // R1
    for (axis, d) in x_dims.iter().enumerate().skip(2) {
        let size = sliding.positions(axis - 2, d, rounding)?; // R5
        out.push(size.unwrap_or_else(|| unnamed(node, 0, axis)));
    }
    let y = Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out.clone()), content: None };
    Ok(if node.output_count() > 1 { vec![y, Fact::new(ElemType::I64, out)] } else { vec![y] })
}

pub(crate) fn global_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let rank = rank(node)?;
    let mut out = dims(node, 0)?[..2].to_vec();
    out.resize(rank, Dim::from(1)); // R4
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out), content: None }])
}

fn unpool_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (rank, x_dims, elem) = (rank(node)?, dims(node, 0)?, node.need_input(0)?.fact.elem);
    if let Some(stated) = node.input(2) {
        let sizes = stated.fact.content.clone().unwrap_or_else(|| (0..rank).map(|a| unnamed(node, 0, a)).collect());
        return Ok(vec![Fact { elem, shape: Some(sizes), content: None }]); // R6
    }
    let kernel = node.ints("kernel_shape")?.ok_or(OpError::Unsupported("`kernel_shape` is missing"))?;
    if kernel.len() + 2 != rank {
        return Err(mismatch("kernel_shape against spatial axes", kernel.len(), rank - 2));
    }
    let sliding = Sliding::read(node, at_least("kernel_shape", 1, kernel)?)?;
    let Pads::Given(pads) = &sliding.pads else { return Err(OpError::Unsupported("an unpool that pads by itself")) };
    let mut out = x_dims[..2].to_vec();
    for (axis, &(begin, end)) in pads.iter().enumerate() {
        let number = |n: u64| i64::try_from(n).map_err(|_| OpError::Overflow);
        let spread = number(sliding.kernel[axis])?.checked_sub(number(begin)?).ok_or(OpError::Overflow)?;
        let spread = spread.checked_sub(number(end)?).ok_or(OpError::Overflow)?;
        let strides = plus(&x_dims[axis + 2], -1)?.mul(&Dim::from(number(sliding.strides[axis])?));
        out.push(plus(&strides.ok_or(OpError::Overflow)?, spread)?); // R6
    }
    Ok(vec![Fact { elem, shape: Some(out), content: None }])
}

pub(crate) fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let rank = rank(node)?;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    if let Some(indices) = node.output(1) {
        let reason = Reason::Rule(COUNT_OVER_ALL); // R3
        for o in [&x, &y, &indices] {
            freeze_all(r, o, &reason);
        }
        return Ok(());
    }
    tie_same(r, &x, &y, 0..2, "R1");
    for o in [&x, &y] {
        freeze(r, o, 2..rank, &Reason::Window); // R2
    }
    Ok(())
}

pub(crate) fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_shape, check_work};

    fn text(x: &str, results: &str, op: &str) -> String {
        format!("g (float[{x}] x) => (y) {{ {results} = {op} (x) }}")
    }

    #[test]
    fn r1_r2_channels_pass_and_windows_freeze() {
        let expect = "R1 x:0 = y:0
            R1 x:1 = y:1
            freeze x:2: a window mixes neighbouring slots
            freeze y:2: a window mixes neighbouring slots";
        check_relation(&text("2,4,8", "y", "MaxPool <kernel_shape=[2]>"), expect);
        check_relation(&text("2,4,8", "y", "GlobalAveragePool"), expect);
    }

    #[test]
    fn r3_indices_freeze_everything() {
        let text = text("2,4,8", "y, i", "MaxPool <kernel_shape=[2]>");
        let all = ["x", "y", "i"].map(|v| {
            [0, 1, 2].map(|a| format!("freeze {v}:{a}: indices of a pool count over the whole tensor")).join("\n")
        });
        check_relation(&text, &all.join("\n"));
        check_shape(&text, "float[2,4,7]; int64[2,4,7]");
    }

    #[test]
    fn r4_global_pools_leave_length_1() {
        check_shape(&text("n,4,h,w", "y", "GlobalMaxPool"), "float[n,4,1,1]");
        check_work(&text("n,4,8,8", "y", "GlobalMaxPool"), &[("n", 1)], Kernel::Reduce, 0);
    }

    #[test]
    fn r5_rounding_up_ignores_windows_that_begin_outside() {
        let pool = |attrs: &str| text("1,1,5", "y", &format!("MaxPool <kernel_shape=[2], strides=[2]{attrs}>"));
        check_shape(&pool(""), "float[1,1,2]");
        check_shape(&pool(", ceil_mode=1"), "float[1,1,3]");
        check_shape(&pool(", ceil_mode=1, pads=[1,0]"), "float[1,1,3]");
        // Windows begin at -1, 1, 3 and 5: the last one sees padding only.
        check_shape(&pool(", ceil_mode=1, pads=[1,1]"), "float[1,1,3]");
        check_shape(&pool(r#", auto_pad="SAME_UPPER""#), "float[1,1,3]");
    }

    #[test]
    fn r6_an_unpool_is_as_large_as_what_was_pooled() {
        let text = |attrs: &str, more: &str| {
            format!(
                "g (float[1,1,2,2] x, int64[1,1,2,2] i) => (y) <int64[4] s = {{1, 1, 5, 5}}>
                {{ y = MaxUnpool <kernel_shape=[2, 2], strides=[2, 2]{attrs}> (x, i{more}) }}"
            )
        };
        check_shape(&text("", ""), "float[1,1,4,4]");
        check_shape(&text(", pads=[1, 0, 0, 0]", ""), "float[1,1,3,4]");
        check_shape(&text("", ", s"), "float[1,1,5,5]");
    }
}
