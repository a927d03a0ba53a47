//! Where the API is: the base URL as configured, and where a redirect may lead.
//!
//! A query carries credentials and tenants, so it follows a redirect only to the host it was meant for: the
//! same scheme, host and port, or the same host by `https` where it was `http`. An API does not move
//! elsewhere in the middle of a request; what does redirect elsewhere is a login page, and an error that
//! names it helps more than its HTML.

use std::fmt;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use percent_encoding::percent_decode_str;

use super::config::ConfigError;
use super::failure::excerpt;
use super::secret::Secret;

const API_PATH: &str = "/api/v1/query";

/// Scheme, host and port: whom a request goes to.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: u16,
}

/// A place to send a query to.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) origin: Origin,
    pub(super) path: PathAndQuery,
}

/// The endpoint of a base URL, with the user and password in it.
pub(super) struct Base {
    pub(super) endpoint: Endpoint,
    pub(super) user: Option<(String, Secret)>,
}

/// `url` without what may be secret in it.
pub(super) fn shown_url(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    // To the last `@`, wherever it stands: an unencoded password may hold any character.
    let shown = match url.rfind('@') {
        Some(at) if at >= start => format!("{}<secret>{}", &url[..start], &url[at..]),
        _ => url.to_owned(),
    };
    let end = shown.find(['?', '#']).unwrap_or(shown.len());
    let dots = if end < shown.len() { "?…" } else { "" };
    excerpt(&format!("{}{dots}", &shown[..end]))
}

// === impl Base ===

impl Base {
    /// Reads `http(s)://[user[:password]@]host[:port][/prefix]`.
    pub(super) fn parse(url: &str) -> Result<Self, ConfigError> {
        let url = url.trim();
        let fault = |problem: &str| ConfigError::Invalid {
            field: "url".into(),
            problem: if url.is_empty() {
                problem.to_owned()
            } else {
                format!("{problem}, in {}", shown_url(url))
            },
        };
        if url.is_empty() {
            return Err(fault(
                "missing; it is the base URL of the server, such as http://prometheus.monitoring:9090",
            ));
        }
        if url.contains('#') {
            return Err(fault("a base URL has no fragment (#…)"));
        }
        let uri: Uri = url
            .parse()
            .map_err(|e: http::uri::InvalidUri| fault(&format!("not a URL ({e})")))?;
        if uri.query().is_some() {
            return Err(fault(
                "a base URL has no query string (?…); set query parameters by `query_params`",
            ));
        }
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| fault("the URL must start with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| fault("the URL names no host"))?;
        let path = parts.path_and_query.as_ref().map_or("", |path| path.path());
        let prefix = path.trim_end_matches('/');
        if let Some(base) = prefix.strip_suffix(API_PATH).or(prefix.strip_suffix("/api/v1")) {
            return Err(fault(&format!(
                "the base URL ends before /api/v1: here its path is {:?}",
                if base.is_empty() { "/" } else { base }
            )));
        }
        let path = PathAndQuery::try_from(format!("{prefix}{API_PATH}"))
            .map_err(|e| fault(&format!("not a URL ({e})")))?;
        let origin = Origin::new(scheme, &authority).map_err(fault)?;
        let user = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((userinfo, _)) => {
                let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
                let decoded = |text| percent_decode_str(text).decode_utf8();
                let (Ok(user), Ok(password)) = (decoded(user), decoded(password)) else {
                    return Err(fault(
                        "user or password are not UTF-8 when they are percent-decoded",
                    ));
                };
                Some((user.into_owned(), Secret::from(&*password)))
            }
        };
        Ok(Self {
            endpoint: Endpoint { origin, path },
            user,
        })
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The URI to request; `query` is added where there is no query string yet.
    pub(super) fn uri(&self, query: Option<&str>) -> Result<Uri, http::Error> {
        let uri = Uri::builder()
            .scheme(self.origin.scheme.clone())
            .authority(self.origin.authority());
        match query {
            Some(query) if self.path.query().is_none() => {
                uri.path_and_query(format!("{}?{query}", self.path.path()))
            }
            _ => uri.path_and_query(self.path.clone()),
        }
        .build()
    }

    /// Where `location` leads from here.
    ///
    /// *Errors*: in words, if it leads to another host or nowhere.
    pub(super) fn redirected(&self, location: &str) -> Result<Endpoint, String> {
        let unusable = || "redirected to a location that is no URL".to_owned();
        let location = location.trim();
        let location = location.split('#').next().unwrap_or_default();
        let absolute = match location {
            "" => return Err(unusable()),
            l if has_scheme(l) => l.to_owned(),
            l if l.starts_with("//") => format!("{}:{l}", self.origin.scheme),
            l if l.starts_with('/') => format!("{}://{}{l}", self.origin.scheme, self.origin),
            l if l.starts_with('?') => {
                format!("{}://{}{}{l}", self.origin.scheme, self.origin, self.path.path())
            }
            l => {
                let folder = self.path.path().rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{}://{}{folder}/{l}", self.origin.scheme, self.origin)
            }
        };
        let parts = absolute.parse::<Uri>().map_err(|_| unusable())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(unusable());
        };
        let origin = Origin::new(scheme, &authority).map_err(|_| unusable())?;
        if authority.as_str().contains('@') || !self.origin.may_lead_to(&origin) {
            return Err(format!(
                "redirected to {}://{origin}, which is another host than {}://{}; nothing was sent there. If \
                 that is the right server, set the URL to it",
                origin.scheme, self.origin.scheme, self.origin,
            ));
        }
        Ok(Endpoint {
            origin,
            path: parts
                .path_and_query
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }
}

fn has_scheme(location: &str) -> bool {
    match location.find([':', '/', '?']) {
        Some(at) => location[at..].starts_with(':'),
        None => false,
    }
}

// === impl Origin ===

impl Origin {
    fn new(scheme: Scheme, authority: &Authority) -> Result<Self, &'static str> {
        if authority.host().is_empty() {
            return Err("the URL names no host");
        }
        let default = if scheme == Scheme::HTTPS { 443 } else { 80 };
        // `Authority::port` is `None` for `host`, `host:` and `host:99999` alike.
        let place = authority.as_str().rsplit('@').next().unwrap_or_default();
        let port = match place.strip_prefix(authority.host()).unwrap_or_default() {
            "" => Some(default),
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|&port| port > 0),
        };
        let port = port.ok_or("the port must be between 1 and 65535")?;
        Ok(Self {
            scheme,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }

    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// As a URL names it: without a port that goes without saying.
    fn authority(&self) -> String {
        match (self.is_https(), self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => self.to_string(),
        }
    }

    fn may_lead_to(&self, other: &Origin) -> bool {
        let upgrade = !self.is_https()
            && other.is_https()
            && self.host == other.host
            && (self.port == other.port || (self.port, other.port) == (80, 443));
        self == other || upgrade
    }
}

/// As `host:port`.
impl Origin {
    /// As the beginning of a URL.
    pub(super) fn url(&self) -> String {
        format!("{}://{self}", self.scheme)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_redirect_leaves_its_host(location in "(https?:|//|/|@|:|\\?|#|\\\\|prom|evil|9090|80|443|[a-z.%\\[\\]]|\\PC){0,12}") {
            for base in ["http://prom:9090/p", "https://prom"] {
                let from = Base::parse(base).unwrap().endpoint;
                if let Ok(to) = from.redirected(&location) {
                    prop_assert_eq!(&to.origin.host, "prom");
                    prop_assert!(to.origin == from.origin || to.origin.is_https());
                    let uri = to.uri(Some("q=1")).unwrap();
                    prop_assert_eq!(uri.host(), Some("prom"));
                }
            }
        }
    }

    #[test]
    fn base_urls() {
        let check = |url: &str, expected: &str| {
            let base = Base::parse(url).unwrap();
            assert_eq!(base.endpoint.uri(None).unwrap().to_string(), expected, "{url}");
        };
        check("http://prom", "http://prom/api/v1/query");
        check("http://prom:9090/", "http://prom:9090/api/v1/query");
        check("HTTPS://Prom/a/b//", "https://prom/a/b/api/v1/query");
        check(" http://[::1]:9090/p ", "http://[::1]:9090/p/api/v1/query");
        check("http://u:p@prom", "http://prom/api/v1/query");
    }

    #[test]
    fn user_and_password_are_taken_out_of_the_url() {
        let base = Base::parse("http://us%65r:p%40ss%3A@prom").unwrap();
        let (user, password) = base.user.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("user", "p@ss:"));
    }

    #[test]
    fn bad_urls_say_what_would_be_right_and_keep_the_password() {
        let check = |url: &str, expected: &str| {
            let error = Base::parse(url).err().unwrap().to_string();
            assert!(error.starts_with("url: ") && error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check("", "such as http://");
        check("prometheus:9090", "must start with http://");
        check("/prometheus", "must start with http://");
        check("ftp://prom", "must start with http://");
        check("http://", "not a URL");
        check("http://prom:0", "port");
        check("http://prom:99999", "port");
        check("http://prom?token=hunter2", "query string");
        check("http://prom#x", "fragment");
        check("http://a:hunter2@prom:x", "port");
        check("http://a:hunter2/?@prom", "<secret>@prom");
        check("http://a:hunter2@prom/api/v1/query", "before /api/v1");
        check("http://prom/x/api/v1/", "\"/x\"");
        check("http://prom/a b", "not a URL");
    }

    #[test]
    fn a_redirect_stays_on_its_host() {
        let follows = |from: &str, location: &str, expected: Option<&str>| {
            let endpoint = Base::parse(from).unwrap().endpoint;
            let to = endpoint.redirected(location).ok();
            let to = to.map(|e| e.uri(None).unwrap().to_string());
            assert_eq!(to.as_deref(), expected, "{from} -> {location}");
        };
        let base = "http://prom:9090/p";
        follows(base, "/q", Some("http://prom:9090/q"));
        follows(base, "q?x=1#f", Some("http://prom:9090/p/api/v1/q?x=1"));
        follows(base, "?x=1", Some("http://prom:9090/p/api/v1/query?x=1"));
        follows(base, "//PROM:9090/q", Some("http://prom:9090/q"));
        follows(base, "https://prom:9090/q", Some("https://prom:9090/q"));
        follows("http://prom", "https://prom/q", Some("https://prom/q"));
        follows("http://prom", "https://prom:9443/q", None);
        follows("https://prom", "http://prom/q", None);
        follows("https://prom", "http://prom:443/q", None);
        follows(base, "http://prom:9091/q", None);
        follows(base, "http://prom/q", None);
        follows(base, "//evil:9090/q", None);
        follows(base, "http://prom:9090@evil/q", None);
        follows(base, "http://x@prom:9090/q", None);
        follows(base, "javascript:alert(1)", None);
        follows(base, "", None);
    }
}
