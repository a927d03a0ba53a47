//! Where the API is: the base URL as configured.

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use percent_encoding::percent_decode_str;

use crate::client::endpoint::{Endpoint, Origin, shown_url, whole_url};
use crate::client::{ConfigError, Secret};

const API_PATH: &str = "/api/v1/query";
const RANGE_API_PATH: &str = "/api/v1/query_range";
const RULES_API_PATH: &str = "/api/v1/rules";

/// The endpoint of a base URL, with the user and password in it.
pub(super) struct Base {
    /// Of the URL itself.
    #[cfg_attr(not(feature = "remote_write"), allow(dead_code))]
    pub(super) path: PathAndQuery,
    /// Of instant queries.
    pub(super) endpoint: Endpoint,
    pub(super) range_endpoint: Endpoint,
    /// Of the server's recording rules.
    pub(super) rules_endpoint: Endpoint,
    pub(super) user: Option<(String, Secret)>,
}

// === impl Base ===

impl Base {
    /// Reads `[http(s)://][user[:password]@][host][:port][/prefix]`: without a scheme it is http, and without a host
    /// before the port this machine.
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
        let uri: Uri = whole_url(url)
            .parse()
            .map_err(|e: http::uri::InvalidUri| fault(&format!("not a URL ({e})")))?;
        if uri.query().is_some() {
            return Err(fault(
                "a base URL has no query string (?…); set query parameters by `query_params`",
            ));
        }
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| fault("the scheme of the URL must be http or https"))?;
        let authority = parts.authority.ok_or_else(|| fault("the URL names no host"))?;
        let path = parts.path_and_query.as_ref().map_or("", |path| path.path());
        let prefix = path.trim_end_matches('/');
        if let Some(base) = [API_PATH, RANGE_API_PATH, "/api/v1"]
            .iter()
            .find_map(|path| prefix.strip_suffix(path))
        {
            return Err(fault(&format!(
                "the base URL ends before /api/v1: here its path is {:?}",
                if base.is_empty() { "/" } else { base }
            )));
        }
        let path = |name: &str| {
            PathAndQuery::try_from(format!("{prefix}{name}")).map_err(|e| fault(&format!("not a URL ({e})")))
        };
        let paths = (path(API_PATH)?, path(RANGE_API_PATH)?, path(RULES_API_PATH)?);
        let own_path = match prefix {
            "" => PathAndQuery::from_static("/"),
            _ => path("")?,
        };
        let origin = Origin::new(scheme, &authority).map_err(fault)?;
        let endpoint = |path| Endpoint {
            origin: origin.clone(),
            path,
        };
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
            path: own_path,
            endpoint: endpoint(paths.0),
            range_endpoint: endpoint(paths.1),
            rules_endpoint: endpoint(paths.2),
            user,
        })
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
        check("/prometheus", "not a URL");
        check("ftp://prom", "must be http or https");
        check("a:hunter2@prom:x", "port");
        check("http://", "not a URL");
        check("http://prom:0", "port");
        check("http://prom:99999", "port");
        check("http://prom?token=hunter2", "query string");
        check("http://prom#x", "fragment");
        check("http://a:hunter2@prom:x", "port");
        check("http://a:hunter2/?@prom", "<secret>@prom");
        check("http://a:hunter2@prom/api/v1/query", "before /api/v1");
        check("http://prom/api/v1/query_range", "before /api/v1");
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
