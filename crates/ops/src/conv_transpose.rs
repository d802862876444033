//! `ConvTranspose`: the transpose of a convolution; w is [input channels, output channels of a group, kernel…].
//! Spec: ai.onnx `ConvTranspose`, versions 1, 11, 22.
//!  R1  x axis 1 is contracted with w axis 0.
//!  R2  One group: y axis 1 is w axis 1. b axis 0 is y axis 1.
//!  R3  Spatial axes of x, w and y are frozen: a window mixes them.
//!  R4  Several groups: x axis 1 is (group, input of a group) and y axis 1 is (group, w axis 1).
//!  R5  `group` follows: y channels over w axis 1.
//!  R6  The batch axis of y is that of x.
//!  R7  A spatial axis of y has `stride·(d − 1) + output_padding + spread kernel − pads` slots, `d·stride` with
//!      automatic padding, or what `output_shape` says.

use crate::conv::{Groups, follow_group, group_of, quotient};
use crate::form::{
    at_least, contract, differ, dims, freeze, mismatch, plus, product, result_sizes, sizes, tie, unnamed,
};
use crate::window::{Pads, Sliding, kernel_of};
use sparsec_ir::{
    Affine, Contraction, Dim, Edit, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Reason, Relate,
    Relations, Resize, Resized, ShapeRule, Window, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "ConvTranspose",
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
struct Transposed<'g> {
    x: Operand<'g>,
    w: Operand<'g>,
    b: Option<Operand<'g>>,
    x_dims: &'g [Dim],
    w_dims: &'g [Dim],
    group: u64,
    sliding: Sliding,
    /// Slots added after each spatial axis.
    output_padding: Vec<u64>,
    /// Spatial sizes of y, where they are stated.
    output_shape: Option<Vec<u64>>,
}

impl<'g> Transposed<'g> {
    fn view(node: &NodeRef<'g>) -> Result<Self, OpError> {
        let (x_dims, w_dims) = (dims(node, 0)?, dims(node, 1)?);
        if x_dims.len() < 3 || x_dims.len() != w_dims.len() {
            return Err(mismatch("ranks of x and w", x_dims.len(), w_dims.len()));
        }
        let spatial = x_dims.len() - 2;
        let list = |name: &'static str| -> Result<Option<Vec<u64>>, OpError> {
            // Some exporters write batch and channels in front of the spatial sizes of `output_shape`.
            let values = node.ints(name)?.map(|v| if v.len() == spatial + 2 { v[2..].to_vec() } else { v });
            match values.map(|v| at_least(name, 0, v)).transpose()? {
                Some(v) if v.len() != spatial => Err(mismatch("attribute against spatial axes", v.len(), spatial)),
                v => Ok(v),
            }
        };
        Ok(Self {
            x: node.need_input(0)?,
            w: node.need_input(1)?,
            b: node.input(2),
            x_dims,
            w_dims,
            group: group_of(node)?,
            sliding: Sliding::read(node, kernel_of(node, &w_dims[2..])?)?,
            output_padding: list("output_padding")?.unwrap_or_else(|| vec![0; spatial]),
            output_shape: list("output_shape")?,
        })
    }

    /// Size of a spatial axis of y before any padding is taken away.
    fn full(&self, axis: usize) -> Result<Dim, OpError> {
        let stride = i64::try_from(self.sliding.strides[axis]).map_err(|_| OpError::Overflow)?;
        let tail = self.sliding.spread(axis)?.checked_add(self.output_padding[axis]).ok_or(OpError::Overflow)?;
        let starts = plus(&self.x_dims[axis + 2], -1)?.mul(&Dim::from(stride)).ok_or(OpError::Overflow)?;
        plus(&starts, i64::try_from(tail).map_err(|_| OpError::Overflow)?)
    }

    /// R7; `None` where runtimes disagree: automatic padding of a kernel shorter than its stride would be negative.
    fn size(&self, axis: usize) -> Result<Option<Dim>, OpError> {
        let signed = |n: u64| i64::try_from(n).map_err(|_| OpError::Overflow);
        let size = match (&self.output_shape, &self.sliding.pads) {
            (Some(stated), _) => Dim::from(signed(stated[axis])?),
            (None, Pads::Given(pads)) => {
                let (begin, end) = pads[axis];
                plus(&self.full(axis)?, -signed(begin.checked_add(end).ok_or(OpError::Overflow)?)?)?
            }
            (None, Pads::SameUpper | Pads::SameLower) => {
                let tail =
                    self.sliding.spread(axis)?.checked_add(self.output_padding[axis]).ok_or(OpError::Overflow)?;
                if tail < self.sliding.strides[axis] {
                    return Ok(None);
                }
                let stride = Dim::from(signed(self.sliding.strides[axis])?);
                self.x_dims[axis + 2].mul(&stride).ok_or(OpError::Overflow)?
            }
        };
        match size.as_const() {
            Some(n) if n < 0 => Err(mismatch("padding takes away more than there is", self.full(axis)?, size)),
            _ => Ok(Some(size)),
        }
    }

    /// The window with its padding in numbers; `None` where that depends on a size that is not known.
    fn window(&self) -> Result<Option<Window>, OpError> {
        let mut pads = Vec::new();
        for axis in 0..self.sliding.kernel.len() {
            pads.push(match (&self.output_shape, &self.sliding.pads) {
                (None, Pads::Given(given)) => given[axis],
                _ => {
                    let Some(size) = self.size(axis)? else { return Ok(None) };
                    let total = self.full(axis)?.sub(&size).ok_or(OpError::Overflow)?;
                    let Some(total) = total.as_size() else { return Ok(None) };
                    let half = total / 2;
                    let odd_after = self.sliding.pads == Pads::SameUpper;
                    if odd_after { (half, total - half) } else { (total - half, half) }
                }
            });
        }
        let given = Sliding { pads: Pads::Given(pads), ..self.sliding.clone() };
        given.window(&self.x_dims[2..])
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let c = Transposed::view(node)?;
    if differ(&c.x_dims[1], &c.w_dims[0]) {
        return Err(mismatch("channels of x and w", &c.x_dims[1], &c.w_dims[0]));
    }
    let group = i64::try_from(c.group).map_err(|_| OpError::Overflow)?;
    let channels = c.w_dims[1].mul(&Dim::from(group)).ok_or(OpError::Overflow)?;
    let mut out = vec![c.x_dims[0].clone(), channels];
    for axis in 0..c.sliding.kernel.len() {
        out.push(c.size(axis)?.unwrap_or_else(|| unnamed(node, 0, axis + 2)));
    }
    Ok(vec![Fact { elem: c.x.fact.elem.or(c.w.fact.elem), shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let c = Transposed::view(node)?;
    let y = node.need_output(0)?;
    tie(r, (&y, 0), (&c.x, 0), "R6");
    contract(r, (&c.x, 1), (&c.w, 0), "R1");
    if let Some(b) = &c.b {
        tie(r, (&y, 1), (b, 0), "R2");
    }
    for o in [&c.x, &c.w, &y] {
        freeze(r, o, 2..c.x_dims.len(), &Reason::Window); // R3
    }
    if c.group == 1 {
        tie(r, (&y, 1), (&c.w, 1), "R2");
        return Ok(());
    }
    let (Some(inputs), Some(outputs)) = (c.x.size(1), c.w.size(1)) else {
        return Err(OpError::Unsupported("grouped channels of unknown number"));
    };
    if y.size(1) != c.group.checked_mul(outputs) || inputs % c.group != 0 {
        return Err(mismatch("channels against `group`", inputs, c.group));
    }
    let groups = Groups { number: c.group, inputs: inputs / c.group, outputs };
    let within = groups.relate(r, c.x.axis(1), y.axis(1), "R4");
    if let Some(output) = within.output {
        r.tie(output, c.w.axis(1), outputs, "R4");
    }
    Ok(())
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let (x, w, y) = (sizes(node, 0)?, sizes(node, 1)?, result_sizes(node, 0)?);
    if x.len() < 3 || x.len() != w.len() || x.len() != y.len() {
        return Err(mismatch("ranks of x and w", x.len(), w.len()));
    }
    let groups = quotient(y[1], w[1])?; // R5
    let taps = product(&w[2..])?;
    let positions = product(y[2..].iter().chain([&y[0]]))?;
    // Every input element is multiplied with every tap of its group's outputs.
    let macs = product(&[product(&x)?, w[1], taps])?;
    let kernel = Kernel::Conv { cin: x[1], cout: y[1], groups, taps, positions, transposed: true };
    Ok(Work { kernel, macs })
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    follow_group(cut, (cut.before.need_output(0)?, 1), (cut.before.need_input(1)?, 1)) // R5
}

fn linear(node: &NodeRef) -> Result<Option<Contraction>, OpError> {
    let c = Transposed::view(node)?;
    if c.w.tensor.is_none() || c.b.is_some_and(|b| b.tensor.is_none()) {
        return Ok(None);
    }
    let Some(window) = c.window()? else { return Ok(None) };
    Ok(Some(Contraction {
        x: 0,
        w: 1,
        bias: Some(2),
        w_scale: 1.0,
        bias_scale: 1.0,
        x_axis: 1,
        y_axis: 1,
        w_in: 0,
        w_out: 1,
        groups: c.group,
        window: Some(window),
        transposed: true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work, linear};

    fn text(w: &str, attrs: &str) -> String {
        format!(
            r#"g (float[n,4,5] x) => (y) <float[{w}] w = ["location": "random:1"]> {{ y = ConvTranspose <{attrs}> (x, w) }}"#
        )
    }

    #[test]
    fn r1_r2_r3_one_group() {
        check_relation(
            &text("4,6,2", "strides=[2]"),
            "R1 x:1 * w:0
             freeze x:2: a window mixes neighbouring slots
             freeze w:2: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             R2 y:1 = w:1",
        );
    }

    #[test]
    fn r4_r5_groups_leave_whole_and_group_follows() {
        let grouped = text("4,3,2", "group=2");
        check_relation(
            &grouped,
            "R1 x:1 * w:0
             freeze x:2: a window mixes neighbouring slots
             freeze w:2: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             R4 x:1 = $0(2) x $1(2)
             R4 y:1 = $0(2) x $2(3)
             R4 $2(3) = w:1",
        );
        check_resize(&grouped, &[("x", 1, &[0, 1]), ("w", 0, &[0, 1]), ("y", 1, &[0, 1, 2])], "group=Int(1)");
        check_resize(&grouped, &[("y", 1, &[0, 3]), ("w", 1, &[0])], "");
    }

    #[test]
    fn r7_sizes() {
        check_shape(&text("4,6,2", "strides=[2]"), "float[n,6,10]");
        check_shape(&text("4,6,3", "strides=[2], pads=[1,1], output_padding=[1]"), "float[n,6,10]");
        check_shape(&text("4,6,3", "strides=[2], dilations=[2]"), "float[n,6,13]");
        check_shape(&text("4,6,3", r#"strides=[2], auto_pad="SAME_LOWER""#), "float[n,6,10]");
        check_shape(&text("4,6,2", r#"strides=[3], auto_pad="SAME_LOWER""#), "float[n,6,?y.2]");
        check_shape(&text("4,6,3", "strides=[2], output_shape=[9]"), "float[n,6,9]");
        check_shape(&text("4,3,2", "group=2"), "float[n,6,6]");
        let error = "error: padding takes away more than there is: 6 against -4";
        check_shape(&text("4,3,2", "pads=[5,5]"), error);
    }

    #[test]
    fn work_counts_every_tap_of_every_input() {
        let kernel = Kernel::Conv { cin: 4, cout: 6, groups: 2, taps: 2, positions: 3 * 6, transposed: true };
        check_work(&text("4,3,2", "group=2"), &[("n", 3)], kernel, 3 * 5 * 4 * 3 * 2);
    }

    #[test]
    fn linear_derives_padding_from_the_stated_shape() {
        let padding = |attrs: &str| {
            let w = linear(&text("4,6,3", attrs)).unwrap().unwrap().window.unwrap();
            (w.pads_begin[0], w.pads_end[0])
        };
        // 2·4 + 3 = 11 slots, of which 10 stay.
        assert_eq!(padding("strides=[2], output_shape=[10]"), (1, 0));
        assert_eq!(padding(r#"strides=[2], output_shape=[10], auto_pad="SAME_UPPER""#), (0, 1));
        assert_eq!(padding("strides=[2], pads=[1,0]"), (1, 0));
    }
}
