//! Holds the tables of `docs/promql.md` to what the parser knows.

use std::collections::BTreeSet;

use fleetgauge_syntax::{MAX_DEPTH, MAX_LENGTH, MAX_OPERATIONS};

use super::*;

const PAGE: &str = include_str!("../../../../docs/promql.md");

/// The first two cells of each row of the first table below a heading.
fn table(heading: &str) -> Vec<(&'static str, &'static str)> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().expect("its text");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = |row: &'static str| row.trim_end_matches(" |").split_once(" | ").expect(row);
    rows.skip(1).map(cells).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn listed(heading: &str) -> BTreeSet<&'static str> {
    table(heading)
        .into_iter()
        .flat_map(|(names, _)| quoted(names))
        .collect()
}

#[test]
fn the_page_lists_every_function_and_aggregation_and_no_other() {
    assert_eq!(listed("Functions"), functions().collect());
    assert_eq!(listed("Aggregations"), aggregations().collect());
}

#[test]
fn the_page_lists_what_is_refused_with_its_reason() {
    let rows = table("What is refused");
    for (queries, reason) in &rows {
        let reason = quoted(reason).next().expect("a reason");
        for query in quoted(queries) {
            let error = Expression::parse(query).expect_err(query).to_string();
            assert!(error.contains(reason), "{query}: {error}");
        }
    }
    let named = rows.iter().flat_map(|(queries, _)| quoted(queries));
    let named: BTreeSet<_> = named.filter_map(|query| Some(query.split_once('(')?.0)).collect();
    let missing: Vec<_> = Function::ALL
        .iter()
        .filter(|function| function.refused().is_some())
        .map(|function| function.name())
        .filter(|name| !named.contains(name))
        .collect();
    assert!(missing.is_empty(), "the page says nothing of {missing:?}");
}

/// Each bound of the parser is exceeded, and its row has the error.
#[test]
fn the_page_has_the_bounds_of_a_query() {
    let regexes: Vec<_> = (0..=MAX_REGEXES).map(|i| format!("a=~\"{i}\"")).collect();
    // Balanced, so that it is not too deep first.
    let levels = MAX_OPERATIONS.ilog2() + 1;
    let operations = (0..levels).fold("1".to_owned(), |part, _| format!("({part} + {part})"));
    let beyond = [
        ("length of a query", "a".repeat(MAX_LENGTH + 1)),
        ("its depth", "(".repeat(MAX_DEPTH + 1)),
        ("its operators", operations),
        (
            "its different regular expressions",
            format!("{{{}}}", regexes.join(",")),
        ),
        ("one regular expression", "x{a=~\"(\\\\pL{100}){10}\"}".to_owned()),
    ];
    let rows = table("Bounds");
    for (name, query) in beyond {
        let error = Expression::parse(&query).expect_err(name);
        let (_, row) = rows
            .iter()
            .find(|(first, _)| first.starts_with(name))
            .expect(name);
        let says = quoted(row).next().expect("an error");
        assert!(error.message().contains(says), "{name}: {error}");
    }
}
