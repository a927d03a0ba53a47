//! Who asks: the `Authorization` header, from the configuration or from a file that is rotated.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use fleetgauge_core::time::Clock;
use http::HeaderValue;

use super::config::{Auth, ConfigError};
use super::secret::Secret;
use super::watch::Watched;

/// How often a file is looked at, at most: a refresh of many queries looks once.
const INTERVAL: Duration = Duration::from_secs(1);

/// Gives each request its `Authorization`.
pub(crate) enum Credentials {
    None,
    Fixed(Arc<HeaderValue>),
    File(Watched<HeaderValue>),
}

// === impl Credentials ===

impl Credentials {
    /// *Errors*: [`ConfigError`] if the header cannot be made, or the file not be read.
    pub(crate) fn new(auth: &Auth, clock: &Clock) -> Result<Self, ConfigError> {
        let invalid = |field: &str, problem: String| ConfigError::Invalid {
            field: field.into(),
            problem,
        };
        match auth {
            Auth::None => Ok(Self::None),
            Auth::Basic { user, password } => {
                let header = basic(user, password.expose()).map_err(|p| invalid("auth.basic", p))?;
                Ok(Self::Fixed(Arc::new(header)))
            }
            Auth::Bearer { token } => {
                let header = bearer(token.expose()).map_err(|p| invalid("auth.bearer", p))?;
                Ok(Self::Fixed(Arc::new(header)))
            }
            Auth::BasicFile { user, password_file } => {
                let user = user.clone();
                basic(&user, "").map_err(|p| invalid("auth.basic", p))?;
                Self::watch("auth.basic", password_file, clock, move |password| {
                    basic(&user, password)
                })
            }
            Auth::BearerFile { token_file } => Self::watch("auth.bearer", token_file, clock, bearer),
        }
    }

    fn watch(
        field: &str,
        path: &std::path::Path,
        clock: &Clock,
        header: impl Fn(&str) -> Result<HeaderValue, String> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let paths: Vec<PathBuf> = vec![path.to_owned()];
        let parse = move |contents: &[Vec<u8>]| {
            let text = contents.first().map_or(Ok(""), |c| std::str::from_utf8(c));
            let text = text.map_err(|_| (0, "does not hold UTF-8 text".to_owned()))?;
            // Editors and `echo` end a file with a newline.
            match text.trim_end_matches(['\r', '\n']) {
                "" => Err((0, "is empty".to_owned())),
                secret => header(secret).map_err(|problem| (0, problem)),
            }
        };
        match Watched::new(paths, INTERVAL, clock.clone(), parse) {
            Ok(watched) => Ok(Self::File(watched)),
            // Who puts the secret itself where its file belongs must not read it in a message.
            Err(error) => Err(ConfigError::Invalid {
                field: field.to_owned(),
                problem: format!("the file that it names {}", error.problem()),
            }),
        }
    }

    /// The header to send.
    pub(crate) fn header(&self) -> Option<Arc<HeaderValue>> {
        match self {
            Self::None => None,
            Self::Fixed(header) => Some(Arc::clone(header)),
            Self::File(watched) => Some(watched.get()),
        }
    }

    /// What must not be shown of the header: all behind the scheme.
    pub(crate) fn secret(&self) -> Option<String> {
        let header = self.header()?;
        let (_, secret) = header.to_str().ok()?.split_once(' ')?;
        Some(secret.to_owned())
    }

    /// The header to try after `refused` was, if there is another by now.
    pub(crate) fn renewed(&self, refused: Option<&HeaderValue>) -> Option<Arc<HeaderValue>> {
        match self {
            Self::None | Self::Fixed(_) => None,
            Self::File(watched) => Some(watched.get_fresh()).filter(|fresh| Some(&**fresh) != refused),
        }
    }
}

/// The header that shows `token`.
///
/// *Errors*: what is wrong with it, in words without it.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, String> {
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    sensitive(&format!("Bearer {token}"))
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    if user.contains(':') {
        return Err("a user name cannot hold a colon".to_owned());
    }
    let pair = Secret::from(format!("{user}:{password}"));
    if pair.expose().chars().any(char::is_control) {
        return Err(CONTROL.to_owned());
    }
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(pair.expose())))
}

const CONTROL: &str = "holds a control character, such as a line break, where a single line is expected";

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    if !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        let control = text.chars().any(char::is_control);
        return Err(if control {
            CONTROL
        } else {
            "holds other characters than ASCII"
        }
        .to_owned());
    }
    let mut header = HeaderValue::from_str(text).map_err(|_| CONTROL.to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7617.
    #[test]
    fn user_and_password_are_encoded() {
        let header = basic("Aladdin", "open sesame").unwrap();
        assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn headers_that_cannot_be_sent_are_refused_without_showing_the_secret() {
        let check = |auth: Auth, expected: &str| {
            let error = Credentials::new(&auth, &Clock::system())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        };
        let token = |token: &str| Auth::Bearer { token: token.into() };
        check(token("hunter2\nx"), "auth.bearer: holds a control character");
        check(token("hunter2ü"), "other characters than ASCII");
        check(token(""), "empty");
        let basic = |user: &str, password: &str| Auth::Basic {
            user: user.into(),
            password: password.into(),
        };
        check(basic("a:b", "hunter2"), "colon");
        check(basic("a", "hunter2\r\n"), "control character");
        // The secret itself, where the name of its file belongs.
        let expected = "auth.bearer: the file that it names cannot be read: No such file";
        let token_file = "hunter2".into();
        check(Auth::BearerFile { token_file }, expected);
        let (user, password_file) = ("a".into(), "conf/hunter2".into());
        check(
            Auth::BasicFile { user, password_file },
            "auth.basic: the file that it names",
        );
    }

    #[test]
    fn a_token_file_is_trimmed_and_read_again_after_it_was_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one\r\n").unwrap();
        let auth = Auth::BearerFile {
            token_file: path.clone(),
        };
        let credentials = Credentials::new(&auth, &Clock::system()).unwrap();
        let first = credentials.header().unwrap();
        assert_eq!(*first, "Bearer one");
        assert!(first.is_sensitive());
        assert_eq!(credentials.renewed(Some(&first)), None);
        std::fs::write(&path, "two").unwrap();
        let second = credentials.renewed(Some(&first)).unwrap();
        assert_eq!(*second, "Bearer two");
        std::fs::write(&path, "a\nb").unwrap();
        assert_eq!(credentials.renewed(Some(&second)), None);
    }
}
