use super::*;
use crate::config::EngineConfig;

fn budget() -> Budget {
    Budget::new(&EngineConfig::default())
}

fn vector(rows: &[(&str, [f64; 2])]) -> Vector {
    let mut vector = Vector::new(2);
    for (name, values) in rows {
        vector.push(LabelSet::from_pairs([("a", *name)]), values);
    }
    vector
}

#[test]
fn series_that_never_meet_become_one() {
    let mut rows = vector(&[
        ("x", [1.0, ABSENT]),
        ("y", [5.0, 6.0]),
        ("x", [ABSENT, 2.0]),
        ("z", [ABSENT; 2]),
    ]);
    rows.merge_duplicates(&mut budget()).expect("never at one step");
    let rows: Vec<_> = rows.rows().map(|(l, r)| (l.to_string(), r.to_vec())).collect();
    assert_eq!(
        rows,
        [
            (r#"{a="x"}"#.into(), vec![1.0, 2.0]),
            (r#"{a="y"}"#.into(), vec![5.0, 6.0])
        ]
    );
}

#[test]
fn series_that_meet_are_an_error() {
    let mut rows = vector(&[("x", [1.0, ABSENT]), ("x", [2.0, ABSENT])]);
    let error = rows
        .merge_duplicates(&mut budget())
        .expect_err("two at one step")
        .to_string();
    assert_eq!(error, "vector cannot contain metrics with the same labelset");
    // A NaN is a sample.
    assert!(
        vector(&[("x", [f64::NAN, 0.0]), ("x", [1.0, ABSENT])])
            .merge_duplicates(&mut budget())
            .is_err()
    );
}

#[test]
fn a_histogram_moves_with_its_row() {
    let histogram = FloatHistogram::from_notation("{{count:3}}").expect("a histogram");
    let histogram = Arc::new(histogram);
    let mut rows = vector(&[
        ("x", [ABSENT; 2]),
        ("y", [1.0, ABSENT]),
        ("z", [ABSENT, 2.0]),
        ("y", [ABSENT, 3.0]),
    ]);
    assert!(!rows.has_histograms());
    rows.set_histogram(2, 0, Arc::clone(&histogram));
    rows.set_histogram(3, 1, Arc::clone(&histogram));
    rows.merge_duplicates(&mut budget()).expect("never at one step");
    let places = |rows: &Vector| {
        let all = (0..rows.len()).flat_map(|i| [(i, 0), (i, 1)]);
        all.filter(|&(i, step)| rows.histogram(i, step).is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(places(&rows), [(0, 1), (1, 0)]);
    assert_eq!(places(&rows.reordered(&[1, 0])), [(0, 0), (1, 1)]);
    rows.row_mut(0)[1] = 5.0;
    assert_eq!(places(&rows), [(1, 0)]);
    assert!(rows.drop_histograms() && !rows.drop_histograms());
    assert!(!rows.has_histograms() && is_absent(rows.row(1)[0]));
    assert_eq!((rows.row(0)[1], rows.row(1)[1]), (5.0, 2.0));
}
