//! Interpolation to another size. Spec: ai.onnx `Resize` (10, 11, 13, 18, 19), `Upsample` (1, 7, 9, 10).
//!  R1  A named axis of y has the stated size, or ⌊d · scale⌋; an axis that `axes` leaves out keeps its size.
//!  R2  An axis that keeps its size is the same axis of y; no crop may be asked for.
//!  R3  Every other axis is frozen: interpolation mixes neighbouring slots.
//!  R4  Stated sizes follow a cut.
//!  R5  Version 10 has its scales as operand 1, versions from 11 on as operand 2. `Upsample` has them as operand 1
//!      from version 9 on, as attributes before.
//!  R6  With `keep_aspect_ratio_policy` one scale serves all named axes, sizes are rounded half up.

use crate::form::{dims, floor_div, freeze, freeze_all, mismatch, tie, unnamed};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Dim, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Reason, Relate, Relations, Resize,
    Resized, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "Resize",
        domain: ONNX,
        since: &[10, 11, 13, 18, 19],
        shape: ShapeRule::By(|n| shape(n, &Target::of_resize(n)?)),
        relate: Relate::By(|n, r| relate(n, &Target::of_resize(n)?, r)),
        work: WorkRule::By(reduces),
        resize: Resize::By(resize),
        linear: LinearRule::Never,
        affine: Affine::Never,
    },
    OpDef {
        name: "Upsample",
        domain: ONNX,
        since: &[1, 7, 9, 10],
        shape: ShapeRule::By(|n| shape(n, &Target::of_upsample(n)?)),
        relate: Relate::By(|n, r| relate(n, &Target::of_upsample(n)?, r)),
        work: WorkRule::By(reduces),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    },
];

/// Operand of the stated sizes.
const SIZES: usize = 3;

/// What decides the sizes of the named axes.
enum Target {
    /// A factor for each; `None` where they are computed at run time.
    Scales(Axes, Option<Vec<f32>>),
    /// A size for each; `None` where they are computed at run time.
    Sizes(Axes, Option<Vec<Dim>>, Policy),
    /// A part of each axis is cut out first.
    Crop,
}

/// Named axes, in the order in which scales or sizes are given.
type Axes = Vec<usize>;

/// What stated sizes mean (R6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

impl Target {
    fn of_resize(node: &NodeRef) -> Result<Self, OpError> {
        let rank = node.rank(0)?;
        let axes = match node.ints("axes")? {
            Some(axes) => node.axes(&axes, rank)?,
            None => (0..rank).collect(),
        };
        if node.opset < 11 {
            return Self::scales(axes, &node.need_input(1)?); // R5
        }
        let sizes = node.input(SIZES);
        if node.string("coordinate_transformation_mode")?.as_deref() == Some("tf_crop_and_resize") && sizes.is_none() {
            return Ok(Self::Crop);
        }
        let Some(sizes) = sizes else { return Self::scales(axes, &node.need_input(2)?) };
        let policy = match node.string("keep_aspect_ratio_policy")?.as_deref() {
            None | Some("stretch") => Policy::Stretch,
            Some("not_larger") => Policy::NotLarger,
            Some("not_smaller") => Policy::NotSmaller,
            Some(_) => {
                let expected = "one of stretch, not_larger, not_smaller";
                return Err(OpError::BadAttribute { name: "keep_aspect_ratio_policy".to_string(), expected });
            }
        };
        let content = sizes.fact.content.clone();
        fits(axes.len(), content.as_ref().map(Vec::len))?;
        Ok(Self::Sizes(axes, content, policy))
    }
    fn of_upsample(node: &NodeRef) -> Result<Self, OpError> {
        let rank = node.rank(0)?;
        let axes: Axes = (0..rank).collect();
        if node.opset >= 9 {
            return Self::scales(axes, &node.need_input(1)?); // R5
        }
        let given = match node.floats("scales")? {
            Some(scales) => scales,
            None => vec![1.0, 1.0, node.float_or("height_scale", 1.0)?, node.float_or("width_scale", 1.0)?],
        };
        fits(rank, Some(given.len()))?;
        Ok(Self::Scales(axes, Some(given)))
    }
    fn scales(axes: Axes, operand: &Operand) -> Result<Self, OpError> {
        let given = match operand.tensor {
            Some(t) => Some(t.to_f32().map_err(|_| OpError::Unsupported("scales that are no floats"))?),
            None => None,
        };
        fits(axes.len(), given.as_ref().map(Vec::len))?;
        Ok(Self::Scales(axes, given))
    }
    /// R1: size of every axis of y, `None` where it is not known.
    fn sizes(&self, x: &[Dim]) -> Result<Vec<Option<Dim>>, OpError> {
        let mut out: Vec<Option<Dim>> = x.iter().cloned().map(Some).collect();
        match self {
            Self::Crop => out.fill(None),
            Self::Scales(axes, scales) => {
                for (i, &axis) in axes.iter().enumerate() {
                    out[axis] = match scales {
                        Some(s) => scaled(&x[axis], s[i])?,
                        None => None,
                    };
                }
            }
            Self::Sizes(axes, sizes, policy) => {
                let ratio = self.ratio(x);
                for (i, &axis) in axes.iter().enumerate() {
                    out[axis] = match (policy, sizes) {
                        (_, None) => None,
                        (Policy::Stretch, Some(s)) => Some(s[i].clone()),
                        (_, Some(_)) => {
                            ratio.zip(x[axis].as_size()).map(|(r, d)| Dim::from((r * d as f64 + 0.5) as i64))
                        }
                    };
                }
            }
        }
        Ok(out)
    }
    /// R6: the one scale of all named axes, where sizes are numbers.
    fn ratio(&self, x: &[Dim]) -> Option<f64> {
        let Self::Sizes(axes, Some(sizes), policy) = self else { return None };
        let ratios: Option<Vec<f64>> = axes
            .iter()
            .zip(sizes)
            .map(|(&a, s)| Some(s.as_size()? as f64 / x[a].as_size().filter(|d| *d > 0)? as f64))
            .collect();
        match policy {
            Policy::NotSmaller => ratios?.into_iter().reduce(f64::max),
            Policy::NotLarger | Policy::Stretch => ratios?.into_iter().reduce(f64::min),
        }
    }
    /// R2: whether an axis of size `d` that becomes `to` passes through.
    fn keeps(&self, axis: usize, d: Option<&Dim>, to: Option<&Dim>) -> bool {
        match self {
            Self::Crop => false,
            Self::Scales(axes, scales) => match axes.iter().position(|a| *a == axis) {
                Some(i) => scales.as_ref().is_some_and(|s| s[i] == 1.0),
                None => true,
            },
            Self::Sizes(..) => d.is_some() && d == to,
        }
    }
}

fn fits(axes: usize, numbers: Option<usize>) -> Result<(), OpError> {
    match numbers {
        Some(n) if n != axes => Err(mismatch("scales or sizes against axes", n, axes)),
        _ => Ok(()),
    }
}

/// ⌊d · scale⌋ in single precision, as runtimes compute it; `None` where it is no polynomial.
fn scaled(d: &Dim, scale: f32) -> Result<Option<Dim>, OpError> {
    if !scale.is_finite() || scale <= 0.0 {
        return Err(mismatch("a scale must be a positive number", scale, d));
    }
    if let Some(d) = d.as_size() {
        let size = (d as f32 * scale).floor();
        return if size < i64::MAX as f32 { Ok(Some(Dim::from(size as i64))) } else { Err(OpError::Overflow) };
    }
    // Beyond 2^24 single precision no longer holds every whole number.
    let whole = |s: f32| (s.fract() == 0.0 && s < 16_777_216.0).then_some(s as i64);
    if let Some(by) = whole(scale) {
        return d.mul(&Dim::from(by)).map(Some).ok_or(OpError::Overflow);
    }
    // Only for powers of two is 1/scale exact, so that the product rounds down as the quotient does.
    let by = whole(1.0 / scale).and_then(|n| u64::try_from(n).ok()).filter(|n| n.is_power_of_two());
    Ok(by.and_then(|n| floor_div(d, n)))
}

fn shape(node: &NodeRef, target: &Target) -> Result<Vec<Fact>, OpError> {
    let sizes = target.sizes(dims(node, 0)?)?;
    let named = |(axis, size): (usize, Option<Dim>)| size.unwrap_or_else(|| unnamed(node, 0, axis));
    let shape = sizes.into_iter().enumerate().map(named).collect();
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(shape), content: None }])
}

fn relate(node: &NodeRef, target: &Target, r: &mut Relations) -> Result<(), OpError> {
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let x_dims = dims(node, 0)?;
    for (axis, to) in target.sizes(x_dims)?.iter().enumerate() {
        if target.keeps(axis, x_dims.get(axis), to.as_ref()) {
            tie(r, (&x, axis), (&y, axis), "R2");
        } else {
            for o in [&x, &y] {
                freeze(r, o, [axis], &Reason::Window); // R3
            }
        }
    }
    for operand in (1..node.input_count()).filter_map(|i| node.input(i)) {
        freeze_all(r, &operand, &Reason::Rule("it says how the result is sized"));
    }
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let y = cut.before.need_output(0)?;
    let Target::Sizes(axes, Some(mut sizes), _) = Target::of_resize(&cut.before)? else { return Ok(Vec::new()) };
    let mut changed = false;
    for (size, &axis) in sizes.iter_mut().zip(&axes) {
        if let Some(kept) = (cut.kept)(y.value, axis) {
            *size = Dim::from(i64::try_from(kept.len()).map_err(|_| OpError::Overflow)?);
            changed = true;
        }
    }
    Ok(if changed { vec![Edit::Content { operand: SIZES, dims: sizes }] } else { Vec::new() }) // R4
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape};

    fn scales(x: &str, scales: &str, attrs: &str) -> String {
        format!(
            "g (float[{x}] x) => (y) <float[3] s = {{{scales}}}> {{ y = Resize <mode=\"nearest\"{attrs}> (x, , s) }}"
        )
    }
    fn sizes(x: &str, count: u64, sizes: &str, attrs: &str) -> String {
        format!(
            "g (float[{x}] x) => (y) <int64[{count}] s = {{{sizes}}}>
             {{ y = Resize <mode=\"linear\"{attrs}> (x, , , s) }}"
        )
    }

    #[test]
    fn r1_scales_round_down_and_stay_symbolic_where_they_can() {
        check_shape(&scales("n,4,5", "1, 1, 1.5", ""), "float[n,4,7]");
        check_shape(&scales("n,4,w", "1, 1, 2", ""), "float[n,4,2*w]");
        check_shape(&scales("n,4,\"4*w\"", "1, 1, 0.5", ""), "float[n,4,2*w]");
        check_shape(&scales("n,4,w", "1, 1, 1.5", ""), "float[n,4,?y.2]");
        check_shape(&sizes("n,4,5", 1, "9", ", axes=[2]"), "float[n,4,9]");
        check_shape(&scales("n,4,w", "1, 1, -2", ""), "error: a scale must be a positive number: -2 against w");
        check_shape(&sizes("n,4,5", 2, "4, 9", ""), "error: scales or sizes against axes: 2 against 3");
    }

    #[test]
    fn r2_r3_axes_that_keep_their_size_pass() {
        let expect = "R2 x:0 = y:0
            R2 x:1 = y:1
            freeze x:2: a window mixes neighbouring slots
            freeze y:2: a window mixes neighbouring slots
            freeze s:0: it says how the result is sized";
        check_relation(&scales("2,4,5", "1, 1, 2", ""), expect);
        check_relation(&sizes("2,4,5", 3, "2, 4, 9", ""), expect);
        check_relation(&sizes("2,4,5", 1, "9", ", axes=[2]"), expect);
    }

    #[test]
    fn r2_a_crop_freezes_everything() {
        let text = scales("2,4,5", "1, 1, 2", ", coordinate_transformation_mode=\"tf_crop_and_resize\"");
        check_shape(&text, "float[?y.0,?y.1,?y.2]");
        let frozen = [0, 1, 2]
            .map(|a| ["x", "y"].map(|v| format!("freeze {v}:{a}: a window mixes neighbouring slots")).join("\n"));
        check_relation(&text, &format!("{}\nfreeze s:0: it says how the result is sized", frozen.join("\n")));
    }

    #[test]
    fn r4_stated_sizes_follow_the_channels() {
        check_resize(&sizes("2,4,5", 3, "2, 4, 9", ""), &[("y", 1, &[0, 3])], "#3=[2,2,9]");
        check_resize(&sizes("2,4,5", 1, "9", ", axes=[2]"), &[("y", 1, &[0, 3])], "");
        check_resize(&scales("2,4,5", "1, 1, 2", ""), &[("y", 1, &[0, 3])], "");
    }

    #[test]
    fn r5_upsample_and_early_resize_have_scales_elsewhere() {
        let text = |opset: i64, op: &str, operands: &str| {
            format!(
                r#"<ir_version: 8, opset_import: ["" : {opset}]> g (float[1,2,3,4] x) => (y)
                <float[4] s = {{1, 1, 2, 2}}> {{ y = {op} ({operands}) }}"#
            )
        };
        check_shape(&text(10, "Resize", "x, s"), "float[1,2,6,8]");
        check_shape(&text(9, "Upsample", "x, s"), "float[1,2,6,8]");
        check_shape(&text(7, "Upsample <scales=[1.0, 1.0, 3.0, 1.0]>", "x"), "float[1,2,9,4]");
        check_shape(&text(1, "Upsample <height_scale=3.0, width_scale=2.0>", "x"), "float[1,2,9,8]");
    }

    #[test]
    fn r6_one_scale_keeps_the_aspect_ratio() {
        let text = |policy: &str| {
            sizes("1,1,4,8", 2, "6, 8", &format!(", axes=[2, 3], keep_aspect_ratio_policy=\"{policy}\""))
        };
        check_shape(&text("not_larger"), "float[1,1,4,8]");
        check_shape(&text("not_smaller"), "float[1,1,6,12]");
        check_shape(&text("stretch"), "float[1,1,6,8]");
    }
}
