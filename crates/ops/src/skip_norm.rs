//! Sums and embeddings that are normalised at once. Spec: com.microsoft `SkipLayerNormalization`,
//! `SkipSimplifiedLayerNormalization`, `EmbedLayerNormalization` (1).
//!  R1  The last axis of every operand and result is frozen: the statistics are taken over it.
//!  R2  `Skip…`: the other axes are those of x; a skip is broadcast from the right. The statistics have length 1 at the
//!      end, the sum has the shape of x.
//!  R3  `Embed…`: rows of the tables are addressed by data; batch and positions are those of the ids. Positions that are
//!      not given are counted, and so are those that a mask shows: frozen.
//!  R4  `Skip…`: x, skip and the bias are summed up. Without x or skip the node normalises what is left: it is the
//!      normalisation without a skip, and its sum, where it is given, is what is left. Not so where the statistics are given
//!      or the sum is an output or used by a subgraph.

use crate::broadcast;
use crate::form::{dims, freeze, freeze_all, like, normalised, positive_rank, tie, tie_same};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Attr, Attrs, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations,
    Replacement, Resize, ShapeRule, Sum, Use, ValueId, WorkRule,
};

const SKIP: OpDef = OpDef {
    name: "SkipLayerNormalization",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(skip_shape),
    relate: Relate::By(relate_skip),
    work: WorkRule::By(reduces),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "EmbedLayerNormalization",
        shape: ShapeRule::By(embed_shape),
        relate: Relate::By(relate_embed),
        ..SKIP
    },
    SKIP,
    OpDef { name: SIMPLIFIED, ..SKIP },
];

/// The one that takes no mean away and has no shift.
const SIMPLIFIED: &str = "SkipSimplifiedLayerNormalization";

fn skip_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let rank = positive_rank(node)?;
    let mut statistics = dims(node, 0)?.to_vec();
    statistics[rank - 1] = Dim::from(1); // R2
    let statistic = Fact::new(ElemType::F32, statistics);
    let whole = like(node, 0)?;
    Ok(vec![whole.clone(), statistic.clone(), statistic, whole])
}

fn relate_skip(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, skip, rank, reason) = (node.need_input(0)?, node.need_input(1)?, positive_rank(node)?, normalised(node));
    broadcast::relate(node, &[x, skip], r)?; // R2
    freeze(r, &x, [rank - 1], &reason); // R1
    for parameter in (2..node.input_count()).filter_map(|i| node.input(i)) {
        freeze_all(r, &parameter, &reason);
    }
    for result in (0..node.output_count()).filter_map(|i| node.output(i)) {
        freeze(r, &result, [rank - 1], &reason);
        tie_same(r, &x, &result, 0..rank - 1, "R2");
    }
    r.sum = Some(sum(node)?);
    Ok(())
}

/// Terms of the sum, with what the node is without each (R4).
fn sum(node: &NodeRef) -> Result<Sum, OpError> {
    const TERMS: [usize; 2] = [0, 1];
    const SUM: usize = 3;
    let simplified = node.node().op == SIMPLIFIED;
    // The bias comes behind the shift, which the simplified form lacks.
    let bias = if simplified { 3 } else { 4 };
    if [1, 2].iter().any(|i| node.output(*i).is_some()) {
        return Ok(Sum::Fixed(TERMS.to_vec(), "the statistics of the sum are results, too"));
    }
    let bound = |v: ValueId| {
        let captured = node.graph.value(v).uses.iter().any(|u| matches!(u, Use::Captured(_)));
        node.graph.is_output(v) || captured
    };
    if node.node().outputs.get(SUM).copied().flatten().is_some_and(bound) {
        return Ok(Sum::Fixed(TERMS.to_vec(), "the sum is an output or used by a subgraph"));
    }
    let epsilon = Attr::Float(node.float_or("epsilon", 1e-12)?);
    let attrs = Attrs::from_iter([("axis".to_string(), Attr::Int(-1)), ("epsilon".to_string(), epsilon)]);
    let op = if simplified { "SimplifiedLayerNormalization" } else { "LayerNormalization" };
    let without = |term: usize| {
        let mut left = vec![1 - term];
        left.extend(node.input(bias).map(|_| bias));
        let mut operands = vec![left, vec![2]];
        if !simplified && node.input(3).is_some() {
            operands.push(vec![3]);
        }
        (term, Replacement { domain: ONNX, op, attrs: attrs.clone(), operands, passed: Some((SUM, 0)) })
    };
    Ok(Sum::Inside(TERMS.map(without).to_vec()))
}

/// Places of the hidden size: the tables and what scales their sum.
const TABLES: [usize; 3] = [2, 3, 4];
const PARAMETERS: [usize; 2] = [5, 6];
/// Table of the positions, the mask and the positions themselves.
const POSITION_TABLE: usize = 3;
const MASK: usize = 7;
const POSITIONS: usize = 8;

fn embed_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (ids, words) = (dims(node, 0)?, node.need_input(2)?);
    let [batch, positions] = ids else { return Err(crate::form::mismatch("rank of the ids", ids.len(), 2)) };
    let table = dims(node, 2)?;
    let [_, hidden] = table else { return Err(crate::form::mismatch("rank of a table", table.len(), 2)) };
    let y = Fact {
        elem: words.fact.elem,
        shape: Some(vec![batch.clone(), positions.clone(), hidden.clone()]),
        content: None,
    };
    Ok(vec![y.clone(), Fact::new(ElemType::I32, vec![batch.clone()]), y])
}

fn relate_embed(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (ids, reason) = (node.need_input(0)?, normalised(node));
    for table in TABLES.iter().filter_map(|i| node.input(*i)) {
        freeze(r, &table, [0], &Reason::Indexed); // R3
        freeze(r, &table, [1], &reason);
    }
    for parameter in PARAMETERS.iter().filter_map(|i| node.input(*i)) {
        freeze_all(r, &parameter, &reason);
    }
    for other in [1, 7, 8].iter().filter_map(|i| node.input(*i)) {
        tie_same(r, &ids, &other, 0..2, "R3");
    }
    for result in [0, 2].iter().filter_map(|i| node.output(*i)) {
        tie_same(r, &ids, &result, 0..2, "R3");
        freeze(r, &result, [2], &reason);
    }
    if let Some(mask) = node.output(1) {
        tie(r, (&ids, 0), (&mask, 0), "R3");
    }
    let counted = node.input(POSITION_TABLE).is_some() && node.input(POSITIONS).is_none();
    if counted || node.input(MASK).is_some() && node.output(1).is_some() {
        freeze(r, &ids, [1], &Reason::Rule("positions are counted"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    const HEAD: &str = r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> "#;

    #[test]
    fn r1_r2_positions_pass_and_the_hidden_axis_is_frozen() {
        let text = format!(
            "{HEAD} g (float[n,3,6] x, float[3,6] s, float[6] g, float[6] b) => (y)
            {{ y, m, i, t = com.microsoft.SkipLayerNormalization (x, s, g, b) }}"
        );
        let why = "com.microsoft.SkipLayerNormalization works over the whole axis";
        check_relation(
            &text,
            &format!(
                "B2 x:1 = y:1
                 B2 s:0 = y:1
                 B2 x:2 = y:2
                 B2 s:1 = y:2
                 freeze x:2: {why}
                 freeze g:0: {why}
                 freeze b:0: {why}
                 freeze y:2: {why}
                 R2 x:1 = y:1
                 freeze m:2: {why}
                 R2 x:1 = m:1
                 freeze i:2: {why}
                 R2 x:1 = i:1
                 freeze t:2: {why}
                 R2 x:1 = t:1"
            ),
        );
        check_shape(&text, "float[n,3,6]; float[n,3,1]; float[n,3,1]; float[n,3,6]");
    }

    #[test]
    fn r3_tables_are_addressed_by_data() {
        let text = format!(
            "{HEAD} g (int32[n,3] ids, float[9,6] w, float[3,6] p, float[6] g, float[6] b) => (y)
            {{ y = com.microsoft.EmbedLayerNormalization (ids, , w, p, , g, b) }}"
        );
        let why = "com.microsoft.EmbedLayerNormalization works over the whole axis";
        check_relation(
            &text,
            &format!(
                "freeze w:0: indexed by data
                 freeze w:1: {why}
                 freeze p:0: indexed by data
                 freeze p:1: {why}
                 freeze g:0: {why}
                 freeze b:0: {why}
                 R3 ids:1 = y:1
                 freeze y:2: {why}
                 freeze ids:1: positions are counted"
            ),
        );
        check_shape(&text, "float[n,3,6]; int32[n]; float[n,3,6]");
    }
}
