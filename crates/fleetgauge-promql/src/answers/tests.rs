use fleetgauge_core::result::{AnswerBuilder, AnswerKind};
use fleetgauge_core::sample::Stamp;

use super::*;
use crate::engine::Engine;
use crate::matcher::MatchOp;

const SECOND: i64 = 1_000;
/// Where instants are evaluated.
const NOW: Timestamp = Timestamp::from_millis(600 * SECOND);

/// Lines `{labels} value`, all dated an hour before: the time at which an answer was asked for counts.
fn vector(rows: &[(&[(&str, &str)], f64)]) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Sampled);
    for (labels, value) in rows {
        let labels = labels.iter().copied();
        answer
            .series(labels, *value, Timestamp::from_millis(-3_600 * SECOND))
            .expect("labels");
    }
    answer.build()
}

/// Rows of points, whose times are in seconds.
fn matrix(rows: &[(&str, &[(i64, f64)])]) -> Answer {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.matrix();
    for (pod, points) in rows {
        answer.label("pod", pod);
        for &(at, value) in *points {
            answer.point(value, Timestamp::from_millis(at * SECOND));
        }
        answer.end_points().expect("labels");
    }
    answer.build()
}

fn shown(answer: &Answer) -> Vec<String> {
    let series = answer.series().map(|series| {
        let is_matrix = answer.kind() == AnswerKind::Matrix;
        let points = series.points().map(|point| match is_matrix {
            true => format!(" {}@{}", point.value, point.timestamp),
            false => format!(" {}", point.value),
        });
        series.labels().to_string() + &points.collect::<String>()
    });
    series.collect()
}

#[track_caller]
fn check(answers: &Answers, query: &str, expected: &[&str]) {
    let answer = Engine::default()
        .instant(answers, query, NOW)
        .map(|evaluation| evaluation.answer);
    assert_eq!(shown(&answer.expect("evaluates")), expected, "{query}");
}

/// `queue` of three pods, `gpu` of two of them, `total` without labels, and nothing under `empty`.
fn fleet() -> Answers {
    let mut answers = Answers::new();
    let mut add = |name: &str, answer: Answer| answers.add(name, &answer, NOW, ReadBy::All).expect("adds");
    add(
        "queue",
        vector(&[
            (&[("__name__", "vllm:waiting"), ("pod", "c"), ("zone", "eu")], 3.0),
            (&[("__name__", "vllm:waiting"), ("pod", "a"), ("zone", "eu")], 1.0),
            (
                &[("Zone", "upper"), ("__name__", "sglang:queue"), ("pod", "b")],
                f64::NAN,
            ),
        ]),
    );
    add(
        "gpu",
        vector(&[
            (&[("pod", "a"), ("gpu", "0")], 0.5),
            (&[("pod", "a"), ("gpu", "1")], 0.25),
        ]),
    );
    add("total", {
        let mut scalar = AnswerBuilder::new(Stamp::Evaluated);
        scalar.scalar(7.0, NOW);
        scalar.build()
    });
    add("empty", Answer::no_data());
    answers
}

#[test]
fn rows_are_series_named_as_the_answer_is() {
    let answers = fleet();
    let all = [
        r#"queue{Zone="upper", pod="b"} NaN"#,
        r#"queue{pod="a", zone="eu"} 1"#,
        r#"queue{pod="c", zone="eu"} 3"#,
    ];
    check(&answers, "queue", &all);
    check(&answers, r#"{__name__=~"q.*"}"#, &all);
    check(&answers, r#"queue{pod=~"a|c", zone!="us"}"#, &all[1..]);
    check(&answers, "total", &["total 7"]);
    check(
        &answers,
        r#"{__name__=~"total|gpu"}"#,
        &[
            r#"gpu{gpu="0", pod="a"} 0.5"#,
            r#"gpu{gpu="1", pod="a"} 0.25"#,
            "total 7",
        ],
    );
    for query in ["empty", "vllm:waiting", r#"queue{pod="x"}"#] {
        check(&answers, query, &[]);
    }
}

#[test]
fn what_promql_does_with_metrics_it_does_with_answers() {
    let answers = fleet();
    let check = |query: &str, expected: &[&str]| check(&answers, query, expected);
    check("sum by (zone) (queue{pod!=\"b\"})", &[r#"{zone="eu"} 4"#]);
    check("sum(queue)", &["{} NaN"]);
    check(
        "queue / on (pod) group_right () gpu",
        &[r#"{gpu="0", pod="a"} 2"#, r#"{gpu="1", pod="a"} 4"#],
    );
    check(
        "gpu * on (pod) group_left (zone) queue > 0.3",
        &[r#"{gpu="0", pod="a", zone="eu"} 0.5"#],
    );
    check("absent(empty)", &["{} 1"]);
    check("absent(queue)", &[]);
    check("empty or total", &["total 7"]);
    check(
        "queue unless on (pod) gpu",
        &[
            r#"queue{Zone="upper", pod="b"} NaN"#,
            r#"queue{pod="c", zone="eu"} 3"#,
        ],
    );
    check("timestamp(total)", &["{} 600"]);
}

#[test]
fn a_value_counts_at_the_time_that_was_asked_for_and_at_no_other() {
    let mut answers = Answers::new();
    let points: &[(i64, f64)] = &[
        (540, 1.0),
        (555, f64::from_bits(STALE_MARKER)),
        (585, 4.0),
        (600, 5.0),
    ];
    answers
        .add("queue", &matrix(&[("a", points)]), NOW, ReadBy::All)
        .expect("adds");
    let at = |seconds: i64, query: &str| {
        let at = Timestamp::from_millis(seconds * SECOND);
        shown(
            &Engine::default()
                .instant(&answers, query, at)
                .expect("evaluates")
                .answer,
        )
    };
    assert_eq!(at(540, "queue"), [r#"queue{pod="a"} 1"#]);
    assert_eq!(at(600, "queue offset 15s"), [r#"queue{pod="a"} 4"#]);
    // A NaN is one, whatever its bits are.
    assert_eq!(at(555, "queue"), [r#"queue{pod="a"} NaN"#]);
    for seconds in [539, 541, 556, 570, 599, 601] {
        assert_eq!(at(seconds, "queue"), [""; 0], "{seconds}");
    }
    assert_eq!(at(570, "absent(queue)"), ["{} 1"]);
    // A range has the points that are in it.
    assert_eq!(at(590, "count_over_time(queue[50s])"), [r#"{pod="a"} 2"#]);
    assert_eq!(at(600, "last_over_time(queue[1m])"), [r#"queue{pod="a"} 5"#]);

    let over = |step: u64| {
        let (start, end) = (Timestamp::from_millis(540 * SECOND), NOW);
        let answer = Engine::default().range(&answers, "queue", start, end, Duration::from_secs(step));
        shown(&answer.expect("evaluates").answer)
    };
    assert_eq!(
        over(15),
        [r#"queue{pod="a"} 1@540 NaN@555 4@585 5@600"#],
        "570 stays absent"
    );
    assert_eq!(over(20), [r#"queue{pod="a"} 1@540 5@600"#]);
    // Neighbours a millisecond apart end each other.
    let mut close = Answers::new();
    let (mut first, mut second) = (matrix(&[("a", &[(599, 1.0)])]), matrix(&[("a", &[(600, 2.0)])]));
    for answer in [&mut first, &mut second] {
        close.add("queue", answer, NOW, ReadBy::Selectors).expect("adds");
    }
    let answer = Engine::default().range(
        &close,
        "queue",
        Timestamp::from_millis(599_000),
        NOW,
        Duration::from_millis(1),
    );
    assert_eq!(answer.expect("evaluates").answer.len(), 2);
}

#[test]
fn selectors_and_ranges_can_read_different_answers() {
    let mut answers = Answers::new();
    let range = matrix(&[("a", &[(585, 1.0), (595, 3.0)])]);
    answers.add("queue", &range, NOW, ReadBy::Ranges).expect("adds");
    answers
        .add(
            "queue",
            &vector(&[(&[("pod", "a")], 100.0)]),
            NOW,
            ReadBy::Selectors,
        )
        .expect("adds");
    check(&answers, "queue", &[r#"queue{pod="a"} 100"#]);
    check(&answers, "avg_over_time(queue[1m])", &[r#"{pod="a"} 2"#]);
}

#[test]
fn answers_of_one_name_are_one_and_the_later_counts() {
    let mut answers = Answers::new();
    for answer in [
        matrix(&[("a", &[(570, 1.0), (585, 2.0)]), ("b", &[(585, 9.0)])]),
        matrix(&[("a", &[(585, 3.0), (600, 4.0)]), ("0", &[(600, 8.0)])]),
    ] {
        answers.add("queue", &answer, NOW, ReadBy::All).expect("adds");
    }
    let expected = [
        r#"queue{pod="0"} 8@600"#,
        r#"queue{pod="a"} 1@570 3@585 4@600"#,
        r#"queue{pod="b"} 9@585"#,
    ];
    check(&answers, "queue[1m]", &expected);
}

#[test]
fn rows_that_become_one_are_an_error_and_so_is_a_text() {
    let mut answers = Answers::new();
    let mut add = |answer: &Answer| {
        answers
            .add("queue", answer, NOW, ReadBy::All)
            .map_err(|e| e.to_string())
    };
    let same = vector(&[
        (&[("__name__", "x"), ("pod", "b")], 1.0),
        (&[("__name__", "x"), ("pod", "a")], 1.0),
        (&[("__name__", "y"), ("pod", "b")], 1.0),
    ]);
    let error = add(&same).expect_err("two of pod b");
    assert!(
        error.starts_with(r#"two rows of the answer are queue{pod="b"} once"#),
        "{error}"
    );
    let error = add(&matrix(&[("a", &[(1, 1.0)]), ("a", &[(2, 1.0)])])).expect_err("two of pod a");
    assert!(error.contains(r#"queue{pod="a"}"#), "{error}");
    let mut text = AnswerBuilder::new(Stamp::Evaluated);
    text.text("x", NOW);
    assert_eq!(
        add(&text.build()),
        Err("the answer is a string, and has no numbers".to_owned())
    );
    // Nothing of them was added.
    check(&answers, r#"{__name__=~".+"}"#, &[]);
}

#[test]
fn what_an_answer_lacks_or_warns_of_is_told_to_those_who_read_it() {
    let mut answers = fleet();
    let mut partial = AnswerBuilder::new(Stamp::Evaluated);
    partial.series([("pod", "a")], 1.0, NOW).expect("labels");
    partial.missing("store 2 did not answer");
    answers
        .add("partial", &partial.build(), NOW, ReadBy::All)
        .expect("adds");
    answers.add_missing("lost", "it failed");
    answers.add_warning("total", "odd");
    for (query, is_complete, expected) in [
        ("queue", true, &[][..]),
        ("sum(partial)", false, &["partial: store 2 did not answer"]),
        ("absent(lost)", false, &["it failed"]),
        ("total + sum(queue)", true, &["odd"]),
        (
            r#"count({__name__=~".+"})"#,
            false,
            &["odd", "it failed", "partial: store 2 did not answer"],
        ),
        (
            "count_over_time(partial[1m])",
            false,
            &["partial: store 2 did not answer"],
        ),
    ] {
        let answer = Engine::default()
            .instant(&answers, query, NOW)
            .expect("evaluates")
            .answer;
        let warnings: Vec<_> = answer.warnings().collect();
        assert_eq!(
            (answer.is_complete(), &warnings[..]),
            (is_complete, expected),
            "{query}"
        );
    }
}

#[test]
fn names_of_labels_are_those_of_the_rows() {
    let answers = fleet();
    let names = answers.label_names(&[], NOW, NOW, 9).texts;
    assert_eq!(
        names.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["Zone", "__name__", "gpu", "pod", "zone"]
    );
    let only = [Matcher::new(METRIC_NAME, MatchOp::Equal, "gpu").expect("a matcher")];
    let pods = answers.label_values("pod", &only, NOW, NOW, 9).texts;
    assert_eq!(pods.iter().map(|pod| &**pod).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_histogram_is_not_added_as_a_number() {
    let mut answer = AnswerBuilder::new(Stamp::Evaluated);
    answer.label("pod", "a");
    answer.end_histogram(Default::default(), NOW).expect("labels");
    let mixed = answer.build();
    let mut answers = Answers::new();
    let error = answers
        .add("lat", &mixed, NOW, ReadBy::All)
        .expect_err("refused")
        .to_string();
    assert!(
        error.starts_with(r#"the native histogram {pod="a"}, which is no number"#),
        "{error}"
    );
    // Whoever keeps the labels of an answer before it.
    let numbers = vector(&[(&[("pod", "a")], 1.0)]);
    let labels = RowLabels::new("lat", &numbers).expect("rows");
    answers.add_labelled("lat", &mixed, &labels, NOW, ReadBy::All, None);
    let answer = Engine::default()
        .instant(&answers, "count(lat)", NOW)
        .expect("evaluates")
        .answer;
    assert!(answer.is_empty() && !answer.is_complete());
    let warning = answer.warnings().next().expect("a warning").to_owned();
    assert!(warning.contains("native histogram"), "{warning}");
}
