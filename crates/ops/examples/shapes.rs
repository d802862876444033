//! Prints the inferred type of every computed value of each ONNX file, one a line: `file value type`.

use sparsec_analysis::infer;
use sparsec_ir::{Def, Dim};
use std::io::{self, Write};
use std::path::Path;

fn main() -> io::Result<()> {
    let table = sparsec_ops::table();
    let mut out = io::stdout().lock();
    for file in std::env::args().skip(1) {
        let model = match sparsec_onnx::load(Path::new(&file)) {
            Ok(loaded) => loaded.model,
            Err(e) => {
                writeln!(out, "{file} error: {e}")?;
                continue;
            }
        };
        let inferred = infer(&model, &table);
        for problem in &inferred.problems {
            writeln!(out, "{file} problem: {problem:?}")?;
        }
        for (id, value) in model.graph.values().filter(|(_, v)| matches!(v.def, Def::Node { .. })) {
            let fact = inferred.facts.get(id);
            let elem = fact.elem.map_or("?".to_string(), |e| e.to_string());
            let dims: Vec<String> = fact.shape.iter().flatten().map(Dim::to_string).collect();
            let shape = if fact.shape.is_some() { format!("[{}]", dims.join(",")) } else { "[?]".to_string() };
            writeln!(out, "{file} {} {elem}{shape}", value.name)?;
        }
    }
    Ok(())
}
