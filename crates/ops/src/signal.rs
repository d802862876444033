//! Spectra and what is needed for them. Spec: ai.onnx `BlackmanWindow`, `HammingWindow`, `HannWindow`,
//! `MelWeightMatrix`, `STFT` (17), `DFT` (17, 20).
//!  R1  A transform works over a whole axis, which is frozen, as is the last: real and imaginary part.
//!  R2  `DFT`: every other axis of y is that of x. `STFT`: the batch axis is.
//!  R3  One-sided results have ⌊n / 2⌋ + 1 slots of n; the inverse of one-sided x has 2 · (n − 1).
//!  R4  Windows and the mel matrix are filled from the numbers of their slots: they are frozen.
//!  R5  The axis of `DFT` is operand 2 from version 20 on, by default the last but one, an attribute before, by
//!      default 1.

use crate::content::{number, of};
use crate::form::{
    dims, elem_attr, floor_div, freeze, freeze_all, freeze_node, mismatch, normalised, plus, tie, tie_same, unnamed,
};
use crate::work::heavy;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, Work, WorkRule,
};

const fn row(name: &'static str, since: &'static [i64], shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::Opaque("its numbers depend on how many slots there are"), // R4
        work: WorkRule::By(heavy),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const fn transform(def: OpDef, relate: fn(&NodeRef, &mut Relations) -> Result<(), OpError>) -> OpDef {
    OpDef { relate: Relate::By(relate), work: WorkRule::By(work), ..def }
}

pub(crate) const OPS: &[OpDef] = &[
    row("BlackmanWindow", &[17], window_shape),
    transform(row("DFT", &[17, 20], dft_shape), dft_relate),
    row("HammingWindow", &[17], window_shape),
    row("HannWindow", &[17], window_shape),
    row("MelWeightMatrix", &[17], mel_shape),
    transform(row("STFT", &[17], stft_shape), stft_relate),
];

fn window_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = elem_attr(node, "output_datatype")?.unwrap_or(ElemType::F32);
    Ok(vec![Fact::new(elem, vec![number(node, 0).unwrap_or_else(|| unnamed(node, 0, 0))])])
}

fn mel_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = elem_attr(node, "output_datatype")?.unwrap_or(ElemType::F32);
    let bins = number(node, 1).map(|n| one_sided(&n)).transpose()?.flatten();
    let bins = bins.unwrap_or_else(|| unnamed(node, 0, 0));
    Ok(vec![Fact::new(elem, vec![bins, number(node, 0).unwrap_or_else(|| unnamed(node, 0, 1))])])
}

/// ⌊n / 2⌋ + 1, where it is a polynomial; R3.
fn one_sided(n: &Dim) -> Result<Option<Dim>, OpError> {
    floor_div(n, 2).map(|half| plus(&half, 1)).transpose()
}

/// The axis that is transformed; `None` where it is computed at run time. R5.
fn axis(node: &NodeRef) -> Result<Option<usize>, OpError> {
    let rank = node.rank(0)?;
    let stated = match node.input(2) {
        Some(operand) => match of(&operand).as_deref() {
            Some([axis]) => axis.as_const(),
            _ => None,
        },
        None if node.opset < 20 => Some(node.int_or("axis", 1)?),
        None => Some(node.int_or("axis", -2)?),
    };
    stated.map(|axis| node.axis(axis, rank)).transpose()
}

fn dft_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, elem) = (dims(node, 0)?, node.need_input(0)?.fact.elem);
    if x.len() < 2 {
        return Err(mismatch("rank of a signal", x.len(), "2 or more"));
    }
    let last = x.len() - 1;
    let Some(axis) = axis(node)? else {
        let shape = (0..=last).map(|a| unnamed(node, 0, a)).collect();
        return Ok(vec![Fact { elem, shape: Some(shape), content: None }]);
    };
    let one_sided_kind = (node.int_or("onesided", 0)? != 0, node.int_or("inverse", 0)? != 0);
    let stated = node.input(1).map(|_| number(node, 1));
    let len = match (stated, one_sided_kind) {
        (Some(None), _) => None,
        (Some(Some(n)), (true, false)) => one_sided(&n)?,
        (Some(Some(n)), _) => Some(n),
        (None, (true, false)) => one_sided(&x[axis])?,
        (None, (true, true)) => plus(&x[axis], -1)?.mul(&Dim::from(2)),
        (None, (false, _)) => Some(x[axis].clone()),
    };
    let mut out = x.to_vec();
    out[axis] = len.unwrap_or_else(|| unnamed(node, 0, axis));
    // Only the inverse of a one-sided spectrum is real.
    out[last] = Dim::from(if one_sided_kind == (true, true) { 1 } else { 2 });
    Ok(vec![Fact { elem, shape: Some(out), content: None }])
}

fn dft_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    let Some(axis) = axis(node)? else {
        freeze_node(node, r, &normalised(node));
        return Ok(());
    };
    let last = rank.saturating_sub(1);
    for o in [&x, &y] {
        freeze(r, o, [axis, last], &normalised(node)); // R1
    }
    tie_same(r, &x, &y, (0..last).filter(|a| *a != axis), "R2");
    freeze_numbers(node, r);
    Ok(())
}

/// Operands beside the signal hold numbers, or a window over the whole axis.
fn freeze_numbers(node: &NodeRef, r: &mut Relations) {
    for operand in (1..node.input_count()).filter_map(|i| node.input(i)) {
        freeze_all(r, &operand, &Reason::Rule("numbers of a transform"));
    }
}

fn stft_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, elem) = (dims(node, 0)?, node.need_input(0)?.fact.elem);
    let [batch, signal, _] = x else { return Err(mismatch("rank of a batch of signals", x.len(), 3)) };
    let window = node.input(2).map(|w| w.fact.shape.as_ref().and_then(|s| s.first().cloned()));
    let frame = match (node.input(3), window) {
        (Some(_), window) => number(node, 3).or(window.flatten()),
        (None, Some(window)) => window,
        (None, None) => Some(signal.clone()),
    };
    let step = number(node, 1).and_then(|s| s.as_size()).filter(|&s| s > 0);
    let frames = frame.as_ref().zip(step).and_then(|(f, step)| floor_div(&signal.sub(f)?, step));
    let frames = frames.map(|f| plus(&f, 1)).transpose()?.unwrap_or_else(|| unnamed(node, 0, 1));
    let whole = node.int_or("onesided", 1)? == 0;
    let bins = match frame {
        Some(f) if whole => Some(f),
        Some(f) => one_sided(&f)?,
        None => None,
    };
    let bins = bins.unwrap_or_else(|| unnamed(node, 0, 2));
    Ok(vec![Fact { elem, shape: Some(vec![batch.clone(), frames, bins, Dim::from(2)]), content: None }])
}

fn stft_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    tie(r, (&x, 0), (&y, 0), "R2");
    freeze(r, &x, 1..3, &normalised(node)); // R1
    freeze(r, &y, 1..4, &normalised(node));
    freeze_numbers(node, r);
    Ok(())
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_other_axes_pass_a_transform() {
        let text = "g (float[2,8,1] x) => (y) { y = DFT <axis=1> (x) }";
        check_shape(text, "float[2,8,2]");
        check_relation(
            text,
            "freeze x:1: DFT works over the whole axis
             freeze x:2: DFT works over the whole axis
             freeze y:1: DFT works over the whole axis
             freeze y:2: DFT works over the whole axis
             R2 x:0 = y:0",
        );
    }

    #[test]
    fn r3_one_sided_spectra_are_half_as_long() {
        check_shape("g (float[2,8,1] x) => (y) { y = DFT <axis=1, onesided=1> (x) }", "float[2,5,2]");
        check_shape("g (float[2,5,2] x) => (y) { y = DFT <axis=1, onesided=1, inverse=1> (x) }", "float[2,8,1]");
        let text = "g (float[n,100,1] x) => (y) <int64 s = {10}, int64 l = {16}> { y = STFT (x, s, , l) }";
        check_shape(text, "float[n,9,9,2]");
        check_relation(
            text,
            "freeze x:1: STFT works over the whole axis
             freeze x:2: STFT works over the whole axis
             freeze y:1: STFT works over the whole axis
             freeze y:2: STFT works over the whole axis
             freeze y:3: STFT works over the whole axis",
        );
    }

    #[test]
    fn r4_windows_have_the_stated_length() {
        check_shape("g () => (y) <int64 n = {10}> { y = HannWindow <output_datatype=10> (n) }", "float16[10]");
        check_shape(
            "g (int32 r, float a) => (y) <int32 m = {8}, int32 n = {16}> { y = MelWeightMatrix (m, n, r, a, a) }",
            "float[9,8]",
        );
    }

    #[test]
    fn r5_the_axis_is_an_operand_later() {
        let later = r#"<ir_version: 10, opset_import: ["" : 20]> g (float[2,8,1] x) => (y) <int64 a = {0}>
            { y = DFT <onesided=1> (x, , a) }"#;
        check_shape(later, "float[2,8,2]");
        let unstated = r#"<ir_version: 10, opset_import: ["" : 20]> g (float[2,8,6,1] x) => (y)
            { y = DFT <onesided=1> (x) }"#;
        check_shape(unstated, "float[2,8,4,2]");
    }
}
