//! What has been found so far.

use std::collections::BTreeSet;

use fleetgauge::doctor::{Finding, Severity};
use fleetgauge_kube::survey::SurveyError;

/// The findings.
#[derive(Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    /// What could not be read, which is told once.
    unread: BTreeSet<String>,
}

// === impl Report ===

impl Report {
    pub(super) fn ok(&mut self, subject: &str, what: impl Into<String>, advice: impl Into<String>) {
        self.tell(Severity::Ok, subject, what, advice);
    }

    pub(super) fn warning(&mut self, subject: &str, what: impl Into<String>, advice: impl Into<String>) {
        self.tell(Severity::Warning, subject, what, advice);
    }

    pub(super) fn error(&mut self, subject: &str, what: impl Into<String>, advice: impl Into<String>) {
        self.tell(Severity::Error, subject, what, advice);
    }

    /// What could not be read is not known to be in order.
    pub(super) fn unread(&mut self, subject: &str, error: &SurveyError) {
        if !self.unread.insert(subject.to_owned()) {
            return;
        }
        let advice = match error {
            SurveyError::Forbidden(_) => {
                "run the doctor as somebody who may see that, as by the kubeconfig of an administrator; with --service-account \
                 it asks for the rights of the daemon all the same"
            }
            _ => "",
        };
        self.warning(subject, format!("not examined: {error}"), advice);
    }

    fn tell(
        &mut self,
        severity: Severity,
        subject: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.findings
            .push(Finding::new(subject, severity, what).advice(advice));
    }

    pub(super) fn findings(self) -> Vec<Finding> {
        self.findings
    }
}
