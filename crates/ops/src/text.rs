//! Strings, n-grams and encoded images. Spec: ai.onnx `ImageDecoder`, `RegexFullMatch`, `StringConcat`, `StringSplit`
//! (20), `StringNormalizer` (10), `TfIdfVectorizer` (9).
//!  R1  `RegexFullMatch` and `StringConcat` go element by element; the latter broadcasts (`broadcast.rs`).
//!  R2  `StringSplit` adds an axis of as many parts as the longest string has.
//!  R3  `StringNormalizer` removes stop words: the last axis is as long as what is left; without stop words it stays.
//!  R4  `TfIdfVectorizer` gives max(`ngram_indexes`) + 1 numbers for each row.
//!  R5  `ImageDecoder` gives rows × columns × 3 colours, or 1 if grey.
//!  R6  Where words, n-grams or pixels are counted every axis is frozen.

use crate::broadcast;
use crate::form::{dims, tie_same, unnamed};
use crate::work::{heavy, light};
use sparsec_ir::{
    Affine, Attr, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule,
    WorkRule,
};

const fn row(
    name: &'static str,
    since: &'static [i64],
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    relate: Relate,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate,
        work: WorkRule::By(heavy),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const WORDS: Relate = Relate::Opaque("words are counted, not channels"); // R6

pub(crate) const OPS: &[OpDef] = &[
    row("ImageDecoder", &[20], image, Relate::Opaque("pixels come from a file")),
    row("RegexFullMatch", &[20], matches, Relate::By(elementwise)),
    OpDef { work: WorkRule::By(light), ..row("StringConcat", &[20], concat, Relate::By(join)) },
    row("StringNormalizer", &[10], normal, WORDS),
    row("StringSplit", &[20], split, WORDS),
    row("TfIdfVectorizer", &[9], ngrams, WORDS),
];

fn image(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let grey = node.string("pixel_format")?.as_deref() == Some("Grayscale");
    let shape = vec![unnamed(node, 0, 0), unnamed(node, 0, 1), Dim::from(if grey { 1 } else { 3 })]; // R5
    Ok(vec![Fact::new(ElemType::U8, shape)])
}

fn matches(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let shape = node.need_input(0)?.fact.shape.clone();
    Ok(vec![Fact { elem: Some(ElemType::Bool), shape, content: None }])
}

fn elementwise(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    tie_same(r, &node.need_input(0)?, &node.need_output(0)?, 0..node.rank(0)?, "R1");
    Ok(())
}

fn concat(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let shape = broadcast::shape_of(node, &[node.need_input(0)?, node.need_input(1)?])?;
    Ok(vec![Fact { elem: Some(ElemType::String), shape, content: None }])
}

fn join(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    broadcast::relate(node, &[node.need_input(0)?, node.need_input(1)?], r)
}

fn normal(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut shape = dims(node, 0)?.to_vec();
    let stops = matches!(node.node().attrs.get("stopwords"), Some(Attr::Strings(words)) if !words.is_empty());
    if stops && let Some(last) = shape.len().checked_sub(1) {
        shape[last] = unnamed(node, 0, last); // R3
    }
    Ok(vec![Fact::new(ElemType::String, shape)])
}

fn split(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = dims(node, 0)?;
    let parts = [x, &[unnamed(node, 0, x.len())]].concat(); // R2
    Ok(vec![Fact::new(ElemType::String, parts), Fact::new(ElemType::I64, x.to_vec())])
}

fn ngrams(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let indexes = node.ints("ngram_indexes")?.unwrap_or_default();
    let len = indexes.iter().max().and_then(|&m| m.checked_add(1)).filter(|&len| len > 0);
    let expected = "numbers from 0";
    let len = len.ok_or_else(|| OpError::BadAttribute { name: "ngram_indexes".to_string(), expected })?;
    let mut shape = dims(node, 0)?.to_vec();
    shape.pop().ok_or(OpError::Unsupported("n-grams of a scalar"))?;
    shape.push(Dim::from(len)); // R4
    Ok(vec![Fact::new(ElemType::F32, shape)])
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_strings_join_and_match_element_by_element() {
        let text = "g (string[n,3] a, string[3] b) => (y) { y = StringConcat (a, b) }";
        check_shape(text, "string[n,3]");
        check_relation(text, "B2 a:1 = y:1\nB2 b:0 = y:1");
        let text = "g (string[n,3] a) => (y) { y = RegexFullMatch <pattern=\".*\"> (a) }";
        check_shape(text, "bool[n,3]");
        check_relation(text, "R1 a:1 = y:1");
    }

    #[test]
    fn r2_r3_r4_words_are_counted() {
        check_shape("g (string[n,3] a) => (y) { y, z = StringSplit (a) }", "string[n,3,?y.2]; int64[n,3]");
        check_shape("g (string[3] a) => (y) { y = StringNormalizer (a) }", "string[3]");
        check_shape("g (string[3] a) => (y) { y = StringNormalizer <stopwords=[\"a\"]> (a) }", "string[?y.0]");
        check_shape("g (int32[n,9] a) => (y) { y = TfIdfVectorizer <ngram_indexes=[0, 6, 2]> (a) }", "float[n,7]");
    }

    #[test]
    fn r5_images_have_colours() {
        let text = |f: &str| format!("g (uint8[n] a) => (y) {{ y = ImageDecoder <pixel_format=\"{f}\"> (a) }}");
        check_shape(&text("BGR"), "uint8[?y.0,?y.1,3]");
        check_shape(&text("Grayscale"), "uint8[?y.0,?y.1,1]");
    }
}
