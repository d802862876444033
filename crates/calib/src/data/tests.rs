use super::*;
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::write::FileOptions;
use sparsec_ir::{Dim, ElemType, Graph, Type};
use std::path::PathBuf;
use tempfile::TempDir;

/// A model with the given inputs; size 0 stands for `batch`.
fn model(inputs: &[(&str, ElemType, &[i64])]) -> Model {
    let mut g = Graph::new("g");
    for (name, elem, dims) in inputs {
        let dims = dims.iter().map(|&d| if d == 0 { Dim::sym("batch") } else { Dim::from(d) });
        g.add_input(name, Type::tensor(*elem, dims));
    }
    Model::new(g, 9, 17)
}

fn npz(dir: &TempDir, name: &str, arrays: &[(&str, &[u64], &[f32])]) -> PathBuf {
    let path = dir.path().join(name);
    let mut z = NpzWriter::create(&path).unwrap();
    for (name, shape, values) in arrays {
        let mut w = z.array(name, FileOptions::default()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
        w.extend(values.iter().copied()).unwrap();
        w.finish().unwrap();
    }
    drop(z);
    path
}

fn npy<T: npyz::AutoSerialize>(dir: &Path, name: &str, shape: &[u64], values: impl IntoIterator<Item = T>) -> PathBuf {
    let path = dir.join(name);
    let file = std::fs::File::create(&path).unwrap();
    let mut w = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().unwrap();
    w.extend(values).unwrap();
    w.finish().unwrap();
    path
}

fn options(scales: &[(Option<&str>, f64)]) -> DataOptions {
    let scales = scales.iter().map(|(n, v)| (n.map(str::to_string), *v)).collect();
    DataOptions { scales, ..DataOptions::default() }
}

const XY: &[(&str, ElemType, &[i64])] = &[("x", ElemType::F32, &[0, 2]), ("y", ElemType::F64, &[0])];

#[test]
fn an_archive_feeds_the_inputs_in_the_graphs_order() {
    let dir = TempDir::new().unwrap();
    let path =
        npz(&dir, "d.npz", &[("label", &[2], &[1., 0.]), ("y", &[2], &[5., 6.]), ("x", &[2, 2], &[1., 2., 3., 4.])]);
    let d = Dataset::load(&path, &model(XY), &options(&[(Some("y"), 0.5)])).unwrap();
    assert_eq!((d.samples(), d.fixed_batch()), (2, None));
    assert_eq!(d.label().unwrap().to_f32().unwrap(), [1., 0.]);
    let run = d.batch(1..2);
    assert_eq!((run[0].dims.as_slice(), run[0].to_f32().unwrap()), (&[1, 2][..], vec![3., 4.]));
    assert_eq!((run[1].elem, run[1].to_f64().unwrap()), (ElemType::F64, vec![3.]));
}

#[test]
fn names_and_counts_must_match() {
    let dir = TempDir::new().unwrap();
    let load = |name: &str, arrays: &[(&str, &[u64], &[f32])]| {
        Dataset::load(&npz(&dir, name, arrays), &model(XY), &options(&[])).unwrap_err()
    };
    let missing = load("a.npz", &[("x", &[1, 2], &[0., 0.])]);
    assert!(matches!(&missing, DataError::Names { expected, found, .. } if expected.len() == 2 && found.len() == 1));
    let more = load("b.npz", &[("x", &[1, 2], &[0., 0.]), ("y", &[1], &[0.]), ("z", &[1], &[0.])]);
    assert!(more.to_string().ends_with("expected `x`, `y`, found `x`, `y`, `z`"), "{more}");
    let counts = load("c.npz", &[("x", &[1, 2], &[0., 0.]), ("y", &[2], &[0., 0.])]);
    assert!(matches!(counts, DataError::Samples { found: 2, expected: 1, .. }));
    let nan = load("d.npz", &[("x", &[2, 2], &[0., 0., f32::NAN, 0.]), ("y", &[2], &[0., 0.])]);
    assert!(matches!(&nan, DataError::NonFinite { index, .. } if index == &[1, 0]));
    let size = load("e.npz", &[("x", &[1, 3], &[0.; 3]), ("y", &[1], &[0.])]);
    assert!(matches!(size, DataError::Size { axis: 1, found: 3, wanted: 2, .. }));
    let rank = load("f.npz", &[("x", &[1, 2, 1, 1], &[0.; 2]), ("y", &[1], &[0.])]);
    assert!(matches!(rank, DataError::Rank { .. }));
    let empty = load("g.npz", &[("x", &[0, 2], &[]), ("y", &[0], &[])]);
    assert!(matches!(empty, DataError::Empty { .. }));
}

#[test]
fn bytes_feed_floats_with_a_note_unless_a_scale_is_given() {
    let dir = TempDir::new().unwrap();
    let path = npy(dir.path(), "x.npy", &[2, 2], [0u8, 51, 102, 255]);
    let m = model(&[("x", ElemType::F32, &[0, 2])]);
    let plain = Dataset::load(&path, &m, &options(&[])).unwrap();
    assert!(matches!(plain.notes(), [Note::Unscaled { .. }]));
    let scaled = Dataset::load(&path, &m, &options(&[(None, 1.0 / 255.0)])).unwrap();
    assert_eq!(scaled.inputs()[0].1.to_f32().unwrap(), [0.0, 0.2, 0.4, 1.0]);
    assert!(scaled.notes().is_empty());
}

#[test]
fn scales_must_name_inputs_once() {
    let m = model(XY);
    let dir = TempDir::new().unwrap();
    let path = npz(&dir, "d.npz", &[("x", &[1, 2], &[0., 0.]), ("y", &[1], &[0.])]);
    let load = |s: &[(Option<&str>, f64)]| Dataset::load(&path, &m, &options(s)).unwrap_err();
    assert!(matches!(load(&[(None, 2.0)]), DataError::ScaleUnnamed { .. }));
    assert!(matches!(load(&[(Some("z"), 2.0)]), DataError::ScaleName { .. }));
    assert!(matches!(load(&[(Some("x"), 2.0), (Some("x"), 3.0)]), DataError::ScaleTwice { .. }));
    assert!(matches!(load(&[(Some("x"), f64::INFINITY)]), DataError::ScaleValue { .. }));
}

#[test]
fn a_folder_is_joined_in_the_order_of_names_and_stops_at_the_wanted_count() {
    let dir = TempDir::new().unwrap();
    npy(dir.path(), "b.npy", &[2, 1], [3i64, 4]);
    npy(dir.path(), "a.npy", &[2, 1], [1i64, 2]);
    npy(dir.path(), ".hidden.npy", &[1, 9], [0i64; 9]);
    let m = model(&[("x", ElemType::I32, &[0, 1])]);
    let all = Dataset::load(dir.path(), &m, &options(&[])).unwrap();
    assert_eq!(all.inputs()[0].1.to_i64().unwrap(), [1, 2, 3, 4]);
    let three = DataOptions { max_samples: Some(3), ..DataOptions::default() };
    assert_eq!(Dataset::load(dir.path(), &m, &three).unwrap().inputs()[0].1.to_i64().unwrap(), [1, 2, 3]);
    npy(dir.path(), "c.npy", &[1, 2], [0i64; 2]);
    assert!(matches!(Dataset::load(dir.path(), &m, &options(&[])), Err(DataError::Join { .. })));
}

#[test]
fn a_fixed_batch_leaves_out_the_tail_and_stacked_samples_run_alone() {
    let dir = TempDir::new().unwrap();
    let path = npy(dir.path(), "x.npy", &[5, 2], (0..10).map(f64::from));
    let d = Dataset::load(&path, &model(&[("x", ElemType::F32, &[2, 2])]), &options(&[])).unwrap();
    assert_eq!((d.samples(), d.fixed_batch()), (4, Some(2)));
    assert!(matches!(d.notes(), [Note::Tail { left_out: 1, batch: 2 }]));
    assert_eq!(d.batches(64).collect::<Vec<_>>(), [0..2, 2..4]);
    let s = Dataset::load(&path, &model(&[("x", ElemType::F32, &[2])]), &options(&[])).unwrap();
    assert_eq!((s.samples(), s.fixed_batch()), (5, Some(1)));
    assert_eq!((s.batch(1..2)[0].dims.as_slice(), s.batch(1..2)[0].to_f32().unwrap()), (&[2][..], vec![2., 3.]));
    let long = model(&[("x", ElemType::F32, &[6, 2])]);
    assert!(matches!(Dataset::load(&path, &long, &options(&[])), Err(DataError::BatchTooLarge { batch: 6, .. })));
}

#[test]
fn every_kth_sample_is_held_out() {
    let dir = TempDir::new().unwrap();
    let path = npy(dir.path(), "x.npy", &[7], 0..7i64);
    let d = Dataset::load(&path, &model(&[("x", ElemType::I64, &[0])]), &options(&[])).unwrap();
    let (kept, held) = d.split(3).unwrap();
    assert_eq!(kept.inputs()[0].1.to_i64().unwrap(), [0, 1, 3, 4, 6]);
    assert_eq!(held.inputs()[0].1.to_i64().unwrap(), [2, 5]);
    assert!(d.split(8).is_none());
    assert_eq!(d.take(2).samples(), 2);
}

#[test]
fn broken_archives_are_errors() {
    let dir = TempDir::new().unwrap();
    let m = model(XY);
    let path = npz(&dir, "d.npz", &[("x", &[2, 2], &[1., 2., 3., 4.]), ("y", &[2], &[0., 0.])]);
    let whole = std::fs::read(&path).unwrap();
    let target = dir.path().join("broken.npz");
    for cut in (0..whole.len()).step_by(7) {
        std::fs::write(&target, &whole[..cut]).unwrap();
        assert!(Dataset::load(&target, &m, &options(&[])).is_err(), "{cut} bytes");
    }
    for at in 0..whole.len() {
        for value in [0u8, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            std::fs::write(&target, &changed).unwrap();
            let _ = Dataset::load(&target, &m, &options(&[]));
        }
    }
}

#[test]
fn image_folders_give_classes_by_name_and_the_stated_preprocessing() {
    let dir = TempDir::new().unwrap();
    let m = model(&[("x", ElemType::F32, &[0, 3, 2, 2])]);
    for (class, grey) in [("b", 255u8), ("a", 51)] {
        std::fs::create_dir(dir.path().join(class)).unwrap();
        let image = image::RgbImage::from_pixel(4, 6, image::Rgb([grey, 0, 255]));
        image.save(dir.path().join(class).join("1.png")).unwrap();
    }
    assert!(matches!(Dataset::load(dir.path(), &m, &options(&[])), Err(DataError::NoPreprocessing { .. })));
    let with = |image: ImageOptions| DataOptions { image: Some(image), ..DataOptions::default() };
    let uncropped = ImageOptions { resize: Some(2), ..ImageOptions::default() };
    assert!(matches!(
        Dataset::load(dir.path(), &m, &with(uncropped.clone())),
        Err(DataError::ImageSize { height: 3, width: 2, .. })
    ));
    let o = ImageOptions { crop: Some(2), mean: vec![0.2, 0.0, 0.5], std: vec![0.5], ..uncropped };
    let d = Dataset::load(dir.path(), &m, &with(o.clone())).unwrap();
    assert_eq!(d.label().unwrap().to_i64().unwrap(), [0, 1]);
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let x = d.inputs()[0].1.to_f32().unwrap();
    assert!(close(&x[..12], &[0., 0., 0., 0., 0., 0., 0., 0., 1., 1., 1., 1.]), "{x:?}");
    assert!(close(&x[12..16], &[1.6; 4]), "{x:?}");
    let last = model(&[("x", ElemType::F32, &[0, 2, 2, 3])]);
    let y = Dataset::load(dir.path(), &last, &with(o)).unwrap().inputs()[0].1.to_f32().unwrap();
    assert!(close(&y[..6], &[0., 0., 1., 0., 0., 1.]), "{y:?}");
}

#[test]
fn numbered_runs_come_together_by_shape_in_the_order_of_their_numbers() {
    let dir = TempDir::new().unwrap();
    let m = model(&[("x", ElemType::F32, &[0, 0]), ("y", ElemType::F32, &[0])]);
    let runs: &[(&str, &[u64], &[f32])] = &[
        ("10/x", &[1, 2], &[7., 8.]),
        ("10/y", &[1], &[9.]),
        ("2/x", &[1, 3], &[4., 5., 6.]),
        ("2/y", &[1], &[2.]),
        ("0/y", &[2], &[0., 1.]),
        ("0/x", &[2, 2], &[0., 1., 2., 3.]),
    ];
    let path = npz(&dir, "d.npz", runs);
    let sets = Dataset::load_by_shape(&path, &m, &DataOptions::default()).unwrap();
    let x = |d: &Dataset| (d.inputs()[0].1.dims.clone(), d.inputs()[0].1.to_f32().unwrap());
    let pairs = (vec![3, 2], vec![0., 1., 2., 3., 7., 8.]);
    assert_eq!(sets.iter().map(x).collect::<Vec<_>>(), [pairs, (vec![1, 3], vec![4., 5., 6.])]);
    assert_eq!(sets[0].inputs()[1].1.to_f32().unwrap(), [0., 1., 9.]);
    let e = Dataset::load(&path, &m, &DataOptions::default()).unwrap_err();
    assert!(matches!(e, DataError::Shapes { shapes: 2, .. }), "{e}");
    let few = DataOptions { max_samples: Some(2), ..DataOptions::default() };
    assert_eq!(Dataset::load(&path, &m, &few).unwrap().samples(), 2);
    // A run without one of its inputs, and counts that differ.
    let e = Dataset::load(&npz(&dir, "e.npz", &runs[1..]), &m, &DataOptions::default()).unwrap_err();
    assert!(matches!(e, DataError::Names { .. }), "{e}");
    let uneven: &[(&str, &[u64], &[f32])] = &[("0/x", &[1, 1], &[1.]), ("0/y", &[2], &[1., 2.])];
    let e = Dataset::load(&npz(&dir, "f.npz", uneven), &m, &DataOptions::default()).unwrap_err();
    assert!(matches!(e, DataError::Samples { .. }), "{e}");
}

#[test]
fn columns_sort_samples_and_hold_numbers_or_texts() {
    let dir = TempDir::new().unwrap();
    let path = npz(&dir, "d.npz", &[("x", &[3, 2], &[0.; 6]), ("y", &[3], &[0.; 3]), ("k", &[3], &[2., 0.5, 2.])]);
    let columns = |names: &[&str], max_samples| {
        let columns = names.iter().map(|n| n.to_string()).collect();
        Dataset::load(&path, &model(XY), &DataOptions { columns, max_samples, ..DataOptions::default() })
    };
    let d = columns(&["k", "y"], Some(2)).unwrap();
    let words = |w: &[&str]| w.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    assert_eq!(d.columns(), [("k".to_string(), words(&["2", "0.5"])), ("y".to_string(), words(&["0", "0"]))]);
    assert_eq!(d.take(1).columns()[0].1, words(&["2"]));
    // Not asked for, not there, and with several values a sample.
    assert!(matches!(columns(&[], None), Err(DataError::Names { .. })));
    assert!(matches!(columns(&["k", "l"], None), Err(DataError::NoColumn { column, .. }) if column == "l"));
    assert!(matches!(columns(&["k", "x"], None), Err(DataError::NoColumn { column, .. }) if column == "x"));
}
