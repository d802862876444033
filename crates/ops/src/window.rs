//! Attributes of sliding windows, shared by convolutions and pools.
//!
//! Output sizes follow the specification of `Conv`, `ConvTranspose` and the pools: with the padded size
//! `d + begin + end` and the spread kernel `e = dilation·(kernel − 1) + 1`, a window has
//! `⌊(d + begin + end − e) / stride⌋ + 1` positions.

use crate::form::{at_least, ceil_div, floor_div, mismatch, plus};
use sparsec_ir::{Dim, NodeRef, OpError, Window};

/// How a node pads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pads {
    /// Before and after each spatial axis.
    Given(Vec<(u64, u64)>),
    /// As many as keep `⌈d / stride⌉` positions, the odd one after.
    SameUpper,
    /// As many as keep `⌈d / stride⌉` positions, the odd one before.
    SameLower,
}

/// How the number of positions is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// A window that does not fit is dropped.
    Down,
    /// A window that does not fit counts, unless it begins in the padding after the axis.
    Up,
}

/// Window attributes with the defaults of the specification filled in.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    pub(crate) kernel: Vec<u64>,
    pub(crate) strides: Vec<u64>,
    pub(crate) dilations: Vec<u64>,
    pub(crate) pads: Pads,
}

impl Sliding {
    /// Reads the attributes of `node` for a window of `kernel`.
    pub(crate) fn read(node: &NodeRef, kernel: Vec<u64>) -> Result<Self, OpError> {
        let spatial = kernel.len();
        let list = |name: &'static str, default: i64, count: usize| -> Result<Vec<u64>, OpError> {
            let values = node.ints(name)?.unwrap_or_else(|| vec![default; count]);
            if values.len() != count {
                return Err(mismatch("attribute against spatial axes", format!("{name} {values:?}"), spatial));
            }
            at_least(name, default, values)
        };
        let pads = match node.string("auto_pad")?.as_deref() {
            None | Some("NOTSET") | Some("") => {
                let both = list("pads", 0, 2 * spatial)?;
                Pads::Given((0..spatial).map(|a| (both[a], both[spatial + a])).collect())
            }
            Some("VALID") => Pads::Given(vec![(0, 0); spatial]),
            Some("SAME_UPPER") => Pads::SameUpper,
            Some("SAME_LOWER") => Pads::SameLower,
            Some(_) => {
                let expected = "one of NOTSET, VALID, SAME_UPPER, SAME_LOWER";
                return Err(OpError::BadAttribute { name: "auto_pad".to_string(), expected });
            }
        };
        Ok(Self { strides: list("strides", 1, spatial)?, dilations: list("dilations", 1, spatial)?, kernel, pads })
    }

    /// Positions that the kernel spans on an axis.
    pub(crate) fn spread(&self, axis: usize) -> Result<u64, OpError> {
        let gaps = self.kernel[axis].checked_sub(1).ok_or(OpError::Unsupported("a kernel of size 0"))?;
        gaps.checked_mul(self.dilations[axis]).and_then(|g| g.checked_add(1)).ok_or(OpError::Overflow)
    }

    /// Positions of the window on a spatial axis of size `d`; `None` where the number is no polynomial.
    pub(crate) fn positions(&self, axis: usize, d: &Dim, rounding: Rounding) -> Result<Option<Dim>, OpError> {
        let stride = self.strides[axis];
        let Pads::Given(pads) = &self.pads else { return Ok(ceil_div(d, stride)) };
        let (begin, end) = pads[axis];
        let room = i128::from(begin) + i128::from(end) - i128::from(self.spread(axis)?);
        let room = plus(d, i64::try_from(room).map_err(|_| OpError::Overflow)?)?;
        if room.as_const().is_some_and(|r| r < 0) {
            return Err(mismatch("a window spans more than its padded axis", self.spread(axis)?, d));
        }
        let down = floor_div(&room, stride);
        let last = match rounding {
            Rounding::Down => down,
            Rounding::Up if stride == 1 => down,
            Rounding::Up => match (room.as_const(), d.as_const()) {
                (Some(room), Some(d)) => {
                    let stride = i64::try_from(stride).map_err(|_| OpError::Overflow)?;
                    let last = room / stride + i64::from(room % stride != 0);
                    let start = i128::from(last) * i128::from(stride);
                    let outside = start >= i128::from(d) + i128::from(begin);
                    Some(Dim::from(last - i64::from(outside)))
                }
                _ => None,
            },
        };
        last.map(|l| plus(&l, 1)).transpose()
    }

    /// The window with its padding in numbers; `None` where that depends on a size that is not known.
    pub(crate) fn window(&self, spatial: &[Dim]) -> Result<Option<Window>, OpError> {
        let mut pads = Vec::with_capacity(spatial.len());
        for (axis, d) in spatial.iter().enumerate() {
            let odd_after = match &self.pads {
                Pads::Given(given) => {
                    pads.push(given[axis]);
                    continue;
                }
                Pads::SameUpper => true,
                Pads::SameLower => false,
            };
            let stride = self.strides[axis];
            let total = if stride == 1 {
                self.spread(axis)? - 1
            } else {
                let Some(d) = d.as_size() else { return Ok(None) };
                let span = d.div_ceil(stride).saturating_sub(1).checked_mul(stride);
                let span = span.and_then(|s| s.checked_add(self.spread(axis).ok()?)).ok_or(OpError::Overflow)?;
                span.saturating_sub(d)
            };
            let half = total / 2;
            pads.push(if odd_after { (half, total - half) } else { (total - half, half) });
        }
        let (pads_begin, pads_end) = pads.into_iter().unzip();
        Ok(Some(Window {
            kernel: self.kernel.clone(),
            strides: self.strides.clone(),
            dilations: self.dilations.clone(),
            pads_begin,
            pads_end,
        }))
    }
}

/// Kernel sizes of a convolution: the spatial sizes of the weight, which the attribute must repeat where it is given.
pub(crate) fn kernel_of(node: &NodeRef, spatial: &[Dim]) -> Result<Vec<u64>, OpError> {
    let stated = node.ints("kernel_shape")?;
    let sizes: Option<Vec<u64>> = spatial.iter().map(Dim::as_size).collect();
    let stated = stated.map(|s| at_least("kernel_shape", 1, s)).transpose()?;
    match (sizes, stated) {
        (Some(w), Some(s)) if w != s => {
            Err(mismatch("kernel_shape against the weight", format!("{s:?}"), format!("{w:?}")))
        }
        (Some(w), _) => Ok(w),
        (None, Some(s)) if s.len() == spatial.len() => Ok(s),
        (None, _) => Err(OpError::Unsupported("the kernel sizes are not known")),
    }
}
