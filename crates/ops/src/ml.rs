//! Classical models. Spec: ai.onnx.ml, the operators listed below.
//!  R1  Features are addressed by numbers in attributes: every axis is frozen.
//!  R2  Functions of single numbers keep the shape of x; what they give is said by the operator or its attributes.
//!  R3  A regressor gives samples × targets; a classifier a label and the scores of its classes for each sample.
//!  R4  Maps and sequences of them are no tensors.

use crate::form::{at_least, unnamed};
use crate::work::heavy;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, OpDef, OpError, Relate, Resize, ShapeRule, WorkRule,
};

const fn row(name: &'static str, since: &'static [i64], shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>) -> OpDef {
    OpDef {
        name,
        domain: "ai.onnx.ml",
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::Opaque("features are addressed by numbers in attributes"), // R1
        work: WorkRule::By(heavy),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("ArrayFeatureExtractor", &[1], picked),
    row("Binarizer", &[1], |n| like(n, n.need_input(0)?.fact.elem)),
    row("CastMap", &[1], no_tensor),
    row("CategoryMapper", &[1], category),
    row("DictVectorizer", &[1], no_tensor),
    row("FeatureVectorizer", &[1], joined),
    row("Imputer", &[1], |n| like(n, n.need_input(0)?.fact.elem)),
    row("LabelEncoder", &[1, 2, 4], label),
    row("LinearClassifier", &[1], classes),
    row("LinearRegressor", &[1], |n| targets(n, "targets", Some(ElemType::F32))),
    row("Normalizer", &[1], |n| like(n, Some(ElemType::F32))),
    row("OneHotEncoder", &[1], one_hot),
    row("SVMClassifier", &[1], classes),
    row("SVMRegressor", &[1], |n| targets(n, "", Some(ElemType::F32))),
    row("Scaler", &[1], |n| like(n, Some(ElemType::F32))),
    row("TreeEnsemble", &[5], |n| targets(n, "n_targets", n.need_input(0)?.fact.elem)),
    row("TreeEnsembleClassifier", &[1, 3, 5], classes),
    row("TreeEnsembleRegressor", &[1, 3, 5], |n| targets(n, "n_targets", Some(ElemType::F32))),
    row("ZipMap", &[1], no_tensor),
];

fn no_tensor(_: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact::default()]) // R4
}

fn like(node: &NodeRef, elem: Option<ElemType>) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact { elem, shape: node.need_input(0)?.fact.shape.clone(), content: None }]) // R2
}

/// Numbers become strings and strings numbers.
fn category(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let other = |e| if e == ElemType::String { ElemType::I64 } else { ElemType::String };
    like(node, node.need_input(0)?.fact.elem.map(other))
}

fn label(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let has = |name: &str| node.node().attrs.contains_key(name);
    if node.opset < 2 {
        return category(node);
    }
    let elem = match node.tensor("values_tensor")? {
        Some(t) => Some(t.elem),
        None if has("values_strings") => Some(ElemType::String),
        None if has("values_int64s") => Some(ElemType::I64),
        None if has("values_floats") => Some(ElemType::F32),
        None => None,
    };
    like(node, elem)
}

fn one_hot(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let numbers = node.ints("cats_int64s")?.map(|c| c.len());
    let strings = match node.node().attrs.get("cats_strings") {
        Some(sparsec_ir::Attr::Strings(s)) => Some(s.len()),
        _ => None,
    };
    let shape = node.need_input(0)?.fact.shape.as_ref().zip(numbers.or(strings));
    let shape = shape.map(|(s, n)| [s.as_slice(), &[Dim::from(n as i64)]].concat());
    Ok(vec![Fact { elem: Some(ElemType::F32), shape, content: None }])
}

fn picked(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, y) = (node.need_input(0)?.fact, node.need_input(1)?.fact);
    let shape = x.shape.as_ref().zip(y.shape.as_ref()).and_then(|(x, y)| {
        let (_, lead) = x.split_last()?;
        let count = Dim::product(y)?;
        // A row counts as a matrix of one.
        Some(if lead.is_empty() { vec![Dim::from(1), count] } else { [lead, &[count]].concat() })
    });
    Ok(vec![Fact { elem: x.elem, shape, content: None }])
}

/// Samples: axis 0 of a matrix.
fn samples(node: &NodeRef, result: usize) -> Result<Dim, OpError> {
    let shape = node.need_input(0)?.fact.shape.as_deref();
    Ok(shape.filter(|s| s.len() == 2).map_or_else(|| unnamed(node, result, 0), |s| s[0].clone()))
}

fn joined(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let sizes = at_least("inputdimensions", 0, node.ints("inputdimensions")?.unwrap_or_default())?;
    let sum = sizes.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)).and_then(|n| i64::try_from(n).ok());
    let sum = sum.ok_or(OpError::Overflow)?;
    Ok(vec![Fact::new(ElemType::F32, vec![samples(node, 0)?, Dim::from(sum)])])
}

fn targets(node: &NodeRef, name: &str, elem: Option<ElemType>) -> Result<Vec<Fact>, OpError> {
    let bad = || OpError::BadAttribute { name: name.to_string(), expected: "a positive whole number" };
    let count = Some(node.int_or(name, 1)?).filter(|n| *n > 0).map(Dim::from).ok_or_else(bad)?;
    Ok(vec![Fact { elem, shape: Some(vec![samples(node, 0)?, count]), content: None }]) // R3
}

fn classes(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let named = node.node().attrs.contains_key("classlabels_strings");
    let label = Fact::new(if named { ElemType::String } else { ElemType::I64 }, vec![samples(node, 0)?]);
    Ok(vec![label, Fact::new(ElemType::F32, vec![samples(node, 1)?, unnamed(node, 1, 1)])]) // R3
}

#[cfg(test)]
mod tests {
    use crate::testing::check_shape;

    fn text(x: &str, call: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]> g ({x} x) => (y) {{ y = ai.onnx.ml.{call} }}"#
        )
    }

    #[test]
    fn r2_functions_of_numbers_keep_the_shape() {
        check_shape(&text("int64[n,4]", "Scaler (x)"), "float[n,4]");
        check_shape(
            &text("string[n,4]", "LabelEncoder <values_int64s = [1], keys_strings = [\"a\"]> (x)"),
            "int64[n,4]",
        );
        check_shape(&text("int64[n]", "OneHotEncoder <cats_int64s = [1, 5]> (x)"), "float[n,2]");
        check_shape(&text("int64[2] i, float[n,4]", "ArrayFeatureExtractor (x, i)"), "float[n,2]");
    }

    #[test]
    fn r3_regressors_and_classifiers_give_a_row_a_sample() {
        check_shape(&text("float[n,4]", "TreeEnsembleRegressor <n_targets = 3> (x)"), "float[n,3]");
        check_shape(
            &text("float[n,4]", "TreeEnsembleClassifier <classlabels_strings = [\"a\", \"b\"]> (x)"),
            "string[n]; float[n,?#0:1.1]",
        );
    }
}
