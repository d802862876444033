//! `Slice`: a range of slots along some axes. Spec: ai.onnx `Slice`, versions 1, 10, 11, 13; all but x are attributes
//! before 10.
//!  R1  Along a sliced axis of static length, slot i of y is slot `start + i·step` of x.
//!  R2  Every other axis of y is the same axis of x, and so is one that is taken whole.
//!  R3  Ranges that are not constant, steps beyond ±1 on one axis of several, and ranges of dynamic axes freeze the axis.
//!  R4  After a cut a range of step 1 starts at the first kept slot of the old range and ends after the last. With
//!      another step it holds the places of the kept slots; where these are not equally far apart, the node becomes a
//!      `Gather`.

use crate::content::{Places, freeze_sizes};
use crate::form::unnamed;
use crate::work::moves;
use sparsec_ir::{
    Affine, Attr, AxisRef, Dim, Edit, Fact, LinearRule, LinkKind, NodeRef, ONNX, OpDef, OpError, Reason, Relate,
    Relations, Resize, Resized, Row, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Slice",
    domain: ONNX,
    since: &[1, 10, 11, 13],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// The range asked for on one axis. `None` where it is known only at run time.
struct Cut {
    axis: usize,
    start: Option<Dim>,
    end: Option<Dim>,
    step: Option<i64>,
}

/// A range of an axis of static length, with positions inside it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u64,
    step: i64,
    count: u64,
}

/// Operand `index`, or the attribute `name` of earlier versions. The inner `None` is a given list of unknown contents.
fn list(node: &NodeRef, index: usize, name: &str) -> Result<Option<Option<Vec<Dim>>>, OpError> {
    Ok(match node.input(index) {
        Some(o) => Some(o.fact.content.clone()),
        None => node.ints(name)?.map(|v| Some(v.into_iter().map(Dim::from).collect())),
    })
}

/// What is asked for, in the order of the lists. `Ok(None)` where not even the axes are known.
fn cuts(node: &NodeRef, rank: usize) -> Result<Option<Vec<Cut>>, OpError> {
    let starts = list(node, 1, "starts")?.ok_or(OpError::MissingOperand { index: 1 })?;
    let ends = list(node, 2, "ends")?.ok_or(OpError::MissingOperand { index: 2 })?;
    let listed = node.input(1).and_then(|o| o.size(0)).and_then(|n| usize::try_from(n).ok());
    let steps = list(node, 4, "steps")?;
    let axes = match list(node, 3, "axes")? {
        None => {
            let Some(count) = starts.as_ref().map(Vec::len).or(listed) else { return Ok(None) };
            (0..count.min(rank)).collect()
        }
        Some(None) => return Ok(None),
        Some(Some(axes)) => {
            let Some(axes) = axes.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>() else { return Ok(None) };
            node.axes(&axes, rank)?
        }
    };
    let at = |list: &Option<Vec<Dim>>, i: usize| list.as_ref().and_then(|l| l.get(i)).cloned();
    let cut = |(i, axis)| Cut {
        axis,
        start: at(&starts, i),
        end: at(&ends, i),
        step: match &steps {
            None => Some(1),
            Some(steps) => at(steps, i).and_then(|s| s.as_const()).filter(|&s| s != 0),
        },
    };
    Ok(Some(axes.into_iter().enumerate().map(cut).collect()))
}

impl Cut {
    /// The range on an axis of length `len`, clamped as the specification says.
    fn range(&self, len: u64) -> Option<Range> {
        let (start, end, step) = (self.start.as_ref()?.as_const()?, self.end.as_ref()?.as_const()?, self.step?);
        let n = i64::try_from(len).ok()?;
        let from_front = |p: i64| if p < 0 { p.saturating_add(n) } else { p };
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        // A backward range may start at the last slot and end before the first, hence the other bounds.
        let start = from_front(start).clamp(if step > 0 { 0 } else { low.max(0).min(high) }, high);
        let end = from_front(end).clamp(low, high);
        let span = if step > 0 { end.checked_sub(start)? } else { start.checked_sub(end)? };
        let count = if span <= 0 { 0 } else { (span.unsigned_abs() - 1) / step.unsigned_abs() + 1 };
        Some(Range { start: u64::try_from(start).ok()?, step, count })
    }
    /// Size of the result on an axis whose size is not a plain number. Positions beyond 2^31 − 1 mean the end of the axis.
    fn symbolic_size(&self, dim: &Dim) -> Option<Dim> {
        let (start, end) = (self.start.as_ref()?, self.end.as_ref()?);
        if self.step != Some(1) {
            return None;
        }
        let place = |p: &Dim| match p.as_const() {
            Some(c) if c >= i64::from(i32::MAX) => Some(dim.clone()),
            Some(c) if c < 0 => dim.add(p),
            _ => Some(p.clone()),
        };
        let (start, end) = (place(start)?, place(end)?);
        let inside = |p: &Dim| {
            let fits = |d: Option<Dim>| d.and_then(|d| d.at_least()).is_some_and(|c| c >= 0);
            // An end counted from the back, or the end itself, is inside; any other has to be shown to be.
            p == dim || fits(dim.sub(p)) || p.sub(dim).and_then(|d| d.as_const()).is_some_and(|c| c <= 0)
        };
        if start == Dim::from(0) && end.as_const().is_none() && inside(&end) {
            return Some(end);
        }
        let from_start = start.as_const().is_some();
        (end == *dim || from_start && inside(&end)).then(|| end.sub(&start)).flatten()
    }
}

impl Range {
    fn whole(&self, len: u64) -> bool {
        *self == Range { start: 0, step: 1, count: len }
    }
    fn slots(&self) -> impl Iterator<Item = u64> + use<> {
        let Range { start, step, count } = *self;
        (0..count).map_while(move |i| start.checked_add_signed(step.checked_mul(i as i64)?))
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?.fact;
    let Some(dims) = &x.shape else { return Ok(vec![Fact::unranked(x.elem)]) };
    let Some(cuts) = cuts(node, dims.len())? else {
        let shape = (0..dims.len()).map(|a| unnamed(node, 0, a)).collect();
        return Ok(vec![Fact { elem: x.elem, shape: Some(shape), content: None }]);
    };
    let mut out = dims.clone();
    let mut content = x.content.clone();
    for cut in &cuts {
        let range = dims[cut.axis].as_size().and_then(|len| cut.range(len));
        out[cut.axis] = match (range, cut.symbolic_size(&dims[cut.axis])) {
            (Some(range), _) => Dim::from(range.count as i64),
            (None, Some(size)) => size,
            (None, None) => unnamed(node, 0, cut.axis),
        };
        content = content.zip(range).and_then(|(c, range)| range.slots().map(|s| c.get(s as usize).cloned()).collect());
    }
    Ok(vec![Fact { elem: x.elem, shape: Some(out), content }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    (1..node.input_count()).for_each(|i| freeze_sizes(node, i, r));
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let rank = node.rank(0)?;
    let cuts = cuts(node, rank)?.ok_or(OpError::NotConstant { index: 3 })?;
    for axis in 0..rank {
        let cut = cuts.iter().find(|c| c.axis == axis);
        match (x.size(axis), cut) {
            (Some(len), None) => r.tie(x.axis(axis), y.axis(axis), len, "R2"),
            (Some(len), Some(cut)) => match cut.range(len) {
                Some(range) if range.whole(len) => r.tie(x.axis(axis), y.axis(axis), len, "R2"),
                Some(range) if range.count > 0 && (range.step.abs() == 1 || cuts.len() == 1) => {
                    link(x.axis(axis), y.axis(axis), range, r)?;
                }
                _ => {
                    r.freeze(x.axis(axis), Reason::Rule("sliced in a way that cannot follow a cut")); // R3
                    r.freeze(y.axis(axis), Reason::Rule("sliced in a way that cannot follow a cut"));
                }
            },
            (None, _) if y.size(axis).is_some() => r.freeze(y.axis(axis), Reason::Dynamic),
            (None, _) => {}
        }
    }
    Ok(())
}

fn link(x: AxisRef, y: AxisRef, range: Range, r: &mut Relations) -> Result<(), OpError> {
    let start = u32::try_from(range.start).map_err(|_| OpError::Overflow)?;
    // A single slot has no distance to the next one, whatever the step.
    let step = if range.count == 1 { 1 } else { i32::try_from(range.step).map_err(|_| OpError::Overflow)? };
    let (from, to) = (Row { axis: x, start, step }, Row { axis: y, start: 0, step: 1 });
    r.link(from, to, range.count, LinkKind::Same, "R1");
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let Some(cuts) = cuts(node, node.rank(0)?)? else { return Ok(Vec::new()) };
    let read = |index, name| list(node, index, name).map(|l| l.flatten().unwrap_or_default());
    let (old_starts, old_ends) = (read(1, "starts")?, read(2, "ends")?);
    let (mut starts, mut ends) = (old_starts.clone(), old_ends.clone());
    let old_steps = read(4, "steps")?;
    let mut steps = old_steps.clone();
    for (i, c) in cuts.iter().enumerate() {
        let (Some(kept), Some(len)) = ((cut.kept)(x.value, c.axis), x.size(c.axis)) else { continue };
        let Some(range) = c.range(len) else { continue };
        if range.step != 1 {
            let (now, slots) = (Places::of(&kept), range.slots().collect::<Vec<u64>>());
            let left = (cut.kept)(y.value, c.axis).unwrap_or_else(|| (0..slots.len() as u32).collect());
            let places: Vec<i64> = left.iter().filter_map(|i| now.find(*slots.get(*i as usize)?)).collect();
            let Some((start, end, step)) = progression(&places, range.step, kept.len()) else {
                return Ok(vec![Edit::Gather { axis: c.axis, indices: places }]); // R4
            };
            (starts[i], ends[i], steps[i]) = (start.into(), end.into(), step.into());
            continue;
        }
        let before = |slot: u64| Dim::from(kept.iter().filter(|&&k| u64::from(k) < slot).count() as i64);
        starts[i] = before(range.start);
        ends[i] = before(range.start + range.count);
    }
    let mut edits = Vec::new();
    let lists = [(1, "starts", old_starts, starts), (2, "ends", old_ends, ends), (4, "steps", old_steps, steps)];
    for (operand, name, old, new) in lists {
        if old == new {
            continue;
        }
        edits.push(if node.input(1).is_some() {
            Edit::Content { operand, dims: new }
        } else {
            Edit::Attr(name, Attr::Ints(new.iter().filter_map(Dim::as_const).collect()))
        });
    }
    Ok(edits)
}

/// Start, end and step of a range of an axis of length `len` that holds `places`, if they are equally far apart. A
/// single place keeps the step that there was.
fn progression(places: &[i64], old: i64, len: usize) -> Option<(i64, i64, i64)> {
    let (&first, &last) = (places.first()?, places.last()?);
    let step = match places {
        [a, b, ..] => b - a,
        _ => old,
    };
    if places.windows(2).any(|w| w[1] - w[0] != step) {
        return None;
    }
    // An end before the first slot is counted from the back: −1 would be the last slot.
    let end = last + step.signum();
    Some((first, if end < 0 { -(i64::try_from(len).ok()?) - 1 } else { end }, step))
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation, check_resize};
    use std::time::{Duration, Instant};

    fn slice(x: &str, [start, end, axis, step]: [i64; 4]) -> String {
        format!(
            "g (float[{x}] x) => (float[] y) <int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{{axis}}},
                int64[1] p = {{{step}}}> {{ y = Slice (x, s, e, a, p) }}"
        )
    }
    const SIZES: [&str; 4] =
        ["s.0 frozen: holds sizes", "e.0 frozen: holds sizes", "a.0 frozen: holds sizes", "p.0 frozen: holds sizes"];
    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        check_relation(text, &[&SIZES[..], expect].concat());
    }

    #[test]
    fn ranges_link_with_their_step() {
        check(&slice("n,8", [2, i64::MAX, 1, 1]), &["R1 x.1@2 = y.1 x6"]);
        check(&slice("n,8", [-1, i64::MIN, 1, -1]), &["R1 x.1@7/-1 = y.1 x8"]);
        check(&slice("n,8", [1, 8, -1, 3]), &["R1 x.1@1/3 = y.1 x3"]);
    }
    #[test]
    fn a_whole_axis_is_the_same_axis() {
        check(&slice("n,8", [0, 100, 1, 1]), &["R2 x.1 = y.1 x8"]);
    }
    #[test]
    fn ranges_over_symbolic_sizes_are_evaluated_where_they_can_be() {
        check_fact(&slice("n,8", [0, i64::MAX, 0, 1]), "float[n,8]");
        check_fact(&slice("n,8", [1, i64::MAX, 0, 1]), "float[n-1,8]");
        check_fact(&slice("n,8", [0, 5, 0, 1]), "float[?y.0,8]");
    }
    #[test]
    fn contents_are_sliced() {
        check_fact(
            "g (float[n,4,6] x) => (int64[] y) <int64[1] b = {-2}, int64[1] e = {9223372036854775807}> {
                s = Shape (x) y = Slice (s, b, e) }",
            "int64[2] = {4,6}",
        );
    }
    #[test]
    fn a_contiguous_range_follows_what_is_kept() {
        let text = slice("n,8", [-4, i64::MAX, 1, 1]);
        check_resize(&text, &[("x", 1, &[0, 3, 5, 7])], &["operand 1 = 2", "operand 2 = 4"]);
        check_resize(&text, &[("x", 1, &[4, 6])], &["operand 1 = 0", "operand 2 = 2"]);
    }
    #[test]
    fn a_backward_range_of_many_slots_follows_in_little_time() {
        let (n, started) = (1 << 18, Instant::now());
        let kept: Vec<u32> = (1..n).collect();
        let text = slice(&format!("n,{n}"), [-1, i64::MIN, 1, -1]);
        check_resize(&text, &[("x", 1, &kept)], &["operand 1 = 262142", "operand 2 = -262144"]);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    #[test]
    fn a_backward_range_stays_one() {
        let text = slice("n,8", [-1, i64::MIN, 1, -1]);
        check_resize(&text, &[("x", 1, &[0, 3, 5])], &["operand 1 = 2", "operand 2 = -4"]);
    }
    #[test]
    fn a_strided_range_stays_one_where_distances_are_equal() {
        let text = slice("n,8", [0, 8, 1, 2]);
        check_resize(&text, &[("x", 1, &[0, 1, 2, 4])], &["gather 1: [0, 2, 3]"]);
        check_resize(&text, &[("x", 1, &[0, 2, 5, 6])], &["gather 1: [0, 1, 3]"]);
        check_resize(&text, &[("x", 1, &[0, 2, 4, 5])], &["operand 2 = 3", "operand 4 = 1"]);
    }
    #[test]
    fn a_strided_range_becomes_a_gather() {
        check_resize(&slice("n,8", [0, 8, 1, 2]), &[("x", 1, &[0, 1, 4, 6])], &["gather 1: [0, 2, 3]"]);
    }
}
