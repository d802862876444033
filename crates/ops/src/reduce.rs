//! Reductions over axes. Spec: ai.onnx `Reduce…` (1, 11, 13, 18 and the versions in the table), `ArgMax`, `ArgMin`
//! (1, 11, 12, 13), `MeanVarianceNormalization` (9, 13).
//!  R1  Reduced axes are frozen: every slot counts in the result. The one axis of a `ReduceMean` that keeps its length
//!      of 1 may be a normalisation written out: policy `normalised-width` lets its slots go.
//!  R2  The other axes of y are those of x, in order; with `keepdims` reduced axes stay with length 1.
//!  R3  Axes are operand 1 from version 18 on (13 for `ReduceSum`), an attribute before.
//!  R4  Without axes all are reduced, or none with `noop_with_empty_axes`.
//!  R5  `ReduceSum` and `ReduceProd` over sizes are sizes; `ReduceMax` and `ReduceMin` where they are numbers.
//!  R6  `ArgMax` and `ArgMin` reduce the one axis `axis` to int64.
//!  R7  `MeanVarianceNormalization` keeps the shape; its `axes` are frozen in x and y.

use crate::form::{dims, freeze, freeze_all, like, normalised, tie, tie_same, unnamed};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Policy, Reason, Relate, Relations, Resize,
    ShapeRule, WorkRule,
};

type Shape = fn(&NodeRef) -> Result<Vec<Fact>, OpError>;
type Related = fn(&NodeRef, &mut Relations) -> Result<(), OpError>;

const fn rule(name: &'static str, since: &'static [i64], shape: Shape, relate: Related) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(reduces),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const fn reduce(name: &'static str, since: &'static [i64], shape: Shape) -> OpDef {
    rule(name, since, shape, relate)
}

pub(crate) const OPS: &[OpDef] = &[
    rule("ArgMax", &[1, 11, 12, 13], arg_shape, arg_relate),
    rule("ArgMin", &[1, 11, 12, 13], arg_shape, arg_relate),
    rule("MeanVarianceNormalization", &[9, 13], mvn_shape, mvn_relate),
    reduce("ReduceL1", &[1, 11, 13, 18], plain),
    reduce("ReduceL2", &[1, 11, 13, 18], plain),
    reduce("ReduceLogSum", &[1, 11, 13, 18, 28], plain),
    reduce("ReduceLogSumExp", &[1, 11, 13, 18, 28], plain),
    reduce("ReduceMax", &[1, 11, 12, 13, 18, 20], |n| with_content(n, largest)),
    reduce(MEAN, &[1, 11, 13, 18], plain),
    reduce("ReduceMin", &[1, 11, 12, 13, 18, 20], |n| with_content(n, smallest)),
    reduce("ReduceProd", &[1, 11, 13, 18], |n| with_content(n, product)),
    reduce("ReduceSum", &[1, 11, 13], |n| with_content(n, sum)),
    reduce("ReduceSumSquare", &[1, 11, 13, 18], plain),
];

/// The reduction that normalisations are written out with.
const MEAN: &str = "ReduceMean";

/// What a reduction does to each axis of x.
struct Reduced {
    rank: usize,
    /// Reduced axes, ascending.
    axes: Vec<usize>,
    keep: bool,
}

impl Reduced {
    /// `None` where the axes are computed at run time.
    fn view(node: &NodeRef) -> Result<Option<Self>, OpError> {
        let rank = node.rank(0)?;
        // R3
        let axes = match node.ints_of(1, "axes") {
            Err(OpError::NotConstant { .. }) => return Ok(None),
            axes => axes?.unwrap_or_default(),
        };
        let mut axes = match axes.as_slice() {
            [] if node.int_or("noop_with_empty_axes", 0)? != 0 => Vec::new(), // R4
            [] => (0..rank).collect(),
            axes => node.axes(axes, rank)?,
        };
        axes.sort_unstable();
        axes.dedup();
        Ok(Some(Self { rank, axes, keep: keepdims(node)? }))
    }
    fn shape(&self, x: &[Dim]) -> Vec<Dim> {
        let kept = |(axis, d): (usize, &Dim)| match self.axes.binary_search(&axis) {
            Err(_) => Some(d.clone()),
            Ok(_) => self.keep.then(|| Dim::from(1)),
        };
        x.iter().enumerate().filter_map(kept).collect()
    }
    fn relate(&self, node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
        let (x, y) = (node.need_input(0)?, node.need_output(0)?);
        // R1
        match self.axes[..] {
            [axis] if self.keep && node.node().op == MEAN => {
                r.unless(Policy::NormalisedWidth, vec![x.axis(axis)], &normalised(node), |r| r.free(x.axis(axis)));
            }
            _ => freeze(r, &x, self.axes.iter().copied(), &normalised(node)),
        }
        let mut to = 0;
        for axis in 0..self.rank {
            let reduced = self.axes.binary_search(&axis).is_ok();
            if !reduced {
                tie(r, (&x, axis), (&y, to), "R2");
            }
            to += usize::from(!reduced || self.keep);
        }
        Ok(())
    }
}

fn keepdims(node: &NodeRef) -> Result<bool, OpError> {
    Ok(node.int_or("keepdims", 1)? != 0)
}

fn plain(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = node.need_input(0)?.fact.elem;
    let shape = match Reduced::view(node)? {
        Some(v) => Some(v.shape(dims(node, 0)?)),
        None if keepdims(node)? => Some((0..node.rank(0)?).map(|a| unnamed(node, 0, a)).collect()),
        // Each of the axes, however they are called, is one less.
        None => match node.input(1).and_then(|axes| axes.size(0)).and_then(|n| usize::try_from(n).ok()) {
            Some(n @ 1..) => node.rank(0)?.checked_sub(n).map(|left| (0..left).map(|a| unnamed(node, 0, a)).collect()),
            _ => None,
        },
    };
    Ok(vec![Fact { elem, shape, content: None }])
}

/// A reduction whose result is tracked where it reduces the whole of a tracked tensor.
fn with_content(node: &NodeRef, fold: fn(&[Dim]) -> Option<Dim>) -> Result<Vec<Fact>, OpError> {
    let mut facts = plain(node)?;
    let content = node.need_input(0)?.fact.content.as_deref();
    if let (Some(content), Some(v), [y]) = (content, Reduced::view(node)?, facts.as_mut_slice())
        && v.axes.len() == v.rank
    {
        y.content = fold(content).map(|d| vec![d]); // R5
    }
    Ok(facts)
}

fn sum(all: &[Dim]) -> Option<Dim> {
    all.iter().try_fold(Dim::from(0), |sum, d| sum.add(d))
}
fn product(all: &[Dim]) -> Option<Dim> {
    Dim::product(all)
}
fn largest(all: &[Dim]) -> Option<Dim> {
    let all: Option<Vec<i64>> = all.iter().map(Dim::as_const).collect();
    all?.into_iter().max().map(Dim::from)
}
fn smallest(all: &[Dim]) -> Option<Dim> {
    let all: Option<Vec<i64>> = all.iter().map(Dim::as_const).collect();
    all?.into_iter().min().map(Dim::from)
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    if let Some(axes) = node.input(1) {
        freeze_all(r, &axes, &Reason::Rule("numbers of axes"));
    }
    match Reduced::view(node)? {
        Some(v) => v.relate(node, r),
        None => Err(OpError::NotConstant { index: 1 }),
    }
}

fn arg(node: &NodeRef) -> Result<Reduced, OpError> {
    let rank = node.rank(0)?;
    let axis = node.axis(node.int_or("axis", 0)?, rank)?;
    Ok(Reduced { rank, axes: vec![axis], keep: keepdims(node)? }) // R6
}

fn arg_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact::new(ElemType::I64, arg(node)?.shape(dims(node, 0)?))])
}

fn arg_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    arg(node)?.relate(node, r)
}

fn mvn_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

fn mvn_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    let axes = node.axes(&node.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]), rank)?;
    for o in [&x, &y] {
        freeze(r, o, axes.iter().copied(), &normalised(node)); // R7
    }
    tie_same(r, &x, &y, (0..rank).filter(|a| !axes.contains(a)), "R2");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    fn attr(op: &str) -> String {
        format!(r#"<ir_version: 8, opset_import: ["" : 11]> g (float[2,n,4] x) => (y) {{ y = {op} (x) }}"#)
    }
    fn operand(op: &str) -> String {
        format!("g (float[2,3,4] x) => (y) <int64[1] axes = {{-1}}> {{ y = {op} (x, axes) }}")
    }

    #[test]
    fn r1_r2_reduced_axes_freeze_and_the_others_pass() {
        let text = operand("ReduceMean <keepdims=0>");
        check_relation(
            &text,
            "freeze axes:0: numbers of axes
             freeze x:2: ReduceMean works over the whole axis
             R2 x:0 = y:0
             R2 x:1 = y:1",
        );
        check_relation(
            &operand("ReduceMean"),
            "freeze axes:0: numbers of axes
             freeze x:2: ReduceMean works over the whole axis, unless normalised-width:
             free x:2
             R2 x:0 = y:0
             R2 x:1 = y:1",
        );
        check_shape(&text, "float[2,3]");
        check_shape(&operand("ReduceMean"), "float[2,3,1]");
    }

    #[test]
    fn r2_axes_behind_a_dropped_one_move_up() {
        let text = "g (float[2,3,4] x) => (y) <int64[1] axes = {1}> { y = ReduceMax <keepdims=0> (x, axes) }";
        check_relation(
            text,
            "freeze axes:0: numbers of axes
             freeze x:1: ReduceMax works over the whole axis
             R2 x:0 = y:0
             R2 x:2 = y:1",
        );
    }

    #[test]
    fn r3_axes_are_an_attribute_in_early_versions() {
        check_shape(&attr("ReduceSum <axes=[1], keepdims=0>"), "float[2,4]");
        check_shape(&attr("ReduceSum <axes=[3]>"), "error: axis 3 is out of range for rank 3");
    }

    #[test]
    fn r3_axes_computed_at_run_time_leave_the_rank_at_most() {
        let text = |keep: i64, axes: &str| {
            format!("g (float[2,3] x, int64[{axes}] a) => (y) {{ y = ReduceSum <keepdims={keep}> (x, a) }}")
        };
        check_shape(&text(1, "1"), "float[?y.0,?y.1]");
        check_shape(&text(0, "1"), "float[?y.0]");
        check_shape(&text(0, "n"), "float[?]");
        check_relation(&text(1, "1"), "error: operand 1 is computed at run time");
    }

    #[test]
    fn r4_no_axes_means_all_or_none() {
        check_shape(&attr("ReduceL2"), "float[1,1,1]");
        check_shape("g (float[2,n] x) => (y) { y = ReduceSum <noop_with_empty_axes=1> (x) }", "float[2,n]");
        check_shape("g (float[2,n] x) => (y) { y = ReduceSum <keepdims=0> (x) }", "float[]");
    }

    #[test]
    fn r5_arithmetic_over_sizes_is_tracked() {
        let text = |op: &str| format!("g () => (y) <int64[3] x = {{2, 3, 4}}> {{ y = {op} (x) }}");
        check_shape(&text("ReduceProd"), "int64[1]{24}");
        check_shape(&text("ReduceSum <keepdims=0>"), "int64[]{9}");
        check_shape(&text("ReduceMax <keepdims=0>"), "int64[]{4}");
        check_shape(&text("ReduceMin <keepdims=0>"), "int64[]{2}");
        check_shape(&text("ReduceMean <keepdims=0>"), "int64[]");
    }

    #[test]
    fn r6_arg_max_gives_indices_along_one_axis() {
        let text = "g (float[2,3] x) => (y) { y = ArgMax <keepdims=0, axis=-1> (x) }";
        check_shape(text, "int64[2]");
        check_relation(text, "freeze x:1: ArgMax works over the whole axis\nR2 x:0 = y:0");
    }

    #[test]
    fn r7_mean_variance_keeps_the_shape() {
        let text = "g (float[2,3,4,5] x) => (y) { y = MeanVarianceNormalization (x) }";
        check_shape(text, "float[2,3,4,5]");
        let frozen = ["x", "y"].map(|v| {
            [0, 2, 3].map(|a| format!("freeze {v}:{a}: MeanVarianceNormalization works over the whole axis")).join("\n")
        });
        check_relation(text, &format!("{}\nR2 x:1 = y:1", frozen.join("\n")));
    }
}
