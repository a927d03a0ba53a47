//! Which pages there are, and what all of them have in common.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use fleetgauge_core::printable::Printable;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::chart::Span;

/// A page, as its address names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Page {
    /// Variants, metrics and pods; those whose names contain `filter`.
    Overview { filter: String },
    /// One metric over a range.
    Metric { name: String, range: Range },
    /// What is scraped; those whose labels or address contain `filter`, or only what is not well.
    Targets { filter: String, only_ill: bool },
    /// Where numbers come from.
    Sources,
}

/// How far back a chart reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Range {
    FiveMinutes,
    #[default]
    Quarter,
}

/// A part of a page that is brought up to date by itself.
pub(super) struct Part {
    /// The `id` of its element.
    pub(super) id: &'static str,
    pub(super) content: Markup,
}

/// A page without the parts of it that change.
pub(super) struct Frame {
    pub(super) title: String,
    /// What stands before the parts, and stays as it is.
    pub(super) head: Markup,
}

/// Where the dashboard's own pages are.
pub(super) const ROOT: &str = "/dashboard";

/// No name or filter is longer. *Unit*: bytes.
const MAX_TEXT: usize = 500;

/// What stays as it is in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

// === impl Page ===

impl Page {
    /// The page at `path`, with the parameters of `query`; unknown ones change nothing, as links bring their own.
    pub(super) fn of(path: &str, query: &str) -> Option<Self> {
        let param = |name: &str| {
            let mut params = form_urlencoded::parse(query.as_bytes());
            let given = params.find(|(known, _)| known == name);
            given.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let filter = param("q");
        if filter.len() > MAX_TEXT || path.len() > MAX_TEXT {
            return None;
        }
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let path = path.strip_prefix(ROOT).unwrap_or(&path).trim_end_matches('/');
        match path {
            "" => Some(Self::Overview { filter }),
            "/targets" => Some(Self::Targets {
                filter,
                only_ill: param("state") == "ill",
            }),
            "/sources" => Some(Self::Sources),
            path => Some(Self::Metric {
                name: path
                    .strip_prefix("/metrics/")
                    .filter(|name| !name.contains('/'))?
                    .to_owned(),
                range: Range::of(&param("range")),
            }),
        }
    }

    /// What is to be said of the parameters of `query` that it does not have: who misspells one is not shown what he asked for.
    pub(super) fn unknown(&self, query: &str) -> Markup {
        let known: &[&str] = match self {
            Self::Overview { .. } => &["q"],
            Self::Targets { .. } => &["q", "state"],
            Self::Metric { .. } => &["range"],
            Self::Sources => &[],
        };
        let mut given = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        let unknown = given.find(|name| !known.contains(&&**name));
        html! {
            @if let Some(name) = unknown {
                p .problems role="note" {
                    "This page has no parameter " code { (Printable(&name)) } ", which changes nothing here; it has "
                    @match known { [] => "none.", _ => { (known.join(", ")) "." } }
                }
            }
        }
    }

    /// Its address.
    pub(super) fn address(&self) -> String {
        let filtered = |path: &str, filter: &str, rest: &str| match filter {
            "" => format!("{path}{rest}"),
            filter => format!("{path}?q={}{}", encoded(filter), rest.replace('?', "&")),
        };
        match self {
            Self::Overview { filter } => filtered("/", filter, ""),
            Self::Metric { name, range } => {
                format!("{}?range={}", metric_address(name), range.as_str())
            }
            Self::Targets { filter, only_ill } => {
                let rest = if *only_ill { "?state=ill" } else { "" };
                filtered(&format!("{ROOT}/targets"), filter, rest)
            }
            Self::Sources => format!("{ROOT}/sources"),
        }
    }

    /// All of it: `frame`, and the parts as they are now.
    pub(super) fn document(&self, frame: &Frame, parts: &[(&'static str, impl AsRef<str>)]) -> Markup {
        document(Some(self), frame, parts)
    }

    /// Whether a link to `address` leads here.
    fn is_at(&self, address: &str) -> bool {
        match self {
            Self::Overview { .. } => address == "/",
            Self::Metric { .. } => false,
            Self::Targets { .. } => address.ends_with("/targets"),
            Self::Sources => address.ends_with("/sources"),
        }
    }
}

// === impl Range ===

impl Range {
    const ALL: [Self; 2] = [Self::FiveMinutes, Self::Quarter];

    fn of(text: &str) -> Self {
        let known = Self::ALL.into_iter().find(|range| range.as_str() == text);
        known.unwrap_or_default()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Quarter => "15m",
        }
    }

    /// The times that are drawn.
    pub(super) fn span(self, now: fleetgauge_core::time::Timestamp) -> Span {
        let (seconds, steps) = match self {
            Self::FiveMinutes => (300, 150),
            Self::Quarter => (900, 180),
        };
        Span::last(std::time::Duration::from_secs(seconds), steps, now)
    }

    /// Links to the ranges of the metric `name`.
    pub(super) fn links(self, name: &str) -> Markup {
        html! {
            nav .ranges aria-label="Range of the chart" {
                @for range in Self::ALL {
                    @let page = Page::Metric { name: name.to_owned(), range };
                    a href=(page.address()) aria-current=[(range == self).then_some("true")] { (range.as_str()) }
                }
            }
        }
    }
}

// === helpers ===

/// A page that is brought up to date if it is one; a page of an error is none.
fn document(page: Option<&Page>, frame: &Frame, parts: &[(&'static str, impl AsRef<str>)]) -> Markup {
    let pages = [
        ("/", "Fleet"),
        ("/dashboard/targets", "Targets"),
        ("/dashboard/sources", "Sources"),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · Fleetgauge" }
                link rel="icon" href="/dashboard/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/dashboard/style.css";
                script src="/dashboard/live.js" defer {}
                noscript { meta http-equiv="refresh" content="5"; }
            }
            body data-live=[page.map(|page| format!("/dashboard/live?page={}", encoded(&page.address())))] {
                a .skip href="#main" { "Skip to the numbers" }
                header {
                    a .brand href="/" {
                        svg viewBox="0 0 32 32" aria-hidden="true" { (PreEscaped(ICON)) }
                        "Fleetgauge"
                    }
                    nav aria-label="Pages" {
                        @for (address, name) in pages {
                            a href=(address) aria-current=[page.is_some_and(|page| page.is_at(address)).then_some("page")] { (name) }
                        }
                    }
                    p #live role="status" { "not live" }
                }
                main #main tabindex="-1" {
                    (frame.head)
                    @for (id, content) in parts {
                        section id=(id) { (PreEscaped(content.as_ref())) }
                    }
                }
            }
        }
    }
}

/// The shape of the icon, within 32 by 32.
pub(super) const ICON: &str = r##"<path d="M4 22a12 12 0 1 1 24 0" fill="none" stroke="#0f9d8a" stroke-width="5" stroke-linecap="round"/><path d="M16 22 23 12" stroke="#e2711d" stroke-width="4" stroke-linecap="round"/><circle cx="16" cy="22" r="3" fill="#e2711d"/>"##;

/// The address of the page of a metric.
pub(super) fn metric_address(name: &str) -> String {
    format!("{ROOT}/metrics/{}", encoded(name))
}

/// The address of the targets whose labels contain `text`.
pub(super) fn targets_address(text: &str) -> String {
    format!("{ROOT}/targets?q={}", encoded(text))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A page that says why there is none.
pub(super) fn told(status: StatusCode, detail: &str) -> Response {
    let parts: [(&str, &str); 0] = [];
    let frame = Frame {
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        head: html! {
            h1 { (status.canonical_reason().unwrap_or("Error")) }
            p { (Printable(detail)) }
            p { a href="/" { "The fleet" } }
        },
    };
    let page = document(None, &frame, &parts);
    (status, Html(page.into_string())).into_response()
}

/// A field that filters, and whatever else the form asks for.
pub(super) fn filter_form(action: &str, label: &str, filter: &str, more: &Markup) -> Markup {
    html! {
        form .filter action=(action) method="get" role="search" {
            label { (label) " " input type="search" name="q" value=(filter) maxlength=(MAX_TEXT) autocomplete="off"; }
            (more)
            button { "Show" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_one_address() {
        let pages = [
            Page::Overview {
                filter: String::new(),
            },
            Page::Overview {
                filter: "a&b=\"é\"".to_owned(),
            },
            Page::Metric {
                name: "queue".to_owned(),
                range: Range::FiveMinutes,
            },
            Page::Targets {
                filter: "llama 8b".to_owned(),
                only_ill: true,
            },
            Page::Targets {
                filter: String::new(),
                only_ill: true,
            },
            Page::Sources,
        ];
        for page in pages {
            let address = page.address();
            let (path, query) = address.split_once('?').unwrap_or((&address, ""));
            assert_eq!(Page::of(path, query), Some(page), "{address}");
        }
        assert_eq!(Page::of("/dashboard/other", ""), None);
        assert_eq!(Page::of("/dashboard/metrics/a/b", ""), None);
        assert_eq!(Page::of("/dashboard/metrics/%ff", ""), None);
        assert_eq!(Page::of("/", &format!("q={}", "x".repeat(MAX_TEXT + 1))), None);
    }
}
