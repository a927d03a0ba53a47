//! What is asked of the API server, as rights that have to be given for it.

use std::fmt;

/// What may be done with the objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group; empty for the core's.
    pub group: String,
    /// Its name in paths, as `pods`.
    pub resource: String,
    /// What is done.
    pub verbs: Vec<&'static str>,
    /// Where; empty for all namespaces, or for what is in none.
    pub namespace: String,
    /// The only object; empty for all.
    pub name: String,
}

// === impl Right ===

impl Right {
    /// To watch the objects of a kind in all namespaces.
    pub fn to_watch(group: &str, resource: &str) -> Self {
        Self::new(group, resource, &["list", "watch"])
    }

    /// To make objects that are in no namespace.
    pub fn to_create(group: &str, resource: &str) -> Self {
        Self::new(group, resource, &["create"])
    }

    fn new(group: &str, resource: &str, verbs: &[&'static str]) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
            verbs: verbs.to_vec(),
            namespace: String::new(),
            name: String::new(),
        }
    }

    /// In one namespace alone.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Of one object alone.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The rule of a role that gives it.
    pub fn rule(&self) -> String {
        let mut rule = format!(
            "- apiGroups: [{:?}]\n  resources: [{}]\n",
            self.group, self.resource
        );
        if !self.name.is_empty() {
            rule += &format!("  resourceNames: [{}]\n", self.name);
        }
        rule + &format!("  verbs: [{}]", self.verbs.join(", "))
    }
}

/// As the end of a sentence about who may, or may not.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verbs.join(" and "), self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match &*self.namespace {
            "" if self.verbs.contains(&"create") => Ok(()),
            "" => f.write_str(" in all namespaces"),
            namespace => write!(f, " in the namespace {namespace}"),
        }
    }
}
