//! `Expand`, `Tile`: slots repeated. Spec: ai.onnx `Expand`, versions 8, 13; `Tile`, versions 1, 6, 13.
//!  R1  `Expand`: x is broadcast to the wanted shape by the rules of `broadcast.rs`.
//!  R2  A result axis that repeats an axis of size 1, or that x lacks, is free: all its slots are alike.
//!  R3  `Tile`: slot i of x is slot i, i + n, i + 2n, … of y.
//!  R4  After a cut the operand of sizes follows: an entry 1 stays where x has the size already.
//!  R5  `Tile` repeats one axis before version 6: operand 1 is the number of times, operand 2 the axis.

use crate::broadcast;
use crate::content::{freeze_sizes, number};
use crate::form::unnamed;
use crate::work::moves;
use sparsec_ir::{
    Affine, Dim, Edit, Fact, LinearRule, LinkKind, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    Resized, Row, ShapeRule, WorkRule,
};

const EXPAND: OpDef = OpDef {
    name: "Expand",
    domain: ONNX,
    since: &[8, 13],
    shape: ShapeRule::By(expand_shape),
    relate: Relate::By(expand_relate),
    work: WorkRule::By(moves),
    resize: Resize::By(expand_resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    EXPAND,
    OpDef {
        name: "Tile",
        since: &[1, 6, 13],
        shape: ShapeRule::By(tile_shape),
        relate: Relate::By(tile_relate),
        resize: Resize::By(tile_resize),
        ..EXPAND
    },
];

fn expand_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, wanted) = (node.need_input(0)?, node.need_input(1)?);
    let elem = x.fact.elem;
    let (Some(dims), Some(entries)) = (&x.fact.shape, &wanted.fact.content) else {
        let rank = x.rank().zip(wanted.size(0)).filter(|&(_, n)| n <= 64).map(|(r, n)| r.max(n as usize));
        let shape = rank.map(|r| (0..r).map(|a| unnamed(node, 0, a)).collect());
        return Ok(vec![Fact { elem, shape, content: None }]);
    };
    let shape = broadcast::shape(node, &[dims, entries])?; // R1
    let content = match (x.fact.content.as_deref(), shape.as_slice()) {
        (Some([one]), [len]) => {
            len.as_size().filter(|&n| n <= crate::content::MAX as u64).map(|n| vec![one.clone(); n as usize])
        }
        (content, s) if s.len() <= 1 => content.map(<[Dim]>::to_vec),
        _ => None,
    };
    Ok(vec![Fact { elem, shape: Some(shape), content }])
}

fn expand_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    freeze_sizes(node, 1, r);
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let rank = y.rank().ok_or(OpError::Unsupported("the rank of the result is not known"))?;
    let lead = rank.checked_sub(node.rank(0)?).ok_or(OpError::Unsupported("the result has fewer axes"))?;
    for axis in 0..rank {
        let own = axis.checked_sub(lead).map(|a| (a, x.size(a)));
        match (own, y.size(axis)) {
            (Some((a, Some(n))), Some(m)) if n == m => r.tie(x.axis(a), y.axis(axis), n, "R1"),
            (None | Some((_, Some(1))), _) => r.free(y.axis(axis)), // R2
            (Some((_, None)), None) => {}
            (Some((a, _)), _) => {
                r.freeze(x.axis(a), Reason::Dynamic);
                r.freeze(y.axis(axis), Reason::Dynamic);
            }
        }
    }
    Ok(())
}

fn expand_resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let Some(sizes) = cut.shape(y.value).filter(|_| cut.any()) else { return Ok(Vec::new()) };
    let entries = node.need_input(1)?.fact.content.as_ref();
    let lead = sizes.len().saturating_sub(node.rank(0)?);
    // The wanted shape may be shorter than the result's: axes that it lacks are those of x.
    let skip = entries.map_or(0, |e| sizes.len().saturating_sub(e.len()));
    let mut dims = Vec::new();
    for (axis, size) in sizes.into_iter().enumerate().skip(skip) {
        let same = axis >= lead && cut.dim(x.value, axis - lead).as_ref() == Some(&size);
        let was_one = entries.and_then(|e| e.get(axis - skip)).and_then(Dim::as_const) == Some(1);
        let copied = same && (was_one || size.as_const().is_none());
        dims.push(if copied { Dim::from(1) } else { size });
    }
    let unchanged = entries == Some(&dims);
    Ok(if unchanged { Vec::new() } else { vec![Edit::Content { operand: 1, dims }] }) // R4
}

/// How often each axis is repeated, where that is known.
fn repeats(node: &NodeRef, rank: usize) -> Result<Option<Vec<Dim>>, OpError> {
    if node.opset >= 6 {
        return Ok(node.need_input(1)?.fact.content.clone());
    }
    let Some((times, axis)) = number(node, 1).zip(number(node, 2).and_then(|a| a.as_const())) else { return Ok(None) };
    let mut all = vec![Dim::from(1); rank];
    all[node.axis(axis, rank)?] = times; // R5
    Ok(Some(all))
}

fn tile_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?;
    let Some(dims) = &x.fact.shape else { return Ok(vec![Fact::unranked(x.fact.elem)]) };
    let repeats = repeats(node, dims.len())?;
    let at = |axis: usize| {
        let repeat = repeats.as_ref().and_then(|r| r.get(axis));
        repeat.map_or_else(|| Ok(unnamed(node, 0, axis)), |n| dims[axis].mul(n).ok_or(OpError::Overflow))
    };
    let shape: Vec<Dim> = (0..dims.len()).map(at).collect::<Result<_, _>>()?;
    let content = match (&x.fact.content, shape.as_slice()) {
        (Some(c), [len]) if !c.is_empty() => {
            let len = len.as_size().filter(|&n| n <= crate::content::MAX as u64);
            len.map(|n| c.iter().cycle().take(n as usize).cloned().collect())
        }
        _ => None,
    };
    Ok(vec![Fact { elem: x.fact.elem, shape: Some(shape), content }])
}

/// More copies than this are not worth their statements.
const MAX_COPIES: u64 = 4096;

fn tile_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    [1, 2].into_iter().for_each(|i| freeze_sizes(node, i, r));
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    for axis in 0..node.rank(0)? {
        match (x.size(axis), y.size(axis)) {
            (Some(1), Some(m)) if m > 1 && node.opset < 6 => {
                r.freeze(y.axis(axis), Reason::Rule("repeated as a scalar says")); // R5
            }
            (Some(1), Some(_)) => r.free(y.axis(axis)), // R2
            (Some(n), Some(m)) if n > 0 && m % n == 0 && m / n <= MAX_COPIES => {
                for copy in 0..m / n {
                    let row = |value: u64, axis| Row { axis, start: value as u32, step: 1 };
                    let start = u32::try_from(copy * n).map_err(|_| OpError::Overflow)?;
                    r.link(row(0, x.axis(axis)), Row { axis: y.axis(axis), start, step: 1 }, n, LinkKind::Same, "R3");
                }
            }
            (None, None) => {}
            _ => {
                r.freeze(x.axis(axis), Reason::Rule("repeated an unknown number of times"));
                r.freeze(y.axis(axis), Reason::Rule("repeated an unknown number of times"));
            }
        }
    }
    Ok(())
}

fn tile_resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let Some(old) = repeats(node, node.rank(0)?)? else { return Ok(Vec::new()) };
    let mut dims = old.clone();
    for (axis, repeat) in dims.iter_mut().enumerate() {
        // Copies of more than one slot leave whole rows of copies alone; copies of one slot are counted.
        if x.size(axis) == Some(1) && (cut.kept)(y.value, axis).is_some() {
            *repeat = cut.dim(y.value, axis).ok_or(OpError::UnknownRank { index: 0 })?;
        }
    }
    if dims == old {
        return Ok(Vec::new());
    }
    if node.opset < 6 {
        return Err(OpError::Unsupported("the number of repeats is a scalar"));
    }
    Ok(vec![Edit::Content { operand: 1, dims }]) // R4
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation, check_resize};

    fn expand(x: &str, wanted: &str, len: usize) -> String {
        format!("g (float[{x}] x) => (float[] y) <int64[{len}] s = {{{wanted}}}> {{ y = Expand (x, s) }}")
    }

    #[test]
    fn repeated_single_slots_are_free() {
        check_relation(
            &expand("1,4", "2, 3, 1", 3),
            &["s.0 frozen: holds sizes", "y.0 free", "y.1 free", "R1 x.1 = y.2 x4"],
        );
    }
    #[test]
    fn entries_of_one_stay() {
        let text = expand("1,4", "2, 3, 1", 3);
        check_resize(&text, &[("x", 1, &[0, 1]), ("y", 2, &[0, 1])], &[]);
        check_resize(&text, &[("y", 1, &[0, 2])], &["operand 1 = 2,2,1"]);
    }
    #[test]
    fn tile_repeats_rows() {
        let text = "g (float[n,3] x) => (float[] y) <int64[2] s = {1, 2}> { y = Tile (x, s) }";
        check_fact(text, "float[n,6]");
        check_relation(text, &["s.0 frozen: holds sizes", "R3 x.1 = y.1 x3", "R3 x.1 = y.1@3 x3"]);
    }
    #[test]
    fn the_first_version_of_tile_repeats_one_axis() {
        let text = r#"<ir_version: 8, opset_import: ["" : 1]> g (float[2,3] x) => (float[] y)
            <float t = {2}, float a = {1}> { y = Tile (x, t, a) }"#;
        check_fact(text, "float[2,6]");
        check_relation(text, &["R3 x.0 = y.0 x2", "R3 x.1 = y.1 x3", "R3 x.1 = y.1@3 x3"]);
    }
    #[test]
    fn copies_of_a_single_slot_are_counted() {
        check_resize(
            "g (float[1,3] x) => (float[] y) <int64[2] s = {5, 2}> { y = Tile (x, s) }",
            &[("y", 0, &[1, 4]), ("x", 1, &[0]), ("y", 1, &[0, 3])],
            &["operand 1 = 2,2"],
        );
    }
}
