use super::*;
use crate::completeness::Report;
use crate::histogram::{Bounds, Bucket, Histogram};
use proptest::prelude::*;

#[test]
fn no_data_is_neither_zero_nor_a_text() {
    assert_eq!(Answer::no_data().status(), AnswerStatus::NoData);
    let mut text = AnswerBuilder::new(Stamp::Evaluated);
    text.text("", Timestamp::from_millis(5));
    let text = text.build();
    assert_eq!(text.status(), AnswerStatus::Values);
    assert_eq!(text.at(), Some(Timestamp::from_millis(5)));
}

#[test]
fn what_is_missing_is_a_warning_and_makes_the_answer_incomplete() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.warning("not a counter");
    answer.missing("store 2 did not answer");
    let answer = answer.build();
    assert!(!answer.is_complete());
    let warnings: Vec<_> = answer.warnings().collect();
    assert_eq!(warnings, ["not a counter", "store 2 did not answer"]);
}

#[test]
fn each_series_keeps_its_own_timestamp() {
    let mut answer = AnswerBuilder::new(Stamp::Sampled);
    for millis in [1, 2, 2] {
        answer
            .series([("pod", "a")], 0.0, Timestamp::from_millis(millis))
            .unwrap();
    }
    let answer = answer.build();
    let stamps: Vec<_> = answer
        .values()
        .map(|v| v.sampled_at().unwrap().as_millis())
        .collect();
    assert_eq!(stamps, [1, 2, 2]);
}

/// A matrix is kept on a grid where that is smaller, else with the times of each series.
#[test]
fn a_matrix_reads_back_as_it_was_given() {
    let check = |series: &[&[(i64, f64)]]| {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for (i, points) in series.iter().enumerate() {
            answer.label("i", &i.to_string());
            for &(millis, value) in *points {
                answer.point(value, Timestamp::from_millis(millis));
            }
            answer.end_points().unwrap();
        }
        let answer = answer.build();
        assert_eq!(answer.kind(), AnswerKind::Matrix);
        let read: Vec<(String, Vec<_>)> = answer
            .series()
            .map(|series| {
                let points = series.points();
                let points = points.map(|p| (p.timestamp.as_millis(), p.value.to_bits()));
                (series.labels().to_string(), points.collect())
            })
            .collect();
        let given: Vec<(String, Vec<_>)> = (series.iter().enumerate())
            .map(|(i, points)| {
                (
                    format!("{{i=\"{i}\"}}"),
                    points.iter().map(|&(at, v)| (at, v.to_bits())).collect(),
                )
            })
            .collect();
        assert_eq!(read, given);
        assert_eq!(answer.values().count(), answer.len());
        answer.heap_bytes() - answer.labels.heap_bytes() - 8 * answer.len()
    };
    let row: Vec<_> = (0..60).map(|i| (i * 15_000, i as f64)).collect();
    let gaps: Vec<_> = row.iter().copied().filter(|(at, _)| at % 45_000 != 0).collect();
    let jitter: Vec<_> = row.iter().map(|&(at, value)| (at * 7 + at % 11, value)).collect();
    // All points of the grid, then some of them: a bit each; then times of their own.
    assert_eq!(check(&[&row, &row]), 0);
    assert!(check(&[&row, &gaps, &row[7..8], &row]) < 3 * 60);
    assert!(check(&[&row, &jitter]) > 8 * 100);
    check(&[&row[3..4]]);
    check(&[&[(i64::MIN, 1.0), (i64::MAX, 2.0)], &[(0, f64::NAN)]]);
    check(&[&[(5, 1.0)], &[(4, 1.0), (6, 2.0)]]);
}

fn histogram(count: f64) -> Histogram {
    Histogram {
        count,
        ..Histogram::default()
    }
}

#[test]
fn a_histogram_takes_room_only_where_it_is() {
    let with = |is_histogram: bool| {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for row in 0..100 {
            answer.label("row", &row.to_string());
            let added = match is_histogram && row == 7 {
                true => answer.end_histogram(
                    Histogram {
                        buckets: vec![
                            Bucket {
                                bounds: Bounds::Closed,
                                lower: 0.0,
                                upper: 1.0,
                                count: 1.0
                            };
                            40
                        ]
                        .into(),
                        ..Histogram::default()
                    },
                    Timestamp::default(),
                ),
                false => answer.end_series(1.0, Timestamp::default()),
            };
            added.unwrap();
        }
        answer.build()
    };
    let (numbers, mixed) = (with(false), with(true));
    assert!(!numbers.has_histograms() && numbers.not_a_number().is_none());
    let more = mixed.heap_bytes() - numbers.heap_bytes();
    assert!((40 * 32..40 * 32 + 150).contains(&more), "{more}");
    let error = mixed.clone().numbers().unwrap_err().to_string();
    assert!(
        error.starts_with(r#"the native histogram {row="7"}, which"#),
        "{error}"
    );
    let found: Vec<_> = mixed.values().map(|value| value.histogram.is_some()).collect();
    assert_eq!(found.iter().position(|&found| found), Some(7));
    assert_eq!(found.iter().filter(|&&found| found).count(), 1);
    assert_eq!(
        mixed.rows_alone().not_a_number(),
        mixed.not_a_number(),
        "rows that are handed on keep what they are"
    );
}

#[test]
fn a_long_series_is_told_by_its_beginning() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.label("pod", &"ä".repeat(10_000));
    answer
        .end_histogram(histogram(1.0), Timestamp::default())
        .unwrap();
    let error = answer.build().not_a_number().unwrap();
    assert_eq!(error.series.chars().count(), 201);
}

#[test]
fn a_scalar_is_one_value_without_labels() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.scalar(f64::NAN, Timestamp::from_millis(5));
    let answer = answer.build();
    assert_eq!(
        (answer.kind(), answer.status()),
        (AnswerKind::Scalar, AnswerStatus::Values)
    );
    let value = answer.values().next().unwrap();
    assert!(value.labels.is_empty() && value.is_undefined());
    assert_eq!(answer.series().len(), 1);
}

fn missing_one_of_two() -> Arc<Completeness> {
    let mut completeness = Completeness::known();
    completeness.add("pod a", Report::Reported);
    completeness.add("pod b", Report::Missing("timeout"));
    Arc::new(completeness)
}

#[test]
fn ages_and_branches_belong_to_their_rows() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    let age = |s| Age::exact(Duration::from_secs(s));
    for (pod, told) in [("a", None), ("b", Some(7)), ("c", Some(9)), ("d", None)] {
        answer.series([("pod", pod)], 1.0, Timestamp::default()).unwrap();
        if let Some(told) = told {
            answer.age(age(told));
            answer.branch(u16::from(told == 9));
        }
    }
    let answer = answer.build();
    let provenance = answer.provenance().unwrap();
    let ages = [Age::UNKNOWN, age(7), age(9), Age::UNKNOWN];
    assert_eq!([0, 1, 2, 3].map(|row| provenance.age(row)), ages);
    assert_eq!(
        [0, 1, 2, 3].map(|row| provenance.branch(row)),
        [None, Some(0), Some(1), None]
    );
    let result = MetricResult::new("q".parse().unwrap(), Timestamp::from_millis(99), answer);
    assert_eq!([0, 1, 2, 3, 4].map(|row| result.age(row))[..4], ages);
    assert_eq!(result.age(4), Age::UNKNOWN);
}

#[test]
fn a_sample_knows_its_age_and_an_evaluation_does_not() {
    let check = |stamp, expected: Option<u64>| {
        let mut answer = AnswerBuilder::new(stamp);
        answer
            .series([("pod", "a")], 1.0, Timestamp::from_millis(1_000))
            .unwrap();
        answer
            .series([("pod", "b")], 1.0, Timestamp::from_millis(3_000))
            .unwrap();
        let result = MetricResult::new(
            "q".parse().unwrap(),
            Timestamp::from_millis(4_000),
            answer.build(),
        );
        assert_eq!(result.age(1).duration(), expected.map(Duration::from_millis));
    };
    check(Stamp::Sampled, Some(1_000));
    check(Stamp::Evaluated, None);
}

#[test]
fn what_completeness_counts_is_told_from_what_it_does_not() {
    let check = |answer: Answer, expected: (bool, bool)| {
        assert_eq!((answer.is_complete(), answer.has_uncounted_loss()), expected);
    };
    let with = |build: fn(&mut AnswerBuilder)| {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        build(&mut answer);
        answer.build()
    };
    check(with(|_| {}), (true, false));
    check(with(|answer| answer.missing("a bad line")), (false, true));
    check(
        with(|answer| answer.completeness(missing_one_of_two())),
        (false, false),
    );
    check(
        with(|answer| answer.completeness(Arc::new(Completeness::known()))),
        (true, false),
    );
    let both = |answer: &mut AnswerBuilder| {
        answer.completeness(missing_one_of_two());
        answer.missing("a bad line");
    };
    check(with(both), (false, true));
    // Told anew: what is counted now does not hide what was not counted.
    check(
        with(both).with_completeness(Arc::new(Completeness::known())),
        (false, true),
    );
    let told = with(|answer| answer.completeness(missing_one_of_two()));
    check(
        told.with_completeness(Arc::new(Completeness::known())),
        (true, false),
    );
}

#[test]
fn provenance_takes_room_only_where_it_is() {
    let bare = || {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for row in 0..1_000 {
            let pod = format!("p{row}");
            answer
                .series([("pod", &*pod)], 1.0, Timestamp::default())
                .unwrap();
        }
        answer
    };
    let plain = bare().build();
    assert!(plain.provenance().is_none());
    let ages = (0..1_000).map(|s| Age::exact(Duration::from_secs(s)));
    let aged = bare().build().with_ages(ages.collect());
    assert!(aged.heap_bytes() - plain.heap_bytes() < 5 * 1_000);
    let bound = bare()
        .build()
        .with_ages(vec![Age::at_most(Duration::from_secs(5)); 1_000]);
    assert!(bound.heap_bytes() - plain.heap_bytes() < 300);
}

#[test]
fn decision_9_an_evaluation_time_is_not_a_sample_time() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.series([], 1.0, Timestamp::from_millis(5)).unwrap();
    assert_eq!(answer.build().values().next().unwrap().sampled_at(), None);
}

proptest! {
    /// On a grid, with gaps and without, and off it.
    #[test]
    fn a_part_of_a_series_is_its_points_in_that_part(
        series in prop::collection::vec(prop::collection::btree_set(0..80i64, 1..60), 1..4),
        stretched in any::<bool>(),
        (from, to) in (-5..90i64, -5..90i64),
    ) {
        let time = |at: i64| Timestamp::from_millis(if stretched { at * at * 7 } else { at * 15_000 });
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for (row, times) in series.iter().enumerate() {
            answer.label("row", &row.to_string());
            times.iter().for_each(|&at| answer.point(at as f64, time(at)));
            answer.end_points().unwrap();
        }
        let answer = answer.build();
        let (from, to) = (time(from), Timestamp::from_millis(time(to).as_millis() + 1));
        for series in answer.series() {
            let (values, times) = series.between(from, to);
            let part: Vec<_> = times.zip(values.iter().copied()).collect();
            let points = series.points().filter(|point| (from..to).contains(&point.timestamp));
            let expected: Vec<_> = points.map(|point| (point.timestamp, point.value)).collect();
            prop_assert_eq!(part.len(), values.len());
            prop_assert_eq!(part, expected);
        }
    }

    /// Numbers and histograms of a series come from lists of their own, as the API has them.
    #[test]
    fn numbers_and_histograms_of_a_series_are_in_the_order_of_their_times(
        series in prop::collection::vec(prop::collection::btree_map(0..60i64, any::<bool>(), 1..40), 1..4),
        is_dropped in prop::collection::vec(any::<bool>(), 4),
    ) {
        let time = |at: i64| Timestamp::from_millis(at * 15_000);
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        let mut expected = Vec::new();
        for (row, samples) in series.iter().enumerate() {
            let numbers = samples.iter().filter(|(_, is_histogram)| !**is_histogram);
            numbers.for_each(|(&at, _)| answer.point(at as f64, time(at)));
            let histograms = samples.iter().filter(|(_, is_histogram)| **is_histogram);
            let histograms: Vec<_> = histograms.map(|(&at, _)| (time(at), histogram(at as f64))).collect();
            if let Some((&at, _)) = samples.iter().find(|(_, is_histogram)| !**is_histogram) {
                let twice = vec![(time(at), histogram(1.0))];
                prop_assert_eq!(answer.merge_histograms(twice), Err(time(at)));
            }
            answer.merge_histograms(histograms).unwrap();
            // A series that cannot be added takes its histograms along.
            answer.label("row", if is_dropped[row] { "a" } else { "" });
            answer.label("row", &row.to_string());
            if answer.end_points().is_ok() {
                expected.push(samples.iter().map(|(&at, &is_histogram)| (at, is_histogram)).collect::<Vec<_>>());
            }
        }
        let answer = answer.build();
        prop_assert_eq!(answer.has_histograms(), expected.iter().flatten().any(|(_, is_histogram)| *is_histogram));
        let read: Vec<Vec<_>> = (answer.series())
            .map(|series| {
                let samples = series.samples().map(|(at, value)| match value {
                    SampleValue::Number(number) => (at, number, false),
                    SampleValue::Histogram(histogram) => (at, histogram.count, true),
                });
                samples.map(|(at, value, is_histogram)| {
                    assert_eq!(time(value as i64), at);
                    (value as i64, is_histogram)
                }).collect()
            })
            .collect();
        prop_assert_eq!(&read, &expected);
        let values: Vec<_> = answer.values().map(|value| value.histogram.is_some()).collect();
        prop_assert_eq!(values, expected.iter().flatten().map(|(_, is_histogram)| *is_histogram).collect::<Vec<_>>());
    }
}
