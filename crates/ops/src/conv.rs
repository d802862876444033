//! `Conv`: convolution over all axes after the channel axis, with channel groups. Spec: ai.onnx `Conv`, versions 1,
//! 11, 22.
//!  R1  One group: x axis 1 is contracted with w axis 1.
//!  R2  y axis 1 is w axis 0 and b axis 0.
//!  R3  Spatial axes of x, w and y are frozen: a window mixes them.
//!  R4  Several groups: x axis 1 is (group, input of a group) and y axis 1 is (group, output of a group); the inputs
//!      of a group are contracted with w axis 1. A group leaves whole on both sides.
//!  R5  `group` follows: x channels over w axis 1.
//!  R6  The batch axis of y is that of x.

use crate::form::{At, contract, differ, dims, freeze, mismatch, positive, product, result_sizes, sizes, tie, unnamed};
use crate::heads::Long;
use crate::window::{Rounding, Sliding, kernel_of};
use sparsec_ir::{
    Affine, Attr, AxisRef, Contraction, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand,
    Reason, Relate, Relations, Resize, Resized, ShapeRule, Work, WorkRule,
};
use std::ops::Range;

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

/// Where a convolution has its operands and channels.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) x: usize,
    pub(crate) w: usize,
    pub(crate) b: usize,
    pub(crate) layout: Layout,
}

/// Where the channels of x and y, and the inputs of w, stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// x is N C …, w is M C ….
    ChannelsFirst,
    /// x is N … C, w is M … C.
    ChannelsLast,
    /// x is N … C, w is M C ….
    DataChannelsLast,
}

impl Layout {
    /// Channel axis of x and y.
    fn channel(self, rank: usize) -> usize {
        if self == Layout::ChannelsFirst { 1 } else { rank - 1 }
    }
    /// Axis of w with the inputs of a group.
    fn w_in(self, rank: usize) -> usize {
        if self == Layout::ChannelsLast { rank - 1 } else { 1 }
    }
}

const PLAIN: Form = Form { x: 0, w: 1, b: 2, layout: Layout::ChannelsFirst };

/// Spatial axes where the channels are on axis `channel`.
fn spatial(rank: usize, channel: usize) -> Range<usize> {
    if channel == 1 { 2..rank } else { 1..rank - 1 }
}

/// Operands and attributes with the defaults of the specification.
struct Conv<'g> {
    x: Operand<'g>,
    w: Operand<'g>,
    b: Option<Operand<'g>>,
    x_dims: &'g [Dim],
    w_dims: &'g [Dim],
    group: u64,
    window: Sliding,
    /// Channel axis of x and y.
    channel: usize,
    /// Axis of w with the inputs of a group.
    w_in: usize,
}

impl<'g> Conv<'g> {
    fn view(node: &NodeRef<'g>, form: Form) -> Result<Self, OpError> {
        let (x_dims, w_dims) = (dims(node, form.x)?, dims(node, form.w)?);
        let rank = x_dims.len();
        if rank < 3 || rank != w_dims.len() {
            return Err(mismatch("ranks of x and w", rank, w_dims.len()));
        }
        let (channel, w_in) = (form.layout.channel(rank), form.layout.w_in(rank));
        let group = group_of(node)?;
        let window = Sliding::read(node, kernel_of(node, &w_dims[spatial(rank, w_in)])?)?;
        let (x, w, b) = (node.need_input(form.x)?, node.need_input(form.w)?, node.input(form.b));
        Ok(Self { x, w, b, x_dims, w_dims, group, window, channel, w_in })
    }
    /// Spatial axes of x and y.
    fn spatial(&self) -> Range<usize> {
        spatial(self.x_dims.len(), self.channel)
    }
}

/// The attribute `group`.
pub(crate) fn group_of(node: &NodeRef) -> Result<u64, OpError> {
    positive(node, "group", 1)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    shape_of(node, PLAIN)
}

/// Shape of a convolution of any form; the element type is that of x.
pub(crate) fn shape_of(node: &NodeRef, form: Form) -> Result<Vec<Fact>, OpError> {
    let c = Conv::view(node, form)?;
    let of_a_group = &c.w_dims[c.w_in];
    let expected = i64::try_from(c.group).ok().and_then(|g| of_a_group.mul(&Dim::from(g))).ok_or(OpError::Overflow)?;
    if differ(&c.x_dims[c.channel], &expected) {
        return Err(mismatch("channels of x against those of w times `group`", &c.x_dims[c.channel], expected));
    }
    let mut out = c.x_dims.to_vec(); // R6
    out[c.channel] = c.w_dims[0].clone(); // R2
    for (i, axis) in c.spatial().enumerate() {
        let size = c.window.positions(i, &c.x_dims[axis], Rounding::Down)?;
        out[axis] = size.unwrap_or_else(|| unnamed(node, 0, axis));
    }
    Ok(vec![Fact { elem: c.x.fact.elem.or(c.w.fact.elem), shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, PLAIN, r)
}

/// Relations of a convolution of any form.
pub(crate) fn relate_of(node: &NodeRef, form: Form, r: &mut Relations) -> Result<(), OpError> {
    let c = Conv::view(node, form)?;
    let y = node.need_output(0)?;
    tie(r, (&y, 0), (&c.x, 0), "R6");
    tie(r, (&y, c.channel), (&c.w, 0), "R2");
    if let Some(b) = &c.b {
        tie(r, (&y, c.channel), (b, 0), "R2");
    }
    for (o, axes) in [(&c.x, c.spatial()), (&c.w, spatial(c.w_dims.len(), c.w_in)), (&y, c.spatial())] {
        freeze(r, o, axes, &Reason::Window); // R3
    }
    relate_channels(r, c.group, (&c.x, c.channel), (&c.w, c.w_in), (&y, c.channel), ["R1", "R4"])
}

/// Relates the channels of x and of y over the weights' axis of input channels: by the first rule, or the second where
/// there are groups.
pub(crate) fn relate_channels(
    r: &mut Relations,
    group: u64,
    x: At,
    w: At,
    y: At,
    [whole, grouped]: [&'static str; 2],
) -> Result<(), OpError> {
    if group == 1 {
        contract(r, x, w, whole);
        return Ok(());
    }
    let (inputs, outputs) = (w.0.size(w.1), y.0.size(y.1).filter(|n| n % group == 0));
    let (Some(channels), Some(inputs), Some(outputs)) = (x.0.size(x.1), inputs, outputs) else {
        return Err(OpError::Unsupported("grouped channels of unknown or uneven number"));
    };
    if group.checked_mul(inputs) != Some(channels) {
        return Err(mismatch("channels of x against those of a group", channels, inputs));
    }
    let groups = Groups { number: group, inputs, outputs: outputs / group };
    if let Some(input) = groups.relate(r, x.0.axis(x.1), y.0.axis(y.1), grouped).input {
        r.contract(input, w.0.axis(w.1), inputs, grouped);
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
        let group = (r.virtual_axis(self.number), self.number);
        WithinGroup { input: within(r, x, group, self.inputs, rule), output: within(r, y, group, self.outputs, rule) }
    }
}

/// Makes `flat` the product of `outer` and an axis of `len` slots within each of its, which is given where it has more
/// than one slot.
pub(crate) fn within(
    r: &mut Relations,
    flat: AxisRef,
    (outer, number): Long,
    len: u64,
    rule: &'static str,
) -> Option<AxisRef> {
    if len == 1 {
        r.tie(flat, outer, number, rule);
        return None;
    }
    let axis = r.virtual_axis(len);
    r.product(flat, &[outer, axis], rule);
    Some(axis)
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    work_of(node, PLAIN)
}

/// Work of a convolution of any form.
pub(crate) fn work_of(node: &NodeRef, form: Form) -> Result<Work, OpError> {
    let (x, w, y) = (sizes(node, form.x)?, sizes(node, form.w)?, result_sizes(node, 0)?);
    let rank = x.len();
    if rank < 3 || rank != w.len() || rank != y.len() {
        return Err(mismatch("ranks of x and w", rank, w.len()));
    }
    let (channel, w_in) = (form.layout.channel(rank), form.layout.w_in(rank));
    let groups = quotient(x[channel], w[w_in])?; // R5
    let taps = product(&w[spatial(rank, w_in)])?;
    let positions = product(y[spatial(rank, channel)].iter().chain([&y[0]]))?;
    let macs = product(&[positions, w[0], w[w_in], taps])?;
    let kernel = Kernel::Conv { cin: x[channel], cout: w[0], groups, taps, positions, transposed: false };
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
    resize_of(cut, PLAIN)
}

/// Edits of a convolution of any form.
pub(crate) fn resize_of(cut: &Resized, form: Form) -> Result<Vec<Edit>, OpError> {
    let rank = cut.before.rank(form.x)?;
    let all = (cut.before.need_input(form.x)?, form.layout.channel(rank));
    follow_group(cut, all, (cut.before.need_input(form.w)?, form.layout.w_in(rank))) // R5
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
    let c = Conv::view(node, PLAIN)?;
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

    const ONE_GROUP: &str = r#"g (float[n,3,8,8] x) => (y) <float[4,3,3,3] w = ["location": "random:1"], float[4] b = {0,0,0,0}>
        { y = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w, b) }"#;
    const GROUPED: &str = r#"g (float[n,4,8,8] x) => (y) <float[6,2,3,3] w = ["location": "random:1"]>
        { y = Conv <group=2> (x, w) }"#;
    const DEPTHWISE: &str = r#"g (float[n,4,8,8] x) => (y) <float[4,1,3,3] w = ["location": "random:1"]>
        { y = Conv <group=4, auto_pad="SAME_UPPER", strides=[2,2]> (x, w) }"#;

    #[test]
    fn r1_r2_r3_r6_one_group_contracts_inputs_and_freezes_windows() {
        check_relation(
            ONE_GROUP,
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
        check_resize(ONE_GROUP, &[("x", 1, &[0, 2]), ("w", 1, &[0, 2])], "");
    }

    #[test]
    fn shapes_round_down_and_stay_symbolic_where_they_can() {
        check_shape(ONE_GROUP, "float[n,4,4,4]");
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
