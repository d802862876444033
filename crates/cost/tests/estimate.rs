//! Estimates of small graphs on `generic-x86`, whose rules are: input channels in multiples of 4, output channels in
//! stairs of 16, fusion of elementwise functions and of one residual.

use insta::assert_snapshot;
use sparsec_analysis::infer;
use sparsec_cost::{Estimate, NodeCost, Pricer, Target, estimate};
use sparsec_ir::{Dim, Fact, Facts, Model};
use std::borrow::Cow;

fn target() -> Target {
    Target::named_or_file("generic-x86").expect("it is built in")
}

#[track_caller]
fn model(body: &str) -> Model {
    sparsec_testkit::model(&format!("<ir_version: 8, opset_import: [\"\" : 17]>\n{body}"))
}

#[track_caller]
fn facts(model: &Model) -> Facts {
    infer(model, &sparsec_ops::table()).facts.bind(&|_| Some(1))
}

#[track_caller]
fn check(body: &str) -> Estimate {
    let model = model(body);
    estimate(&model, &facts(&model), &sparsec_ops::table(), &target())
}

/// A 3 x 3 convolution over 14 x 14 positions, as the middle of a chain.
#[track_caller]
fn conv(cin: u64, cout: u64, group: u64) -> NodeCost {
    let per_group = cin / group;
    let body = format!(
        "g (float[1,{cin},14,14] x) => (float[1,{cout},14,14] y)
         <float[{cout},{per_group},3,3] w = [\"location\": \"random:1\"]>
         {{ [conv] y = Conv <pads = [1,1,1,1], group = {group}> (x, w) }}"
    );
    check(&body).nodes.remove(0)
}

/// Kernels in order, with what is fused into each.
fn kernels(e: &Estimate) -> String {
    let lines = e.nodes.iter().map(|n| match &n.fused_into {
        Some(host) => format!("  {} in {host}", n.label),
        None => n.label.clone(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn ranges(e: &Estimate) -> String {
    let lines = e.memory.ranges.iter().map(|r| format!("{} {} B, {} to {}", r.value, r.bytes, r.from, r.to));
    lines.collect::<Vec<_>>().join("\n")
}

// ---- latency ----

#[test]
fn output_channels_cost_what_the_next_block_costs() {
    let [c32, c33, c48, c49] = [32, 33, 48, 49].map(|c| conv(64, c, 1));
    // Weights are warm and the kernel is bound by arithmetic: padding is all that counts.
    assert_eq!(c33.latency_ms, c48.latency_ms);
    assert!(c32.latency_ms.mid < c33.latency_ms.mid && c48.latency_ms.mid < c49.latency_ms.mid);
    assert!(c33.macs < c48.macs);
    assert_snapshot!(c33.kernel, @"convolution 64 to 33 (as 48), 9 taps, 196 positions");
}

#[test]
fn input_channels_off_the_grid_leave_the_fast_path() {
    let [c60, c62, c64] = [60, 62, 64].map(|c| conv(c, 64, 1));
    assert!(c62.latency_ms.mid > 1.5 * c60.latency_ms.mid);
    assert!(c62.latency_ms.mid > 1.5 * c64.latency_ms.mid);
    assert_snapshot!(c62.kernel, @"convolution 62 to 64, 9 taps, 196 positions, off the fast path (x1.7)");
}

#[test]
fn few_input_channels_are_on_the_fast_path_whatever_they_are() {
    assert!(!conv(3, 64, 1).kernel.contains("off the fast path"));
    assert!(!conv(13, 64, 1).kernel.contains("off the fast path"));
    assert!(conv(17, 64, 1).kernel.contains("off the fast path"));
}

#[test]
fn depthwise_convolutions_fall_off_the_path_too() {
    let [c60, c63] = [60, 63].map(|c| conv(c, c, c));
    assert!(c63.latency_ms.mid > 2.0 * c60.latency_ms.mid);
    assert_snapshot!(c63.kernel, @"depthwise convolution 63 to 63 (as 64) in 63 groups, 9 taps, 196 positions, off the fast path (x4.7)");
}

#[test]
fn small_groups_are_slow() {
    assert_snapshot!(conv(128, 128, 16).kernel, @"grouped convolution 128 to 128 in 16 groups, 9 taps, 196 positions, off the fast path (x4)");
    assert!(conv(128, 128, 16).latency_ms.mid > conv(128, 128, 8).latency_ms.mid);
}

#[test]
fn error_bars_of_kernels_add() {
    let e = check(CHAIN);
    let sum = |f: fn(&NodeCost) -> f64| e.nodes.iter().map(f).sum::<f64>() + target().overhead.run_us / 1e3;
    let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(close(e.latency_ms.mid, sum(|n| n.latency_ms.mid)));
    assert!(close(e.latency_ms.low, sum(|n| n.latency_ms.low)));
    assert!(close(e.latency_ms.high, sum(|n| n.latency_ms.high)));
    assert!(e.latency_ms.low < e.latency_ms.mid && e.latency_ms.mid < e.latency_ms.high);
}

#[test]
fn weights_that_do_not_fit_the_cache_are_paid_for() {
    let gemm = |n: u64| {
        let body = format!(
            "g (float[1,1280] x) => (float[1,{n}] y)
             <float[1280,{n}] w = [\"location\": \"random:1\"]> {{ y = MatMul (x, w) }}"
        );
        check(&body).latency_ms.mid
    };
    // 1280 x 1008 singles, 5.2 MB at 0.07 µs/KB; the products alone take 20 µs.
    assert!((0.36..0.40).contains(&gemm(1008)), "{}", gemm(1008));
    // 1280 x 112 singles stay in the cache.
    assert!(gemm(112) < 0.02, "{}", gemm(112));
}

#[test]
fn an_operator_without_a_work_rule_is_priced_by_its_bytes_and_says_so() {
    let e = check("g (float[1,64] x) => (float[1,64] y) { h = Abs (x)  y = com.acme.Magic (h) }");
    let magic = &e.nodes[1];
    assert!(magic.latency_ms.mid > 0.0 && magic.read_bytes == 256);
    assert_snapshot!(magic.notes.join("\n"), @"priced by the bytes it touches: the operator is not known");
}

// ---- fusion ----

const CHAIN: &str = "g (float[1,16,8,8] x) => (float[1,16,8,8] y)
    <float[16,16,3,3] w = [\"location\": \"random:1\"], float[16,16,1,1] v = [\"location\": \"random:2\"]>
    {
      [conv1] a = Conv <pads = [1,1,1,1]> (x, w)
      [relu1] b = Relu (a)
      [conv2] c = Conv (b, v)
      [add] d = Add (c, b)
      [relu2] y = Relu (d)
    }";

#[test]
fn activations_and_one_residual_run_in_the_convolution() {
    assert_snapshot!(kernels(&check(CHAIN)), @r#"
    conv1
      relu1 in conv1
    conv2
      add in conv2
      relu2 in conv2
    "#);
}

#[test]
fn a_residual_of_two_branches_runs_in_the_later_one() {
    let e = check(
        "g (float[1,16,8,8] x) => (float[1,16,8,8] y)
         <float[16,16,1,1] w = [\"location\": \"random:1\"], float[16,16,1,1] v = [\"location\": \"random:2\"]>
         { [main] a = Conv (x, w)  [shortcut] b = Conv (x, v)  [add] y = Add (a, b) }",
    );
    assert_snapshot!(kernels(&e), @r#"
    main
    shortcut
      add in shortcut
    "#);
    assert_eq!((e.nodes[1].read_bytes, e.nodes[1].write_bytes), (2 * 4096, 4096));
}

#[test]
fn a_value_with_two_uses_or_a_name_outside_is_not_fused_away() {
    let e = check(
        "g (float[1,16,8,8] x) => (float[1,16,8,8] y, float[1,16,8,8] a)
         <float[16,16,1,1] w = [\"location\": \"random:1\"]>
         { [conv] a = Conv (x, w)  [relu] y = Relu (a) }",
    );
    assert_snapshot!(kernels(&e), @r#"
    conv
    relu
    "#);
    let e = check(
        "g (float[1,16,8,8] x) => (float[1,16,8,8] y)
         <float[16,16,1,1] w = [\"location\": \"random:1\"]>
         { [conv] a = Conv (x, w)  [sigmoid] s = Sigmoid (a)  [mul] y = Mul (a, s) }",
    );
    assert_snapshot!(kernels(&e), @r#"
    conv
    sigmoid
    mul
    "#);
}

#[test]
fn a_second_residual_is_a_kernel_of_its_own() {
    let e = check(
        "g (float[1,16,8,8] x, float[1,16,8,8] z) => (float[1,16,8,8] y)
         <float[16,16,1,1] w = [\"location\": \"random:1\"]>
         { [conv] a = Conv (x, w)  [add1] b = Add (a, x)  [add2] y = Add (b, z) }",
    );
    assert_snapshot!(kernels(&e), @r#"
    conv
      add1 in conv
    add2
    "#);
}

#[test]
fn reshapes_cost_nothing() {
    let e = check("g (float[1,16,8,8] x) => (float[1,1024] y) { [flatten] y = Flatten (x) }");
    assert_eq!(e.nodes[0].latency_ms.mid, 0.0);
    assert_eq!(e.memory.lower_bound, 4096);
}

// ---- memory ----

#[test]
fn both_arms_of_a_diamond_live_until_they_meet() {
    let e = check(
        "g (float[1,4,8,8] x) => (float[1,4,1,1] y)
         {
           [a] a = MaxPool <kernel_shape = [2,2], strides = [1,1], pads = [0,0,1,1]> (x)
           [b] b = MaxPool <kernel_shape = [2,2], strides = [1,1], pads = [0,0,1,1]> (a)
           [c] c = AveragePool <kernel_shape = [2,2], strides = [1,1], pads = [0,0,1,1]> (a)
           [d] d = Concat <axis = 1> (b, c)
           [e] e = ReduceSum <keepdims = 1> (d)
           [f] y = Expand (e, shape)
         }"
        .replace("float[1,4,1,1] y)\n", "float[1,4,1,1] y)\n         <int64[4] shape = {1,4,1,1}>\n")
        .as_str(),
    );
    assert_snapshot!(ranges(&e), @r#"
    x 1024 B, 0 to 0
    a 1024 B, 0 to 2
    b 1024 B, 1 to 3
    c 1024 B, 2 to 3
    d 2048 B, 3 to 4
    e 4 B, 4 to 5
    y 16 B, 5 to 5
    "#);
    assert_snapshot!(format!("{:?}", e.memory.live), @"[2048, 2048, 3072, 4096, 2052, 20]");
    assert_eq!(e.memory.lower_bound, e.memory.live.iter().copied().max().unwrap());
}

#[test]
fn an_elementwise_result_takes_the_place_of_an_operand_that_dies() {
    let e = check(
        "g (float[1,4,8,8] x) => (float[1,4,8,8] y)
         {
           [pool] a = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (x)
           [tanh] b = Tanh (a)
           [relu] c = Relu (b)
           [add] y = Add (b, c)
         }",
    );
    // The caller's input is not overwritten, nor b by c, since b is still needed; y takes the place of b.
    assert_snapshot!(ranges(&e), @r#"
    x 1024 B, 0 to 0
    a 1024 B, 0 to 3
    c 1024 B, 2 to 3
    "#);
    assert_eq!(e.memory.live, [2048, 1024, 2048, 2048]);
}

#[test]
fn a_fused_residual_is_written_where_it_lies_unless_the_convolution_reads_it() {
    let e = check(
        "g (float[1,16,8,8] x) => (float[1,16,8,8] y)
         <float[16,16,1,1] w = [\"location\": \"random:1\"]>
         {
           [a] a = Conv (x, w)
           [b] b = Conv (a, w)
           [c] c = Conv (b, w)
           [add] y = Add (c, a)
         }",
    );
    assert_snapshot!(ranges(&e), @r#"
    x 4096 B, 0 to 0
    a 4096 B, 0 to 2
    b 4096 B, 1 to 2
    "#);
    // In the chain the second convolution reads the residual too: its result needs a place of its own.
    assert_snapshot!(ranges(&check(CHAIN)), @r#"
    x 4096 B, 0 to 0
    b 4096 B, 0 to 1
    y 4096 B, 1 to 1
    "#);
}

#[test]
fn shared_weights_count_once_and_whole_numbers_are_no_parameters() {
    let e = check(
        "g (float[1,8] x) => (float[2,4] y)
         <float[8,8] w = [\"location\": \"random:1\"], float s = {0.5}, int64[2] shape = {2,4}>
         { a = MatMul (x, w)  b = MatMul (a, w)  c = Mul (b, s)  y = Reshape (c, shape) }",
    );
    assert_eq!(e.params, 64);
    assert_eq!(e.file_bytes, 64 * 4 + 4 + 2 * 8);
    assert_eq!(e.memory.weights, 2 * e.file_bytes);
    assert_eq!(e.memory.peak, e.memory.weights + e.memory.activations);
}

// ---- plans ----

/// The facts of `model` with one axis of each named value at another size.
fn planned(model: &Model, cuts: &[(&str, usize, i64)]) -> Facts {
    let mut facts = facts(model);
    for &(name, axis, size) in cuts {
        let v = model.graph.find(name).expect("the value exists");
        let mut shape = facts.get(v).shape.clone().expect("its rank is known");
        shape[axis] = Dim::from(size);
        let elem = facts.get(v).elem.expect("its type is known");
        facts.set(v, Fact::new(elem, shape));
    }
    facts
}

#[test]
fn a_price_is_the_estimate_of_the_same_facts() {
    let model = model(CHAIN);
    let (table, target) = (sparsec_ops::table(), target());
    let dense = facts(&model);
    let pricer = Pricer::new(Cow::Borrowed(&model), &dense, &table, &target);
    let cut = planned(
        &model,
        &[("w", 0, 9), ("a", 1, 9), ("b", 1, 9), ("v", 0, 9), ("v", 1, 9), ("c", 1, 9), ("d", 1, 9), ("y", 1, 9)],
    );
    for facts in [&dense, &cut] {
        let (price, e) = (pricer.price(facts), estimate(&model, facts, &table, &target));
        assert_eq!(price.latency_ms, e.latency_ms.mid);
        assert_eq!((price.macs, price.params, price.weight_bytes), (e.macs, e.params, e.file_bytes));
        assert_eq!(price.peak_activation_bytes, e.memory.activations);
        assert_eq!(price.memory_bytes, e.memory.peak);
        assert_eq!(price.energy_mj, e.energy_mj);
    }
    let (a, b) = (pricer.price(&dense), pricer.price(&cut));
    assert_eq!(b.params, 9 * 16 * 9 + 9 * 9);
    assert!(b.macs < a.macs && b.memory_bytes < a.memory_bytes);
}

#[test]
fn a_price_that_is_kept_up_to_date_is_the_price_anew() {
    let model = model(CHAIN);
    let table = sparsec_ops::table();
    let dense = facts(&model);
    // With a cache of one KiB the share of cold weights changes with every cut.
    for cache_kib in [target().weights.cache_kib, 1] {
        let mut target = target();
        target.weights.cache_kib = cache_kib;
        let pricer = Pricer::new(Cow::Borrowed(&model), &dense, &table, &target);
        let (mut tally, mut facts) = (pricer.tally(&dense), dense.clone());
        for len in [9, 16, 3, 8, 1] {
            let places = [("w", 0), ("a", 1), ("b", 1), ("v", 0), ("v", 1), ("c", 1), ("d", 1), ("y", 1)]
                .map(|(v, axis)| (v, axis, len));
            let cut = planned(&model, &places);
            let changed: Vec<_> =
                model.graph.values().map(|(v, _)| v).filter(|v| facts.get(*v) != cut.get(*v)).collect();
            facts = cut;
            assert_eq!(pricer.update(&mut tally, &facts, &changed), pricer.price(&facts));
        }
    }
}

#[test]
fn absurd_sizes_give_finite_figures() {
    let e = check("g (float[4294967296,4294967296] x) => (float[4294967296,4294967296] y) { y = Relu (x) }");
    assert!(e.latency_ms.mid.is_finite());
    assert!(e.nodes[0].notes.iter().any(|n| n.contains("not known")));
    let e = check("g (float[268435456,1073741824] x) => (float[268435456,1073741824] y) { y = Relu (x) }");
    assert_eq!(e.memory.lower_bound, 2 << 60);
    assert!(e.latency_ms.mid.is_finite() && e.latency_ms.mid > 1e9);
}

#[test]
fn a_graph_with_no_nodes_costs_one_run() {
    let e = check("g (float[1,4] x) => (float[1,4] x) { }");
    assert_eq!(e.latency_ms.mid, target().overhead.run_us / 1e3);
    assert!(e.nodes.is_empty());
}
