//! Compares shape rules with results that are known: `node_tests EXPECTED`, a file that `.ci/node_tests.py` writes.
//!
//! Each model is inferred as it stands, and again with a symbol for every size of its inputs, which then get their
//! values. A rule may say less than there is to know; it may not say otherwise, nor refuse a model as it stands. Prints
//! what is said otherwise or refused, with `--less` before the file also what is not said, and counts.

#![allow(clippy::print_stdout, reason = "a command for people and CI")]

use sparsec_analysis::{ShapeProblem, infer, node_ref};
use sparsec_ir::{Dim, Fact, Model, OpError, OpTable, ShapeRule, Type, ValueId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One result of one model.
struct Expected {
    value: String,
    elem: String,
    sizes: Vec<i64>,
}

/// What the rules say of a model's results, from best to worst.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Exact,
    Less(String),
    Refused(String),
    Otherwise(String),
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let show_less = args.first().is_some_and(|a| a == "--less");
    args.drain(..usize::from(show_less));
    let [file] = args.as_slice() else {
        println!("usage: node_tests [--less] EXPECTED");
        return ExitCode::from(2);
    };
    let models = match std::fs::read_to_string(file).map(|text| parse(&text)) {
        Ok(Some(models)) => models,
        Ok(None) => {
            println!("{file}: not a list of file, value, type and sizes");
            return ExitCode::from(2);
        }
        Err(e) => {
            println!("{file}: {e}");
            return ExitCode::from(2);
        }
    };
    let table = sparsec_ops::table();
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (path, expected) in &models {
        let given = path.to_string_lossy().ends_with(".given.onnx");
        let loaded = sparsec_onnx::load(path).map(|l| l.model);
        for symbolic in [false, true] {
            let verdict = match &loaded {
                Ok(model) if symbolic => judge_with_symbols(model.clone(), expected, &table),
                Ok(model) => judge(model, expected, &table, &|d| d.clone()),
                Err(e) => Verdict::Refused(e.to_string()),
            };
            let variant = match (given, symbolic) {
                (false, false) => "as shipped",
                (false, true) => "as shipped, sizes unknown",
                (true, false) => "small operands constant",
                (true, true) => "small operands constant, sizes unknown",
            };
            let (place, said) = match &verdict {
                Verdict::Exact => (0, None),
                Verdict::Less(why) => (1, show_less.then_some(("less", why))),
                Verdict::Refused(why) => (2, Some(("refused", why))),
                Verdict::Otherwise(why) => (3, Some(("otherwise", why))),
            };
            counts.entry(variant).or_default()[place] += 1;
            if let Some((kind, why)) = said {
                let name = path.file_name().unwrap_or_default().display();
                println!("{kind}: {name} ({variant}): {why}");
            }
        }
    }
    let mut wrong = models.is_empty();
    for (variant, [exact, less, refused, otherwise]) in &counts {
        println!("{variant}: {exact} exact, {less} say less, {refused} refused, {otherwise} say otherwise");
        wrong |= refused + otherwise > 0;
    }
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn parse(text: &str) -> Option<BTreeMap<PathBuf, Vec<Expected>>> {
    let mut models: BTreeMap<PathBuf, Vec<Expected>> = BTreeMap::new();
    for line in text.lines() {
        let [path, value, elem, sizes] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let sizes: Vec<i64> =
            sizes.split(',').filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect::<Option<_>>()?;
        models.entry(Path::new(path).to_path_buf()).or_default().push(Expected {
            value: value.to_string(),
            elem: elem.to_string(),
            sizes,
        });
    }
    Some(models)
}

/// Judges `model` with a symbol for each size of its inputs. A rule that cannot answer then says less.
fn judge_with_symbols(mut model: Model, expected: &[Expected], table: &OpTable) -> Verdict {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    let inputs: Vec<ValueId> = model.graph.inputs().collect();
    for input in inputs {
        let value = model.graph.value(input);
        let Some(Type::Tensor { elem, shape: Some(shape) }) = &value.ty else { continue };
        let mut dims = Vec::new();
        for (axis, dim) in shape.iter().enumerate() {
            let name = format!("{}.{axis}", value.name);
            sizes.extend(dim.as_size().map(|size| (name.clone(), size)));
            dims.push(Dim::sym(&name));
        }
        let ty = Type::tensor(*elem, dims);
        model.graph.set_type(input, Some(ty));
    }
    let bind = |dim: &Dim| dim.substitute(&|name| sizes.get(name).copied()).unwrap_or_else(|| dim.clone());
    match judge(&model, expected, table, &bind) {
        Verdict::Refused(why) => Verdict::Less(why),
        verdict => verdict,
    }
}

fn judge(model: &Model, expected: &[Expected], table: &OpTable, bind: &dyn Fn(&Dim) -> Dim) -> Verdict {
    let inferred = infer(model, table);
    let mut worst = Verdict::Exact;
    for problem in &inferred.problems {
        worst = worst.max(match problem {
            ShapeProblem::Contradicted { stated, inferred, .. } => {
                Verdict::Otherwise(format!("{inferred} where the file says {stated}"))
            }
            ShapeProblem::Unknown { node, why } => {
                let operator = model.graph.node(*node);
                let rule = match table.get(&operator.domain, &operator.op).map(|d| d.shape) {
                    Some(ShapeRule::By(rule)) => rule(&node_ref(model, &inferred.facts, *node)).err(),
                    _ => None,
                };
                let why = format!("{}: {why}", operator.op_name());
                match rule {
                    // What one rule does not say, the next cannot know.
                    None | Some(OpError::UnknownRank { .. } | OpError::NotConstant { .. }) => Verdict::Less(why),
                    Some(_) => Verdict::Refused(why),
                }
            }
        });
    }
    for result in expected {
        let fact = model.graph.find(&result.value).map(|v| inferred.facts.get(v)).cloned().unwrap_or_default();
        worst = worst.max(compare(result, &fact, bind));
    }
    worst
}

fn compare(result: &Expected, fact: &Fact, bind: &dyn Fn(&Dim) -> Dim) -> Verdict {
    let elem = fact.elem.map_or("?".to_string(), |e| e.to_string());
    let dims: Option<Vec<Dim>> = fact.shape.as_ref().map(|s| s.iter().map(bind).collect());
    let shown = dims.as_ref().map_or("?".to_string(), |d| d.iter().map(Dim::to_string).collect::<Vec<_>>().join(","));
    let wanted: Vec<String> = result.sizes.iter().map(i64::to_string).collect();
    let said = format!("`{}` is {elem}[{shown}], truly {}[{}]", result.value, result.elem, wanted.join(","));
    let differs = match &dims {
        Some(d) => {
            d.len() != result.sizes.len()
                || d.iter().zip(&result.sizes).any(|(d, s)| d.as_const().is_some_and(|d| d != *s))
        }
        None => false,
    };
    if differs || (fact.elem.is_some() && elem != result.elem) {
        return Verdict::Otherwise(said);
    }
    let whole = fact.elem.is_some() && dims.is_some_and(|d| d.iter().all(|d| d.as_const().is_some()));
    if whole { Verdict::Exact } else { Verdict::Less(said) }
}
