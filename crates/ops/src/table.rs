//! The operator table: one line a file, sorted by hand.

use sparsec_ir::{OpDef, OpTable};

/// A file of rules.
struct Family {
    /// Name of the file.
    #[cfg(test)]
    name: &'static str,
    /// Its text, of which `docs/operators.md` is made.
    #[cfg(test)]
    text: &'static str,
    ops: &'static [OpDef],
}

macro_rules! families {
    ($($module:ident)*) => {
        &[$(Family {
            #[cfg(test)]
            name: stringify!($module),
            #[cfg(test)]
            text: include_str!(concat!(stringify!($module), ".rs")),
            ops: crate::$module::OPS,
        }),*]
    };
}

const FAMILIES: &[Family] = families! {
    attention
    attention_fused
    attention_heads
    batch_norm
    binary
    causal_conv
    center_crop_pad
    col2im
    concat
    constant
    control
    conv
    conv_fused
    conv_quantised
    conv_transpose
    cumsum
    data_sized
    deform_conv
    depth_to_space
    det
    einsum
    expand
    gather
    gather_nd
    gelu
    gemm
    grid_sample
    group_norm
    layer_norm
    linear_attention
    loss
    lrn
    matmul
    matmul_fused
    matmul_nbits
    matmul_quantised
    microsoft
    ml
    one_hot
    pad
    pool
    preview
    qlinear
    quantize
    random
    recurrent
    reduce
    reshape
    resize
    reverse_sequence
    roi
    rotary
    rotary_fused
    sequence
    shape
    signal
    skip_norm
    slice
    softmax
    split
    squeeze
    swiglu
    text
    topk
    transpose
    trilu
    unary
    where_
};

/// Every operator that sparsec knows.
pub fn table() -> OpTable {
    OpTable::new(FAMILIES.iter().flat_map(|family| family.ops).copied()).with_alike(crate::alike::ALIKE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_ir::{ONNX, Relate, ShapeRule, WorkRule};
    use std::fmt::Write;

    /// Operators of the onnx package: domain, name, versions.
    fn listed() -> impl Iterator<Item = (&'static str, &'static str, Vec<i64>)> {
        let text = include_str!("../../../testdata/ops/operators.txt");
        text.lines().filter(|l| !l.starts_with('#')).map(|line| {
            let mut words = line.split(' ');
            let (domain, name) = (words.next().unwrap(), words.next().unwrap());
            let domain = if domain == "ai.onnx" { ONNX } else { domain };
            (domain, name, words.map(|w| w.parse().unwrap()).collect())
        })
    }

    #[test]
    fn every_operator_of_the_onnx_package_is_known_with_its_versions() {
        let table = table();
        let mut wrong = Vec::new();
        for (domain, name, versions) in listed() {
            match table.get(domain, name) {
                None => wrong.push(format!("{domain} {name}: not in the table")),
                Some(def) if def.since != versions => {
                    wrong.push(format!("{domain} {name}: versions {:?}, truly {versions:?}", def.since));
                }
                Some(_) => {}
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn reasons_are_clauses_that_say_more_than_a_name() {
        for def in table().iter() {
            let mut reasons = Vec::new();
            if let Relate::Opaque(why) | Relate::Drawn(why) = def.relate {
                reasons.push(why);
            }
            if let ShapeRule::Unknown(why) = def.shape {
                reasons.push(why);
            }
            if let WorkRule::Unknown(why) = def.work {
                reasons.push(why);
            }
            for why in reasons {
                let clause = why.split(' ').count() >= 4 && why.starts_with(char::is_lowercase) && !why.ends_with('.');
                assert!(clause, "{}: `{why}`", def.name);
            }
        }
    }

    #[test]
    fn files_are_sorted() {
        assert!(FAMILIES.is_sorted_by_key(|f| f.name));
    }

    #[test]
    fn the_documentation_is_made_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operators.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page(), "run the tests with UPDATE_DOCS=1");
    }

    fn page() -> String {
        let mut out = String::from(
            "# Operators\n\nMade of the operator table by `UPDATE_DOCS=1 cargo test`; do not edit.\n\n\
             What can be cut: the axes that an operator *relates*, by the rules that the last column leads to, and as \
             far as its neighbours agree. An operator that is not related keeps every axis of its operands and results, \
             for the reason given. An operator that is not listed is treated like one that is not related.\n\n\
             | operator | versions | related | rules |\n|---|---|---|---|\n",
        );
        let all = FAMILIES.iter().flat_map(|f| f.ops.iter().map(move |def| (def, f.name)));
        let mut all: Vec<(&OpDef, &str)> = all.collect();
        all.sort_by_key(|(def, _)| (def.domain, def.name));
        for (def, family) in all {
            let dot = if def.domain == ONNX { "" } else { "." };
            let versions: Vec<String> = def.since.iter().map(i64::to_string).collect();
            let related = match def.relate {
                Relate::By(_) | Relate::Given(_) => "yes".to_string(),
                Relate::Opaque(why) | Relate::Drawn(why) => format!("no: {why}"),
            };
            let (domain, name, versions) = (def.domain, def.name, versions.join(", "));
            writeln!(out, "| {domain}{dot}{name} | {versions} | {related} | [{family}](#{family}) |").unwrap();
        }
        let broadcast = ("broadcast", include_str!("broadcast.rs"));
        let heads = ("heads", include_str!("heads.rs"));
        let mut files: Vec<_> = FAMILIES.iter().map(|f| (f.name, f.text)).chain([broadcast, heads]).collect();
        files.sort_unstable();
        for (name, text) in files {
            write!(out, "\n## {name}\n\n{}", rules(text)).unwrap();
        }
        out
    }

    /// The documentation of a file: its paragraphs, and a list of its numbered rules.
    fn rules(text: &str) -> String {
        let mut out = String::new();
        for line in text.lines().map_while(|l| l.strip_prefix("//!")) {
            let words = line.trim();
            let number = words.split(' ').next().unwrap_or("");
            let digits = number.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or("");
            if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
                let list = if out.ends_with("\n\n") || out.contains("\n- **") { "" } else { "\n" };
                writeln!(out, "{list}- **{number}** {}", words[number.len()..].trim_start()).unwrap();
            } else if words.is_empty() {
                out.push('\n');
            } else {
                // A line of a rule that goes on is indented, as Markdown wants it.
                let indent = if line.starts_with("   ") { "  " } else { "" };
                writeln!(out, "{indent}{words}").unwrap();
            }
        }
        out
    }
}
