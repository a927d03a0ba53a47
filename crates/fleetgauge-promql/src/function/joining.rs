//! What there is to say about histograms that are brought together, and about those of an unexpected kind.
//!
//! *Source*: <https://prometheus.io/docs/specs/native_histograms/#promql>.

use crate::annotation::Annotations;
use crate::histogram::Merged;

/// What was done when the bounds of custom buckets did not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    Addition,
    Subtraction,
    Aggregation,
}

// === impl Joining ===

impl Joining {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }

    pub(crate) fn mismatched(self) -> String {
        format!(
            "mismatched custom buckets were reconciled during {}",
            self.as_str()
        )
    }

    pub(crate) fn conflicting(self) -> String {
        format!("conflicting counter resets during histogram {}", self.as_str())
    }

    /// Says what there is to say about what was brought together.
    pub(crate) fn tell(self, merged: Merged, notes: &mut Annotations) {
        if merged.has_conflicting_resets {
            notes.warn(self.conflicting());
        }
        self.tell_bounds(merged, notes);
    }

    /// Says so if their bounds did not agree.
    pub(super) fn tell_bounds(self, merged: Merged, notes: &mut Annotations) {
        if merged.has_other_bounds {
            notes.info(self.mismatched());
        }
    }
}

/// Warns that exponential and custom buckets came together.
pub(crate) fn warn_of_kinds(metric: &str, notes: &mut Annotations) {
    notes.warn(format_args!(
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"
    ));
}

/// Warns that counts of a gauge were taken for those of a counter.
pub(super) fn warn_of_no_counter(metric: &str, notes: &mut Annotations) {
    notes.warn(format_args!(
        "this native histogram metric is not a counter: {metric:?}"
    ));
}

/// Warns that counts were taken for those of a gauge which do not say that they are.
pub(super) fn warn_of_no_gauge(metric: &str, notes: &mut Annotations) {
    notes.warn(format_args!(
        "this native histogram metric is not a gauge: {metric:?}"
    ));
}

/// Warns that there are numbers beside histograms.
pub(crate) fn warn_of_mix(metric: &str, notes: &mut Annotations) {
    notes.warn(format_args!(
        "encountered a mix of histograms and floats for metric name {metric:?}"
    ));
}

/// Tells that histograms are left out.
pub(super) fn tell_no_numbers(notes: &mut Annotations) {
    notes.leave_out("native histograms are left out of what is computed of numbers alone");
}

/// Tells that numbers are left out.
pub(super) fn tell_no_histograms(notes: &mut Annotations) {
    notes.leave_out("numbers are left out of what is computed of native histograms alone");
}
