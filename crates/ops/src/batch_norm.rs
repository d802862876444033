//! `BatchNormalization`: y = scale · (x − mean) / √(var + ε) + bias, channel by channel.
//! Spec: ai.onnx `BatchNormalization`, versions 1, 6, 7, 9, 14, 15.
//!  R1  Axis 1 of y and x is axis 0 of scale, bias, mean and variance and of every further result.
//!  R2  The other axes of y are those of x.
//!  R3  In training mode the statistics are taken over every axis but axis 1: those are frozen.
//!  R4  Outside training mode, constant operands make it a scale and shift of each channel.

use crate::form::{dims, freeze, like, mismatch, normalised, tie, tie_same};
use crate::work::light;
use sparsec_ir::{
    Affine, ChannelAffine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule,
    WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "BatchNormalization",
    domain: ONNX,
    since: &[1, 6, 7, 9, 14, 15],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(light),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::By(affine),
}];

/// Operands of one number a channel: scale, bias, mean, variance.
const PARAMETERS: std::ops::Range<usize> = 1..5;
const MEAN: usize = 3;
const VARIANCE: usize = 4;

struct BatchNorm {
    rank: usize,
    training: bool,
    epsilon: f64,
}

impl BatchNorm {
    fn view(node: &NodeRef) -> Result<Self, OpError> {
        let rank = node.rank(0)?;
        if rank < 2 {
            return Err(mismatch("rank of a batch-normalised tensor", rank, "2 or more"));
        }
        if node.opset < 9 && node.int_or("spatial", 1)? == 0 {
            return Err(OpError::Unsupported("statistics of each activation (`spatial` is 0)"));
        }
        let epsilon = f64::from(node.float_or("epsilon", 1e-5)?);
        Ok(Self { rank, training: training(node)?, epsilon })
    }
}

/// Whether statistics are those of the batch; how that is said changed twice.
fn training(node: &NodeRef) -> Result<bool, OpError> {
    Ok(match node.opset {
        ..7 => node.int_or("is_test", 0)? == 0,
        7..14 => (1..node.output_count()).any(|i| node.output(i).is_some()),
        14.. => node.int_or("training_mode", 0)? != 0,
    })
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    BatchNorm::view(node)?;
    let channels = &dims(node, 0)?[1];
    for index in PARAMETERS {
        let parameter = node.need_input(index)?;
        if let Some(c) = parameter.fact.shape.as_deref().and_then(<[_]>::first)
            && crate::form::differ(c, channels)
        {
            return Err(mismatch("channels of x and of an operand", channels, c));
        }
    }
    let y = like(node, 0)?;
    let statistic = Fact { elem: node.need_input(MEAN)?.fact.elem, shape: Some(vec![channels.clone()]), content: None };
    let count = node.output_count().max(1);
    Ok(std::iter::once(y).chain(std::iter::repeat_n(statistic, count - 1)).collect())
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let b = BatchNorm::view(node)?;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    tie(r, (&x, 1), (&y, 1), "R1");
    for index in PARAMETERS {
        tie(r, (&x, 1), (&node.need_input(index)?, 0), "R1");
    }
    for statistic in (1..node.output_count()).filter_map(|i| node.output(i)) {
        tie(r, (&x, 1), (&statistic, 0), "R1");
    }
    let others = || (0..b.rank).filter(|a| *a != 1);
    tie_same(r, &x, &y, others(), "R2");
    if b.training {
        freeze(r, &x, others(), &normalised(node)); // R3
    }
    Ok(())
}

fn affine(node: &NodeRef) -> Result<Option<ChannelAffine>, OpError> {
    let b = BatchNorm::view(node)?;
    if b.training {
        return Ok(None);
    }
    let mut columns = Vec::new();
    for index in PARAMETERS {
        let Some(values) = node.need_input(index)?.tensor.and_then(|t| t.to_f64().ok()) else { return Ok(None) };
        columns.push(values);
    }
    let [s, bias, mean, variance] = columns.as_slice() else { return Ok(None) };
    if [bias, mean, variance].iter().any(|c| c.len() != s.len()) {
        return Err(mismatch("numbers of channels of the operands", s.len(), "the others"));
    }
    // R4
    let scale: Vec<f64> = s.iter().zip(variance).map(|(s, v)| s / (v + b.epsilon).sqrt()).collect();
    let shift = scale.iter().zip(mean).zip(bias).map(|((scale, m), bias)| bias - m * scale).collect();
    Ok(Some(ChannelAffine { axis: 1, scale, shift, statistics: Some((MEAN, VARIANCE, b.epsilon)) }))
}

#[cfg(test)]
mod tests {
    use crate::testing::{affine, check_relation, check_shape};

    fn text(x: &str, opset: i64, results: &str, attrs: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : {opset}]> g (float[{x}] x) => (y)
            <float[2] s = {{2, 3}}, float[2] b = {{1, -1}}, float[2] m = {{0.5, 0}}, float[2] v = {{3, 0}}>
            {{ {results} = BatchNormalization <epsilon=1.0{attrs}> (x, s, b, m, v) }}"#
        )
    }
    const CHANNELS: &str = "R1 x:1 = y:1\nR1 x:1 = s:0\nR1 x:1 = b:0\nR1 x:1 = m:0\nR1 x:1 = v:0\n";

    #[test]
    fn r1_r2_every_operand_follows_the_channels() {
        check_relation(&text("4,2,8", 15, "y", ""), &format!("{CHANNELS}R2 x:0 = y:0\nR2 x:2 = y:2"));
    }

    #[test]
    fn r3_training_freezes_the_other_axes() {
        let expect = format!(
            "{CHANNELS}R1 x:1 = rm:0\nR1 x:1 = rv:0\nR2 x:0 = y:0
             freeze x:0: BatchNormalization works over the whole axis"
        );
        let training = text("4,2", 15, "y, rm, rv", ", training_mode=1");
        check_relation(&training, &expect);
        check_shape(&training, "float[4,2]; float[2]; float[2]");
        check_relation(&text("4,2", 9, "y, rm, rv", ""), &expect);
        check_relation(&text("4,2", 9, "y", ""), &format!("{CHANNELS}R2 x:0 = y:0"));
    }

    #[test]
    fn r4_constants_make_a_scale_and_shift() {
        let a = affine(&text("n,2,8", 15, "y", "")).unwrap().unwrap();
        assert_eq!((a.axis, a.scale, a.shift), (1, vec![1.0, 3.0], vec![0.5, -1.0]));
        assert_eq!(a.statistics, Some((3, 4, 1.0)));
        assert_eq!(affine(&text("n,2,8", 15, "y", ", training_mode=1")), Ok(None));
    }

    #[test]
    fn channels_of_operands_must_be_those_of_x() {
        check_shape(&text("n,3,8", 15, "y", ""), "error: channels of x and of an operand: 3 against 2");
    }
}
