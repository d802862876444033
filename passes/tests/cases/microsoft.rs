//! Operators of ONNX Runtime, on ONNX Runtime where `SPARSEC_ORT` names it: whatever leaves, the pruned model equals the
//! masked one. Without it, that cuts are carried out and shapes follow.

use crate::common::{Keep, Subject, Verdict, runtimes};
use sparsec_testkit::{Random, model, random_inputs};

const HEAD: &str = r#"<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> "#;

#[track_caller]
fn check(text: &str) {
    let subject = Subject::of(model(&format!("{HEAD}{text}")));
    assert!(!subject.channels.groups.is_empty(), "nothing can be cut");
    let runtimes = runtimes();
    for seed in 1..4 {
        let removal = subject.removal(&mut Random::new(seed), Keep::Some);
        let verdict = subject.check(&removal, &runtimes, &random_inputs(&subject.model, seed, 2));
        let fine = matches!(verdict, Ok(Verdict::Equal | Verdict::Whole))
            || (verdict == Ok(Verdict::NoRuntime) && runtimes.len() == 1);
        assert!(fine, "seed {seed}: {verdict:?}");
    }
}

#[test]
fn attention_with_projections_inside() {
    check(
        r#"g (float[2,5,6] x) => (float[2,5,6] z)
        <float[6,12] p = ["location": "random:9"], float[12,28] w = ["location": "random:1"], float[28] b =
         ["location": "random:2"], float[12,6] o = ["location": "random:3"]>
        { h = MatMul (x, p) a = com.microsoft.Attention <num_heads=4, qkv_hidden_sizes=[8,8,12]> (h, w, b) z =
         MatMul (a, o) }"#,
    );
}

#[test]
fn attention_over_projections() {
    check(
        r#"g (float[2,5,6] x) => (float[2,5,6] z)
        <float[6,12] q = ["location": "random:1"], float[6,12] k = ["location": "random:2"], float[6,8] v =
         ["location": "random:3"], float[32] b = ["location": "random:4"], float[8,6] o = ["location": "random:5"]>
        { qq = MatMul (x, q) kk = MatMul (x, k) vv = MatMul (x, v) a = com.microsoft.MultiHeadAttention
         <num_heads=4> (qq, kk, vv, b) z = MatMul (a, o) }"#,
    );
}

#[test]
fn heads_rotated_by_halves() {
    check(
        r#"g (float[2,5,6] x, int64[2,5] pos) => (float[2,5,6] z)
        <float[6,32] q = ["location": "random:1"], float[6,32] k = ["location": "random:2"], float[6,32] v =
         ["location": "random:3"], float[9,4] c = ["location": "random:6"], float[9,4] s = ["location":
         "random:7"], float[32,6] o = ["location": "random:5"]>
        { qq = MatMul (x, q) kk = MatMul (x, k) vv = MatMul (x, v) q2 = com.microsoft.RotaryEmbedding (qq, pos, c,
         s) k2 = com.microsoft.RotaryEmbedding (kk, pos, c, s)
        a = com.microsoft.MultiHeadAttention <num_heads=4> (q2, k2, vv) z = MatMul (a, o) }"#,
    );
}

#[test]
fn heads_rotated_by_neighbours() {
    check(
        r#"g (float[2,5,6] x, int64[2,5] pos) => (float[2,5,6] z)
        <float[6,32] q = ["location": "random:1"], float[6,32] k = ["location": "random:2"], float[6,32] v =
         ["location": "random:3"], float[9,4] c = ["location": "random:6"], float[9,4] s = ["location":
         "random:7"], float[32,6] o = ["location": "random:5"]>
        { qq = MatMul (x, q) kk = MatMul (x, k) vv = MatMul (x, v) q2 = com.microsoft.RotaryEmbedding
         <interleaved=1, num_heads=4> (qq, pos, c, s) k2 = com.microsoft.RotaryEmbedding <interleaved=1,
         num_heads=4> (kk, pos, c, s)
        a = com.microsoft.MultiHeadAttention <num_heads=4> (q2, k2, vv) z = MatMul (a, o) }"#,
    );
}

#[test]
fn grouped_queries() {
    check(
        r#"g (float[2,5,6] x) => (float[2,5,6] z)
        <float[6,64] q = ["location": "random:1"], float[6,32] k = ["location": "random:2"], float[6,32] v =
         ["location": "random:3"], int32[2] l = {4,4}, int32 t = {5}, float[64,6] o = ["location": "random:5"]>
        { qq = MatMul (x, q) kk = MatMul (x, k) vv = MatMul (x, v)
        a, pk, pv = com.microsoft.GroupQueryAttention <num_heads=8, kv_num_heads=4> (qq, kk, vv, , , l, t)
         z = MatMul (a, o) }"#,
    );
}

#[test]
fn grouped_queries_packed_with_their_keys() {
    check(
        r#"g (float[2,5,6] x) => (float[2,5,6] z)
        <float[6,128] q = ["location": "random:1"], int32[2] l = {4,4}, int32 t = {5}, float[64,6] o =
         ["location": "random:5"]>
        { qq = MatMul (x, q)
        a, pk, pv = com.microsoft.GroupQueryAttention <num_heads=8, kv_num_heads=4> (qq, , , , , l, t)
         z = MatMul (a, o) }"#,
    );
}

#[test]
fn few_bits_in_blocks() {
    check(
        r#"g (float[n,8] x) => (float[n,3] z)
        <float[8,64] w = ["location": "random:1"], uint8[16,4,8] b = ["location": "random:2"], float[64] s =
         ["location": "random:3"], uint8[3,1,8] c = ["location": "random:4"], float[3] t = ["location":
         "random:5"], uint8[3] tz = ["location": "random:6"]>
        { h = MatMul (x, w) r = Relu (h) k = com.microsoft.MatMulNBits <K=64, N=16, bits=4, block_size=16> (r, b,
         s) z = com.microsoft.MatMulNBits <K=16, N=3, bits=4, block_size=16> (k, c, t, tz) }"#,
    );
}

#[test]
fn fused_products_and_gelus() {
    check(
        r#"g (float[2,3,5] x) => (float[2,3,4] z)
        <float[5,8] w = ["location": "random:1"], float[8] b = ["location": "random:2"], float[8,8] u =
         ["location": "random:3"], float[8,4] v = ["location": "random:4"], float[8] c = ["location": "random:5"]>
        { h = com.microsoft.FusedMatMul <alpha=0.5> (x, w) g = com.microsoft.BiasGelu (h, b) k =
         com.microsoft.FusedMatMul <transB=1> (g, u) f = com.microsoft.FastGelu (k, c) z = MatMul (f, v) }"#,
    );
}

#[test]
fn quantised_gemms() {
    check(
        r#"g (float[n,5] x) => (float[n,3] z)
        <float s = {0.1}, uint8 zp = {7}, int8[8,5] w = ["location": "random:1"], float[8] ws =
         {0.1,0.2,0.3,0.1,0.2,0.3,0.1,0.2}, int8[8] wz = {0,0,0,0,0,0,0,0}, int32[8] b = ["location": "random:3"],
        int8[8,3] v = ["location": "random:2"], float vs={0.05}, int8 vz={9}>
        { q = QuantizeLinear (x, s, zp) h = com.microsoft.QGemm <transB=1> (q, s, zp, w, ws, wz, b, s, zp) z =
         com.microsoft.QGemm (h, s, zp, v, vs, vz) }"#,
    );
}

#[test]
fn quantised_branches_joined_and_pooled() {
    check(
        r#"g (float[n,3,6,6] x) => (float[n,4,1,1] z)
        <float s = {0.1}, uint8 zp = {7}, int8[8,3,1,1] w = ["location": "random:1"], float ws = {0.01}, int8 wz =
         {0},  int8[6,3,1,1] u = ["location": "random:4"],
        int8[4,14,1,1] v = ["location": "random:2"]>
        { q = QuantizeLinear (x, s, zp) h = QLinearConv (q, s, zp, w, ws, wz, s, zp) k = QLinearConv (q, s, zp, u,
         ws, wz, s, zp)
        l = com.microsoft.QLinearLeakyRelu <alpha=0.1> (h, s, zp, s, zp) c = com.microsoft.QLinearConcat <axis=1>
         (s, zp, l, s, zp, k, s, zp) p = com.microsoft.QLinearGlobalAveragePool (c, s, zp, s, zp) y = QLinearConv
         (p, s, zp, v, ws, wz, s, zp) z = DequantizeLinear (y, s, zp) }"#,
    );
}

#[test]
fn quantised_depthwise_with_a_skip() {
    check(
        r#"g (float[n,3,6,6] x) => (float[n,4,6,6] z)
        <float s = {0.1}, uint8 zp = {7}, int8[8,3,3,3] w = ["location": "random:1"], float[8] ws =
         {0.01,0.02,0.03,0.01,0.02,0.03,0.01,0.02}, int8[8] wz = {0,1,-2,3,4,0,5,-7}, int32[8] b = ["location":
         "random:5"],
        int8[8,1,3,3] d = ["location": "random:3"], int8[4,8,1,1] v = ["location": "random:2"], float vs={0.05},
         int8 vz={9}, int8 dz={0}>
        { q = QuantizeLinear (x, s, zp) h = QLinearConv <pads=[1,1,1,1]> (q, s, zp, w, ws, wz, s, zp) k =
         QLinearConv <group=8, pads=[1,1,1,1]> (h, s, zp, d, vs, dz, s, zp)
        m = com.microsoft.QLinearAdd (k, s, zp, h, s, zp, s, zp) y = QLinearConv (m, s, zp, v, vs, vz, s, zp) z =
         DequantizeLinear (y, s, zp) }"#,
    );
}

#[test]
fn ranges_measured_at_run_time() {
    check(
        r#"g (float[n,5] x) => (float[n,3] z)
        <int8[5,8] w = ["location": "random:1"], int8[8] wz = {0,1,-2,3,4,0,5,-7}, float[8] ws =
         {0.1,0.2,0.3,0.1,0.2,0.3,0.1,0.2}, int8[8,3] v = ["location": "random:2"], int8 vz={9}, float vs={0.01},
         float[8] b = ["location": "random:7"], int8[8,8] t = ["location": "random:8"], int8 tz={3}>
        { q, qs, qz = DynamicQuantizeLinear (x) i = MatMulInteger (q, w, qz, wz) f = Cast <to=1> (i) ss = Mul (qs,
         ws) g = Mul (f, ss) a = Add (g, b) r = Relu (a)
        e = com.microsoft.DynamicQuantizeMatMul (r, t, vs, tz, b) q2, qs2, qz2 = DynamicQuantizeLinear (e)
         z = com.microsoft.MatMulIntegerToFloat (q2, v, qs2, vs, qz2, vz) }"#,
    );
}

// ONNX Runtime makes one kernel of such a node and the product that reads it, and quantises the activations in it:
// hence `Neg` between the two.
#[test]
fn nibbles_that_share_scales_in_blocks() {
    check(
        r#"g (float[n,32] x) => (float[n,3] z)
        <int4[32,24] w = ["location": "random:1"], float[2,24] s = ["location": "random:2"], uint4[24,3] v =
         ["location": "random:3"], float[6,3] vs = ["location": "random:4"], uint4[6,3] vz = ["location":
         "random:5"]>
        { a = DequantizeLinear <axis=0, block_size=16> (w, s) na = Neg (a) h = MatMul (x, na) r = Relu (h)
         b = DequantizeLinear
         <axis=0, block_size=4> (v, vs, vz) nb = Neg (b) z = MatMul (r, nb) }"#,
    );
}

#[test]
fn nibbles_with_a_scale_for_each_column() {
    check(
        r#"g (float[n,5] x) => (float[n,3] z)
        <int4[5,7] w = ["location": "random:1"], float[7] s = ["location": "random:2"], int4[7] wz = ["location":
         "random:6"], uint4[7,3] v = ["location": "random:3"], float vs={0.1}, uint4 vz={3}>
        { a = DequantizeLinear <axis=1> (w, s, wz) na = Neg (a) h = MatMul (x, na) r = Relu (h)
         b = DequantizeLinear (v, vs, vz)
         nb = Neg (b) z = MatMul (r, nb) }"#,
    );
}
