use super::*;
use sparsec_ir::ElemType;

#[track_caller]
fn check(metric: Metric, outputs: &Tensor, reference: &Tensor, expect: f64) {
    let score = evaluate(metric, outputs, reference).unwrap();
    assert!((score.value - expect).abs() < 1e-9, "{metric}: {} instead of {expect}", score.value);
    assert_eq!(score.samples, outputs.dims[0]);
}

#[test]
fn top_k_counts_labels_among_the_highest_scores_and_the_first_of_equals_wins() {
    let o = Tensor::f32(&[3, 6], &[6., 5., 4., 3., 2., 1., 0., 0., 0., 0., 0., 0., 1., 2., 3., 4., 5., 6.]);
    check(Metric::Top1, &o, &Tensor::i64(&[3], &[0, 0, 4]), 100.0 * 2.0 / 3.0);
    check(Metric::Top5, &o, &Tensor::i64(&[3], &[5, 4, 0]), 100.0 / 3.0);
    check(Metric::Top1, &o, &Tensor::i64(&[3, 1], &[1, 1, 5]), 100.0 / 3.0);
    check(Metric::Top1, &o, &Tensor::f32(&[3], &[0., 1., 5.]), 100.0 * 2.0 / 3.0);
}

#[test]
fn accuracy_finds_the_class_axis_and_ignores_minus_100() {
    // Tokens: classes last. Pixels: classes on axis 1.
    let tokens = Tensor::f32(&[1, 3, 2], &[0., 1., 1., 0., 0., 1.]);
    check(Metric::Accuracy, &tokens, &Tensor::i64(&[1, 3], &[1, 1, -100]), 50.0);
    let pixels = Tensor::f32(&[1, 2, 1, 3], &[0., 1., 0., 1., 0., 1.]);
    check(Metric::Accuracy, &pixels, &Tensor::i64(&[1, 1, 3], &[1, 0, 0]), 100.0 * 2.0 / 3.0);
    let e = evaluate(Metric::Accuracy, &tokens, &Tensor::i64(&[1, 3], &[-100; 3])).unwrap_err();
    assert!(matches!(e, MetricError::Undefined { .. }));
}

#[test]
fn miou_of_one_class_is_that_of_the_yes_class() {
    let o = Tensor::f32(&[1, 1, 2, 2], &[3., -1., 2., 0.]);
    let label = Tensor::raw(ElemType::U8, vec![1, 1, 2, 2], vec![255, 0, 0, 255].into()).unwrap();
    check(Metric::Miou, &o, &label, 100.0 / 3.0);
    check(Metric::Accuracy, &o, &label, 50.0);
}

#[test]
fn miou_of_several_classes_is_the_mean_over_those_that_occur() {
    let o = Tensor::f32(&[3, 3], &[1., 0., 0., 1., 0., 0., 0., 1., 0.]);
    check(Metric::Miou, &o, &Tensor::i64(&[3], &[0, 1, 1]), 50.0);
}

#[test]
fn auc_shares_ranks_of_ties() {
    let label = Tensor::i64(&[4], &[0, 0, 1, 1]);
    check(Metric::Auc, &Tensor::f32(&[4, 1], &[0.1, 0.4, 0.35, 0.8]), &label, 75.0);
    check(Metric::Auc, &Tensor::f32(&[4], &[1.; 4]), &label, 50.0);
    check(Metric::Auc, &Tensor::f32(&[4, 2], &[0., 1., 0., 2., 0., 3., 0., 4.]), &label, 100.0);
}

#[test]
fn distances_are_zero_or_one_to_oneself_and_grow_with_difference() {
    let a = Tensor::f32(&[2, 2], &[1., 0., 0., 2.]);
    let b = Tensor::f32(&[2, 2], &[0., 1., 0., 4.]);
    check(Metric::Mse, &a, &a, 0.0);
    check(Metric::Mse, &a, &b, 6.0 / 4.0);
    check(Metric::Cosine, &a, &b, 0.5);
    check(Metric::Agree, &a, &b, 50.0);
    check(Metric::Kl, &a, &a, 0.0);
    // Both rows by hand: Σ p·(ln p − ln q) with softmax p of the dense model.
    let softmax = |x: f64, y: f64| (x.exp() / (x.exp() + y.exp()), y.exp() / (x.exp() + y.exp()));
    let row = |q: (f64, f64), p: (f64, f64)| p.0 * (p.0 / q.0).ln() + p.1 * (p.1 / q.1).ln();
    let expect = (row(softmax(1., 0.), softmax(0., 1.)) + row(softmax(0., 2.), softmax(0., 4.))) / 2.0;
    check(Metric::Kl, &a, &b, expect);
}

#[test]
fn kl_of_one_logit_is_that_of_its_two_outcomes() {
    let two = |v: &[f32]| Tensor::f32(&[2, 2], &[0., v[0], 0., v[1]]);
    let expect = evaluate(Metric::Kl, &two(&[0.3, -2.]), &two(&[1.5, 40.])).unwrap().value;
    check(Metric::Kl, &Tensor::f32(&[2, 1], &[0.3, -2.]), &Tensor::f32(&[2, 1], &[1.5, 40.]), expect);
}

#[test]
fn what_has_no_value_is_an_error() {
    let o = Tensor::f32(&[2, 3], &[0., 1., 2., 3., 4., 5.]);
    let label = |l: &[i64]| Tensor::i64(&[l.len() as u64], l);
    let error = |m, o: &Tensor, l: &Tensor| evaluate(m, o, l).unwrap_err();
    assert!(matches!(error(Metric::Top1, &o, &label(&[0, 3])), MetricError::LabelRange { index: 1, .. }));
    assert!(matches!(error(Metric::Top1, &o, &label(&[0, -1])), MetricError::LabelRange { value: -1, .. }));
    assert!(matches!(error(Metric::Top1, &o, &label(&[0, 1, 2])), MetricError::Shape { .. }));
    assert!(matches!(error(Metric::Auc, &o, &label(&[0, 1])), MetricError::Shape { .. }));
    assert!(matches!(error(Metric::Kl, &o, &label(&[0, 1])), MetricError::Shape { .. }));
    let nan = Tensor::f32(&[2, 1], &[0., f32::NAN]);
    assert!(matches!(error(Metric::Accuracy, &nan, &label(&[0, 1])), MetricError::NonFinite { index: 1, .. }));
    let half = Tensor::f32(&[2], &[0., 0.5]);
    assert!(matches!(error(Metric::Top1, &o, &half), MetricError::LabelFraction { index: 1, .. }));
}

#[test]
fn names_round_trip_and_drops_are_positive_where_worse() {
    for m in Metric::ALL {
        assert_eq!(m.name().parse(), Ok(m));
    }
    assert!("top3".parse::<Metric>().is_err());
    assert_eq!(Metric::Top1.drop(90.0, 88.5), 1.5);
    assert_eq!(Metric::Kl.drop(0.0, 0.25), 0.25);
}

#[test]
fn scores_of_some_samples_and_of_each_class_are_parts_of_the_whole() {
    let o = Tensor::f32(&[4, 2], &[1., 0., 1., 0., 0., 1., 1., 0.]);
    let scored = Scored::of(Metric::Top1, &o, &Tensor::i64(&[4], &[0, 1, 1, 1])).unwrap();
    assert_eq!(scored.score().unwrap().value, 50.0);
    assert_eq!(scored.only(&[0, 2]).score().unwrap(), Score { value: 100.0, samples: 2 });
    let class = |class, value, elements| ClassScore { class, value, elements };
    assert_eq!(scored.by_class(), [class(0, 100.0, 1), class(1, 100.0 / 3.0, 3)]);
    let overlap = Scored::of(Metric::Miou, &o, &Tensor::i64(&[4], &[0, 1, 1, 1])).unwrap();
    assert_eq!(overlap.by_class(), [class(0, 100.0 / 3.0, 3), class(1, 100.0 / 3.0, 3)]);
    assert!(Scored::of(Metric::Mse, &o, &o).unwrap().by_class().is_empty());
}

#[test]
fn a_part_without_a_value_is_an_error() {
    let auc =
        Scored::of(Metric::Auc, &Tensor::f32(&[4], &[1., 2., 3., 4.]), &Tensor::i64(&[4], &[0, 0, 1, 1])).unwrap();
    assert_eq!(auc.only(&[1, 2]).score().unwrap().value, 100.0);
    assert!(matches!(auc.only(&[2, 3]).score(), Err(MetricError::Undefined { .. })));
}

/// `hits` of `n` samples are right.
fn right(n: usize, hits: impl Fn(usize) -> bool) -> Scored {
    let values: Vec<f32> = (0..n).flat_map(|s| if hits(s) { [0., 1.] } else { [1., 0.] }).collect();
    Scored::of(Metric::Top1, &Tensor::f32(&[n as u64, 2], &values), &Tensor::i64(&[n as u64], &vec![1; n])).unwrap()
}

#[test]
fn an_interval_has_the_width_of_the_differences_not_of_the_scores() {
    // 20 of 400 samples are lost: a drop of 5 points, whose standard error is √(0.05 · 0.95 / 400) = 1.09 points.
    let (before, after) = (right(400, |s| s < 200), right(400, |s| (20..200).contains(&s)));
    let i = drop_interval(&before, &after).unwrap();
    assert!((2.5..3.5).contains(&i.low) && (6.8..7.7).contains(&i.high), "{i:?}");
    // As many are won as lost.
    let swapped = right(400, |s| (20..220).contains(&s));
    let i = drop_interval(&before, &swapped).unwrap();
    assert!(i.low < -2.5 && i.high > 2.5, "{i:?}");
    assert_eq!(drop_interval(&before, &before), Some(Interval { low: 0.0, high: 0.0 }));
    assert_eq!(drop_interval(&right(1, |_| true), &right(1, |_| true)), None);
}
