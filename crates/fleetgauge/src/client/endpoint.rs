//! Where a request goes, and where a redirect may lead.
//!
//! A request carries credentials and tenants, so it follows a redirect only to the host it was meant for: the
//! same scheme, host and port, or the same host by `https` where it was `http`. What serves metrics does not
//! move elsewhere in the middle of a request; what does redirect elsewhere is a login page, and an error that
//! names it helps more than its HTML.

use std::borrow::Cow;
use std::fmt;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::failure::excerpt;

/// Scheme, host and port: whom a request goes to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: u16,
}

/// A place to send a query to.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    pub(crate) path: PathAndQuery,
}

/// `url` with what may be left out: without a scheme it is http, and without a host before the port this machine.
pub(crate) fn whole_url(url: &str) -> Cow<'_, str> {
    match (url.contains("://"), url.starts_with(':')) {
        (true, _) => Cow::Borrowed(url),
        (false, true) => Cow::Owned(format!("http://localhost{url}")),
        (false, false) => Cow::Owned(format!("http://{url}")),
    }
}

/// `url` without what may be secret in it.
pub(crate) fn shown_url(url: &str) -> String {
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

// === impl Endpoint ===

impl Endpoint {
    /// The URI to request; `query` is added where there is no query string yet.
    pub(crate) fn uri(&self, query: Option<&str>) -> Result<Uri, http::Error> {
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
    pub(crate) fn redirected(&self, location: &str) -> Result<Endpoint, String> {
        let unusable = || "redirected to a location that is not a URL".to_owned();
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
        if !self.origin.may_lead_to(&origin) {
            return Err(format!(
                "redirected to {}://{origin}, which is another host than {}://{}; nothing was sent there. If \
                 that is the right server, set the URL to it",
                origin.scheme, self.origin.scheme, self.origin,
            ));
        }
        if authority.as_str().contains('@') {
            return Err(format!(
                "redirected to {}://{origin} with a user in the URL; nothing was sent there. Who asks is for the \
                 configuration to say, not for the server",
                origin.scheme,
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
    pub(crate) fn new(scheme: Scheme, authority: &Authority) -> Result<Self, &'static str> {
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

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// As a URL names it: without a port that goes without saying.
    pub(crate) fn authority(&self) -> String {
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
    pub(crate) fn url(&self) -> String {
        format!("{}://{self}", self.scheme)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
