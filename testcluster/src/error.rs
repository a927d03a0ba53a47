//! Why there is no cluster, or why it did not do something.

use std::io;

/// What went wrong with a cluster of the tests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The programs of a control plane are not there.
    #[error(
        "KUBEBUILDER_ASSETS names no folder with a `{program}`: `cargo xtask control-plane` makes one and prints its name"
    )]
    Assets {
        /// The program that was looked for.
        program: &'static str,
    },
    /// KEDA's operator is not there.
    #[error(
        "FLEETGAUGE_KEDA names no folder with an `operator`: `cargo xtask keda` makes one and prints its name"
    )]
    Keda,
    /// A process could not be started, or did not become ready.
    #[error(transparent)]
    Process(#[from] fleetgauge_testkit::Error),
    /// The API server refused something, or could not be asked.
    #[error("{doing}")]
    Kubernetes {
        /// What was being done.
        doing: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The kubeconfig that we wrote could not be read.
    #[error("cannot read the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The operating system refused something.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// The event that was waited for did not come within the bound.
    #[error("waited in vain for {event}")]
    Timeout {
        /// What was waited for.
        event: String,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err`: names what was being done.
    pub(crate) fn kubernetes(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kubernetes {
            doing,
            source: Box::new(source),
        }
    }

    /// For `map_err`: names what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
