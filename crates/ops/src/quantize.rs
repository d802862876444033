//! From numbers to quantised ones and back. Spec: ai.onnx `QuantizeLinear` (10, 13, 19, 21, 23, 24, 25, 28),
//! `DequantizeLinear` (the same), `DynamicQuantizeLinear` (11); com.microsoft `QuantizeLinear`, `DequantizeLinear` (1).
//!  R1  Every axis of y is the same axis of x.
//!  R2  Scale and zero point have one number, or one for each slot of `axis` (rules Q1 and Q2 of `quantised.rs`).
//!  R3  Blocked (`block_size` above 0): the axis of x is the product of the parameters' axis and a block. The numbers
//!      of a block share a scale and leave together. A last block that is not full freezes the axis.
//!  R4  `DynamicQuantizeLinear` measures its range over all of x, with zero always inside: a slot that is zero
//!      everywhere changes nothing, so each axis absorbs.
//!  R5  y has the type of the zero point; without one that of `output_dtype`, or uint8. A dequantised y has the type of
//!      `output_dtype`, or of the scale.
//!  R6  A dequantised y is 0 where x equals its zero point.

use crate::form::{differ, freeze, mismatch, tie, tie_same};
use crate::quantised::{follow, single};
use crate::work::light;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, WorkRule, ZeroPoint,
};

const fn row(
    domain: &'static str,
    name: &'static str,
    since: &'static [i64],
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    relate: fn(&NodeRef, &mut Relations) -> Result<(), OpError>,
) -> OpDef {
    OpDef {
        name,
        domain,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(light),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const SINCE: &[i64] = &[10, 13, 19, 21, 23, 24, 25, 28];

pub(crate) const OPS: &[OpDef] = &[
    row(ONNX, "DequantizeLinear", SINCE, dequantised, relate_back),
    row("com.microsoft", "DequantizeLinear", &[1], dequantised, relate_back),
    row(ONNX, "DynamicQuantizeLinear", &[11], measured, relate_measured),
    row(ONNX, "QuantizeLinear", SINCE, quantised, relate),
    row("com.microsoft", "QuantizeLinear", &[1], quantised, relate),
];

/// The type that `output_dtype` names; 0 is none.
fn output_type(node: &NodeRef) -> Result<Option<ElemType>, OpError> {
    let bad = || OpError::BadAttribute { name: "output_dtype".to_string(), expected: "the code of an element type" };
    match node.int_or("output_dtype", 0)? {
        0 => Ok(None),
        code => i32::try_from(code).ok().and_then(ElemType::from_code).map(Some).ok_or_else(bad),
    }
}

fn quantised(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = match node.input(2) {
        Some(zero) => zero.fact.elem,
        None => Some(output_type(node)?.unwrap_or(ElemType::U8)),
    };
    like(node, elem)
}

fn dequantised(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    like(node, output_type(node)?.or(node.need_input(1)?.fact.elem))
}

fn like(node: &NodeRef, elem: Option<ElemType>) -> Result<Vec<Fact>, OpError> {
    let (x, scale) = (node.need_input(0)?, node.need_input(1)?);
    if let (Some(1), Some(rank), false) = (scale.rank(), x.rank(), single(&scale)) {
        let axis = node.axis(node.int_or("axis", 1)?, rank)?;
        let (numbers, slots) = (scale.fact.shape.as_deref().and_then(<[Dim]>::first), &x.fact.shape);
        if let (Some(n), Some(dims)) = (numbers, slots)
            && differ(n, &dims[axis])
        {
            return Err(mismatch("scales against slots of the axis", n, &dims[axis]));
        }
    }
    Ok(vec![Fact { elem, shape: x.fact.shape.clone(), content: None }]) // R5
}

/// Rules R1 to R3, and R6 where what zero is can be known.
fn relate_back(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate(node, r)?;
    let x = node.need_input(0)?;
    let blocked = node.int_or("block_size", 0)? != 0;
    let (point, axis) = match node.input(2) {
        None => (None, None),
        Some(zero) if single(&zero) => (Some(zero.value), None),
        Some(zero) if zero.tensor.is_some() && !blocked => {
            let axis = node.axis(node.int_or("axis", 1)?, node.rank(0)?)?;
            (Some(zero.value), Some(axis as u32))
        }
        Some(_) => return Ok(()),
    };
    r.zero_points.push(ZeroPoint { value: x.value, point, axis });
    Ok(())
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, scale, y, rank) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?, node.rank(0)?);
    tie_same(r, &x, &y, 0..rank, "R1");
    let block = u64::try_from(node.int_or("block_size", 0)?).unwrap_or(0);
    // The axis is not read where there is one number.
    let axis = if single(&scale) { 0 } else { node.axis(node.int_or("axis", 1)?, rank)? };
    if block == 0 || scale.rank() != Some(rank) || rank == 0 {
        follow(node, &[1, 2], (&x, axis), r); // R2
        return Ok(());
    }
    for parameter in [1, 2].into_iter().filter_map(|i| node.input(i)) {
        for other in (0..rank).filter(|a| *a != axis) {
            tie(r, (&x, other), (&parameter, other), "R3");
        }
    }
    let blocks = scale.size(axis).filter(|b| b.checked_mul(block) == x.size(axis));
    match blocks {
        Some(_) => {
            let within = r.virtual_axis(block);
            r.freeze(within, Reason::Rule("a block shares one scale"));
            r.product(x.axis(axis), &[scale.axis(axis), within], "R3");
        }
        None => freeze(r, &x, [axis], &Reason::Rule("the last block of a scale is not full")),
    }
    if let Some(zero) = node.input(2) {
        tie(r, (&scale, axis), (&zero, axis), "R3");
    }
    Ok(())
}

fn measured(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let y = Fact { elem: Some(ElemType::U8), shape: node.need_input(0)?.fact.shape.clone(), content: None };
    Ok(vec![y, Fact::new(ElemType::F32, Vec::new()), Fact::new(ElemType::U8, Vec::new())])
}

fn relate_measured(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    tie_same(r, &x, &y, 0..rank, "R1");
    for axis in 0..rank {
        if let Some(len) = x.size(axis).filter(|n| *n > 1) {
            r.absorb(x.axis(axis), len, "R4");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    fn text(op: &str, x: &str, scale: &str) -> String {
        let random = r#"= ["location": "random:1"]"#;
        format!("g (float[{x}] x) => (y) <float{scale} s {random}, int8{scale} z {random}> {{ y = {op} (x, s, z) }}")
    }

    #[test]
    fn r1_r2_one_number_relates_to_nothing() {
        check_relation(&text("QuantizeLinear", "2,6", ""), "R1 x:0 = y:0\nR1 x:1 = y:1");
        check_relation(&text("QuantizeLinear", "2,6", "[1]"), "R1 x:0 = y:0\nR1 x:1 = y:1\nfree s:0\nfree z:0");
        check_shape(&text("QuantizeLinear", "2,6", ""), "int8[2,6]");
    }

    #[test]
    fn r2_numbers_of_an_axis_are_cut_along() {
        let expect = "R1 x:0 = y:0\nR1 x:1 = y:1\nQ2 x:0 = s:0\nQ2 x:0 = z:0";
        check_relation(&text("QuantizeLinear <axis=-2>", "4,6", "[4]"), expect);
        check_shape(
            &text("QuantizeLinear <axis=0>", "4,6", "[6]"),
            "error: scales against slots of the axis: 6 against 4",
        );
    }

    #[test]
    fn r3_blocks_leave_whole() {
        let expect = "R1 x:0 = y:0
            R1 x:1 = y:1
            R3 x:0 = s:0
            R3 x:0 = z:0
            freeze $0(4): a block shares one scale
            R3 x:1 = s:1 x $0(4)
            R3 s:1 = z:1";
        check_relation(&text("QuantizeLinear <axis=1, block_size=4>", "2,8", "[2,2]"), expect);
        let ragged = text("QuantizeLinear <axis=1, block_size=4>", "2,7", "[2,2]");
        check_relation(
            &ragged,
            "R1 x:0 = y:0
             R1 x:1 = y:1
             R3 x:0 = s:0
             R3 x:0 = z:0
             freeze x:1: the last block of a scale is not full
             R3 s:1 = z:1",
        );
    }

    #[test]
    fn r4_a_measured_range_absorbs_zeros() {
        let text = "g (float[n,6] x) => (y) { y, s, z = DynamicQuantizeLinear (x) }";
        check_relation(text, "R1 x:1 = y:1\nR4 x:1 * x:1");
        check_shape(text, "uint8[n,6]; float[]; uint8[]");
    }

    #[test]
    fn r5_types_come_from_the_zero_point_the_scale_or_the_attribute() {
        let back = |attrs: &str| {
            format!(
                r#"<ir_version: 10, opset_import: ["" : 23]> g (int4[n,6] x, float16 s) => (y) {{ y = DequantizeLinear <{attrs}> (x, s) }}"#
            )
        };
        check_shape(&back(""), "float16[n,6]");
        check_shape(&back("output_dtype=1"), "float[n,6]");
        let there = "g (float[n,6] x, float s) => (y) { y = QuantizeLinear (x, s) }";
        check_shape(there, "uint8[n,6]");
    }
}
