//! Runs models on tract and on ONNX Runtime and compares what they give.
//!
//! `agree [--tolerance T] MODEL[=FOLDER]…`: inputs are the tensors `input_0.pb`, `input_1.pb`, … of FOLDER, as in ONNX's
//! test data; without a folder, seeded values, with 2 for every size that the model leaves open. `SPARSEC_ORT` says where
//! ONNX Runtime is. Exits with 1 if a model fails or a value is off by more than T · (1 + the largest magnitude).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people and CI")]

use sparsec_ir::{Dim, ElemType, Model, Tensor, Type};
use sparsec_runtime::{Runtime, open};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut tolerance = 1e-4;
    if arguments.first().is_some_and(|a| a == "--tolerance") && arguments.len() >= 2 {
        match arguments[1].parse() {
            Ok(t) => tolerance = t,
            Err(e) => {
                eprintln!("--tolerance {}: {e}", arguments[1]);
                return ExitCode::from(2);
            }
        }
        arguments.drain(..2);
    }
    let runtimes = open("tract").and_then(|tract| Ok((tract, open("ort")?)));
    let (tract, ort) = match runtimes {
        Ok(both) => both,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    println!("{} against {}", tract.name(), ort.name());
    let mut good = true;
    for argument in &arguments {
        let (path, folder) = argument.split_once('=').map_or((argument.as_str(), None), |(p, f)| (p, Some(f)));
        match compare(tract.as_ref(), ort.as_ref(), Path::new(path), folder.map(Path::new)) {
            Ok((worst, largest)) => {
                let fits = worst <= tolerance * (1.0 + largest);
                good &= fits;
                println!(
                    "{} {path}: max |difference| {worst:.2e}, max |value| {largest:.2e}",
                    if fits { "ok  " } else { "OFF " }
                );
            }
            Err(e) => {
                good = false;
                println!("FAIL {path}: {e}");
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Largest difference and largest magnitude over all outputs.
fn compare(tract: &dyn Runtime, ort: &dyn Runtime, path: &Path, folder: Option<&Path>) -> Result<(f64, f64), Failure> {
    let model = sparsec_onnx::load(path)?.model;
    let inputs = match folder {
        Some(folder) => read(folder, model.graph.inputs().count())?,
        None => invent(&model)?,
    };
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    let ours = tract.load(&model, &shapes, 1)?.run(&inputs)?;
    let theirs = ort.load(&model, &shapes, 1)?.run(&inputs)?;
    let (mut worst, mut largest) = (0f64, 0f64);
    for (a, b) in ours.iter().zip(&theirs) {
        if (a.elem, &a.dims) != (b.elem, &b.dims) {
            return Err(format!("{}{:?} against {}{:?}", a.elem, a.dims, b.elem, b.dims).into());
        }
        for (x, y) in numbers(a)?.into_iter().zip(numbers(b)?) {
            if x.is_finite() || y.is_finite() {
                worst = worst.max(if (x - y).is_nan() { f64::INFINITY } else { (x - y).abs() });
                largest = largest.max(y.abs());
            }
        }
    }
    Ok((worst, largest))
}

fn numbers(t: &Tensor) -> Result<Vec<f64>, Failure> {
    Ok(if t.elem.is_float() { t.to_f64()? } else { t.to_i64()?.into_iter().map(|i| i as f64).collect() })
}

fn read(folder: &Path, count: usize) -> Result<Vec<Tensor>, Failure> {
    let one = |i| Ok(sparsec_onnx::decode_tensor(&std::fs::read(folder.join(format!("input_{i}.pb")))?)?.1);
    (0..count).map(one).collect()
}

/// Seeded inputs: floats in [−1, 1), whole numbers 0 to 3.
fn invent(model: &Model) -> Result<Vec<Tensor>, Failure> {
    let mut state = 1u64;
    let mut next = move || {
        // Knuth's MMIX generator; the high bits are the good ones.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    let mut one = |v| {
        let value = model.graph.value(v);
        let Some(Type::Tensor { elem, shape: Some(shape) }) = &value.ty else {
            return Err(format!("`{}` has no shape", value.name).into());
        };
        let size = |d: &Dim| d.substitute(&|_| Some(2)).and_then(|d| d.as_size()).ok_or("a size is negative");
        let dims = shape.iter().map(size).collect::<Result<Vec<u64>, _>>()?;
        let count = dims.iter().product::<u64>();
        let values: Vec<f64> = (0..count).map(|_| next() * 2.0 - 1.0).collect();
        if elem.is_float() {
            return Ok(Tensor::from_f64(*elem, &dims, &values)?);
        }
        let whole: Vec<i64> = values.iter().map(|v| ((v + 1.0) * 2.0) as i64).collect();
        let bytes: Vec<u8> = match elem {
            ElemType::I64 => return Ok(Tensor::i64(&dims, &whole)),
            ElemType::I32 => whole.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect(),
            ElemType::Bool => whole.iter().map(|v| (*v % 2) as u8).collect(),
            ElemType::U8 | ElemType::I8 => whole.iter().map(|v| *v as u8).collect(),
            _ => return Err(format!("`{}` is of type {elem}", value.name).into()),
        };
        Ok(Tensor::raw(*elem, dims, bytes.into())?)
    };
    model.graph.inputs().map(&mut one).collect()
}
