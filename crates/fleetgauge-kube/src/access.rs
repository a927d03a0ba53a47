//! How the API server is reached.
//!
//! Nothing here reads the environment but what a pod finds in it: who knows that a file is meant says which.

use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use k8s_openapi::ByteString;
use kube::client::ConfigExt as _;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret as _;
use serde::Deserialize as _;
use serde::de::value::StrDeserializer;

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
        let mut config = self.read()?;
        // It would ask again for minutes where the API server is overloaded, and say nothing meanwhile. Whoever asks here has a pause of
        // his own, or somebody who waits for him.
        config.default_retry = false;
        Ok(config)
    }

    fn read(&self) -> Result<Config, AccessError> {
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
        // Without one, whoever asks is nobody, which is seldom meant by a file that says who he is.
        let lacks_user = unknown_user(&merged).map(|user| self.error(&user));
        let options = KubeConfigOptions::default();
        // It is asynchronous by its signature alone.
        let config = Config::from_custom_kubeconfig(merged, &options).now_or_never();
        let config = config.unwrap_or(Err(KubeconfigError::CurrentContextNotSet));
        let config = config.map_err(|error| self.error(&problem(&error)))?;
        lacks_user.map_or(Ok(()), Err)?;
        check_identity(&config.auth_info).map_err(|problem| self.error(&problem))?;
        Ok(config)
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

/// That the user whom the current context names is not described.
fn unknown_user(config: &Kubeconfig) -> Option<String> {
    let current = config.current_context.as_ref()?;
    let context = config.contexts.iter().find(|context| context.name == *current)?;
    let user = context.context.as_ref()?.user.as_ref()?;
    let is_known = user.is_empty() || config.auth_infos.iter().any(|info| info.name == *user);
    (!is_known).then(|| "the user of the current context is not among its users".to_owned())
}

/// *Errors*: what is wrong with a user's certificate and key. Whoever connects would go without them, and be nobody.
fn check_identity(user: &AuthInfo) -> Result<(), String> {
    let certificate = content(
        "certificate",
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
    )?;
    let key = user.client_key_data.as_ref().map(|secret| secret.expose_secret());
    let key = content("key", key, user.client_key.as_deref())?;
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(()),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err("its user has a certificate, and no key".to_owned()),
        (None, Some(_)) => return Err("its user has a key, and no certificate".to_owned()),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or("the certificate of its user is not one in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| "the key of its user is not one in PEM")?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map(drop)
        .map_err(|error| format!("the certificate and the key of its user do not fit: {error}"))
}

/// What is given in the file itself, or in another one, which is named if it cannot be read.
fn content(what: &str, data: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>, String> {
    // An empty one is none, as for kubectl.
    match (
        data.filter(|data| !data.is_empty()),
        file.filter(|file| !file.is_empty()),
    ) {
        (Some(data), _) => {
            let text = StrDeserializer::<serde::de::value::Error>::new(data);
            let bytes =
                ByteString::deserialize(text).map_err(|_| format!("the {what} of its user is not base64"))?;
            Ok(Some(bytes.0))
        }
        (None, Some(file)) => std::fs::read(file)
            .map(Some)
            .map_err(|error| format!("the {what} of its user cannot be read: {file}: {error}")),
        (None, None) => Ok(None),
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
            (
                kubeconfig("https://a.example", "x").replace("user: u", "user: v"),
                "the user of the current context is not among its users",
            ),
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

    /// A user whose certificate is not taken would be nobody, to the surprise of whoever wrote it.
    #[test]
    fn a_users_certificate_and_key_have_to_be_there_and_to_fit() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (identity("one"), identity("other"));
        for (name, text) in [("one.crt", &one.0), ("one.key", &one.1), ("other.key", &other.1)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("config");
        let check = |user: &str| {
            let text = format!(
                "clusters: [{{name: c, cluster: {{server: 'https://a.example'}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
                 contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
            );
            std::fs::write(&file, text).unwrap();
            let checked = Access::Kubeconfig(vec![file.clone()]).check();
            checked.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        for (user, expected) in [
            ("client-certificate: one.crt, client-key: one.key", "fine"),
            (
                "client-certificate: one.crt, client-key: other.key",
                "the certificate and the key of its user do not fit",
            ),
            (
                "client-certificate: one.crt",
                "its user has a certificate, and no key",
            ),
            ("client-key: one.key", "its user has a key, and no certificate"),
            (
                "client-certificate: none.crt, client-key: one.key",
                "the certificate of its user cannot be read",
            ),
            (
                "client-certificate: one.key, client-key: one.key",
                "the certificate of its user is not one in PEM",
            ),
            (
                "client-certificate: one.crt, client-key-data: aHVudGVyMg==",
                "the key of its user is not one in PEM",
            ),
            (
                "client-certificate: one.crt, client-key-data: hunter2!",
                "the key of its user is not base64",
            ),
        ] {
            let told = check(user);
            assert!(
                told.contains(expected) && !told.contains(SECRET),
                "{user}: {told}"
            );
        }
    }

    /// A certificate and its key.
    fn identity(name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }
}
