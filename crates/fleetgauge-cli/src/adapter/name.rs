//! Which series a rule is about, and what its metrics are called.

use std::collections::HashSet;

use fleetgauge::document::{Node, Reader};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_server::metric::MetricName;
use fleetgauge_syntax::regex::{is_meta, rewrite};
use fleetgauge_syntax::tree::{Expr, MatchOp};
use regex::Regex;

/// A condition on the name of a series.
#[derive(Debug)]
pub(super) struct Filter {
    regex: Regex,
    is_not: bool,
}

/// How the name of a series becomes that of a metric.
#[derive(Debug)]
pub(super) struct Naming {
    matches: Option<Regex>,
    renamed: String,
}

/// The names of the series that a query for series finds, whatever a server has.
pub(super) fn series(node: &Node, reader: &mut Reader) -> Option<Vec<String>> {
    let text = reader.text(node)?;
    let selector = match fleetgauge_syntax::parse(text) {
        Ok(Expr::Selector(selector)) => selector,
        Ok(_) => {
            reader.problem(node.position(), "seriesQuery is not a selector of series");
            return None;
        }
        Err(error) => {
            reader.problem(node.position(), format!("seriesQuery is not PromQL: {error}"));
            return None;
        }
    };
    let names = selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name == "__name__");
    let names: Vec<_> = names.collect();
    let found = match names[..] {
        [one] if one.op == MatchOp::Equal && !one.value.is_empty() => Some(vec![one.value.clone()]),
        [one] if one.op == MatchOp::Regex => alternatives(&one.value),
        _ => None,
    };
    if found.is_none() {
        let message = "which series it finds depends on what is in Prometheus: write a rule for each metric that HPAs ask for, \
                       with its name as in {__name__=\"NAME\"}";
        reader.problem(node.position(), message);
    }
    found
}

/// The names that a regular expression stands for which is nothing but names.
fn alternatives(regex: &str) -> Option<Vec<String>> {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let regex = regex.strip_suffix('$').unwrap_or(regex);
    let inner = regex.strip_prefix("(?:").or_else(|| regex.strip_prefix('('));
    let regex = inner.and_then(|inner| inner.strip_suffix(')')).unwrap_or(regex);
    let names: Vec<_> = regex.split('|').map(str::to_owned).collect();
    let is_name = |name: &String| !name.is_empty() && !name.bytes().any(is_meta);
    names.iter().all(is_name).then_some(names)
}

pub(super) fn read_filters(node: Option<&Node>, reader: &mut Reader) -> Option<Vec<Filter>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let mut filters = Vec::new();
    for node in reader.list(node, "a list of filters") {
        let mut fields = reader.fields(node, "a filter")?;
        let (is, is_not) = (fields.take("is"), fields.take("isNot"));
        fields.finish(reader);
        let (regex, is_not) = match (is, is_not) {
            (Some(is), None) => (is, false),
            (None, Some(is_not)) => (is_not, true),
            _ => {
                reader.problem(node.position(), "a filter is one of is and isNot");
                return None;
            }
        };
        let regex = read_regex(regex, reader)?;
        filters.push(Filter { regex, is_not });
    }
    Some(filters)
}

pub(super) fn read_naming(node: Option<&Node>, reader: &mut Reader) -> Option<Naming> {
    let (mut matches, mut renamed) = (None, None);
    if let Some(node) = node {
        let mut fields = reader.fields(node, "name")?;
        matches = fields.take("matches").filter(|node| node.as_text() != Some(""));
        renamed = fields
            .take("as")
            .and_then(|node| reader.text(node))
            .filter(|text| !text.is_empty());
        fields.finish(reader);
    }
    let regex = match matches {
        Some(node) => Some(read_regex(node, reader)?),
        None => None,
    };
    let groups = regex.as_ref().map_or(1, Regex::captures_len);
    let renamed = match (renamed, groups) {
        (Some(renamed), _) => renamed,
        (None, 1) => "$0",
        (None, 2) => "$1",
        (None, _) => {
            let position = matches.or(node)?.position();
            reader.problem(
                position,
                "`as` is missing, which says what of several groups is the name",
            );
            return None;
        }
    };
    Some(Naming {
        matches: regex,
        renamed: renamed.to_owned(),
    })
}

/// Fits anywhere in a name, as the adapter's.
fn read_regex(node: &Node, reader: &mut Reader) -> Option<Regex> {
    let text = reader.text(node)?;
    let why = match rewrite(text) {
        Ok(rewritten) => match Regex::new(&rewritten) {
            Ok(regex) => return Some(regex),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    reader.problem(
        node.position(),
        format!("not a regular expression: {}", Excerpt(&why)),
    );
    None
}

/// The name that a metric can have here, which no other has yet; `None` where one of its kind has it.
pub(super) fn ours(name: &str, is_external: bool, taken: &mut HashSet<String>) -> Option<String> {
    let allowed = |char: char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '_' | '-') => char,
        _ => '_',
    };
    let mut name: String = name.chars().map(allowed).collect();
    if name.parse::<MetricName>().is_err() {
        name.insert_str(0, "metric_");
        name.truncate(100);
    }
    if !taken.contains(&name) {
        taken.insert(name.clone());
        return Some(name);
    }
    // The same name may be one of pods and one that is external.
    let name = format!("{name}_external");
    (is_external && name.len() <= 100 && taken.insert(name.clone())).then_some(name)
}

// === impl Filter ===

impl Filter {
    pub(super) fn takes(&self, series: &str) -> bool {
        self.regex.is_match(series) != self.is_not
    }
}

// === impl Naming ===

impl Naming {
    /// `None` where it does not fit.
    pub(super) fn apply(&self, series: &str) -> Option<String> {
        let mut name = String::new();
        match &self.matches {
            Some(regex) => regex.captures(series)?.expand(&self.renamed, &mut name),
            // The whole name is all that there is to refer to.
            None => name = self.renamed.replace("${0}", series).replace("$0", series),
        }
        Some(name)
    }
}
