//! The findings of `fleetgauge doctor` for people: what is said of several queries is said once.

use std::fmt::Write as _;

use fleetgauge::doctor::{Finding, Severity};

/// How many queries of one finding are named.
const MAX_NAMED: usize = 3;
/// As wide as the widest severity, and two spaces.
const INDENT: usize = 9;

/// The findings with their sources, which are named where there are several.
pub(crate) fn text(findings: &[(String, Finding)]) -> String {
    let mut groups: Vec<(&str, &Finding, Vec<&str>)> = Vec::new();
    for (source, finding) in findings {
        let is_same = |(of, known, _): &&mut (&str, &Finding, Vec<&str>)| {
            let parts = |finding: &Finding| (finding.severity, finding.what.clone(), finding.advice.clone());
            *of == source && parts(known) == parts(finding)
        };
        match groups.iter_mut().find(is_same) {
            Some((.., queries)) => queries.push(&finding.query),
            None => groups.push((source, finding, vec![&finding.query])),
        }
    }
    let names_sources = groups.iter().any(|(source, ..)| *source != groups[0].0);
    let mut text = String::new();
    for (source, finding, queries) in groups {
        let mut named = queries[..queries.len().min(MAX_NAMED)].join(", ");
        if queries.len() > MAX_NAMED {
            let _ = write!(named, " and {} more", queries.len() - MAX_NAMED);
        }
        if names_sources {
            let _ = write!(named, " of {source}");
        }
        let _ = writeln!(text, "{:<INDENT$}{named}: {}", finding.severity, finding.what);
        for line in finding.advice.lines() {
            let _ = writeln!(text, "{:INDENT$}{line}", "");
        }
    }
    let count = |severity| {
        let of = findings
            .iter()
            .filter(|(_, finding)| finding.severity == severity);
        of.count()
    };
    let (warnings, errors) = (count(Severity::Warning), count(Severity::Error));
    let _ = writeln!(
        text,
        "{} ok, {warnings} {}, {errors} {}",
        count(Severity::Ok),
        if warnings == 1 { "warning" } else { "warnings" },
        if errors == 1 { "error" } else { "errors" },
    );
    text
}
