//! What every client of ours is told alike: who asks, whom to trust; and why it cannot be made.

use std::io;
use std::path::PathBuf;

use fleetgauge_core::printable::Printable;

use super::secret::Secret;
use super::watch::FileError;

/// How a source shows who asks.
///
/// A file is read when the source is made, again when it changes (it is looked at no more than once a
/// second), and once more after the server answered 401; that query is then tried again, once. Line breaks
/// at its end do not count. While it cannot be read, its last good contents stay in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// By user and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By user and a password in a file.
    BasicFile {
        /// The user.
        user: String,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// By a bearer token.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// By a bearer token in a file, such as that of a service account.
    BearerFile {
        /// The file with the token.
        token_file: PathBuf,
    },
}

/// Whom a source trusts when it connects by TLS, and what it shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The certificate authorities to trust (PEM), instead of those of the operating system. Read again when
    /// it changes, for the next connection.
    ///
    /// The latter are found where OpenSSL finds them, which on Unix includes the variables `SSL_CERT_FILE`
    /// and `SSL_CERT_DIR`.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, with its chain (PEM). Read again when it or its key changes, for the next
    /// connection.
    pub client_cert_file: Option<PathBuf>,
    /// The private key of that certificate (PEM, unencrypted).
    pub client_key_file: Option<PathBuf>,
    /// The name that the server's certificate must be valid for, and that is asked for (SNI), instead of the
    /// URL's host.
    pub server_name: Option<String>,
    /// Takes any certificate for the server's, so that whoever is in between may read and answer all
    /// queries. A warning is logged when the source is made.
    pub insecure_skip_verify: bool,
}

/// Why a source cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is not usable.
    #[error("{}: {}", Printable(.field), Printable(.problem))]
    Invalid {
        /// Which value, such as `url`.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A file is not usable.
    #[error("{}: {} {}", Printable(.field), Printable(&path.to_string_lossy()), Printable(.problem))]
    File {
        /// Which value names the file, such as `tls.ca_file`.
        field: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The operating system's error, if it could not be read.
        #[source]
        source: Option<io::Error>,
    },
}

// === impl ConfigError ===

impl ConfigError {
    pub(crate) fn file(field: &str, error: FileError) -> Self {
        Self::File {
            field: field.into(),
            path: error.path,
            problem: error.problem,
            source: error.source,
        }
    }
}
