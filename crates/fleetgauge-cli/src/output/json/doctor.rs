//! The JSON of `fleetgauge doctor`.

use fleetgauge::doctor::Finding;

/// What `fleetgauge doctor` has found.
#[derive(serde::Serialize)]
pub(crate) struct Findings<'a> {
    findings: Vec<Entry<'a>>,
}

#[derive(serde::Serialize)]
struct Entry<'a> {
    query: &'a str,
    /// `ok`, `warning` or `error`.
    severity: &'static str,
    what: &'a str,
    advice: &'a str,
    source: &'a str,
}

// === impl Findings ===

impl<'a> Findings<'a> {
    /// Of the findings with their sources.
    pub(crate) fn new(findings: &'a [(String, Finding)]) -> Self {
        let entry = |(source, finding): &'a (String, Finding)| Entry {
            query: &finding.query,
            severity: finding.severity.as_str(),
            what: &finding.what,
            advice: &finding.advice,
            source,
        };
        Self {
            findings: findings.iter().map(entry).collect(),
        }
    }
}
