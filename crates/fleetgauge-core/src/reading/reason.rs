//! What a reading is, and why.

/// What a reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A number that the policy accepts.
    Value,
    /// The last good number, or a lower bound made with it, in place of one that is not accepted.
    Held,
    /// No number.
    Withheld,
}

/// Why a reading is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// One word of a closed list.
    pub code: ReasonCode,
    /// The same for people, with what was found.
    pub text: Box<str>,
}

/// The reasons that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// The query was never refreshed.
    NeverRefreshed,
    /// The query failed.
    Failed,
    /// The answer no longer holds, and no newer one came.
    Expired,
    /// The query was replaced or removed.
    Replaced,
    /// The question is wrong: no such query, or parameters that do not fit it.
    Invalid,
    /// The answer is no vector and no scalar, or not one of numbers: it has a native histogram.
    NotAVector,
    /// Several rows of the answer have the same labels.
    Ambiguous,
    /// The value is older than the policy accepts.
    TooOld,
    /// How old the value is, is not known, and the policy says how old it may be.
    AgeUnknown,
    /// The raw series of a contributor has stopped.
    Ended,
    /// Not enough of those expected have reported, or something was lost.
    Incomplete,
    /// How complete the answer is, is not known, and the policy says how complete it must be.
    CompletenessUnknown,
    /// The number is NaN or ±Inf.
    Undefined,
    /// The answer has no such row.
    NoData,
    /// The answer has no such row, and the query that would prove the policy's number for this does not.
    Unproven,
    /// The answer has no such row, and another query has proved the policy's number for this.
    Proven,
    /// There are no replicas: zero is what is measured.
    NoReplicas,
    /// No sample contributes to the value: the query gives it where it finds nothing.
    Constant,
}

// === impl Status ===

impl Status {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Value => "value",
            Status::Held => "held",
            Status::Withheld => "withheld",
        }
    }
}

// === impl ReasonCode ===

impl ReasonCode {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::NeverRefreshed,
        Self::Failed,
        Self::Expired,
        Self::Replaced,
        Self::Invalid,
        Self::NotAVector,
        Self::Ambiguous,
        Self::TooOld,
        Self::AgeUnknown,
        Self::Ended,
        Self::Incomplete,
        Self::CompletenessUnknown,
        Self::Undefined,
        Self::NoData,
        Self::Unproven,
        Self::Proven,
        Self::NoReplicas,
        Self::Constant,
    ];

    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverRefreshed => "never_refreshed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Invalid => "invalid",
            Self::NotAVector => "not_a_vector",
            Self::Ambiguous => "ambiguous",
            Self::TooOld => "too_old",
            Self::AgeUnknown => "age_unknown",
            Self::Ended => "ended",
            Self::Incomplete => "incomplete",
            Self::CompletenessUnknown => "completeness_unknown",
            Self::Undefined => "undefined",
            Self::NoData => "no_data",
            Self::Unproven => "unproven",
            Self::Proven => "proven",
            Self::NoReplicas => "no_replicas",
            Self::Constant => "constant",
        }
    }
}
