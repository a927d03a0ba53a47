//! Why a server of the tests could not be started or asked.

use std::io;

use crate::response::Response;

/// What went wrong in the test kit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server that the tests need is not installed.
    #[error("`{program}` is not installed: apt-get install prometheus victoria-metrics")]
    Missing {
        /// The program that was looked for.
        program: String,
    },
    /// A program ended where it should have run, or failed at a task.
    #[error("`{program}` failed ({status}); the end of what it said:\n{tail}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines of its standard error.
        tail: String,
    },
    /// The event that was waited for did not come within the bound.
    #[error("waited in vain for {event}; last seen:\n{seen}")]
    Timeout {
        /// What was waited for.
        event: String,
        /// What was seen instead.
        seen: String,
    },
    /// An answer that cannot be read, or is not a success.
    #[error("{url} answered {status}: {body}")]
    Answer {
        /// What was asked.
        url: String,
        /// The HTTP status, 0 when there was no readable status line.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// A script without a single answer.
    #[error("a script needs at least one answer")]
    EmptyScript,
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A TLS configuration could not be made.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The operating system refused something.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Its reason.
        #[source]
        source: io::Error,
    },
}

/// A result of the test kit.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The answer to `url` is no success, or cannot be read.
    pub(crate) fn answer(url: impl Into<String>, response: &Response) -> Self {
        Self::Answer {
            url: url.into(),
            status: response.status,
            body: response.text().chars().take(500).collect(),
        }
    }

    /// For `map_err`: names what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
