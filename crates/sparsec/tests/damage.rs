//! Damaged files: whatever is done to the bytes of a model, a text, a plan or samples, the answer is a result or an
//! error, never a panic. Damage is drawn from a seed; `SPARSEC_DAMAGE` asks for more cases of each kind, and
//! `SPARSEC_SEED` is the first one.

use sparsec::drive::{
    Bounded, Concessions, Pricing, Quiet, check, compare, cut, prepare, random_inputs, random_removal,
};
use sparsec_calib::data::{DataOptions, Dataset};
use sparsec_ir::{Draw, Model};
use sparsec_passes::remove::mask;
use sparsec_plan::{Evaluate, Plan};
use sparsec_runtime::Runtime;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Cases of each kind in a normal run.
const CASES: u64 = 150;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn testdata(dir: &str, ending: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(dir);
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    found.retain(|p| p.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

fn below(draw: &mut Draw, n: usize) -> usize {
    (draw.bits() % n.max(1) as u64) as usize
}

/// Bytes that break what is written in them: ends of varints, large sizes, other tags.
const BYTES: &[u8] = &[0, 1, 2, 0x7f, 0x80, 0xff, 8, 10, 16, 18];

/// One to four changes to bytes: set, cut out, doubled, cut off.
fn damaged_bytes(whole: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut out = whole.to_vec();
    for _ in 0..=below(draw, 4) {
        let at = below(draw, out.len());
        let end = (at + 1 + below(draw, 12)).min(out.len());
        match below(draw, 8) {
            0 => drop(out.drain(at..end)),
            1 => {
                let copy = out[at..end].to_vec();
                out.splice(at..at, copy);
            }
            2 if below(draw, 8) == 0 => out.truncate(at),
            3 => out[at] = draw.bits() as u8,
            4 => out[at] ^= 1 << below(draw, 8),
            _ => out[at] = BYTES[below(draw, BYTES.len())],
        }
        if out.is_empty() {
            break;
        }
    }
    out
}

/// Numbers that rules stumble over.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "64",
    "-2",
    "9223372036854775807",
    "-9223372036854775808",
    "4294967296",
    "1000000007",
    "65537",
    "1.5",
    "n",
];

/// One to three changes to the words of a text: another number, a word of elsewhere, left out, doubled.
fn damaged_text(whole: &str, draw: &mut Draw) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = whole;
    while let Some(first) = rest.chars().next() {
        let kind = |c: char| {
            if c.is_alphabetic() || c == '_' {
                0
            } else if c.is_ascii_digit() {
                1
            } else {
                2
            }
        };
        let len = match kind(first) {
            2 => first.len_utf8(),
            k => rest.find(|c| kind(c) != k).unwrap_or(rest.len()),
        };
        words.push(&rest[..len]);
        rest = &rest[len..];
    }
    for _ in 0..=below(draw, 3) {
        // Numbers more often than anything else: what is left can still be read, and means something else.
        let numbers: Vec<usize> = (0..words.len()).filter(|i| words[*i].as_bytes()[0].is_ascii_digit()).collect();
        if below(draw, 4) > 0 && !numbers.is_empty() {
            words[numbers[below(draw, numbers.len())]] = NUMBERS[below(draw, NUMBERS.len())];
            continue;
        }
        let (at, other) = (below(draw, words.len()), below(draw, words.len()));
        match below(draw, 4) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[other]),
            2 => words.swap(at, other),
            _ => words[at] = words[other],
        }
        if words.is_empty() {
            break;
        }
    }
    words.concat()
}

/// All that `compile --random-plan` does, files aside. Errors are as good as results.
fn compile(model: &Model, runtime: &Arc<dyn Runtime>, seed: u64) {
    let table = sparsec_ops::table();
    if check(model, &table).is_err() {
        return;
    }
    let Ok(dense) = prepare(model, table, Some(runtime.clone()), &Concessions::default(), &Quiet) else { return };
    let removal = random_removal(&dense, seed, 0.5);
    let _ = Plan::of(&dense.channels, &removal).to_yaml();
    let sizes = dense.sizes(1, &BTreeMap::new());
    let facts = sizes.map_or_else(|_| dense.facts.clone(), |s| dense.bind(&s));
    let target = sparsec_cost::Target::named_or_file("generic-x86").expect("it is built in");
    let orders = dense.channels.groups.iter().map(|g| (0..g.units.len() as u32).collect()).collect();
    let _ = Pricing::new(&dense, facts, &target, orders, 0, &Quiet).price(&dense.whole());
    let (Ok(cut), Ok(masked)) =
        (cut(&dense, &removal, &[]), mask(&dense.model, &dense.facts, &dense.channels, &removal))
    else {
        return;
    };
    let _ = sparsec_onnx::encode(&cut.model);
    if let Ok(inputs) = random_inputs(&dense, seed, 2) {
        let _ = compare(&masked, &cut.model, runtime.as_ref(), &inputs);
    }
}

/// Runs `case` for each seed of a kind, and tells on which it panics.
fn each(cases: u64, kind: &str, case: impl Fn(&mut Draw, u64)) {
    let start = number("SPARSEC_SEED", 1);
    let mut panics = Vec::new();
    for seed in start..start + cases {
        let run = || case(&mut Draw::new(seed), seed);
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            panics.push(seed);
        }
    }
    assert!(panics.is_empty(), "{kind}: {} of {cases} cases panic, seeds {panics:?}", panics.len());
}

fn runtime() -> Arc<dyn Runtime> {
    Arc::new(Bounded::new(Arc::from(sparsec_runtime::default_runtime().expect("tract is built in"))))
}

#[test]
fn damaged_models_never_panic() {
    let runtime = runtime();
    let files: Vec<PathBuf> = [testdata("onnx", ".onnx"), testdata("onnx/hostile", ".onnx")].concat();
    let files: Vec<Vec<u8>> = files.iter().map(|p| std::fs::read(p).unwrap()).filter(|b| !b.is_empty()).collect();
    each(number("SPARSEC_DAMAGE", CASES), "models", |draw, seed| {
        let bytes = damaged_bytes(&files[below(draw, files.len())], draw);
        if let Ok(loaded) = sparsec_onnx::decode(bytes.into(), None) {
            compile(&loaded.model, &runtime, seed);
        }
    });
}

#[test]
fn damaged_texts_never_panic() {
    let runtime = runtime();
    let mut texts: Vec<String> = Vec::new();
    for (_, path) in sparsec_testkit::fixtures("analysis").into_iter().chain(sparsec_testkit::fixtures("passes")) {
        let text = std::fs::read_to_string(path).unwrap();
        let header =
            if text.lines().any(|l| l.starts_with('<')) { "" } else { "<ir_version: 10, opset_import: [\"\" : 18]>\n" };
        texts.push(header.to_string() + &text);
    }
    let pieces = sparsec_testkit::snippets();
    let pieces: Vec<_> = pieces.iter().collect();
    each(number("SPARSEC_DAMAGE", CASES), "texts", |draw, seed| {
        let text = if below(draw, 2) == 0 {
            let at = draw.bits() % 1000;
            sparsec_testkit::full(&sparsec_testkit::random_model(at, 1 + below(draw, 8), &pieces))
        } else {
            texts[below(draw, texts.len())].clone()
        };
        let Ok(model) = sparsec_ir::text::parse_model(&damaged_text(&text, draw)) else { return };
        let _ = sparsec_testkit::full(&model);
        if sparsec_ir::verify(&model).is_ok() {
            compile(&model, &runtime, seed);
        }
    });
}

#[test]
fn damaged_plans_never_panic() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/tiny_cnn.onnxtxt");
    let model = sparsec_ir::text::parse_model(&std::fs::read_to_string(path).unwrap()).unwrap();
    let dense = prepare(&model, sparsec_ops::table(), None, &Concessions::default(), &Quiet).unwrap();
    let plan = Plan::of(&dense.channels, &random_removal(&dense, 1, 0.5)).to_yaml().unwrap();
    each(number("SPARSEC_DAMAGE", CASES), "plans", |draw, _| {
        let Ok(plan) = Plan::parse(&damaged_text(&plan, draw)) else { return };
        let Ok(removal) = plan.removal(&dense.channels) else { return };
        let _ = cut(&dense, &removal, &[]);
    });
}

#[test]
fn damaged_samples_never_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/tabular-mlp");
    let model = sparsec_onnx::load(&root.join("model.onnx")).unwrap().model;
    let whole = std::fs::read(root.join("calib.npz")).unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("d.npz");
    each(number("SPARSEC_DAMAGE", CASES), "samples", |draw, _| {
        let mut bytes = damaged_bytes(&whole, draw);
        // The archive's directory and the arrays' headers are where sizes are.
        for _ in 0..below(draw, 3) {
            let near =
                if below(draw, 2) == 0 { below(draw, 256) } else { bytes.len().saturating_sub(1 + below(draw, 256)) };
            if let Some(b) = bytes.get_mut(near) {
                *b = BYTES[below(draw, BYTES.len())];
            }
        }
        std::fs::write(&path, bytes).unwrap();
        let _ = Dataset::load(&path, &model, &DataOptions::default());
    });
}
