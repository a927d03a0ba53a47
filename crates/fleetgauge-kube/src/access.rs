//! How the API server is reached.
//!
//! Nothing here reads the environment but what a pod finds in it: who knows that a file is meant says which.

use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// What says how the API server is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The service account that a pod is given.
    ServiceAccount,
    /// Files of kubectl's, merged by its rules: what stands in the first of them counts.
    Kubeconfig(Vec<PathBuf>),
}

/// Why the API server cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A kubeconfig is not one, or lacks something. Nothing of it is quoted, for it holds secrets.
    #[error("{}: {problem}", .file.display())]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A pod's service account cannot be used.
    #[error("the service account of this pod cannot be used")]
    ServiceAccount(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

// === impl Access ===

impl Access {
    /// Whether this is a pod that has been given a service account.
    pub fn is_in_pod() -> bool {
        Path::new(TOKEN).exists()
    }

    /// Whether a client could be made of it, as far as files tell. Nobody is asked.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn check(&self) -> Result<(), AccessError> {
        let config = self.config()?;
        // A program that gives credentials is not run for this.
        if config.auth_info.exec.is_none() {
            config
                .rustls_client_config()
                .map_err(|error| self.error(&error.to_string()))?;
        }
        Ok(())
    }

    /// A client, which asks nobody yet. A token in a file is read again when it changes.
    ///
    /// # Errors
    /// What is wrong with the files, or with a program that gives credentials.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn client(&self) -> Result<Client, AccessError> {
        Client::try_from(self.config()?).map_err(|error| self.error(&error.to_string()))
    }

    fn config(&self) -> Result<Config, AccessError> {
        let Self::Kubeconfig(files) = self else {
            return Config::incluster().map_err(|error| AccessError::ServiceAccount(error.into()));
        };
        let mut merged = Kubeconfig::default();
        for file in files {
            let wrong = |error| AccessError::Kubeconfig {
                file: file.clone(),
                problem: problem(&error),
            };
            let read = Kubeconfig::read_from(file).map_err(wrong)?;
            merged = merged.merge(read).map_err(wrong)?;
        }
        let options = KubeConfigOptions::default();
        // It is asynchronous by its signature alone.
        let config = Config::from_custom_kubeconfig(merged, &options).now_or_never();
        let config = config.unwrap_or(Err(KubeconfigError::CurrentContextNotSet));
        config.map_err(|error| self.error(&problem(&error)))
    }

    fn error(&self, problem: &str) -> AccessError {
        match self {
            Self::ServiceAccount => AccessError::ServiceAccount(problem.into()),
            Self::Kubeconfig(files) => AccessError::Kubeconfig {
                file: files.first().cloned().unwrap_or_default(),
                problem: problem.to_owned(),
            },
        }
    }
}

/// What is wrong with a kubeconfig, without anything that stands in it.
fn problem(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::CurrentContextNotSet => {
            "it does not say which context is the current one".to_owned()
        }
        KubeconfigError::LoadContext(_) => "the current context is not among its contexts".to_owned(),
        KubeconfigError::LoadClusterOfContext(_) => {
            "the cluster of the current context is not among its clusters".to_owned()
        }
        KubeconfigError::MissingClusterUrl => "its cluster has no server".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "the server of its cluster is not a URL".to_owned(),
        KubeconfigError::ReadConfig(error, _) => format!("it cannot be read: {error}"),
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!(
                "it is not a kubeconfig: line {}, column {}",
                at.line(),
                at.column()
            ),
            None => "it is not a kubeconfig".to_owned(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    fn check(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, text).unwrap();
        let error = Access::Kubeconfig(vec![file]).check().unwrap_err().to_string();
        assert!(!error.contains(SECRET), "{error}");
        error
    }

    #[test]
    fn what_is_wrong_with_a_kubeconfig_is_told_without_its_secrets() {
        let kubeconfig = |server: &str, current: &str| {
            format!(
                "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {{token: {SECRET}}}}}]\n\
                 contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: {current}\n"
            )
        };
        for (text, told) in [
            (String::new(), "it does not say which context is the current one"),
            (
                format!("users: [{{name: u, user: {{token: [{SECRET}]}}}}]"),
                "it is not a kubeconfig: line 1",
            ),
            (format!("{SECRET}: ["), "it is not a kubeconfig"),
            (
                kubeconfig("https://a.example", "other"),
                "the current context is not among its contexts",
            ),
            (kubeconfig("", "x"), "the server of its cluster is not a URL"),
        ] {
            let error = check(&text);
            assert!(error.contains(told), "{error} instead of {told}");
        }
        let missing = Access::Kubeconfig(vec!["/nowhere/config".into()])
            .check()
            .unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("/nowhere/config: it cannot be read: "),
            "{missing}"
        );
    }
}
