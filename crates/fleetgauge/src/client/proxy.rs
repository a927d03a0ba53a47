//! Which HTTP proxy a request goes through, by the rules of Go's `net/http`, which Prometheus follows.
//!
//! What is reached by `https` is reached through a tunnel (`CONNECT`), of which the proxy sees host and port; a
//! request by `http` is handed to the proxy whole. The matching of `NO_PROXY` is hyper-util's; it knows no ports,
//! so those are compared here.
//!
//! Source: <https://pkg.go.dev/golang.org/x/net/http/httpproxy>.

use std::fmt;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;

use super::config::ConfigError;
use super::endpoint::{Origin, shown_url, whole_url};
use super::secret::Secret;

/// Which HTTP proxy is used for what. Default: none.
///
/// The library reads no environment: whoever wants its proxies hands the variables in.
///
/// ```
/// use fleetgauge::prometheus::ProxyConfig;
///
/// let vars = [("HTTPS_PROXY", "http://me:hunter2@proxy:3128"), ("NO_PROXY", ".svc,10.0.0.0/8")];
/// let proxy = ProxyConfig::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())))?;
/// assert!(!format!("{proxy:?}").contains("hunter2"));
/// # Ok::<(), fleetgauge::prometheus::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    http: Option<Proxy>,
    https: Option<Proxy>,
    no_proxy: String,
    /// Whether `localhost` and loopback addresses are reached by the proxy as well.
    for_loopback: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Proxy {
    /// With user and password.
    url: Secret,
    origin: Origin,
    password: Option<Secret>,
}

/// The proxy for one destination.
pub(crate) struct Through {
    /// Where it is.
    pub(crate) uri: Uri,
    /// What shows who asks, for the header `Proxy-Authorization`.
    pub(crate) auth: Option<HeaderValue>,
}

// === impl ProxyConfig ===

impl ProxyConfig {
    /// No proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxy at `url` for all requests: `http://[user[:password]@]host[:port]`, `host:port`, or
    /// `:port` of this machine.
    ///
    /// *Errors*: [`ConfigError`] if it is none, or to be spoken to in another way than by `http`.
    pub fn url(url: &str) -> Result<Self, ConfigError> {
        let proxy = Proxy::parse(url, "proxy")?;
        Ok(Self {
            http: Some(proxy.clone()),
            https: Some(proxy),
            no_proxy: String::new(),
            for_loopback: true,
        })
    }

    /// The proxies in these variables; all others, and empty ones, are ignored.
    ///
    /// | variable | is |
    /// |---|---|
    /// | `HTTP_PROXY`, else `http_proxy` | the proxy for `http`; the former is ignored beside `REQUEST_METHOD`, as in a CGI script, whose callers can set it |
    /// | `HTTPS_PROXY`, else `https_proxy` | the proxy for `https` |
    /// | `NO_PROXY`, else `no_proxy` | what is reached without: see [`with_no_proxy`](Self::with_no_proxy) |
    ///
    /// `localhost` and loopback addresses are reached without a proxy.
    ///
    /// *Errors*: [`ConfigError`], which names the variable.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let names = [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "NO_PROXY",
            "no_proxy",
            "REQUEST_METHOD",
        ];
        let mut values: [Option<String>; 7] = Default::default();
        for (name, value) in vars {
            if let Some(at) = names.iter().position(|known| *known == name)
                && !value.is_empty()
            {
                values[at] = Some(value);
            }
        }
        let is_cgi = values[6].is_some();
        if is_cgi {
            values[0] = None;
        }
        let first = |at: usize| [at, at + 1].into_iter().find(|&at| values[at].is_some());
        let proxy = |at: usize| match first(at) {
            None => Ok(None),
            Some(at) => Proxy::parse(values[at].as_deref().unwrap_or_default(), names[at]).map(Some),
        };
        Ok(Self {
            http: proxy(0)?,
            https: proxy(2)?,
            no_proxy: first(4).and_then(|at| values[at].clone()).unwrap_or_default(),
            for_loopback: false,
        })
    }

    /// Sets what is reached without a proxy: a list with commas of hosts, domains (with those below them),
    /// addresses and networks (`10.0.0.0/8`), each with `:port` where it is meant for that port alone; `*` is
    /// everything.
    #[must_use]
    pub fn with_no_proxy(mut self, no_proxy: impl Into<String>) -> Self {
        self.no_proxy = no_proxy.into();
        self
    }

    /// The proxy on the way to `origin`, if there is one.
    pub(crate) fn to_origin(&self, origin: &Origin) -> Option<Through> {
        self.through(&origin.url().parse().ok()?)
    }

    /// The proxy on the way to `destination`.
    pub(crate) fn through(&self, destination: &Uri) -> Option<Through> {
        let is_https = destination.scheme() == Some(&Scheme::HTTPS);
        let proxy = if is_https { &self.https } else { &self.http }.as_ref()?;
        let host = destination.host()?;
        if !self.for_loopback && is_loopback(host) {
            return None;
        }
        let port = destination.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let no_proxy: Vec<_> = self
            .no_proxy
            .split(',')
            .filter_map(|entry| for_port(entry.trim(), port))
            .collect();
        let matcher = Matcher::builder()
            .all(proxy.url.expose())
            .no(no_proxy.join(","))
            .build();
        let found = matcher.intercept(destination)?;
        Some(Through {
            uri: found.uri().clone(),
            auth: found.basic_auth().cloned(),
        })
    }

    /// What must not be printed.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let both = [&self.http, &self.https].into_iter().flatten();
        both.filter_map(|proxy| proxy.password.as_ref().map(Secret::expose))
    }
}

/// Without user and password.
impl fmt::Debug for ProxyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |proxy: &Option<Proxy>| proxy.as_ref().map(|proxy| proxy.origin.url());
        f.debug_struct("ProxyConfig")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

// === impl Proxy ===

impl Proxy {
    /// *Errors*: what is wrong with it, told of `field` and without the password.
    fn parse(url: &str, field: &str) -> Result<Self, ConfigError> {
        let url = url.trim();
        let invalid = |problem: &str| ConfigError::Invalid {
            field: field.into(),
            problem: format!("{problem}, in {}", shown_url(url)),
        };
        let whole = whole_url(url);
        if whole.matches('@').count() > 1 {
            return Err(invalid("an @ in a user or password is written %40"));
        }
        let uri: Uri = whole
            .parse()
            .map_err(|_| invalid("not a URL such as http://proxy:3128"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(invalid("a proxy is spoken to by http:// alone"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("the URL names no host"))?;
        let origin = Origin::new(Scheme::HTTP, authority).map_err(invalid)?;
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| {
            let decoded = percent_decode_str(password).decode_utf8_lossy();
            Secret::from(&*decoded)
        });
        Ok(Self {
            url: Secret::from(&*whole),
            origin,
            password,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An entry of `NO_PROXY` as hyper-util reads it, if it holds for `port`.
fn for_port(entry: &str, port: u16) -> Option<&str> {
    let (host, own_port) = match entry.rsplit_once(':') {
        // An IPv6 address without brackets is one with more than one colon.
        Some((host, own)) if !host.contains(':') || host.ends_with(']') => (host, own.parse().ok()),
        _ => (entry, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A domain of which only what is below it is meant has a star before the dot, or not.
    let host = host
        .strip_prefix('*')
        .filter(|rest| !rest.is_empty())
        .unwrap_or(host);
    own_port.is_none_or(|own: u16| own == port).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(vars: &[(&str, &str)]) -> Result<ProxyConfig, ConfigError> {
        ProxyConfig::from_vars(vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn variables_name_the_proxy_of_a_destination() {
        let check = |given: &[(&str, &str)], destination: &str, expected: Option<&str>| {
            let through = vars(given).unwrap().through(&destination.parse().unwrap());
            let found = through.map(|through| through.uri.to_string());
            assert_eq!(found.as_deref(), expected, "{given:?} to {destination}");
        };
        let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2")];
        check(&both, "http://prom", Some("http://a:1/"));
        check(&both, "https://prom:9090", Some("http://b:2/"));
        check(
            &[("HTTP_PROXY", ":3128")],
            "http://prom",
            Some("http://localhost:3128/"),
        );
        check(&[], "http://prom", None);
        check(&both[..1], "https://prom", None);
        check(&[("ALL_PROXY", "http://a:1")], "http://prom", None);
        check(
            &[("http_proxy", "http://low:1"), ("HTTP_PROXY", "http://up:1")],
            "http://prom",
            Some("http://up:1/"),
        );
        check(
            &[("HTTP_PROXY", ""), ("http_proxy", "http://low:1")],
            "http://prom",
            Some("http://low:1/"),
        );
        // A CGI script's callers set HTTP_PROXY by the header `Proxy`.
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://a:1")];
        check(&cgi, "http://prom", None);
        for local in ["http://localhost:9090", "http://127.0.0.1", "http://[::1]:80"] {
            check(&both, local, None);
        }
    }

    #[test]
    fn what_no_proxy_names_is_reached_without() {
        let check = |no_proxy: &str, destination: &str, direct: bool| {
            let proxy = ProxyConfig::url("http://a:1").unwrap().with_no_proxy(no_proxy);
            let through = proxy.through(&destination.parse().unwrap());
            assert_eq!(through.is_none(), direct, "{no_proxy} to {destination}");
        };
        check("", "http://127.0.0.1", false);
        check("prom", "http://prom:9090", true);
        check("other, PROM", "http://prom:9090", true);
        check("om", "http://prom:9090", false);
        check("example.com", "http://a.b.example.com", true);
        check("example.com", "http://badexample.com", false);
        check(".svc,.local", "https://prom.monitoring.svc", true);
        check("*.svc", "https://prom.monitoring.svc", true);
        check("10.0.0.0/8", "http://10.7.8.9:8000", true);
        check("10.0.0.0/8", "http://11.7.8.9:8000", false);
        check("10.7.8.9", "http://10.7.8.9:8000", true);
        check("fd00::/8", "http://[fd00::1]:8000", true);
        check("::1", "http://[::1]:8000", true);
        check("[::1]:8000", "http://[::1]:8000", true);
        check("[::1]:8001", "http://[::1]:8000", false);
        check("prom:9090", "http://prom:9090", true);
        check("prom:9090", "http://prom:9091", false);
        check("prom:443", "https://prom", true);
        check("prom:80", "https://prom", false);
        check("*", "https://prom", true);
    }

    #[test]
    fn bad_proxies_say_what_would_be_right_and_keep_the_password() {
        let check = |url: &str, expected: &str| {
            let error = vars(&[("HTTPS_PROXY", url)]).unwrap_err().to_string();
            assert!(
                error.starts_with("HTTPS_PROXY: ") && error.contains(expected),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        };
        check("socks5://u:hunter2@proxy", "by http:// alone");
        check("https://proxy", "by http:// alone");
        check("http://u:hunter2@proxy:x", "port");
        check("http://u:hunter2@@", "is written %40");
        check("http://u:hun@hunter2@proxy:3128", "is written %40");
        check("http://", "such as http://proxy:3128");
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let proxy = ProxyConfig::url("http://me:hunter%32@proxy:3128").unwrap();
        let shown = format!("{proxy:?}");
        assert!(
            shown.contains("http://proxy:3128") && !shown.contains("hunter"),
            "{shown}"
        );
        let through = proxy.through(&"http://prom".parse().unwrap()).unwrap();
        let auth = through.auth.unwrap();
        // `me:hunter2`
        assert_eq!(
            (auth.to_str().unwrap(), auth.is_sensitive()),
            ("Basic bWU6aHVudGVyMg==", true)
        );
        assert!(proxy.secrets().all(|secret| secret == "hunter2"));
        assert_eq!(through.uri, "http://proxy:3128/");
    }
}
