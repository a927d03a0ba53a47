//! What of PromQL is experimental, and the switch that each has in Prometheus.

use std::fmt;

use crate::similar::similar;

/// Which experimental parts of PromQL are read. Default: none of those that Prometheus has switched off.
///
/// Trees with such parts are for evaluation. What is made of a query ([`rewrite`](crate::rewrite)) is made of trees that
/// [`parse`](crate::parse) reads, which has none of them. What Prometheus has no switch for any more is always read, and what
/// cannot be made of it is refused there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// `x + fill(0) y`: `promql-binop-fill-modifiers`.
    pub fill_modifiers: bool,
    /// A metric is taken for a counter by its label `__type__`, and not by its name: `type-and-unit-labels`.
    pub type_and_unit_labels: bool,
    /// A counter is reset where its samples say that they are counted from another time on; `start_timestamp(x)`:
    /// `use-start-timestamps`.
    pub start_timestamps: bool,
    /// What drops a metric's name drops it at the end of the query: until then it groups, matches and can be read:
    /// `promql-delayed-name-removal`.
    pub delayed_names: bool,
    /// Names have letters of all scripts, and dots behind the first character, without quotes: `promql-unquoted-utf8-names`.
    pub unquoted_utf8_names: bool,
}

/// A name that is not that of a switch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown feature {name:?}{}; there are {}; without effect are {}", Hint(.name), NAMES.join(", "), ALWAYS.join(", "))]
#[non_exhaustive]
pub struct UnknownFeature {
    /// As it was given.
    pub name: String,
}

/// Which one was likely meant.
struct Hint<'a>(&'a str);

pub(crate) const FILL_MODIFIERS: &str = "promql-binop-fill-modifiers";
pub(crate) const TYPE_AND_UNIT_LABELS: &str = "type-and-unit-labels";
pub(crate) const START_TIMESTAMPS: &str = "use-start-timestamps";
pub(crate) const DELAYED_NAMES: &str = "promql-delayed-name-removal";
const UNQUOTED_NAMES: &str = "promql-unquoted-utf8-names";

const NAMES: [&str; 5] = [
    FILL_MODIFIERS,
    TYPE_AND_UNIT_LABELS,
    START_TIMESTAMPS,
    DELAYED_NAMES,
    UNQUOTED_NAMES,
];

/// What Prometheus has, or had, a switch for, and what needs none here.
const ALWAYS: [&str; 4] = [
    "promql-duration-expr",
    "promql-extended-range-selectors",
    "promql-experimental-functions",
    "native-histograms",
];

// === impl Features ===

impl Features {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self {
            fill_modifiers: true,
            type_and_unit_labels: true,
            start_timestamps: true,
            delayed_names: true,
            unquoted_utf8_names: true,
        }
    }

    /// Those that Prometheus's own test scripts are run with.
    #[must_use]
    pub fn of_scripts() -> Self {
        Self {
            type_and_unit_labels: false,
            ..Self::all()
        }
    }

    /// The names of the switches, as `--enable-feature` of Prometheus has them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter()
    }

    /// With the feature of this name; the same if it is one that needs no switch here, as functions that are experimental.
    ///
    /// *Errors*: there is none of that name.
    pub fn with_named(mut self, name: &str) -> Result<Self, UnknownFeature> {
        match name {
            FILL_MODIFIERS => self.fill_modifiers = true,
            TYPE_AND_UNIT_LABELS => self.type_and_unit_labels = true,
            START_TIMESTAMPS => self.start_timestamps = true,
            DELAYED_NAMES => self.delayed_names = true,
            UNQUOTED_NAMES => self.unquoted_utf8_names = true,
            always if ALWAYS.contains(&always) => {}
            _ => {
                return Err(UnknownFeature {
                    name: name.to_owned(),
                });
            }
        }
        Ok(self)
    }
}

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match similar(self.0, NAMES.into_iter().chain(ALWAYS)) {
            Some(meant) => write!(f, " (did you mean {meant:?}?)"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_those_that_have_a_name() {
        let named = Features::names().try_fold(Features::default(), Features::with_named);
        assert_eq!(named, Ok(Features::all()));
        let error = Features::default().with_named("xyz").unwrap_err();
        let expected = "unknown feature \"xyz\"; there are promql-binop-fill-modifiers, type-and-unit-labels, \
                        use-start-timestamps, promql-delayed-name-removal, promql-unquoted-utf8-names; without effect are \
                        promql-duration-expr, promql-extended-range-selectors, promql-experimental-functions, native-histograms";
        assert_eq!(error.to_string(), expected);
        let error = Features::default()
            .with_named("promql-binop-fill-modifier")
            .unwrap_err();
        let meant = "(did you mean \"promql-binop-fill-modifiers\"?); there are ";
        assert!(error.to_string().contains(meant), "{error}");
        let same = ALWAYS
            .into_iter()
            .try_fold(Features::default(), Features::with_named);
        assert_eq!(same, Ok(Features::default()));
    }
}
