//! What goes in comes out. Files are written by `testdata/onnx/make.py`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::testdata;
use sparsec_ir::{Attr, Data, Def, Dim, ElemType, Graph, Tensor, Use};
use sparsec_onnx::{Loaded, Weights, decode, decode_tensor, encode, load, save, save_unchanged};
use std::path::Path;

fn open(name: &str) -> Loaded {
    load(&testdata(name)).unwrap()
}

fn tensor<'g>(g: &'g Graph, name: &str) -> &'g Tensor {
    g.constant(g.find(name).unwrap()).unwrap()
}

#[test]
fn canonical_files_come_out_byte_for_byte() {
    for name in ["functions.onnx", "old.onnx", "unsorted.onnx"] {
        let loaded = open(name);
        assert!(loaded.notes.is_empty(), "{name}: {:?}", loaded.notes);
        assert!(encode(&loaded.model).unwrap() == loaded.source, "{name} changed");
    }
}

#[test]
fn what_one_round_normalises_a_second_leaves_alone() {
    for name in ["everything_else.onnx", "external.onnx", "subgraphs.onnx", "types.onnx"] {
        let first = encode(&open(name).model).unwrap();
        let again = encode(&decode(first.clone().into(), None).unwrap().model).unwrap();
        assert!(first == again, "{name} changed");
    }
}

#[test]
fn typed_fields_become_little_endian_bytes() {
    let g = open("types.onnx").model.graph;
    let bytes = |name: &str| tensor(&g, name).bytes().unwrap().to_vec();
    assert_eq!(tensor(&g, "FLOAT").to_f32().unwrap(), [1.5, -0.0, f32::INFINITY, 3e-45]);
    assert_eq!(tensor(&g, "INT64").to_i64().unwrap(), [i64::MIN, 7]);
    assert_eq!(tensor(&g, "INT32").to_i64().unwrap(), [i64::from(i32::MIN), 7]);
    assert_eq!(tensor(&g, "UINT32").to_i64().unwrap(), [i64::from(u32::MAX), 7]);
    assert_eq!(tensor(&g, "INT16").to_i64().unwrap(), [-128, 127, -1]);
    assert_eq!(tensor(&g, "INT8").to_i64().unwrap(), [-128, 127, -1]);
    assert_eq!(bytes("FLOAT16"), [0x3c, 0, 0x80, 0]);
    assert_eq!(bytes("BFLOAT16"), [0x3c, 0, 0x80, 0]);
    assert_eq!(bytes("FLOAT8E4M3FN"), [0x3c, 0x80]);
    assert_eq!(bytes("BOOL"), [1, 0]);
    assert_eq!(bytes("INT4"), [0x21, 0x43, 0x05]);
    assert_eq!(bytes("UINT2"), [0xe4, 0x01]);
    // 1 | 2 << 6 | 3 << 12 | 4 << 18, then 63.
    assert_eq!(bytes("FLOAT6E2M3"), [0x81, 0x30, 0x10, 0x3f]);
    assert_eq!(tensor(&g, "COMPLEX64").elem, ElemType::Complex64);
    let strings = ["a".into(), "".into(), (&b"\xff not utf-8"[..]).into()];
    assert_eq!(tensor(&g, "STRING").data, Data::Strings(strings.to_vec()));
    for elem in ElemType::ALL {
        assert!(g.values().any(|(_, v)| matches!(&v.def, Def::Constant(t) if t.elem == *elem)), "{elem} is missing");
    }
}

#[test]
fn weights_are_slices_of_the_mapped_file() {
    let loaded = open("types.onnx");
    let within = loaded.source.as_ptr_range();
    let weight = tensor(&loaded.model.graph, "raw_f16").bytes().unwrap().as_ptr_range();
    assert!(within.start <= weight.start && weight.end <= within.end);
}

#[test]
fn subgraphs_capture_names_of_every_level() {
    let g = open("subgraphs.onnx").model.graph;
    let (choose, _) = g.nodes().next().unwrap();
    let captured: Vec<&str> = g.captures(choose).iter().map(|v| g.value(*v).name.as_str()).collect();
    assert_eq!(captured, ["w", "x", "flag"]);
    assert!(g.value(g.find("w").unwrap()).uses.contains(&Use::Captured(choose)));
    let (_, looped) = g.nodes().nth(1).unwrap();
    assert_eq!(looped.inputs[1], None);
}

#[test]
fn nodes_may_come_before_what_they_use() {
    let g = open("unsorted.onnx").model.graph;
    let names = |ids: Vec<sparsec_ir::NodeId>| ids.into_iter().map(|n| g.node(n).name.clone()).collect::<Vec<_>>();
    assert_eq!(names(g.nodes().map(|(id, _)| id).collect()), ["last", "if", "second", "first"]);
    assert_eq!(names(sparsec_ir::topological(&g).unwrap()), ["first", "if", "second", "last"]);
    let late = g.find("late").unwrap();
    assert_eq!(names(g.consumers(late)), ["second", "if"]);
}

#[test]
fn a_changed_graph_is_written_in_topological_order() {
    let mut model = open("unsorted.onnx").model;
    let second = model.graph.find_node("second").unwrap();
    model.graph.set_node_meta(second, "changed", "yes");
    let written = decode(encode(&model).unwrap().into(), None).unwrap().model.graph;
    let names: Vec<&str> = written.nodes().map(|(_, n)| n.name.as_str()).collect();
    assert_eq!(names, ["first", "if", "second", "last"]);
}

#[test]
fn initialisers_listed_among_the_inputs_need_not_be_fed() {
    let g = open("old.onnx").model.graph;
    let names = |ids: Vec<sparsec_ir::ValueId>| ids.into_iter().map(|v| g.value(v).name.clone()).collect::<Vec<_>>();
    assert_eq!(names(g.inputs().collect()), ["x"]);
    assert_eq!(names(g.listed_inputs().to_vec()), ["b", "x", "w"]);
}

#[test]
fn functions_keep_references_and_defaults() {
    let f = &open("functions.onnx").model.functions[0];
    let leaky = f.body.nodes().next().unwrap().1;
    assert!(matches!(&leaky.attrs["alpha"], Attr::Ref { name, kind: 1 } if name == "slope"));
    assert!(matches!(f.defaults[..], [(_, Attr::Float(0.25))]));
    assert_eq!(f.attributes, ["order"]);
}

#[test]
fn unnamed_sizes_are_distinct_and_named_ones_are_shared() {
    let g = open("everything_else.onnx").model.graph;
    let x = g.value(g.find("x").unwrap());
    let Some(sparsec_ir::Type::Tensor { shape: Some(shape), .. }) = &x.ty else { panic!("{:?}", x.ty) };
    assert_eq!((&shape[0], &shape[2]), (&Dim::sym("batch"), &Dim::from(3)));
    assert!(shape[1].as_sym().unwrap().starts_with('?'));
}

#[test]
fn what_a_change_does_not_touch_survives_it() {
    let mut loaded = open("everything_else.onnx");
    let before = encode(&loaded.model).unwrap();
    let g = &mut loaded.model.graph;
    let x = g.find("x").unwrap();
    let ty = g.value(x).ty.clone();
    g.set_type(x, None);
    assert!(encode(&loaded.model).unwrap() != before, "a changed type is written");
    loaded.model.graph.set_type(x, ty);
    assert!(encode(&loaded.model).unwrap() == before, "the denotations come back with the type");
}

#[test]
fn value_infos_go_with_their_values_and_come_with_new_types() {
    let mut model = open("everything_else.onnx").model;
    let g = &mut model.graph;
    // `c` has a value info and one user; without both it is gone, while the info about no value at all stays.
    let clip = g.find_node("clip").unwrap();
    g.truncate_operands(clip, 1);
    let producer = g.producer(g.find("c").unwrap()).unwrap();
    g.remove_node(producer);
    let bytes = encode(&model).unwrap();
    let again = decode(bytes.clone().into(), None).unwrap().model;
    assert!(again.graph.find("c").is_none());
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    assert!(holds(b"nowhere") && !holds(b"named_constant"));
}

#[test]
fn external_data_is_read_kept_and_pulled_in() {
    let loaded = open("external.onnx");
    let w = tensor(&loaded.model.graph, "w");
    assert_eq!(w.to_f32().unwrap(), [0., 1., 2., 3., 4., 5.]);
    assert_eq!(w.external.as_ref().unwrap().entries[3], ("checksum".to_string(), "none".to_string()));
    assert_eq!(tensor(&loaded.model.graph, "tail").to_f32().unwrap(), [1., 1.]);
    let inline = decode(encode(&loaded.model).unwrap().into(), None).unwrap();
    assert_eq!(tensor(&inline.model.graph, "w").to_f32().unwrap(), [0., 1., 2., 3., 4., 5.]);
}

/// Files in a folder, sorted.
fn listing(folder: &Path) -> Vec<String> {
    let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn weights_go_where_they_are_sent() {
    let loaded = open("external.onnx");
    let inline = encode(&loaded.model).unwrap();
    for (weights, files) in [
        (Weights::Inline, &["m.onnx"][..]),
        (Weights::AsLoaded, &["m.onnx", "m.onnx.data"]),
        (Weights::External { threshold_bytes: 9 }, &["m.onnx", "m.onnx.data"]),
        (Weights::External { threshold_bytes: 1000 }, &["m.onnx"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        save(&loaded.model, &path, weights).unwrap();
        assert_eq!(listing(dir.path()), files, "{weights:?}");
        assert!(encode(&load(&path).unwrap().model).unwrap() == inline, "{weights:?}");
    }
}

#[test]
fn a_model_can_be_saved_over_the_files_it_is_mapped_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    save(&open("external.onnx").model, &path, Weights::AsLoaded).unwrap();
    let mapped = load(&path).unwrap();
    let inline = encode(&mapped.model).unwrap();
    save(&mapped.model, &path, Weights::AsLoaded).unwrap();
    assert!(encode(&mapped.model).unwrap() == inline);
    assert!(encode(&load(&path).unwrap().model).unwrap() == inline);
}

#[test]
fn an_unchanged_model_is_copied_with_its_data_files() {
    for name in ["external.onnx", "everything_else.onnx"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.onnx");
        save_unchanged(&open(name), &path).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(testdata(name)).unwrap());
        load(&path).unwrap();
    }
}

#[test]
fn a_failed_save_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("folder");
    std::fs::create_dir(&target).unwrap();
    assert!(save(&open("old.onnx").model, &target, Weights::Inline).is_err());
    assert_eq!(listing(dir.path()), ["folder"]);
}

#[test]
fn a_tensor_file_has_a_name_and_a_tensor() {
    let (name, t) = decode_tensor(&std::fs::read(testdata("tensor.pb")).unwrap()).unwrap();
    assert_eq!((name.as_str(), t.elem, t.to_f32().unwrap()), ("named", ElemType::F16, vec![1.0, -2.0]));
}
