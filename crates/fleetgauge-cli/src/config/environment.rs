//! What the environment says. Only the binary reads it, and only here.

use std::env;

/// Switches the collector on and off, as in the controllers that this one follows.
const COLLECTOR_V2: &str = "COLLECTOR_V2";

/// The variables, as they were when the program started.
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// The process's own. What is not Unicode cannot be any of ours.
    pub(crate) fn of_process() -> Self {
        let vars = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(vars.collect())
    }

    /// The process's own, of a command that collects.
    ///
    /// *Errors*: this collector is switched off, or it is not clear whether it is.
    pub(crate) fn of_collector() -> anyhow::Result<Self> {
        let environment = Self::of_process();
        if !environment.collector_enabled()? {
            anyhow::bail!("{COLLECTOR_V2}=false switches this collector off; unset it, or set it to true");
        }
        Ok(environment)
    }

    /// These variables.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(vars: [(&str, &str); N]) -> Self {
        Self(
            vars.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }

    /// All variables.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().cloned()
    }

    /// The variable `name`; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether this collector may collect: `COLLECTOR_V2` is unset or true.
    ///
    /// *Errors*: what is neither true nor false. To take it for either would be to guess which of two
    /// collectors an autoscaler listens to.
    fn collector_enabled(&self) -> anyhow::Result<bool> {
        match self.get(COLLECTOR_V2) {
            None => Ok(true),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => anyhow::bail!("{COLLECTOR_V2} is {other:?}; it takes true or false"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_is_on_unless_it_is_switched_off() {
        let check = |value: Option<&str>, expected: Option<bool>| {
            let vars = value.map(|value| (COLLECTOR_V2.to_owned(), value.to_owned()));
            let enabled = Environment(vars.into_iter().collect()).collector_enabled();
            assert_eq!(enabled.ok(), expected, "{value:?}");
        };
        check(None, Some(true));
        check(Some(""), Some(true));
        check(Some("true"), Some(true));
        check(Some("1"), Some(true));
        check(Some("false"), Some(false));
        check(Some("0"), Some(false));
        check(Some("yes"), None);
    }
}
