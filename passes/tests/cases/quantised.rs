//! Quantised models: scales and zero points are cut along, and masks know what zero is.

use super::{check_equal, cut};
use sparsec_passes::remove::{mask, remove};

/// Quantisation of x, and what is said before a graph of `body`.
fn text(weights: &str, body: &str) -> String {
    format!(
        "g (float[n,5] x) => (float[n,3] z)
        <float s = {{0.1}}, uint8 zp = {{7}}, float t = {{0.05}}, int8 tz = {{9}}, {weights}>
        {{ q = QuantizeLinear (x, s, zp) {body} }}"
    )
}

const COLUMNS: &str = r#"int8[5,4] w = ["location": "random:1"], float[4] ws = {0.1, 0.2, 0.3, 0.1}, int8[4] wz = {0, 1, -2, 3},
    int8[4,3] v = ["location": "random:2"]"#;

#[test]
fn zero_points_of_weights_are_what_a_mask_writes() {
    let body = "h = QLinearMatMul (q, s, zp, w, t, wz1, s, zp) y = QLinearMatMul (h, s, zp, v, t, tz, s, zp)
        z = DequantizeLinear (y, s, zp)";
    check_equal(&text(&format!("{COLUMNS}, int8 wz1 = {{1}}"), body), &[0, 2]);
}

#[test]
fn a_measured_range_does_not_see_what_leaves() {
    let body = "i = MatMulInteger (q, w, zp) f = Cast <to = 1> (i) g = Mul (f, ws)
        d, ds, dz = DynamicQuantizeLinear (g) j = MatMulInteger (d, v, dz, tz) k = Cast <to = 1> (j) z = Mul (k, ds)";
    check_equal(&text(COLUMNS, body), &[1, 3]);
}

#[test]
fn dequantised_weights_are_cut_at_their_source() {
    let body = "d = DequantizeLinear (q, s, zp) wd = DequantizeLinear <axis = 1> (w, ws, wz) h = MatMul (d, wd)
        r = Relu (h) vd = DequantizeLinear (v, t, tz) z = MatMul (r, vd)";
    let text = text(COLUMNS, body);
    check_equal(&text, &[0, 3]);
    let (s, removal) = cut(&text, &[0, 3]);
    let pruned = remove(&s.model, &s.facts, &s.table, &s.channels, &removal).expect("it can be cut");
    let of = |name: &str| pruned.graph.constant(pruned.graph.find(name).expect("it stays")).cloned().expect("constant");
    assert_eq!((of("w").dims.clone(), of("wz").to_i64().unwrap()), (vec![5, 2], vec![1, -2]));
    let masked = mask(&s.model, &s.facts, &s.channels, &removal).expect("it can be masked");
    // The weight behind the node is masked, not what the node gives.
    assert_eq!(masked.graph.nodes().count(), s.model.graph.nodes().count());
    let v = masked.graph.constant(masked.graph.find("v").expect("it stays")).expect("constant").to_i64().unwrap();
    assert_eq!((&v[..3], &v[9..]), (&[9, 9, 9][..], &[9, 9, 9][..]));
}

#[test]
fn nibbles_are_masked_and_cut_one_by_one() {
    let text = r#"<ir_version: 10, opset_import: ["" : 21]> g (float[n,5] x) => (float[n,3] z)
        <float[5,7] w = ["location": "random:1"], float t = {0.5}, uint4[1] p = ["location": "random:6"],
         uint4[7,3] v = ["location": "random:2"]>
        { h = MatMul (x, w) vd = DequantizeLinear (v, t, p) z = MatMul (h, vd) }"#;
    let (s, removal) = cut(text, &[1, 2, 6]);
    let before = s.model.graph.constant(s.model.graph.find("v").unwrap()).unwrap().clone();
    let masked = mask(&s.model, &s.facts, &s.channels, &removal).expect("it can be masked");
    let masked = masked.graph.constant(masked.graph.find("v").unwrap()).unwrap().clone();
    let pruned = remove(&s.model, &s.facts, &s.table, &s.channels, &removal).expect("it can be cut");
    let pruned = pruned.graph.constant(pruned.graph.find("v").unwrap()).unwrap().clone();
    let point = s.model.graph.constant(s.model.graph.find("p").unwrap()).unwrap().bytes().unwrap()[0];
    assert_ne!(point, 0, "a zero point of 0 would prove nothing");
    let nibble = |t: &sparsec_ir::Tensor, i: usize| (t.bytes().unwrap()[i / 2] >> (4 * (i % 2))) & 15;
    for i in 0..21 {
        let gone = matches!(i / 3, 1 | 2 | 6);
        assert_eq!(nibble(&masked, i), if gone { point } else { nibble(&before, i) }, "{i}");
    }
    assert_eq!(pruned.dims, [4, 3]);
    for (row, old) in [0usize, 3, 4, 5].into_iter().enumerate() {
        (0..3).for_each(|c| assert_eq!(nibble(&pruned, 3 * row + c), nibble(&before, 3 * old + c)));
    }
}

#[test]
fn convolutions_of_integers_follow_their_zero_points() {
    check_equal(
        r#"g (float[n,2,4,4] x) => (float[n,3,4,4] z)
        <float s = {0.1}, uint8 zp = {7}, uint8[4,2,3,3] w = ["location": "random:1"], uint8 wz = {2}, float c = {0.01},
         uint8[3,4,1,1] v = ["location": "random:2"], uint8 vz = {3}>
        { q = QuantizeLinear (x, s, zp) i = ConvInteger <pads = [1, 1, 1, 1]> (q, w, zp, wz) f = Cast <to = 1> (i) g = Mul (f, c)
          r = QuantizeLinear (g, s, zp) j = ConvInteger (r, v, zp, vz) k = Cast <to = 1> (j) z = Mul (k, c) }"#,
        &[0, 2],
    );
}
