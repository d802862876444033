//! Files that are wrong, and the sentence that each earns. Files are written by `testdata/onnx/make.py`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{field, int, model, node, testdata};
use sparsec_onnx::{NotOnnx, Note, OnnxError, decode, load};

/// Loads a hostile file and compares what is said about it, less the path in front.
#[track_caller]
fn check(name: &str, expected: &str) {
    let path = testdata(&format!("hostile/{name}.onnx"));
    assert!(path.is_file(), "{} is missing", path.display());
    let said = load(&path).expect_err("the file is wrong").to_string();
    let said = said.strip_prefix(&format!("`{}`", path.display())).expect("the message names the file").to_string();
    assert_eq!(said.trim_start_matches(": "), expected);
}

#[test]
fn tensors_whose_sizes_and_data_disagree_are_named() {
    check("dims_lie", "initialiser `w`: float[4] takes 16 bytes, but there are 12");
    check("dims_negative", "initialiser `w`: size -1 is negative");
    check(
        "dims_overflow",
        "initialiser `w`: sizes [4611686018427387904, 4611686018427387904, 4] multiply to more than 2^63 elements",
    );
    check(
        "strings_lie",
        "initialiser `w`: sizes [1099511627776] ask for another number of elements than the 1 there are",
    );
    check("sixths_lie", "initialiser `w`: sizes [4] ask for another number of elements than the 3 there are");
    check("element_type", "initialiser `w`: 99 is not an element type of the standard");
    check("element_range", "initialiser `w`: 256 does not fit uint8");
    check("two_storages", "initialiser `w`: data is stored in more than one field");
    check(
        "sparse_outside",
        "initialiser `w`: indices of a sparse tensor of sizes [6, 3] do not fit its values or sizes",
    );
    check("segment", "initialiser `w`: tensors stored in segments are not supported");
}

#[test]
fn names_defined_twice_or_never_are_told_with_their_graph() {
    check("initializer_twice", "graph `g`: value `w` is defined twice");
    check("initializer_unnamed", "graph `g`: an initialiser has no name");
    check("input_twice", "graph `g`: value `x` is defined twice");
    check("result_twice", "graph `g`: value `y` is defined twice");
    check("result_is_input", "graph `g`: value `x` is defined twice");
    check("undefined", "graph `g`: node `user` uses `ghost`, which nothing defines");
    check(
        "domain_not_imported",
        "graph `g`: node `Mystery → r` is of operator set `org.example`, which is not imported",
    );
    check("undefined_output", "graph `g`: the output list uses `ghost`, which nothing defines");
}

#[test]
fn cycles_are_told_by_their_nodes() {
    check("cycle", "graph `g` is cyclic: `first`, `second`");
    check("cycle_by_capture", "graph `g` is cyclic: `itself`");
}

#[test]
fn a_cycle_of_many_nodes_does_not_end_the_stack() {
    const N: usize = 200_000;
    let one = |i: usize| node(&[&((i + 1) % N).to_string()], &[&i.to_string()], "R", &[]);
    let graph: Vec<u8> = (0..N).flat_map(|i| field(1, &one(i))).collect();
    match decode(model(&graph).into(), None) {
        Err(OnnxError::Cycle { nodes, .. }) => assert_eq!(nodes.len(), N),
        other => panic!("{other:?}"),
    }
}

#[test]
fn attributes_without_type_or_value_or_given_twice_are_refused() {
    check("attribute_twice", "attribute `alpha` of `elu` is given twice");
    check("attribute_type", "attribute `alpha` of `elu`: 0 is not an attribute type of the standard");
    check("attribute_value", "attribute `value` of `c` has no value");
}

#[test]
fn external_data_stays_in_the_folder_and_the_file() {
    check("external_outside", "initialiser `w`: external data file `../external.onnx` is outside the model's folder");
    check("external_absolute", "initialiser `w`: external data file `/etc/hostname` is outside the model's folder");
    check("external_nowhere", "initialiser `w`: external data entry `location` = `` is not usable");
    check("external_number", "initialiser `w`: external data entry `offset` = `-1` is not usable");
    check(
        "external_range",
        "initialiser `w`: bytes 9223372036854775808..+9223372036854775808 are not in external data file `w.bin` of 8 bytes",
    );
    check("external_length", "initialiser `w`: float[3] takes 12 bytes, but there are 8");
    match load(&testdata("hostile/external_missing.onnx")) {
        Err(OnnxError::In { source, .. }) => match *source {
            OnnxError::ExternalFile { place, path, .. } => {
                assert_eq!(place, "initialiser `w`");
                assert!(path.ends_with("no.bin"));
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[test]
fn a_link_must_not_lead_out_of_the_folder() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::copy(testdata("external.bin"), outside.path().join("secret")).unwrap();
    std::fs::copy(testdata("external.onnx"), inside.path().join("m.onnx")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), inside.path().join("external.bin")).unwrap();
    let said = load(&inside.path().join("m.onnx")).unwrap_err().to_string();
    assert!(said.ends_with("external data file `external.bin` is outside the model's folder"), "{said}");
}

#[test]
fn external_data_without_a_folder_is_refused() {
    let bytes = std::fs::read(testdata("external.onnx")).unwrap();
    assert!(matches!(decode(bytes.into(), None), Err(OnnxError::NoFolder { .. })));
}

#[test]
fn files_that_are_no_models_say_why() {
    check("no_graph", " is not an ONNX file: it has no graph");
    check("no_ir_version", " is not an ONNX file: it states no `ir_version`");
    check("no_opset_import", " is not an ONNX file: it imports no operator set (`opset_import`)");
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(load(dir.path()), Err(OnnxError::NotAFile { .. })));
    assert!(matches!(load(&dir.path().join("none")), Err(OnnxError::Read { .. })));
    let said = |bytes: &[u8]| {
        let path = dir.path().join("x.onnx");
        std::fs::write(&path, bytes).unwrap();
        load(&path).unwrap_err().to_string().replace(&path.display().to_string(), "x.onnx")
    };
    assert_eq!(said(b""), "`x.onnx` is not an ONNX file: it is empty");
    assert!(said(b"name: this is text\n").starts_with("`x.onnx` is not an ONNX file: "));
}

#[test]
fn a_file_truncated_anywhere_is_an_error() {
    let whole = std::fs::read(testdata("everything_else.onnx")).unwrap();
    // Only a cut between the last optional fields can leave a model; what is left then is one.
    let mut errors = 0;
    for len in 0..whole.len() {
        match decode(whole[..len].to_vec().into(), None) {
            // Operator sets stand behind the graph.
            Err(OnnxError::NotOnnx { .. } | OnnxError::NotImported { .. }) => errors += 1,
            Err(other) => panic!("{len}: {other}"),
            Ok(loaded) => assert!(sparsec_onnx::encode(&loaded.model).is_ok()),
        }
    }
    assert!(errors + 12 > whole.len(), "{errors} of {}", whole.len());
}

#[test]
fn damaged_bytes_never_panic() {
    for name in ["everything_else.onnx", "subgraphs.onnx", "types.onnx", "functions.onnx"] {
        let whole = std::fs::read(testdata(name)).unwrap();
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                if let Ok(loaded) = decode(bytes.into(), None) {
                    let _ = sparsec_onnx::encode(&loaded.model);
                }
            }
        }
    }
}

fn nested(levels: usize) -> Vec<u8> {
    let mut graph = field(1, &node(&["x"], &["r"], "Relu", &[]));
    for _ in 0..levels {
        let attribute = [field(1, b"then_branch"), field(6, &graph), int(20, 5)].concat();
        graph = field(1, &node(&["x"], &["r"], "If", &field(5, &attribute)));
    }
    model(&[graph, field(11, &field(1, b"x"))].concat())
}

#[test]
fn subgraphs_nest_as_deep_as_other_implementations_read() {
    assert!(decode(nested(32).into(), None).is_ok());
    match decode(nested(33).into(), None) {
        Err(OnnxError::NotOnnx { why: NotOnnx::TooDeep, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_fields_are_named_with_their_path() {
    let strange = node(&["x"], &["y"], "Relu", &field(250, b"twelve bytes"));
    let graph = [field(1, &node(&["x"], &["z"], "Neg", &[])), field(1, &strange), field(11, &field(1, b"x"))].concat();
    let loaded = decode(model(&graph).into(), None).unwrap();
    let said: Vec<String> = loaded.notes.iter().map(Note::to_string).collect();
    assert_eq!(
        said,
        [
            "ModelProto.graph.node[1]: field 250 (12 bytes) is not in the standard's onnx-ml.proto and will be dropped if \
          the model is changed"
        ]
    );
}

#[test]
fn notes_about_unknown_fields_are_bounded() {
    let graph = [int(250, 1).repeat(1000), field(11, &field(1, b"x"))].concat();
    let notes = decode(model(&graph).into(), None).unwrap().notes;
    assert_eq!(notes.len(), 65);
    assert_eq!(notes[64], Note::MoreUnknownFields { count: 936 });
}
