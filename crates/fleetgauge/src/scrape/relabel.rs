//! `relabel_configs`: what is made of the labels of what was discovered, before it is a target.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>.

use fleetgauge_core::similar::similar;
use fleetgauge_core::target::{ADDRESS, TargetDefaults, TargetError, TargetLabels};
use fleetgauge_promql::pattern::{Pattern, PatternError};
use md5::{Digest, Md5};

/// One rule of `relabel_configs`, as it is written: what is `None` has Prometheus's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelabelConfig {
    /// The labels whose values are read, joined by `separator`. Those that are not there are empty.
    pub source_labels: Vec<String>,
    /// Default: `;`.
    pub separator: Option<String>,
    /// What the joined value, or the name of a label, must fit as a whole. Default: `(.*)`.
    pub regex: Option<String>,
    /// What `hashmod` divides by.
    pub modulus: Option<u64>,
    /// The label that is written, or compared with.
    pub target_label: Option<String>,
    /// What is written, with `$1` and `${name}` as what `regex` captured. Default: `$1`.
    pub replacement: Option<String>,
    /// Default: `replace`.
    pub action: Option<String>,
}

/// Rules that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelabelError {
    /// There is no such action.
    #[error(
        "{action:?} is no action of relabel_configs: it takes {}{}", ACTIONS.join(", "), meant(action)
    )]
    Action {
        /// What was written.
        action: String,
    },
    /// The expression cannot be used.
    #[error("regex {pattern:?} cannot be used: {source}")]
    Regex {
        /// What was written.
        pattern: String,
        /// Why not.
        source: PatternError,
    },
    /// The action needs a field.
    #[error("action {action} requires {field}")]
    Missing {
        /// What was to be done.
        action: &'static str,
        /// What it requires.
        field: &'static str,
    },
    /// What is written refers to what is not captured.
    #[error(
        "{field} refers to ${{{group}}}, which regex does not capture, so that it would be empty: ${{1}} is what the first \
         parentheses capture, and $1_a is read as ${{1_a}}"
    )]
    Group {
        /// Where it is written.
        field: &'static str,
        /// What is referred to.
        group: String,
    },
    /// The interval and the timeout are the same for all targets of a source.
    #[error("{label} is not taken from a target: interval and timeout are those of its source")]
    NotTaken {
        /// What would be written.
        label: String,
    },
    /// The action has no use for a field.
    #[error("action {action} takes no {field}")]
    Unused {
        /// What is to be done.
        action: &'static str,
        /// What would not be read.
        field: &'static str,
    },
}

/// Rules that are applied one after the other.
#[derive(Clone, Debug, Default)]
pub struct Relabeling(Vec<Rule>);

/// A label became longer than a target's labels may be all together.
struct TooLong;

#[derive(Clone, Debug)]
struct Rule {
    source_labels: Vec<String>,
    separator: String,
    pattern: Pattern,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Replace { target: String, replacement: String },
    Keep,
    Drop,
    KeepEqual { target: String },
    DropEqual { target: String },
    HashMod { target: String, modulus: u64 },
    LabelMap { replacement: String },
    LabelDrop,
    LabelKeep,
    Lowercase { target: String },
    Uppercase { target: String },
}

/// The fields of a rule that an action may or may not have a use for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    SourceLabels,
    Separator,
    Regex,
    Modulus,
    TargetLabel,
    Replacement,
}

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

/// What Prometheus takes from a target's labels, and is the source's here.
const NOT_TAKEN: [&str; 2] = ["__scrape_interval__", "__scrape_timeout__"];

/// As much as all labels of a target may take.
const MAX_VALUE_BYTES: usize = 64 << 10;

/// Which action was likely meant.
fn meant(action: &str) -> String {
    similar(action, ACTIONS.iter().copied())
        .map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"))
}

// === impl RelabelConfig ===

impl RelabelConfig {
    /// The rule that does `action`.
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            action: Some(action.into()),
            ..Self::default()
        }
    }

    fn has(&self, field: Field) -> bool {
        match field {
            Field::SourceLabels => !self.source_labels.is_empty(),
            Field::Separator => self.separator.is_some(),
            Field::Regex => self.regex.is_some(),
            Field::Modulus => self.modulus.is_some(),
            Field::TargetLabel => self.target_label.is_some(),
            Field::Replacement => self.replacement.is_some(),
        }
    }

    /// That there is nothing which would not be read. Prometheus refuses it for some actions, and is silent for others.
    fn takes(&self, action: &'static str, fields: &[Field]) -> Result<(), RelabelError> {
        use Field::{Modulus, Regex, Replacement, Separator, SourceLabels, TargetLabel};
        let all = [SourceLabels, Separator, Regex, Modulus, TargetLabel, Replacement];
        match all
            .into_iter()
            .find(|field| self.has(*field) && !fields.contains(field))
        {
            Some(field) => Err(RelabelError::Unused {
                action,
                field: field.name(),
            }),
            None => Ok(()),
        }
    }

    fn target(&self, action: &'static str) -> Result<String, RelabelError> {
        let target = self.target_label.clone().filter(|target| !target.is_empty());
        target.ok_or(RelabelError::Missing {
            action,
            field: Field::TargetLabel.name(),
        })
    }

    fn rule(&self) -> Result<Rule, RelabelError> {
        use Field::{Modulus, Regex, Replacement, Separator, SourceLabels, TargetLabel};
        let written = self.action.as_deref().unwrap_or("replace");
        // As Prometheus, which reads them in any case.
        let lower = written.to_ascii_lowercase();
        let Some(&name) = ACTIONS.iter().find(|action| **action == lower) else {
            return Err(RelabelError::Action {
                action: written.to_owned(),
            });
        };
        let fields: &[Field] = match name {
            "replace" => &[SourceLabels, Separator, Regex, TargetLabel, Replacement],
            "keep" | "drop" => &[SourceLabels, Separator, Regex],
            "keepequal" | "dropequal" => &[SourceLabels, TargetLabel],
            "hashmod" => &[SourceLabels, Separator, Modulus, TargetLabel],
            "labelmap" => &[Regex, Replacement],
            "labeldrop" | "labelkeep" => &[Regex],
            _ => &[SourceLabels, Separator, TargetLabel],
        };
        self.takes(name, fields)?;
        let replacement = self.replacement.clone().unwrap_or_else(|| "$1".to_owned());
        let action = match name {
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "keepequal" => Action::KeepEqual {
                target: self.target(name)?,
            },
            "dropequal" => Action::DropEqual {
                target: self.target(name)?,
            },
            "hashmod" => Action::HashMod {
                target: self.target(name)?,
                modulus: self
                    .modulus
                    .filter(|modulus| *modulus > 0)
                    .ok_or(RelabelError::Missing {
                        action: name,
                        field: "a modulus of at least 1",
                    })?,
            },
            "labelmap" => Action::LabelMap { replacement },
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            "lowercase" => Action::Lowercase {
                target: self.target(name)?,
            },
            "uppercase" => Action::Uppercase {
                target: self.target(name)?,
            },
            _ => Action::Replace {
                target: self.target(name)?,
                replacement,
            },
        };
        let pattern = self.regex.as_deref().unwrap_or("(.*)");
        let pattern = Pattern::new(pattern).map_err(|source| RelabelError::Regex {
            pattern: pattern.to_owned(),
            source,
        })?;
        let mut written = match &action {
            Action::Replace { target, replacement } => {
                vec![(TargetLabel, &**target), (Replacement, &**replacement)]
            }
            Action::LabelMap { replacement } => vec![(Replacement, &**replacement)],
            _ => Vec::new(),
        }
        .into_iter();
        let unknown = written.find_map(|(field, text)| Some((field.name(), pattern.unknown_group(text)?)));
        if let Some((field, group)) = unknown {
            let group = group.to_owned();
            return Err(RelabelError::Group { field, group });
        }
        if let Some(label) = self
            .target_label
            .as_deref()
            .filter(|label| NOT_TAKEN.contains(label))
        {
            let label = label.to_owned();
            return Err(RelabelError::NotTaken { label });
        }
        let decides = fields.first() == Some(&SourceLabels) && name != "replace";
        if decides && self.source_labels.is_empty() {
            // Prometheus would do the same with all targets.
            let field = SourceLabels.name();
            return Err(RelabelError::Missing { action: name, field });
        }
        Ok(Rule {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone().unwrap_or_else(|| ";".to_owned()),
            pattern,
            action,
        })
    }
}

// === impl Relabeling ===

impl Relabeling {
    /// Rules that are applied in this order.
    ///
    /// *Errors*: the index of the first rule that cannot be used, and why.
    pub fn new<'a>(
        rules: impl IntoIterator<Item = &'a RelabelConfig>,
    ) -> Result<Self, (usize, RelabelError)> {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(at, rule)| rule.rule().map_err(|error| (at, error)));
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the rules make of what was discovered; `None` where they drop it. What holds where the discovery does not say
    /// otherwise is there before, so that rules can read and change it.
    pub(super) fn apply(
        &self,
        discovered: &TargetLabels,
        defaults: &TargetDefaults,
    ) -> Result<Option<TargetLabels>, TargetError> {
        let mut labels = defaults.described(discovered);
        for rule in &self.0 {
            match rule.apply(&mut labels) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(TooLong) => {
                    return Err(TargetError::TooLarge {
                        address: discovered.get(ADDRESS).cloned().unwrap_or_default(),
                        limit: MAX_VALUE_BYTES,
                    });
                }
            }
        }
        Ok(Some(labels))
    }
}

// === impl Rule ===

impl Rule {
    /// `false` if the target is dropped.
    fn apply(&self, labels: &mut TargetLabels) -> Result<bool, TooLong> {
        let value_of = |labels: &TargetLabels, name: &str| labels.get(name).cloned().unwrap_or_default();
        let values: Vec<_> = self
            .source_labels
            .iter()
            .map(|name| value_of(labels, name))
            .collect();
        let value = values.join(&self.separator);
        match &self.action {
            Action::Keep => return Ok(self.pattern.is_match(&value)),
            Action::Drop => return Ok(!self.pattern.is_match(&value)),
            Action::KeepEqual { target } => return Ok(value_of(labels, target) == value),
            Action::DropEqual { target } => return Ok(value_of(labels, target) != value),
            Action::Replace { target, replacement } => {
                if let Some(target) = self.pattern.expand(&value, target)
                    && !target.is_empty()
                {
                    let replaced = self.pattern.expand(&value, replacement);
                    set(labels, &target, replaced.unwrap_or_default())?;
                }
            }
            Action::HashMod { target, modulus } => {
                set(labels, target, (hash(&value) % modulus).to_string())?;
            }
            Action::LabelMap { replacement } => {
                let mapped = |(name, value): (&String, &String)| {
                    Some((self.pattern.expand(name, replacement)?, value.clone()))
                };
                let mapped: Vec<_> = labels.iter().filter_map(mapped).collect();
                // A name of nothing is none.
                for (name, value) in mapped.into_iter().filter(|(name, _)| !name.is_empty()) {
                    set(labels, &name, value)?;
                }
            }
            Action::LabelDrop => labels.retain(|name, _| !self.pattern.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.pattern.is_match(name)),
            Action::Lowercase { target } => set(labels, target, value.to_lowercase())?,
            Action::Uppercase { target } => set(labels, target, value.to_uppercase())?,
        }
        Ok(true)
    }
}

// === impl Field ===

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::SourceLabels => "source_labels",
            Self::Separator => "separator",
            Self::Regex => "regex",
            Self::Modulus => "modulus",
            Self::TargetLabel => "target_label",
            Self::Replacement => "replacement",
        }
    }
}

/// An empty value takes the label away, as everywhere in Prometheus.
fn set(labels: &mut TargetLabels, name: &str, value: String) -> Result<(), TooLong> {
    if name.len() + value.len() > MAX_VALUE_BYTES {
        return Err(TooLong);
    }
    match value.is_empty() {
        true => drop(labels.remove(name)),
        false => drop(labels.insert(name.to_owned(), value)),
    }
    Ok(())
}

/// The last eight bytes of the MD5, so that what Prometheus spreads over servers is spread alike here.
pub(super) fn hash(value: &str) -> u64 {
    let hash = Md5::digest(value.as_bytes());
    let mut last = [0; 8];
    last.copy_from_slice(&hash[8..]);
    u64::from_be_bytes(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prometheus 2 stops at a line feed.
    #[test]
    fn a_point_is_any_character_as_in_prometheus_3() {
        let rule = RelabelConfig {
            source_labels: vec!["model".to_owned()],
            regex: Some("llama.8b".to_owned()),
            ..RelabelConfig::new("drop")
        };
        let relabeling = Relabeling::new([&rule]).expect("valid");
        let labels = [("model".to_owned(), "llama\n8b".to_owned())].into();
        assert_eq!(relabeling.apply(&labels, &TargetDefaults::default()), Ok(None));
    }

    #[test]
    fn a_rule_that_cannot_do_what_it_says_is_refused() {
        let check = |rule: RelabelConfig, expected: Option<&str>| {
            let refused = Relabeling::new([&rule]).err().map(|(_, error)| error.to_string());
            let is_said = refused
                .as_deref()
                .zip(expected)
                .is_some_and(|(is, it)| is.contains(it));
            assert!(
                is_said || refused.is_none() && expected.is_none(),
                "{rule:?}: {refused:?}"
            );
        };
        let replace = |regex: &str, replacement: &str, target: &str| RelabelConfig {
            regex: Some(regex.to_owned()),
            replacement: Some(replacement.to_owned()),
            target_label: Some(target.to_owned()),
            ..RelabelConfig::default()
        };
        check(replace("(a)(b)", "$2", "x"), None);
        check(
            replace("(a)", "$2", "x"),
            Some("replacement refers to ${2}, which regex does not"),
        );
        check(replace("(a)", "$1_b", "x"), Some("replacement refers to ${1_b}"));
        check(
            replace("(a)", "b", "x_$name"),
            Some("target_label refers to ${name}"),
        );
        check(
            replace("(a)", "1s", "__scrape_interval__"),
            Some("is not taken from a target"),
        );
        for action in ["keep", "drop"] {
            check(RelabelConfig::new(action), Some("requires source_labels"));
        }
        for action in ["keepequal", "dropequal", "hashmod", "lowercase", "uppercase"] {
            let rule = RelabelConfig {
                target_label: Some("x".to_owned()),
                modulus: (action == "hashmod").then_some(3),
                ..RelabelConfig::new(action)
            };
            check(rule, Some("requires source_labels"));
        }
    }

    #[test]
    fn a_label_that_is_mapped_to_no_name_is_none() {
        let rule = RelabelConfig {
            regex: Some("m(.*)".to_owned()),
            ..RelabelConfig::new("labelmap")
        };
        let relabeling = Relabeling::new([&rule]).expect("valid");
        let labels = [
            ("m".to_owned(), "x".to_owned()),
            ("ma".to_owned(), "y".to_owned()),
        ]
        .into();
        let mapped = relabeling
            .apply(&labels, &TargetDefaults::default())
            .expect("small")
            .expect("kept");
        assert_eq!((mapped.get(""), mapped["a"].as_str()), (None, "y"));
    }
}
