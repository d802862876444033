//! ONNX Runtime, where `SPARSEC_ORT` says where it is. In CI it must.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::wave;
use sparsec_ir::Tensor;
use sparsec_runtime::{Runtime, RuntimeError, open, run_batches};
use sparsec_testkit::model;

/// The runtime, or `None` on a machine without one.
fn runtime() -> Option<Box<dyn Runtime>> {
    if std::env::var_os("SPARSEC_ORT").is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must set SPARSEC_ORT to the folder of an onnxruntime package");
        return None;
    }
    Some(open("ort").unwrap_or_else(|e| panic!("{e}")))
}

#[test]
fn onnx_runtime_gives_the_expected_results() {
    let Some(runtime) = runtime() else { return };
    assert!(runtime.name().starts_with("onnxruntime 1."), "{}", runtime.name());
    common::check_all(runtime.as_ref(), 2e-6);
}

#[test]
fn one_session_serves_several_threads() {
    let Some(runtime) = runtime() else { return };
    let m = model(
        "g (float[n,4] x) => (float[n,3] y)
         <float[4,3] w = [\"location\": \"random:1\"]> { y = MatMul (x, w) }",
    );
    let x = wave(&[9, 4], 11, 5, 4.0);
    let alone = run_batches(runtime.as_ref(), &m, std::slice::from_ref(&x), 2, 1).unwrap();
    let together = run_batches(runtime.as_ref(), &m, &[x], 2, 4).unwrap();
    assert_eq!(alone, together);
}

#[test]
fn a_failing_kernel_is_named() {
    let Some(runtime) = runtime() else { return };
    let m = model("g (float[n] x, int64[1] s) => (float[k] y) { [r1] y = Reshape (x, s) }");
    let session = runtime.load(&m, &[vec![4], vec![1]], 1).unwrap();
    match session.run(&[Tensor::f32(&[4], &[0.; 4]), Tensor::i64(&[1], &[3])]) {
        Err(RuntimeError::Run { operator, node, .. }) => {
            assert_eq!((operator.as_str(), node.as_str()), ("Reshape", "r1"))
        }
        other => panic!("{other:?}"),
    }
    // The session survives a failed run.
    assert!(session.run(&[Tensor::f32(&[4], &[0.; 4]), Tensor::i64(&[1], &[4])]).is_ok());
}

#[test]
fn an_unknown_operator_is_an_error_of_loading() {
    let Some(runtime) = runtime() else { return };
    let m = model("g (float[2] x) => (float[2] y) { y = Quux (x) }");
    let e = runtime.load(&m, &[vec![2]], 1).err().unwrap();
    assert!(matches!(e, RuntimeError::Load { .. }) && e.to_string().contains("Quux"), "{e}");
}

#[test]
fn a_second_library_is_refused() {
    let Some(_first) = runtime() else { return };
    let folder = tempfile();
    let other = folder.join("libonnxruntime.so");
    std::fs::write(&other, "no library").unwrap();
    assert!(matches!(open(&format!("ort={}", other.display())), Err(RuntimeError::LibraryLoaded { .. })));
    std::fs::remove_dir_all(folder).unwrap();
}

/// A fresh folder of this process.
fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("sparsec-ort-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
