//! What was meant by a URL that was typed.

use std::fmt;

use fleetgauge::scrape::{Auth, Secret};
use fleetgauge_core::target::{Scheme, Target, TargetDefaults, TargetLabels};

/// A target, and the user and password that stood in its URL.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) target: Target,
    /// What the target was made of, its address among them.
    labels: TargetLabels,
    pub(crate) auth: Auth,
    query: String,
}

// === impl Place ===

impl Place {
    /// Reads `host`, `host:port`, `:port` or a whole URL.
    ///
    /// *Errors*: in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("http".to_owned(), text),
        };
        // A fragment is not sent.
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        scheme.parse::<Scheme>().map_err(|error| error.to_string())?;
        if address.is_empty() {
            return Err("there is no host in it".to_owned());
        }
        let address = match address.strip_prefix(':') {
            Some(port) => format!("localhost:{port}"),
            None => address.to_owned(),
        };
        let path = if path.is_empty() || path == "/" {
            "/metrics"
        } else {
            path
        };
        let mut labels: TargetLabels = [
            ("__address__", &*address),
            ("__scheme__", &*scheme),
            ("__metrics_path__", path),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in parameters(query) {
            labels.insert(format!("__param_{name}"), value);
        }
        let target =
            Target::from_labels(&labels, &TargetDefaults::default()).map_err(|error| error.to_string())?;
        Ok(Self {
            target,
            labels,
            auth: user.map_or(Auth::None, basic),
            query: query.to_owned(),
        })
    }

    /// Those of the target as a discovery tells them.
    pub(crate) fn labels(&self) -> &TargetLabels {
        &self.labels
    }

    /// Whether a user stood in the URL.
    pub(crate) fn has_credentials(&self) -> bool {
        self.auth != Auth::None
    }
}

/// The URL that is asked, without user and password, and without the values of parameters, which may be secrets.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target.url())?;
        let mut sign = '?';
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((name, _)) => write!(f, "{sign}{name}=<secret>")?,
                None => write!(f, "{sign}<secret>")?,
            }
            sign = '&';
        }
        Ok(())
    }
}

/// A URL that can't be read may hold a password nevertheless.
pub(crate) fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => format!("{url:?}"),
    }
}

fn basic(user: &str) -> Auth {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    Auth::Basic {
        user: decoded(user, false),
        password: Secret::from(decoded(password, false).as_str()),
    }
}

fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name, true), decoded(value, true))
    })
}

/// The text with `%` sequences resolved; one that is none stays as it is.
fn decoded(text: &str, plus_is_blank: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let byte = 16 * hex(*high).unwrap_or_default() + hex(*low).unwrap_or_default();
                bytes.push(u8::try_from(byte).unwrap_or_default());
                after
            }
            (b'+', _) if plus_is_blank => {
                bytes.push(b' ');
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let check = |typed: &str, expected: &str| {
            assert_eq!(Place::parse(typed).unwrap().to_string(), expected, "{typed}");
        };
        check("10.0.0.7:8000", "http://10.0.0.7:8000/metrics");
        check("pod", "http://pod:80/metrics");
        check(":8000", "http://localhost:8000/metrics");
        check("[::1]:8000", "http://[::1]:8000/metrics");
        check("https://pod/", "https://pod:443/metrics");
        check("HTTP://pod:1", "http://pod:1/metrics");
        check("http://pod:1/stats/", "http://pod:1/stats/");
        check("pod:1?module=a%20b#part", "http://pod:1/metrics?module=<secret>");
        check(
            "pod:1?a=b=c&&d&e=",
            "http://pod:1/metrics?a=<secret>&<secret>&e=<secret>",
        );
        check("http://user:hunter2@pod:1", "http://pod:1/metrics");
    }

    #[test]
    fn parameters_and_credentials_are_decoded() {
        let place = Place::parse("http://u%40x:p%3A1@pod:1/m?a=b+c&d=%zz").unwrap();
        let expected = [("a", "b c"), ("d", "%zz")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(place.target.params(), expected);
        let Auth::Basic { user, password } = &place.auth else {
            panic!("{place:?}")
        };
        assert_eq!((&**user, password.expose()), ("u@x", "p:1"));
    }

    #[test]
    fn what_is_no_url_says_why() {
        let check = |typed: &str, expected: &str| {
            let error = Place::parse(typed).unwrap_err();
            assert!(error.contains(expected), "{typed}: {error}");
        };
        check("", "no host");
        check("ftp://pod", "is not a valid scheme");
        check("::1", "brackets");
        check("pod:99999", "is not a valid address");
        check("http://", "no host");
        check("http://user:pw@/metrics", "no host");
        check("file:///etc/passwd", "is not a valid scheme");
    }
}
