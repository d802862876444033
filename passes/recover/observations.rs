//! A linear node's inputs and targets as the rows of a regression.

use sparsec_ir::{Contraction, Draw, Tensor, TensorError, Window};

/// Inputs and targets of a linear node over one batch of samples.
pub(crate) struct Part<'f> {
    /// Input.
    x: Vec<f32>,
    x_dims: Vec<u64>,
    /// Target.
    y: Vec<f32>,
    /// What is added to the result before it is read, of the target's shape; nothing where nothing is.
    shift: Vec<f32>,
    y_dims: Vec<u64>,
    form: &'f Contraction,
}

/// Rows of a regression, one for each observation.
pub(crate) struct Rows {
    /// Number of rows.
    pub(crate) count: usize,
    /// Unknowns of one group: input channels × taps (channels alone where the window scatters).
    pub(crate) width: usize,
    /// Targets of one group: output channels (× taps where the window scatters).
    pub(crate) targets: usize,
    /// `count × width`.
    pub(crate) x: Vec<f32>,
    /// `count × targets`.
    pub(crate) y: Vec<f32>,
    /// What is added to results before they are read: `count × targets`, or nothing.
    pub(crate) shift: Vec<f32>,
}

/// Whether rows can be made for a node of this form: not for a scattering window that overlaps itself.
pub(crate) fn has_rows(form: &Contraction) -> bool {
    if !form.transposed {
        return true;
    }
    let Some(w) = &form.window else { return false };
    let plain = w.kernel == w.strides && w.dilations.iter().all(|d| *d == 1);
    let unpadded = w.pads_begin.iter().chain(&w.pads_end).all(|p| *p == 0);
    plain && unpadded && form.groups == 1
}

impl Rows {
    /// None, of some unknowns and targets.
    pub(crate) fn none((width, targets): (usize, usize)) -> Self {
        Self { count: 0, width, targets, x: Vec::new(), y: Vec::new(), shift: Vec::new() }
    }
    /// Adds rows of the same sizes.
    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count;
        self.x.extend(other.x);
        self.y.extend(other.y);
        self.shift.extend(other.shift);
    }
}

impl<'f> Part<'f> {
    /// `y` has the shape of the node's result, and so has `shift`.
    pub(crate) fn new(
        x: &Tensor,
        y: &Tensor,
        shift: Option<&Tensor>,
        form: &'f Contraction,
    ) -> Result<Self, TensorError> {
        if form.window.is_some() {
            let (x_dims, y_dims) = (x.dims.clone(), y.dims.clone());
            let shift = shift.map_or(Ok(Vec::new()), Tensor::to_f32)?;
            return Ok(Self { x: x.to_f32()?, x_dims, y: y.to_f32()?, shift, y_dims, form });
        }
        // Other axes of x and y are the same ones: as rows they are in step.
        let matrix = |t: &Tensor, axis: usize| {
            let channels = t.dims[axis];
            Ok((sparsec_calib::rows(t, axis)?, vec![t.count() / channels.max(1), channels]))
        };
        let ((x, x_dims), (y, y_dims)) = (matrix(x, form.x_axis)?, matrix(y, form.y_axis)?);
        let shift = shift.map_or(Ok(Vec::new()), |s| sparsec_calib::rows(s, form.y_axis))?;
        Ok(Self { x, x_dims, y, shift, y_dims, form })
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        4 * (self.x.len() + self.y.len() + self.shift.len()) as u64
    }
    /// Observations that there are.
    pub(crate) fn count(&self) -> usize {
        if self.form.window.is_none() {
            return self.y_dims[0] as usize;
        }
        let (dims, axis) =
            if self.form.transposed { (&self.x_dims, self.form.x_axis) } else { (&self.y_dims, self.form.y_axis) };
        dims.iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, d)| *d as usize).product()
    }

    /// The observations `picked` for channel group `group`.
    pub(crate) fn rows(&self, group: usize, picked: &[usize]) -> Rows {
        match &self.form.window {
            None => self.product_rows(picked),
            Some(w) if self.form.transposed => self.scatter_rows(w, picked),
            Some(w) => self.window_rows(w, group, picked),
        }
    }

    fn product_rows(&self, picked: &[usize]) -> Rows {
        let (width, targets) = (self.x_dims[1] as usize, self.y_dims[1] as usize);
        let take = |from: &[f32], n: usize| -> Vec<f32> {
            let row = |r: &usize| from.get(r * n..(r + 1) * n).unwrap_or_default();
            picked.iter().flat_map(row).copied().collect()
        };
        let (y, shift) = (take(&self.y, targets), take(&self.shift, targets));
        Rows { count: picked.len(), width, targets, x: take(&self.x, width), y, shift }
    }

    fn window_rows(&self, w: &Window, group: usize, picked: &[usize]) -> Rows {
        let spatial = |dims: &[u64]| -> Vec<usize> { dims[2..].iter().map(|d| *d as usize).collect() };
        let (xs, ys) = (spatial(&self.x_dims), spatial(&self.y_dims));
        let (channels, outputs) = (self.x_dims[1] as usize, self.y_dims[1] as usize);
        let groups = self.form.groups as usize;
        let (cin, cout) = (channels / groups, outputs / groups);
        let (x_plane, y_plane) = (xs.iter().product::<usize>(), ys.iter().product::<usize>());
        let kernel: Vec<usize> = w.kernel.iter().map(|k| *k as usize).collect();
        let taps: usize = kernel.iter().product();
        let mut out = Rows {
            count: picked.len(),
            width: cin * taps,
            targets: cout,
            x: vec![0.0; picked.len() * cin * taps],
            y: Vec::with_capacity(picked.len() * cout),
            shift: Vec::new(),
        };
        let mut offsets: Vec<Option<usize>> = vec![None; taps];
        for (row, &r) in out.x.chunks_mut((cin * taps).max(1)).zip(picked) {
            let (sample, position) = (r / y_plane, r % y_plane);
            for (t, offset) in offsets.iter_mut().enumerate() {
                *offset = input_position(w, &kernel, &xs, &ys, position, t);
            }
            let base = (sample * channels + group * cin) * x_plane;
            for c in 0..cin {
                for (t, offset) in offsets.iter().enumerate() {
                    if let Some(o) = offset {
                        row[c * taps + t] = self.x[base + c * x_plane + o];
                    }
                }
            }
            let base = (sample * outputs + group * cout) * y_plane + position;
            for (to, from) in [(&mut out.y, &self.y), (&mut out.shift, &self.shift)] {
                to.extend((0..cout).filter_map(|o| from.get(base + o * y_plane)));
            }
        }
        out
    }

    /// The window's kernel equals its stride, so every output position has one input position and one tap.
    fn scatter_rows(&self, w: &Window, picked: &[usize]) -> Rows {
        let spatial = |dims: &[u64]| -> Vec<usize> { dims[2..].iter().map(|d| *d as usize).collect() };
        let (xs, ys) = (spatial(&self.x_dims), spatial(&self.y_dims));
        let (cin, cout) = (self.x_dims[1] as usize, self.y_dims[1] as usize);
        let (x_plane, y_plane) = (xs.iter().product::<usize>(), ys.iter().product::<usize>());
        let kernel: Vec<usize> = w.kernel.iter().map(|k| *k as usize).collect();
        let taps: usize = kernel.iter().product();
        let mut out = Rows {
            count: picked.len(),
            width: cin,
            targets: cout * taps,
            x: Vec::with_capacity(picked.len() * cin),
            y: Vec::with_capacity(picked.len() * cout * taps),
            shift: Vec::new(),
        };
        for &r in picked {
            let (sample, position) = (r / x_plane, r % x_plane);
            out.x.extend((0..cin).map(|c| self.x[(sample * cin + c) * x_plane + position]));
            let at = split(position, &xs);
            let offset = |t: usize| {
                let tap = split(t, &kernel);
                let coordinates = at.iter().zip(&kernel).zip(&tap).map(|((p, k), t)| p * k + t);
                coordinates.zip(&ys).fold(0, |flat, (c, len)| flat * len + c)
            };
            let offsets: Vec<usize> = (0..taps).map(offset).collect();
            for o in 0..cout {
                for (to, from) in [(&mut out.y, &self.y), (&mut out.shift, &self.shift)] {
                    to.extend(offsets.iter().filter_map(|f| from.get((sample * cout + o) * y_plane + f)));
                }
            }
        }
        out
    }
}

/// Where tap `tap` of the window at output `position` reads; `None` in the padding.
fn input_position(
    w: &Window,
    kernel: &[usize],
    xs: &[usize],
    ys: &[usize],
    position: usize,
    tap: usize,
) -> Option<usize> {
    let (mut position, mut tap) = (position, tap);
    let (mut flat, mut stride) = (0, 1);
    for axis in (0..xs.len()).rev() {
        let (p, k) = (position % ys[axis], tap % kernel[axis]);
        (position, tap) = (position / ys[axis], tap / kernel[axis]);
        let at = (p as u64 * w.strides[axis] + k as u64 * w.dilations[axis]).checked_sub(w.pads_begin[axis])? as usize;
        if at >= xs[axis] {
            return None;
        }
        flat += at * stride;
        stride *= xs[axis];
    }
    Some(flat)
}

/// The coordinates of a flat index.
fn split(flat: usize, dims: &[usize]) -> Vec<usize> {
    let mut rest = flat;
    let mut out: Vec<usize> = dims.iter().rev().map(|d| (rest % d, rest /= d).0).collect();
    out.reverse();
    out
}

/// `wanted` of `total` observations, ascending: one drawn from each of `wanted` equal stretches, so that every sample is
/// seen and no grid of the image is favoured. All, where there are no more.
pub(crate) fn pick(total: usize, wanted: usize, seed: u64) -> Vec<usize> {
    if total <= wanted {
        return (0..total).collect();
    }
    let mut draw = Draw::new(seed);
    let one = |i: usize| {
        let (from, to) = (i * total / wanted, (i + 1) * total / wanted);
        from + (draw.bits() % (to - from) as u64) as usize
    };
    (0..wanted).map(one).collect()
}
