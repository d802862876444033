//! Reports as files: the JSON, the page, and names that mean harm.

use sparsec_report::{
    Better, Branch, ClassCompared, Compared, Ends, Evaluation, Frozen, Group, Input, Interval, Limit, Mask, Memory,
    Metric, Moment, Node, NonzeroMacs, Part, Prunable, Report, ReportError, RuntimeUse, SCHEMA, Side, TargetInfo, Tool,
    page,
};
use sparsec_testkit::snapshot;

fn node(label: &str, kernel: &str, ms: f64) -> Node {
    Node {
        label: label.to_string(),
        op: "Conv".to_string(),
        kernel: kernel.to_string(),
        macs: 1_000_000,
        read_bytes: 4096,
        write_bytes: 8192,
        weight_bytes: 36_864,
        latency_ms: Interval { total: ms, low: ms / 2.0, high: ms * 2.0 },
        fused_into: None,
        notes: Vec::new(),
    }
}

fn side(scale: f64, metric: f64) -> Side {
    let total = 1.5 * scale;
    let whole = |n: f64| (n * scale) as u64;
    let moment = |label: &str, bytes: f64| Moment { label: label.to_string(), bytes: whole(bytes) };
    let fused = Node { fused_into: Some("conv1".to_string()), ..node("relu1", "fused", 0.0) };
    Side {
        latency_ms: Interval { total, low: total / 2.0, high: total * 2.0 },
        memory_bytes: Memory {
            peak: whole(3e6),
            weights: whole(2e6),
            activations: whole(1e6),
            lower_bound: whole(5e5),
        },
        energy_mj: 2.0 * scale,
        macs: whole(4e7),
        params: whole(1e6),
        file_bytes: whole(4e6),
        metric: Some(Metric {
            name: "top1".to_string(),
            value: metric,
            unit: "%".to_string(),
            samples: 1000,
            better: Better::Higher,
        }),
        nodes: vec![node("conv1", "convolution", 0.5), fused, node("conv2", &format!("width x{scale}"), scale)],
        timeline: vec![moment("conv1", 3e5), moment("conv2", 5e5)],
    }
}

fn compared(samples: u64, before: f64, after: f64, low: f64) -> Compared {
    let drop = before - after;
    Compared { samples, before, after, drop, interval: Some(Ends { low, high: 2.0 * drop - low }) }
}

fn sample() -> Report {
    Report {
        schema: SCHEMA.to_string(),
        model: "small".to_string(),
        tool: Tool { name: "sparsec".to_string(), version: "0.0.0".to_string() },
        target: TargetInfo { name: "generic-x86".to_string(), calibrated: false, source: "roofline".to_string() },
        runtimes: vec![RuntimeUse { name: "tract".to_string(), used_for: "metric".to_string() }],
        before: side(1.0, 0.92),
        after: side(0.5, 0.91),
        limits: vec![
            Limit { name: "latency".to_string(), asked: 0.8, reached: 0.75, unit: "ms".to_string(), met: true },
            Limit { name: "memory".to_string(), asked: 1e6, reached: 1.5e6, unit: "B".to_string(), met: false },
        ],
        evaluations: vec![Evaluation {
            set: "night".to_string(),
            weight: 1.0,
            metric: "top1".to_string(),
            unit: "points".to_string(),
            total: compared(400, 90.0, 85.0, 2.5),
            slices: vec![Part { name: "rain=yes".to_string(), compared: compared(40, 80.0, 77.5, -2.5) }],
            classes: vec![
                ClassCompared { class: 0, elements: 200, before: 90.0, after: 91.0 },
                ClassCompared { class: 1, elements: 200, before: 90.0, after: 79.0 },
            ],
        }],
        groups: vec![Group {
            id: "conv1.w:0".to_string(),
            title: "conv1".to_string(),
            units: 64,
            kept: 32,
            axes: vec!["conv1.w:0".to_string(), "conv2.w:1".to_string()],
            params: 40_000,
            macs_share: Some(0.25),
            curve: vec![(16, 0.2), (32, 0.05), (48, 0.01), (64, 0.0)],
            why_not_more: "the next step costs more than the limit on the drop allows".to_string(),
        }],
        branches: vec![Branch {
            id: "mlp.out".to_string(),
            layers: vec!["mlp.up".to_string(), "mlp.down".to_string()],
            sum: "Add → x2".to_string(),
            params: 32_896,
            macs: 1_000_000,
            error: Some(0.031),
            dropped: true,
            why: "without it the output's divergence is 3.10e-2 higher".to_string(),
        }],
        nonzero_macs: Some(NonzeroMacs { before: 1_000, after: 600 }),
        masks: vec![Mask {
            weight: "conv2.w".to_string(),
            title: "conv2".to_string(),
            pattern: "4x1".to_string(),
            density: 0.4375,
            macs: 20_000_000,
            error: Some(0.0123),
            why: "by themselves, these zeros make the output diverge by 1.0e-3".to_string(),
        }],
        prunable: Some(Prunable { params: 0.5, macs: Some(0.25) }),
        frozen: vec![Frozen {
            value: "y".to_string(),
            layer: None,
            axis: 1,
            reason: "graph output".to_string(),
            params: 640,
            macs: Some(640),
            remedy: Some("`--give-up y:1=INDICES` takes out what nobody needs".to_string()),
        }],
        inputs: vec![Input { role: "model".to_string(), name: "small.onnx".to_string(), sha256: "00ff".to_string() }],
        notes: vec!["one node has no work rule".to_string()],
        warnings: vec!["the limit on memory is out of reach".to_string()],
    }
}

#[test]
fn the_json_form_is_stable() {
    snapshot("report/small.json", &sample().to_json().unwrap());
}

#[test]
fn the_page_is_stable() {
    snapshot("report/small.html", &page(&sample()).unwrap());
}

#[test]
fn a_report_survives_a_round_trip() {
    let report = sample();
    assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
}

#[test]
fn another_schema_and_broken_text_are_refused() {
    let text = sample().to_json().unwrap().replace(SCHEMA, "sparsec/report@2");
    let error = Report::from_json(&text).unwrap_err().to_string();
    assert_eq!(error, "expected schema `sparsec/report@1`, found `sparsec/report@2`");
    assert!(matches!(Report::from_json("{"), Err(ReportError::Json(_))));
}

#[test]
fn a_number_that_is_not_finite_is_named() {
    let mut report = sample();
    report.after.nodes[2].latency_ms.high = f64::INFINITY;
    let error = report.to_json().unwrap_err().to_string();
    assert_eq!(error, "`.after.nodes[2].latency_ms.high` of the report is not a finite number");
}

#[test]
fn hostile_names_stay_text() {
    const EVIL: &str = "\"><script>alert('x')</script>\u{202e}\u{1b}[31m&<!--";
    let mut r = sample();
    r.model = EVIL.to_string();
    r.target.name = EVIL.to_string();
    r.limits[0].name = EVIL.to_string();
    r.limits[1].unit = EVIL.to_string();
    r.frozen[0].value = EVIL.to_string();
    r.inputs[0].name = EVIL.to_string();
    (r.groups[0].id, r.groups[0].title, r.groups[0].why_not_more) = (EVIL.into(), EVIL.into(), EVIL.into());
    r.groups[0].axes[0] = EVIL.to_string();
    let b = &mut r.branches[0];
    (b.id, b.layers[0], b.sum, b.why) = (EVIL.into(), EVIL.into(), EVIL.into(), EVIL.into());
    (r.masks[0].weight, r.masks[0].title) = (EVIL.into(), EVIL.into());
    (r.masks[0].pattern, r.masks[0].why) = (EVIL.into(), EVIL.into());
    for side in [&mut r.before, &mut r.after] {
        (side.nodes[0].label, side.nodes[0].kernel, side.timeline[0].label) = (EVIL.into(), EVIL.into(), EVIL.into());
        side.metric.as_mut().unwrap().name = EVIL.to_string();
    }
    let html = page(&r).unwrap();
    assert!(!html.contains("<script") && !html.contains("<!--"));
    assert!(!html.contains(['\u{202e}', '\u{1b}']));
    // Not one tag or attribute more than with harmless names.
    let harmless = page(&sample()).unwrap();
    assert_eq!(html.matches('<').count(), harmless.matches('<').count());
    assert_eq!(html.matches('"').count(), harmless.matches('"').count());
}

#[test]
fn the_page_loads_nothing() {
    let html = page(&sample()).unwrap();
    for part in ["http:", "https:", "url(", "@import", " src=", "<link", "<script"] {
        assert!(!html.contains(part), "the page has `{part}`");
    }
}

#[test]
fn a_report_about_nothing_renders_with_words_in_place_of_charts() {
    let mut r = sample();
    (r.before, r.after) = (Side::default(), Side::default());
    (r.limits, r.groups, r.frozen) = (Vec::new(), Vec::new(), Vec::new());
    r.masks.clear();
    let html = page(&r).unwrap();
    assert!(!html.contains("<svg") && !html.contains("NaN") && !html.contains("inf"));
    for words in
        ["No limits were asked for", "No kernel takes time", "No activation has a known size", "No axis is frozen"]
    {
        assert!(html.contains(words), "`{words}` is missing");
    }
}

#[test]
fn many_kernels_and_long_timelines_stay_readable() {
    let mut r = sample();
    r.before.nodes = (0..1000).map(|i| node(&format!("n{i:03}"), "k", 1.0 + f64::from(i))).collect();
    r.before.timeline = (0..100_000).map(|i| Moment { label: format!("n{i}"), bytes: i }).collect();
    let html = page(&r).unwrap();
    assert!(html.contains("other kernels") && html.contains("more in report.json"));
    assert!(html.len() < 400_000, "{} bytes", html.len());
}

#[test]
fn numbers_that_are_not_finite_do_not_reach_the_page_as_geometry() {
    let mut r = sample();
    r.after.latency_ms = Interval { total: f64::NAN, low: f64::NEG_INFINITY, high: f64::INFINITY };
    r.groups[0].curve = vec![(0, f64::NAN), (1, f64::INFINITY)];
    r.before.nodes[0].latency_ms.total = f64::INFINITY;
    let html = page(&r).unwrap();
    for bad in ["\"NaN", "\"inf", "HNaN", "MNaN", "Minf", "Hinf", " NaN\"", " inf\""] {
        assert!(!html.contains(bad), "the page has `{bad}`");
    }
}
