//! Contents of values are known only where their element type holds the numbers.

use sparsec_analysis::infer;
use sparsec_testkit::model;

fn known(text: &str, value: &str) -> bool {
    let model = model(text);
    let y = model.graph.find(value).expect("the value is in the text");
    infer(&model, &sparsec_ops::table()).facts.get(y).content.is_some()
}

#[test]
fn a_cast_keeps_numbers_that_its_type_holds() {
    let types = [
        (2, 255),
        (3, 127),
        (4, 65_535),
        (5, 32_767),
        (6, i64::from(i32::MAX)),
        (12, i64::from(u32::MAX)),
        (10, 1 << 11),
        (16, 1 << 8),
        (1, 1 << 24),
        (11, 1 << 53),
    ];
    for (to, most) in types {
        for (size, holds) in [(most, true), (most + 1, false)] {
            let text = format!(
                "g () => (int64[1] z) <int64[1] s = {{{size}}}> {{ y = Cast <to = {to}> (s) z = Cast <to = 7> (y) }}"
            );
            assert_eq!(known(&text, "y"), holds, "{size} as type {to}");
        }
    }
}

#[test]
fn arithmetic_does_not_wrap() {
    let text = |op: &str, elem: &str, a: i64, b: i64| {
        format!("g () => ({elem}[1] y) <{elem}[1] a = {{{a}}}, {elem}[1] b = {{{b}}}> {{ y = {op} (a, b) }}")
    };
    assert!(known(&text("Mul", "int32", 46_340, 46_340), "y"));
    assert!(!known(&text("Mul", "int32", 46_341, 46_341), "y"));
    assert!(known(&text("Sub", "uint64", 3, 3), "y"));
    assert!(!known(&text("Sub", "uint64", 3, 4), "y"));
}

#[test]
fn a_size_that_is_not_known_fits_32_bits() {
    let text = |to: u32| {
        format!("g (float[n] x) => (int64[1] z) {{ s = Shape (x) y = Cast <to = {to}> (s) z = Cast <to = 7> (y) }}")
    };
    assert_eq!([6, 1, 2, 10].map(|to| known(&text(to), "y")), [true, true, false, false]);
}
