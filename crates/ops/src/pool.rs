//! Pools: one number for each window, or for all of a channel. Spec: ai.onnx `MaxPool` (1, 8, 10, 11, 12, 22),
//! `AveragePool` (1, 7, 10, 11, 19, 22), `LpPool` (1, 2, 11, 18, 22) and the `Global…` ones.
//!  R1  Batch and channel axes of y are those of x.
//!  R2  Spatial axes are frozen: a window mixes them.
//!  R3  `MaxPool` with its second result: indices count over the whole tensor, so every axis is frozen.
//!  R4  A global pool leaves length 1 on every spatial axis.
//!  R5  With `ceil_mode` a window that begins in the padding after the axis does not count.

use crate::form::{at_least, dims, freeze, freeze_all, mismatch, tie_same, unnamed};
use crate::window::{Rounding, Sliding};
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
];

fn rank(node: &NodeRef) -> Result<usize, OpError> {
    match node.rank(0)? {
        rank @ 3.. => Ok(rank),
        rank => Err(mismatch("rank of a pooled tensor", rank, "3 or more")),
    }
}

fn window_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
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

fn global_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let rank = rank(node)?;
    let mut out = dims(node, 0)?[..2].to_vec();
    out.resize(rank, Dim::from(1)); // R4
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let rank = rank(node)?;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    if let Some(indices) = node.output(1) {
        let reason = Reason::Rule("indices of a pool count over the whole tensor"); // R3
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

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}
