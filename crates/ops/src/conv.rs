//! `Conv`: convolution over all axes after the channel axis, with channel groups. Spec: ai.onnx `Conv`, versions 1,
//! 11, 22.
//!  R1  One group: x axis 1 is contracted with w axis 1.
//!  R2  y axis 1 is w axis 0 and b axis 0.
//!  R3  Spatial axes of x, w and y are frozen: a window mixes them.
//!  R4  Several groups: x axis 1 is (group, input of a group) and y axis 1 is (group, output of a group); the inputs
//!      of a group are contracted with w axis 1. A group leaves whole on both sides.
//!  R5  `group` follows: x channels over w axis 1.
//!  R6  The batch axis of y is that of x.

use crate::form::{contract, differ, dims, freeze, mismatch, product, result_sizes, sizes, tie, unnamed};
use crate::window::{Rounding, Sliding, kernel_of};
use sparsec_ir::{
    Affine, Attr, AxisRef, Contraction, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand,
    Reason, Relate, Relations, Resize, Resized, ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Conv",
    domain: ONNX,
    since: &[1, 11, 22],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::By(resize),
    linear: LinearRule::By(linear),
    affine: Affine::Never,
}];

/// Operands and attributes with the defaults of the specification.
struct Conv<'g> {
    x: Operand<'g>,
    w: Operand<'g>,
    b: Option<Operand<'g>>,
    x_dims: &'g [Dim],
    w_dims: &'g [Dim],
    group: u64,
    window: Sliding,
}

impl<'g> Conv<'g> {
    fn view(node: &NodeRef<'g>) -> Result<Self, OpError> {
        let (x_dims, w_dims) = (dims(node, 0)?, dims(node, 1)?);
        if x_dims.len() < 3 || x_dims.len() != w_dims.len() {
            return Err(mismatch("ranks of x and w", x_dims.len(), w_dims.len()));
        }
        let group = group_of(node)?;
        let window = Sliding::read(node, kernel_of(node, w_dims)?)?;
        let (x, w, b) = (node.need_input(0)?, node.need_input(1)?, node.input(2));
        Ok(Self { x, w, b, x_dims, w_dims, group, window })
    }
    fn spatial(&self) -> std::ops::Range<usize> {
        2..self.x_dims.len()
    }
}

/// The attribute `group`.
pub(crate) fn group_of(node: &NodeRef) -> Result<u64, OpError> {
    let bad = OpError::BadAttribute { name: "group".to_string(), expected: "a positive whole number" };
    u64::try_from(node.int_or("group", 1)?).ok().filter(|g| *g > 0).ok_or(bad)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let c = Conv::view(node)?;
    let expected = i64::try_from(c.group).ok().and_then(|g| c.w_dims[1].mul(&Dim::from(g))).ok_or(OpError::Overflow)?;
    if differ(&c.x_dims[1], &expected) {
        return Err(mismatch("channels of x against those of w times `group`", &c.x_dims[1], expected));
    }
    let mut out = vec![c.x_dims[0].clone(), c.w_dims[0].clone()]; // R6, R2
    for axis in c.spatial() {
        let size = c.window.positions(axis - 2, &c.x_dims[axis], Rounding::Down)?;
        out.push(size.unwrap_or_else(|| unnamed(node, 0, axis)));
    }
    Ok(vec![Fact { elem: c.x.fact.elem.or(c.w.fact.elem), shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let c = Conv::view(node)?;
    let y = node.need_output(0)?;
    tie(r, (&y, 0), (&c.x, 0), "R6");
    tie(r, (&y, 1), (&c.w, 0), "R2");
    if let Some(b) = &c.b {
        tie(r, (&y, 1), (b, 0), "R2");
    }
    for o in [&c.x, &c.w, &y] {
        freeze(r, o, c.spatial(), &Reason::Window); // R3
    }
    if c.group == 1 {
        contract(r, (&c.x, 1), (&c.w, 1), "R1");
        return Ok(());
    }
    let (inputs, outputs) = (c.w.size(1), y.size(1).filter(|n| n % c.group == 0));
    let (Some(inputs), Some(outputs)) = (inputs, outputs) else {
        return Err(OpError::Unsupported("grouped channels of unknown or uneven number"));
    };
    if c.x.size(1).is_none_or(|n| c.group.checked_mul(inputs) != Some(n)) {
        return Err(mismatch("channels of x against those of a group", &c.x_dims[1], inputs));
    }
    let groups = Groups { number: c.group, inputs, outputs: outputs / c.group };
    let within = groups.relate(r, c.x.axis(1), y.axis(1), "R4");
    if let Some(input) = within.input {
        r.contract(input, c.w.axis(1), inputs, "R4");
    }
    Ok(())
}

/// Channels of a grouped convolution.
pub(crate) struct Groups {
    pub(crate) number: u64,
    /// Input channels of one group.
    pub(crate) inputs: u64,
    /// Output channels of one group.
    pub(crate) outputs: u64,
}

/// Axes within a group, where they have more than one slot.
pub(crate) struct WithinGroup {
    pub(crate) input: Option<AxisRef>,
    pub(crate) output: Option<AxisRef>,
}

impl Groups {
    /// Makes the flat channel axes `x` and `y` products of one group axis and the axes within a group. A side with one
    /// channel a group *is* the group axis.
    pub(crate) fn relate(&self, r: &mut Relations, x: AxisRef, y: AxisRef, rule: &'static str) -> WithinGroup {
        let group = r.virtual_axis(self.number);
        let side = |r: &mut Relations, flat: AxisRef, within: u64| {
            if within == 1 {
                r.tie(flat, group, self.number, rule);
                return None;
            }
            let axis = r.virtual_axis(within);
            r.product(flat, &[group, axis], rule);
            Some(axis)
        };
        WithinGroup { input: side(r, x, self.inputs), output: side(r, y, self.outputs) }
    }
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (x, w, y) = (sizes(node, 0)?, sizes(node, 1)?, result_sizes(node, 0)?);
    if x.len() < 3 || x.len() != w.len() || x.len() != y.len() {
        return Err(mismatch("ranks of x and w", x.len(), w.len()));
    }
    let groups = quotient(x[1], w[1])?; // R5
    let taps = product(&w[2..])?;
    let positions = product(y[2..].iter().chain([&y[0]]))?;
    let macs = product(&[positions, w[0], w[1], taps])?;
    let kernel = Kernel::Conv { cin: x[1], cout: w[0], groups, taps, positions, transposed: false };
    Ok(Work { kernel, macs })
}

/// Groups: channels in all over channels of one group.
pub(crate) fn quotient(channels: u64, of_a_group: u64) -> Result<u64, OpError> {
    if of_a_group == 0 || !channels.is_multiple_of(of_a_group) {
        return Err(mismatch("channels against those of one group", channels, of_a_group));
    }
    Ok(channels / of_a_group)
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    follow_group(cut, (cut.before.need_input(0)?, 1), (cut.before.need_input(1)?, 1)) // R5
}

/// `group` after a cut: the channels of `all` over those of `one`, an axis that holds the channels of one group.
pub(crate) fn follow_group(cut: &Resized, all: (Operand, usize), one: (Operand, usize)) -> Result<Vec<Edit>, OpError> {
    let old = group_of(&cut.before)?;
    let size = |(o, axis): (Operand, usize)| cut.dim(o.value, axis).and_then(|d| d.as_size());
    let (Some(channels), Some(of_a_group)) = (size(all), size(one)) else { return Ok(Vec::new()) };
    let new = quotient(channels, of_a_group)?;
    let value = i64::try_from(new).map_err(|_| OpError::Overflow)?;
    Ok(if new == old { Vec::new() } else { vec![Edit::Attr("group", Attr::Int(value))] })
}

fn linear(node: &NodeRef) -> Result<Option<Contraction>, OpError> {
    let c = Conv::view(node)?;
    if c.w.tensor.is_none() || c.b.is_some_and(|b| b.tensor.is_none()) {
        return Ok(None);
    }
    let Some(window) = c.window.window(&c.x_dims[2..])? else { return Ok(None) };
    Ok(Some(Contraction {
        x: 0,
        w: 1,
        bias: Some(2),
        w_scale: 1.0,
        bias_scale: 1.0,
        x_axis: 1,
        y_axis: 1,
        w_in: 1,
        w_out: 0,
        groups: c.group,
        window: Some(window),
        transposed: false,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work, linear};

    const PLAIN: &str = r#"g (float[n,3,8,8] x) => (y) <float[4,3,3,3] w = ["location": "random:1"], float[4] b = {0,0,0,0}>
        { y = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w, b) }"#;
    const GROUPED: &str = r#"g (float[n,4,8,8] x) => (y) <float[6,2,3,3] w = ["location": "random:1"]>
        { y = Conv <group=2> (x, w) }"#;
    const DEPTHWISE: &str = r#"g (float[n,4,8,8] x) => (y) <float[4,1,3,3] w = ["location": "random:1"]>
        { y = Conv <group=4, auto_pad="SAME_UPPER", strides=[2,2]> (x, w) }"#;

    #[test]
    fn r1_r2_r3_r6_one_group_contracts_inputs_and_freezes_windows() {
        check_relation(
            PLAIN,
            "R2 y:1 = w:0
             R2 y:1 = b:0
             freeze x:2: a window mixes neighbouring slots
             freeze x:3: a window mixes neighbouring slots
             freeze w:2: a window mixes neighbouring slots
             freeze w:3: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             freeze y:3: a window mixes neighbouring slots
             R1 x:1 * w:1",
        );
    }

    #[test]
    fn r4_grouped_channels_are_group_times_channel() {
        let found = "R2 y:1 = w:0
             freeze x:2: a window mixes neighbouring slots
             freeze x:3: a window mixes neighbouring slots
             freeze w:2: a window mixes neighbouring slots
             freeze w:3: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             freeze y:3: a window mixes neighbouring slots
             R4 x:1 = $0(2) x $1(2)
             R4 y:1 = $0(2) x $2(3)
             R4 $1(2) * w:1";
        check_relation(GROUPED, found);
    }

    #[test]
    fn r4_depthwise_inputs_and_outputs_are_the_group() {
        check_relation(
            DEPTHWISE,
            "R2 y:1 = w:0
             freeze x:2: a window mixes neighbouring slots
             freeze x:3: a window mixes neighbouring slots
             freeze w:2: a window mixes neighbouring slots
             freeze w:3: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             freeze y:3: a window mixes neighbouring slots
             R4 x:1 = $0(4)
             R4 y:1 = $0(4)",
        );
    }

    #[test]
    fn r5_group_follows_whole_groups_and_not_channels_within() {
        check_resize(DEPTHWISE, &[("x", 1, &[0, 3]), ("w", 0, &[0, 3]), ("y", 1, &[0, 3])], "group=Int(2)");
        check_resize(GROUPED, &[("x", 1, &[0, 2]), ("w", 1, &[0])], "");
        check_resize(GROUPED, &[("x", 1, &[2, 3]), ("w", 0, &[3, 4, 5])], "group=Int(1)");
        check_resize(PLAIN, &[("x", 1, &[0, 2]), ("w", 1, &[0, 2])], "");
    }

    #[test]
    fn shapes_round_down_and_stay_symbolic_where_they_can() {
        check_shape(PLAIN, "float[n,4,4,4]");
        check_shape(DEPTHWISE, "float[n,4,4,4]");
        let wide = |attrs: &str| {
            format!(r#"g (float[1,1,w] x) => (y) <float[1,1,3] k = {{1,1,1}}> {{ y = Conv <{attrs}> (x, k) }}"#)
        };
        check_shape(&wide("pads=[1,1]"), "float[1,1,w]");
        check_shape(&wide("dilations=[2]"), "float[1,1,w-4]");
        check_shape(&wide("strides=[2]"), "float[1,1,?y.2]");
        let stacked =
            r#"g (float[1,1,"4*w"] x) => (y) <float[1,1,3] k = {1,1,1}> { y = Conv <strides=[2], pads=[1,1]> (x, k) }"#;
        check_shape(stacked, "float[1,1,2*w]");
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let narrow = "g (float[1,2,8] x, float[4,3,3] w) => (y) { y = Conv (x, w) }";
        check_shape(narrow, "error: channels of x against those of w times `group`: 2 against 3");
        let short = "g (float[1,3,2] x, float[4,3,3] w) => (y) { y = Conv (x, w) }";
        check_shape(short, "error: a window spans more than its padded axis: 3 against 2");
        let zero = "g (float[1,3,9] x, float[4,3,3] w) => (y) { y = Conv <strides=[0]> (x, w) }";
        check_shape(zero, "error: attribute `strides` is not positive whole numbers");
        let absurd = "g (float[1,3,9] x, float[4,3,3] w) => (y) { y = Conv <pads=[9223372036854775807,9223372036854775807]> (x, w) }";
        check_shape(absurd, "error: sizes overflow");
    }

    #[test]
    fn work_counts_multiply_accumulates_of_one_group() {
        let kernel = Kernel::Conv { cin: 4, cout: 6, groups: 2, taps: 9, positions: 2 * 36, transposed: false };
        check_work(GROUPED, &[("n", 2)], kernel, 2 * 36 * 6 * 2 * 9);
    }

    #[test]
    fn linear_gives_the_window_in_numbers() {
        let c = linear(DEPTHWISE).unwrap().unwrap();
        assert_eq!((c.groups, c.w_in, c.w_out, c.bias, c.transposed), (4, 1, 0, Some(2), false));
        let w = c.window.unwrap();
        // ⌈8/2⌉ positions span (4 − 1)·2 + 3 = 9 slots, one more than there are.
        assert_eq!((w.pads_begin, w.pads_end), (vec![0, 0], vec![1, 1]));
        let computed = "g (float[1,3,8] x, float[4,3,3] w) => (y) { y = Conv (x, w) }";
        assert_eq!(linear(computed), Ok(None));
    }
}
