//! Target files: what is read, what is refused and how the refusal reads.

use insta::assert_snapshot;
use sparsec_cost::{Target, TargetError, builtin};

const X86: &str = "generic-x86";

/// The text of a built-in target with one piece replaced.
fn edited(from: &str, to: &str) -> String {
    let (_, text) = builtin().iter().find(|(name, _)| *name == X86).expect("it is built in");
    assert!(text.contains(from), "`{from}` is not in the file");
    text.replacen(from, to, 1)
}

#[track_caller]
fn refusal(from: &str, to: &str) -> String {
    Target::from_yaml(&edited(from, to), "my.yaml").expect_err("the edit makes it invalid").to_string()
}

#[test]
fn built_in_targets_are_valid_named_after_themselves_and_survive_a_round_trip() {
    for (name, text) in builtin() {
        let target = Target::from_yaml(text, name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(target.name, *name);
        assert!(!target.calibrated);
        let again = Target::from_yaml(&target.to_yaml().unwrap(), "copy").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again, target);
    }
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = Target::named_or_file("generic-z80").unwrap_err();
    assert!(matches!(error, TargetError::Unknown { .. }));
    assert_snapshot!(error, @"no target or file is called `generic-z80`; built-in targets are `generic-arm`, `generic-x86`");
}

#[test]
fn a_path_works_where_a_name_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/generic-arm.yaml");
    assert_eq!(Target::named_or_file(path).unwrap(), Target::named_or_file("generic-arm").unwrap());
    assert!(matches!(Target::named_or_file(env!("CARGO_MANIFEST_DIR")), Err(TargetError::Read { .. })));
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_refused() {
    assert!(matches!(Target::named_or_file("/dev/zero"), Err(TargetError::TooLarge { .. })));
}

#[test]
fn a_misspelt_key_is_refused_where_it_stands() {
    assert_snapshot!(refusal("  legal: 4", "  leagl: 4"), @"`my.yaml`, line 31, column 3: unknown field `leagl`, expected one of legal, preferred, block, input_free_below, grouped, gemm_block, join, reorder_us, off_path, source");
}

#[test]
fn a_missing_key_is_refused() {
    assert_snapshot!(refusal("  legal: 4\n", ""), @"`my.yaml`, line 39, column 3: missing field `legal`");
}

#[test]
fn a_number_that_is_not_finite_is_refused() {
    assert_snapshot!(refusal("gmac_s: 57.0", "gmac_s: .inf"), @"`my.yaml`, line 18, column 19: inf is not a finite number above 0");
    assert_snapshot!(refusal("gmac_s: 57.0", "gmac_s: .nan"), @"`my.yaml`, line 18, column 19: NaN is not a finite number above 0");
}

#[test]
fn a_number_out_of_range_is_refused_where_it_stands() {
    assert_snapshot!(refusal("gmac_s: 57.0", "gmac_s: 0"), @"`my.yaml`, line 18, column 19: 0 is not a finite number above 0");
    assert_snapshot!(refusal("node_us: 0.3", "node_us: -1"), @"`my.yaml`, line 45, column 35: -1 is not a finite number from 0 up");
    assert_snapshot!(refusal("block: 16", "block: 0"), @"`my.yaml`, line 33, column 10: 0 is not a whole number from 1 up");
    assert_snapshot!(refusal("threads: 1", "threads: many"), @"`my.yaml`, line 8, column 10: invalid u64");
}

#[test]
fn another_schema_is_refused() {
    assert_snapshot!(refusal("sparsec/target@1", "sparsec/target@9"), @"`my.yaml`, line 3, column 9: expected schema `sparsec/target@1`, found `sparsec/target@9`");
}

#[test]
fn levels_must_grow_and_end_in_one_without_a_size() {
    assert_snapshot!(refusal("kib: 1024", "kib: 16"), @"`my.yaml`, line 13, column 5: level `L2` is not larger than `L1`");
    assert_snapshot!(refusal("name: memory, gb_s", "name: memory, kib: 99999, gb_s"), @"`my.yaml`, line 13, column 5: the last level, `memory`, has a size: it must hold everything");
}

#[test]
fn text_that_is_no_yaml_is_refused_without_control_characters_in_the_message() {
    for text in ["", "[", "a: b: c", "\u{1b}[31m: 1", "schema: [[[[[[", "!!binary x"] {
        let message = Target::from_yaml(text, "my.yaml").unwrap_err().to_string();
        assert!(message.starts_with("`my.yaml`, line "), "{message}");
        assert!(!message.contains(|c: char| c.is_control()), "{message:?}");
    }
}
