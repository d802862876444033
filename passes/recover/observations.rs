//! A linear node's inputs and targets as the rows of a regression.

use sparsec_ir::{Contraction, Draw, Tensor, TensorError, Window};

/// Inputs and targets of a linear node over samples and positions: those of all batches, one batch after the other.
pub(super) struct Activations<'a> {
    parts: Vec<Part<'a>>,
    /// Number of the first observation of each part, and of all.
    starts: Vec<usize>,
}

/// One batch of them.
struct Part<'a> {
    /// Input, f32 elements.
    x: Vec<f32>,
    x_dims: &'a [u64],
    /// Target, f32 elements.
    y: Vec<f32>,
    y_dims: &'a [u64],
    form: &'a Contraction,
}

/// Rows of a regression, one for each observation.
pub(super) struct Rows {
    /// Number of rows.
    pub(super) count: usize,
    /// Unknowns of one group: input channels × taps (channels alone where the window scatters).
    pub(super) width: usize,
    /// Targets of one group: output channels (× taps where the window scatters).
    pub(super) targets: usize,
    /// `count × width`.
    pub(super) x: Vec<f32>,
    /// `count × targets`.
    pub(super) y: Vec<f32>,
}

impl<'a> Activations<'a> {
    /// `x` and `y` by batch; `y` has the shape of the node's result. `None` where the form of the node is one that rows
    /// cannot be made for (a scattering window that overlaps itself).
    pub(super) fn new(x: &'a [Tensor], y: &'a [Tensor], form: &'a Contraction) -> Result<Option<Self>, TensorError> {
        if form.transposed {
            let Some(w) = &form.window else { return Ok(None) };
            let plain = w.kernel == w.strides && w.dilations.iter().all(|d| *d == 1);
            let unpadded = w.pads_begin.iter().chain(&w.pads_end).all(|p| *p == 0);
            if !plain || !unpadded || form.groups != 1 {
                return Ok(None);
            }
        }
        let (mut parts, mut starts) = (Vec::new(), vec![0]);
        for (x, y) in x.iter().zip(y) {
            let last = x.dims.len() == form.x_axis + 1 && y.dims.len() == form.y_axis + 1;
            assert!(form.window.is_some() || last, "a product contracts the last axis of x and gives the last of y");
            let part = Part { x: x.to_f32()?, x_dims: &x.dims, y: y.to_f32()?, y_dims: &y.dims, form };
            starts.push(starts[starts.len() - 1] + part.count());
            parts.push(part);
        }
        Ok(Some(Self { parts, starts }))
    }

    /// Observations that there are.
    pub(super) fn count(&self) -> usize {
        self.starts[self.parts.len()]
    }

    /// The observations `picked`, which ascend, for channel group `group`; `None` of none.
    pub(super) fn rows(&self, group: usize, picked: &[usize]) -> Option<Rows> {
        let mut out: Option<Rows> = None;
        for (part, range) in self.parts.iter().zip(self.starts.windows(2)) {
            let place = |start: usize| picked.partition_point(|p| *p < start);
            let own: Vec<usize> = picked[place(range[0])..place(range[1])].iter().map(|p| p - range[0]).collect();
            if own.is_empty() {
                continue;
            }
            let rows = part.rows(group, &own);
            match &mut out {
                Some(all) => all.append(rows),
                None => out = Some(rows),
            }
        }
        out
    }
}

impl Rows {
    fn append(&mut self, other: Self) {
        self.count += other.count;
        self.x.extend(other.x);
        self.y.extend(other.y);
    }
}

impl Part<'_> {
    /// Observations that there are.
    fn count(&self) -> usize {
        let (dims, axis) =
            if self.form.transposed { (self.x_dims, self.form.x_axis) } else { (self.y_dims, self.form.y_axis) };
        dims.iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, d)| *d as usize).product()
    }

    /// The observations `picked` for channel group `group`.
    fn rows(&self, group: usize, picked: &[usize]) -> Rows {
        match &self.form.window {
            None => self.product_rows(picked),
            Some(w) if self.form.transposed => self.scatter_rows(w, picked),
            Some(w) => self.window_rows(w, group, picked),
        }
    }

    /// The contracted axis is the last one of x, and the channel axis the last of y.
    fn product_rows(&self, picked: &[usize]) -> Rows {
        let (width, targets) = (self.x_dims[self.form.x_axis] as usize, self.y_dims[self.form.y_axis] as usize);
        let take = |from: &[f32], n: usize| picked.iter().flat_map(|r| &from[r * n..(r + 1) * n]).copied().collect();
        Rows { count: picked.len(), width, targets, x: take(&self.x, width), y: take(&self.y, targets) }
    }

    fn window_rows(&self, w: &Window, group: usize, picked: &[usize]) -> Rows {
        let spatial = |dims: &[u64]| -> Vec<usize> { dims[2..].iter().map(|d| *d as usize).collect() };
        let (xs, ys) = (spatial(self.x_dims), spatial(self.y_dims));
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
            out.y.extend((0..cout).map(|o| self.y[base + o * y_plane]));
        }
        out
    }

    /// The window's kernel equals its stride, so every output position has one input position and one tap.
    fn scatter_rows(&self, w: &Window, picked: &[usize]) -> Rows {
        let spatial = |dims: &[u64]| -> Vec<usize> { dims[2..].iter().map(|d| *d as usize).collect() };
        let (xs, ys) = (spatial(self.x_dims), spatial(self.y_dims));
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
                out.y.extend(offsets.iter().map(|f| self.y[(sample * cout + o) * y_plane + f]));
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
pub(super) fn pick(total: usize, wanted: usize, seed: u64) -> Vec<usize> {
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
