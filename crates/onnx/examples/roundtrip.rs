//! Decodes and encodes each file named on the command line, and tells for each whether the bytes came out identical.
//! With `--into FOLDER` before the files, those that did not are written there under their number, for comparison by
//! `.ci/onnx_equal.py`. Fails if a file cannot be read, or if the second round differs from the first.

#![allow(clippy::print_stdout, reason = "a command for people and CI")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

enum Outcome {
    Identical,
    Equal(Vec<u8>),
    Failed(String),
}

fn round(path: &Path) -> Outcome {
    let first = sparsec_onnx::load(path).and_then(|l| Ok((sparsec_onnx::encode(&l.model)?, l)));
    let (bytes, loaded) = match first {
        Ok(first) => first,
        Err(e) => return Outcome::Failed(e.to_string()),
    };
    if bytes == loaded.source {
        return Outcome::Identical;
    }
    // What one round normalises, a second must leave alone.
    match sparsec_onnx::decode(bytes.clone().into(), None).and_then(|l| sparsec_onnx::encode(&l.model)) {
        Ok(again) if again == bytes => Outcome::Equal(bytes),
        Ok(_) => Outcome::Failed("the second round differs from the first".to_string()),
        Err(e) => Outcome::Failed(e.to_string()),
    }
}

fn main() -> ExitCode {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut into = None;
    if files.len() >= 2 && files[0].as_os_str() == "--into" {
        into = Some(files[1].clone());
        files.drain(..2);
    }
    let (mut identical, mut equal, mut failed) = (0, 0, 0);
    for (i, path) in files.iter().enumerate() {
        match round(path) {
            Outcome::Identical => {
                identical += 1;
                println!("identical {}", path.display());
            }
            Outcome::Equal(bytes) => {
                let target = into.as_ref().map(|folder| folder.join(format!("{i}.onnx")));
                match target.as_ref().map(|t| std::fs::write(t, &bytes)) {
                    Some(Err(e)) => {
                        failed += 1;
                        println!("failed {}: {e}", path.display());
                    }
                    _ => {
                        equal += 1;
                        let shown = target.map(|t| format!(" {}", t.display())).unwrap_or_default();
                        println!("equal {}{shown}", path.display());
                    }
                }
            }
            Outcome::Failed(why) => {
                failed += 1;
                println!("failed {}: {why}", path.display());
            }
        }
    }
    println!("{identical} identical, {equal} equal, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
