//! Where selectors look: lookback, staleness, `offset`, `@`, ranges and subqueries.

use super::*;

#[test]
fn a_sample_counts_until_it_is_as_old_as_the_lookback() {
    let store = Store::new("x 1");
    store.check_at(0.0, "x", &["x 1"]);
    store.check_at(4.999, "x", &["x 1"]);
    store.check_at(5.0, "x", &[]);
    store.check_at(-0.001, "x", &[]);
    store.check_over(7, "x", &["x 1@0 1@1 1@2 1@3 1@4"]);
    let short = Engine::new(EngineConfig::default().with_lookback(Duration::from_secs(60)));
    let at = |seconds: f64| {
        let answer = short.instant(&store, "x", Timestamp::from_secs_f64(seconds));
        shown(answer.map(|answer| answer.answer))
    };
    assert_eq!(at(59.999), "x 1");
    assert_eq!(at(60.0), "");
}

#[test]
fn a_series_ends_at_its_staleness_marker() {
    let store = Store::new("x 1 2 stale _ 5 stale");
    store.check_at(2.0, "x", &[]);
    store.check_at(3.0, "x", &[]);
    store.check_over(8, "x", &["x 1@0 2@1 5@4"]);
    // A range has the samples on both sides of it.
    store.check_at(5.0, "x[10m]", &["x 1@0 2@1 5@4"]);
    store.check_at(5.0, "count_over_time(x[10m])", &["{} 3"]);
    // A NaN is a sample as any other.
    Store::new("x NaN").check_at(1.0, "x", &["x NaN"]);
}

#[test]
fn ranges_are_open_on_their_left() {
    let store = Store::new("x 0 1 2 3 4 5");
    store.check_at(5.0, "x[2m]", &["x 4@4 5@5"]);
    store.check_at(5.0, "x[2m] offset 1m", &["x 3@3 4@4"]);
    store.check_at(5.0, "count_over_time(x[1m])", &["{} 1"]);
    store.check_at(9.0, "count_over_time(x[1m])", &[]);
    store.check_over(4, "sum_over_time(x[2m])", &["{} 0@0 1@1 3@2 5@3"]);
    store.check_at(1.0, "x[1h]", &["x 0@0 1@1"]);
}

#[test]
fn offset_and_at_move_where_a_selector_looks() {
    let store = Store::new("x 0 1 2 3 4 5 6 7 8 9");
    store.check_at(5.0, "x offset 2m", &["x 3"]);
    store.check_at(5.0, "x offset -2m", &["x 7"]);
    store.check_at(5.0, "x @ 120", &["x 2"]);
    store.check_at(5.0, "x @ 120 offset 1m", &["x 1"]);
    // In either order.
    store.check_at(5.0, "x offset 1m @ 120", &["x 1"]);
    store.check_over(3, "x @ 120", &["x 2@0 2@1 2@2"]);
    store.check_over(3, "x - x @ start()", &["{} 0@0 1@1 2@2"]);
    store.check_over(3, "x - x @ end()", &["{} -2@0 -1@1 0@2"]);
    store.check_over(3, "sum_over_time(x[2m] @ end())", &["{} 3@0 3@1 3@2"]);
    store.check_over(2, "x offset -8m", &["x 8@0 9@1"]);
    store.check_at(0.0, "x @ -60", &[]);
}

#[test]
fn timestamp_is_of_the_sample_only_for_a_selector() {
    let store = Store::new("x 7 _ 7");
    store.check_at(1.0, "timestamp(x)", &["{} 0"]);
    store.check_at(1.0, "timestamp((x))", &["{} 0"]);
    store.check_at(1.0, "timestamp(x + 0)", &["{} 60"]);
    store.check_at(4.0, "timestamp(x @ 60)", &["{} 0"]);
    store.check_at(4.0, "timestamp(sum(x @ 60))", &["{} 240"]);
    store.check_over(4, "timestamp(x)", &["{} 0@0 0@1 120@2 120@3"]);
}

#[test]
fn subqueries_step_at_multiples_of_their_own_step() {
    let store = Store::new("x 0 1 2 3 4 5 6 7 8 9 10");
    store.check_at(5.5, "x[2m:1m]", &["x 4@4 5@5"]);
    store.check_at(5.5, "x[3m:2m]", &["x 4@4"]);
    store.check_at(5.0, "x[2m:1m]", &["x 4@4 5@5"]);
    // One minute if none is written.
    store.check_at(5.5, "x[2m:]", &["x 4@4 5@5"]);
    store.check_at(5.5, "x[2m:1m] offset 1m", &["x 3@3 4@4"]);
    store.check_at(9.0, "x[2m:1m] @ 300", &["x 4@4 5@5"]);
    store.check_over(4, "max_over_time(x[2m:1m])", &["{} 0@0 1@1 2@2 3@3"]);
    store.check_at(10.0, "max_over_time(rate(x[2m])[5m:1m]) * 60", &["{} 1"]);
    store.check_at(10.0, "sum_over_time(sum_over_time(x[2m:1m])[2m:1m])", &["{} 36"]);
    // A step that is not in the range at all.
    store.check_at(5.5, "x[10s:1h]", &[]);
    store.check_at(5.5, "count_over_time(x[10s:1h])", &[]);
    // Before 1970, too.
    store.check_at(-1.0, "count_over_time(vector(1)[150s:1m])", &["{} 3"]);
    store.check_at(-2.5, "count_over_time(vector(1)[150s:1m])", &["{} 2"]);
    // `@ end()` is of the query, not of the subquery.
    store.check_over(3, "max_over_time((x @ end())[1m:1m])", &["{} 2@0 2@1 2@2"]);
}

#[test]
fn what_does_not_change_is_read_once() {
    let store = Store::new("x 0 1 2 3 4 5 6 7 8 9 10");
    store.over(10, "sum(x @ 60) + max_over_time(x[2m] @ 120)");
    assert_eq!(store.selects(), 2);
}

#[test]
fn absence_has_the_labels_that_were_asked_for() {
    let store = Store::new("x{a=\"1\"} 1 1 stale");
    store.check("absent(x)", &[]);
    store.check(r#"absent(x{a="2", b=~"c"})"#, &[r#"{a="2"} 1"#]);
    store.check(r#"absent(((y{a="2"})))"#, &[r#"{a="2"} 1"#]);
    store.check(r#"absent(y{a="2"} @ 60)"#, &[r#"{a="2"} 1"#]);
    store.check(r#"absent(sum(y{a="2"}))"#, &["{} 1"]);
    store.check_over(4, "absent(x)", &["{} 1@2 1@3"]);
    store.check_over(4, r#"absent_over_time(x{a="1"}[1m])"#, &[r#"{a="1"} 1@2 1@3"#]);
    store.check(r#"absent_over_time(y{a="2"}[5m])"#, &[r#"{a="2"} 1"#]);
    store.check(r#"absent_over_time(y{a="2"}[5m:1m])"#, &["{} 1"]);
    // Two series that differ in their name alone are not duplicates here.
    let two = Store::new("x 1\ny 1");
    two.check(r#"absent_over_time({__name__=~"x|y"}[5m])"#, &[]);
}

#[test]
fn answers_have_the_type_of_the_query() {
    let store = Store::new("x 1 2");
    store.check("1 + 1", &["2"]);
    store.check("\"a\\\"b\"", &["\"a\\\"b\""]);
    store.check_over(2, "time() / 60", &["{} 0@0 1@1"]);
    store.check_over(2, "pi() > bool 3", &["{} 1@0 1@1"]);
    store.check_over(2, "x[1m]", &["error: invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"]);
    store.check_over(
        2,
        "\"x\"",
        &["error: invalid expression type \"string\" for range query, must be Scalar or instant Vector"],
    );
    store.check(
        "x[",
        &["error: 1:3: parse error: unexpected end of input, expected duration"],
    );
}
