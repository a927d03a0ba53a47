use crate::engine::tests::Store;

#[test]
fn scalars_are_computed_as_go_computes_them() {
    let store = Store::new("");
    let check = |query: &str, expected: &str| store.check(query, &[expected]);
    check("1 + 2 * 3", "7");
    check("7 % 3", "1");
    check("-7 % 3", "-1");
    check("7 % -3", "1");
    check("5 % 0", "NaN");
    check("5.5 % Inf", "5.5");
    check("Inf % 5", "NaN");
    check("1 / 0", "inf");
    check("-1 / 0", "-inf");
    check("0 / 0", "NaN");
    check("2 ^ 3 ^ 2", "512");
    check("1 ^ NaN", "1");
    check("NaN ^ 0", "1");
    check("(-1) ^ Inf", "1");
    check("(-8) ^ (1 / 3)", "NaN");
    check("0 ^ -1", "inf");
    check("1 atan2 0 * 2", "3.141592653589793");
    check("NaN == bool NaN", "0");
    check("NaN != bool NaN", "1");
    check("2 >= bool 2", "1");
    check("1 > bool 2 + 3 < bool 4", "1");
}

#[test]
fn a_scalar_meets_every_series() {
    let store = Store::new("x{a=\"1\"} 1\nx{a=\"2\"} 2\nx{a=\"n\"} NaN");
    store.check("x * 2", &[r#"{a="1"} 2"#, r#"{a="2"} 4"#, r#"{a="n"} NaN"#]);
    store.check("2 - x", &[r#"{a="1"} 1"#, r#"{a="2"} 0"#, r#"{a="n"} NaN"#]);
    store.check("x > 1", &[r#"x{a="2"} 2"#]);
    // The vector's value stays, also on the right.
    store.check("1 < x", &[r#"x{a="2"} 2"#]);
    store.check("1 == bool x", &[r#"{a="1"} 1"#, r#"{a="2"} 0"#, r#"{a="n"} 0"#]);
    store.check("x != x", &[r#"x{a="n"} NaN"#]);
}

#[test]
fn series_meet_by_their_labels() {
    let store = Store::new(
        r#"x{a="1",b="1"} 1
           x{a="2",b="1"} 2
           x{a="3",b="1"} 3
           y{a="1",b="1"} 10
           y{a="2",b="2"} 20
           one{b="1",c="z"} 100"#,
    );
    store.check(
        "x + y",
        &[r#"{a="1",b="1"} 11"#]
            .map(|s| s.replace(",", ", "))
            .each_ref()
            .map(|s| s.as_str()),
    );
    store.check("x + on (a) y", &[r#"{a="1"} 11"#, r#"{a="2"} 22"#]);
    store.check("x + ignoring (b) y", &[r#"{a="1"} 11"#, r#"{a="2"} 22"#]);
    // A filter keeps the name, unless `on` drops it.
    store.check("x < ignoring (b) y", &[r#"x{a="1"} 1"#, r#"x{a="2"} 2"#]);
    store.check("x < on (a) y", &[r#"{a="1"} 1"#, r#"{a="2"} 2"#]);
    store.check("x < on (a, __name__) y", &[]);
    store.check("x < bool ignoring (b) y", &[r#"{a="1"} 1"#, r#"{a="2"} 1"#]);
    store.check(
        "x * on (b) group_left one",
        &[
            r#"{a="1", b="1"} 100"#,
            r#"{a="2", b="1"} 200"#,
            r#"{a="3", b="1"} 300"#,
        ],
    );
    // A label that is included comes from the one side, or goes where that lacks it.
    store.check(
        "x * on (b) group_left (c, a) one",
        &["error: multiple matches for labels: grouping labels must ensure unique matches"],
    );
    store.check(
        "one - on (b) group_right (c) x",
        &[
            r#"{a="1", b="1", c="z"} 99"#,
            r#"{a="2", b="1", c="z"} 98"#,
            r#"{a="3", b="1", c="z"} 97"#,
        ],
    );
    store.check(
        "x < on (b) group_left (c) one",
        &[
            r#"x{a="1", b="1", c="z"} 1"#,
            r#"x{a="2", b="1", c="z"} 2"#,
            r#"x{a="3", b="1", c="z"} 3"#,
        ],
    );
    store.check(
        "one > on (b) group_right x",
        &[
            r#"x{a="1", b="1"} 100"#,
            r#"x{a="2", b="1"} 100"#,
            r#"x{a="3", b="1"} 100"#,
        ],
    );
}

#[test]
fn ambiguous_matches_are_errors() {
    let store = Store::new(
        r#"x{a="1",b="1"} 1
           x{a="2",b="1"} 2
           one{b="1"} 100
           two{b="2"} 1"#,
    );
    store.check(
        "x + on (b) one",
        &["error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"],
    );
    store.check(
        "one + on (b) x",
        &[concat!(
            r#"error: found duplicate series for the match group {b="1"} on the right hand-side of the operation: "#,
            r#"[{__name__="x", a="1", b="1"}, {__name__="x", a="2", b="1"}]"#,
            ";many-to-many matching not allowed: matching labels must be unique on one side"
        )],
    );
    store.check(
        "x + on (b) group_right one",
        &[concat!(
            r#"error: found duplicate series for the match group {b="1"} on the left hand-side of the operation: "#,
            r#"[{__name__="x", a="1", b="1"}, {__name__="x", a="2", b="1"}]"#,
            ";many-to-many matching not allowed: matching labels must be unique on one side"
        )],
    );
    // A duplicate is one also where the other side has no match, but not if it is empty.
    store.check(
        "two + on (b) x",
        &[concat!(
            r#"error: found duplicate series for the match group {b="1"} on the right hand-side of the operation: "#,
            r#"[{__name__="x", a="1", b="1"}, {__name__="x", a="2", b="1"}]"#,
            ";many-to-many matching not allowed: matching labels must be unique on one side"
        )],
    );
    store.check("none + on (b) x", &[]);
    // Two that match are ambiguous, whichever a comparison filters out.
    let explicit =
        "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
    for query in [
        "x < on (b) one - 99 + 0.5",
        "x > on (b) one",
        "x == bool on (b) one",
    ] {
        store.check(query, &[explicit]);
    }
    let unique = ["error: multiple matches for labels: grouping labels must ensure unique matches"];
    store.check("x > on (b) group_left (a) one", &unique);
    store.check("one > on (b) group_right (a) x + 98.5", &unique);
    // Those of which each has a result of its own are not.
    store.check("x > on (b) group_left (c) one - 98.5", &[r#"x{a="2", b="1"} 2"#]);
}

/// Series that take turns are matched step by step.
#[test]
fn a_match_may_change_from_step_to_step() {
    let store = Store::new(
        r#"x{a="1"} 1 2 3
           y{a="1",v="old"} 10 stale
           y{a="1",v="new"} _ 20 20
           z{a="1"} _ _ 5"#,
    );
    store.check_over(3, "x + on (a) y", &[r#"{a="1"} 11@0 22@1 23@2"#]);
    store.check_over(
        3,
        "x + on (a) group_left (v) y",
        &[r#"{a="1", v="new"} 22@1 23@2"#, r#"{a="1", v="old"} 11@0"#],
    );
    store.check_over(3, "x < on (a) y", &[r#"{a="1"} 1@0 2@1 3@2"#]);
    store.check_over(3, "x > on (a) group_left (v) y", &[]);
    store.check_over(
        3,
        "y > on (a) group_left (c) x + 10",
        &[r#"y{a="1", v="new"} 20@1 20@2"#],
    );
    store.check_over(3, "y + on (a) x", &[r#"{a="1"} 11@0 22@1 23@2"#]);
    store.check_over(3, "x and z", &[r#"x{a="1"} 3@2"#]);
    store.check_over(3, "x unless z", &[r#"x{a="1"} 1@0 2@1"#]);
    store.check_over(3, "z or x", &[r#"x{a="1"} 1@0 2@1"#, r#"z{a="1"} 5@2"#]);
}

#[test]
fn sets_are_of_labels_without_the_name() {
    let store = Store::new(
        r#"x{a="1"} 1
           x{a="2"} 2
           y{a="1"} 10
           y{a="3"} 30
           w{b="1"} 7"#,
    );
    store.check("x and y", &[r#"x{a="1"} 1"#]);
    store.check("x or y", &[r#"x{a="1"} 1"#, r#"x{a="2"} 2"#, r#"y{a="3"} 30"#]);
    store.check("x unless y", &[r#"x{a="2"} 2"#]);
    store.check("x and on () w", &[r#"x{a="1"} 1"#, r#"x{a="2"} 2"#]);
    store.check("x unless on () w", &[]);
    store.check("x or on () w", &[r#"x{a="1"} 1"#, r#"x{a="2"} 2"#]);
    store.check("none or on () w", &[r#"w{b="1"} 7"#]);
    store.check("x and on (b) w", &[]);
    store.check("x unless ignoring (a) w", &[r#"x{a="1"} 1"#, r#"x{a="2"} 2"#]);
    store.check("x and none", &[]);
    store.check("none unless x", &[]);
}
