//! What is accepted of a query's answers, and who should report, as it stands in a file.

use std::collections::HashMap;
use std::time::Duration;

use fleetgauge_core::policy::{
    Fold, OnError, OnIncomplete, OnNoData, OnUndefined, Policy, PolicyError, PolicyFacts,
};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::{QueryName, QueryTemplate};
use fleetgauge_core::similar::similar;
use fleetgauge_core::transform::weights;

use super::transform::Unknown;
use crate::document::{Node, Reader};

/// What is known of queries beside the file that they stand in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueryContext<'a> {
    /// The policy beneath those of the queries.
    pub defaults: &'a Policy,
    /// All queries of their source, by their names.
    pub known: HashMap<&'a str, &'a QueryTemplate>,
    /// Whether their source may know who should report.
    pub knows_completeness: bool,
    /// How far the samples of their source are apart, where that is known.
    pub sample_interval: Option<Duration>,
}

// === impl QueryContext ===

impl<'a> QueryContext<'a> {
    /// That of the queries of a source that may know who should report.
    pub fn new(defaults: &'a Policy, known: impl IntoIterator<Item = &'a QueryTemplate>) -> Self {
        let known = known.into_iter().map(|query| (&*query.name, query));
        Self {
            defaults,
            known: known.collect(),
            knows_completeness: true,
            sample_interval: None,
        }
    }
}

// === reading ===

/// Reads a policy: `policy:` of a query, of the defaults, of a metric. A name without a pack is put behind `pack/`, where
/// there is one.
///
/// What is not a policy is noted with `reader`; whether it can be followed tells [`check_policy`].
pub fn read_policy(node: &Node, pack: Option<&str>, reader: &mut Reader) -> Policy {
    let mut policy = Policy::default();
    let Some(mut fields) = reader.fields(node, "a policy") else {
        return policy;
    };
    let max_age = fields.take("max_age");
    policy.max_age = max_age.and_then(|node| reader.positive_duration(node));
    let completeness = fields.take("min_completeness");
    policy.min_completeness = completeness.and_then(|node| reader.number(node));
    let incomplete = fields.take("on_incomplete");
    let choices = OnIncomplete::ALL.map(|on| (on.as_str(), on));
    policy.on_incomplete = incomplete.and_then(|node| choice(node, "on_incomplete", &choices, reader));
    let error = fields.take("on_error");
    let choices = OnError::ALL.map(|on| (on.as_str(), on));
    policy.on_error = error.and_then(|node| choice(node, "on_error", &choices, reader));
    let no_data = fields.take("on_no_data");
    policy.on_no_data = no_data.and_then(|node| read_on_no_data(node, pack, reader));
    let undefined = fields.take("on_undefined");
    let choices = OnUndefined::ALL.map(|on| (on.as_str(), on));
    policy.on_undefined = undefined.and_then(|node| choice(node, "on_undefined", &choices, reader));
    // Zero is a time, too: it keeps what is beneath from holding.
    policy.hold = fields.take("hold").and_then(|node| reader.duration(node));
    fields.finish(reader);
    policy
}

/// One of a few words.
fn choice<T: Clone>(node: &Node, what: &str, choices: &[(&str, T)], reader: &mut Reader) -> Option<T> {
    let name = reader.text(node)?;
    let found = choices.iter().find(|(known, _)| *known == name);
    if found.is_none() {
        let known: Vec<_> = choices.iter().map(|(known, _)| *known).collect();
        let unknown = Unknown {
            what: &format!("{what}:"),
            name,
            known: &known,
        };
        reader.problem(node.position(), unknown.to_string());
    }
    found.map(|(_, value)| value.clone())
}

/// `fail`, `hold`, or a number and the query that proves it.
fn read_on_no_data(node: &Node, pack: Option<&str>, reader: &mut Reader) -> Option<OnNoData> {
    if node.is_text() {
        let choices = [("fail", OnNoData::Fail), ("hold", OnNoData::Hold)];
        return choice(node, "on_no_data", &choices, reader);
    }
    if node.as_number().is_some() {
        let message = "a number for no data needs its proof: {value: 0, when: PACK/NAME}, a query that has a row with the \
                       same labels where the number is right";
        reader.problem(node.position(), message);
        return None;
    }
    let mut fields = reader.fields(node, "on_no_data")?;
    let value = fields
        .require("value", reader)
        .and_then(|node| reader.number(node));
    let when = fields.require("when", reader);
    let when = when.and_then(|node| read_query_name(node, pack, reader));
    fields.finish(reader);
    Some(OnNoData::Value {
        value: value?,
        when: when?,
    })
}

/// The name of another query. One without a pack is of the same file.
pub(super) fn read_query_name(node: &Node, pack: Option<&str>, reader: &mut Reader) -> Option<QueryName> {
    let name = reader.text(node)?;
    let full = match pack {
        Some(pack) if !name.contains('/') => format!("{pack}/{name}"),
        _ => name.to_owned(),
    };
    let parsed = full.parse();
    if parsed.is_err() {
        let message = format!(
            "{} is not the name of a query, as PACK/NAME or, in the same file, NAME",
            Excerpt(name)
        );
        reader.problem(node.position(), message);
    }
    parsed.ok()
}

// === checking ===

/// Notes why `policy` cannot be followed, each reason at the field of `node` that it is about. `policy` is the one that
/// `node` says, over those beneath it.
pub fn check_policy(node: &Node, policy: &Policy, facts: &PolicyFacts, reader: &mut Reader) {
    let errors = policy.check(facts).err();
    for error in errors.iter().flat_map(|errors| errors.iter()) {
        let at = node.field(error.setting()).unwrap_or(node);
        let at = match error {
            // What is beneath holds something for no time, which has been told there.
            PolicyError::NoHold { setting } if !node.has_field(setting) && !node.has_field("hold") => {
                continue;
            }
            PolicyError::NoDataValue { .. } => at.field("value").unwrap_or(at),
            PolicyError::OwnProof { .. } => at.field("when").unwrap_or(at),
            _ => at,
        };
        reader.problem(at.position(), error.to_string());
    }
}

/// Notes why the policy of `query`, which `node` says, could not be followed whatever its source and the defaults are.
pub(super) fn check_alone(node: &Node, query: &QueryTemplate, reader: &mut Reader) {
    let holding = Policy::default().hold(Duration::from_secs(1));
    let mut facts = facts(query);
    facts.knows_completeness = true;
    check_policy(node, &query.policy.clone().over(&holding), &facts, reader);
}

fn facts(query: &QueryTemplate) -> PolicyFacts {
    let mut facts = PolicyFacts::default();
    facts.query = query.name.parse().ok();
    facts.fold = query.folds_by();
    facts
}

/// Whether a policy can be followed by some query: that of the defaults, which not every query has to.
pub fn check_defaults(node: &Node, defaults: &Policy, reader: &mut Reader) {
    let mut facts = PolicyFacts::default();
    facts.knows_completeness = true;
    facts.fold = Some(Fold::Sum);
    check_policy(node, defaults, &facts, reader);
}

/// Notes what is wrong with the policies of `queries`, which were read from the list `node` and are over the defaults, and
/// with the queries that they name, by what `context` knows.
pub fn check_queries(
    node: &Node,
    pack: Option<&str>,
    queries: &[QueryTemplate],
    context: &QueryContext<'_>,
    reader: &mut Reader,
) {
    for (node, query) in read_from(node, pack, queries) {
        let find = |name: &QueryName| match context.known.get(name.as_str()) {
            Some(query) => Ok(Some(*query)),
            None => Err(similar(name.as_str(), context.known.keys().copied())),
        };
        check_named(node, query, find, reader);
        let Some(node) = node.field("policy") else {
            continue;
        };
        let mut facts = facts(query);
        facts.knows_completeness = context.knows_completeness || query.expected.is_some();
        facts.sample_interval = context.sample_interval;
        check_policy(node, &query.policy.clone().over(context.defaults), &facts, reader);
    }
}

/// The queries, and where each of them stands in the list `node`. One of a name that is there twice has been told.
pub(super) fn read_from<'n, 'q>(
    node: &'n Node,
    pack: Option<&str>,
    queries: &'q [QueryTemplate],
) -> Vec<(&'n Node, &'q QueryTemplate)> {
    let nodes = node.as_list().unwrap_or_default().iter();
    let mut places: HashMap<String, &Node> = HashMap::new();
    for node in nodes {
        if let Some(name) = node.field("name").and_then(Node::as_text) {
            let name = pack.map_or_else(|| name.to_owned(), |pack| format!("{pack}/{name}"));
            places.entry(name).or_insert(node);
        }
    }
    let place = |query: &'q QueryTemplate| Some((*places.get(&query.name)?, query));
    queries.iter().filter_map(place).collect()
}

/// Notes what is wrong with the queries that `query` names, which stands at `node`. `find` gives the query of a name, none
/// where it cannot be known here, or the name that was likely meant.
pub(super) fn check_named<'q>(
    node: &Node,
    query: &QueryTemplate,
    find: impl Fn(&QueryName) -> Result<Option<&'q QueryTemplate>, Option<&'q str>>,
    reader: &mut Reader,
) {
    let mut found = |name: &QueryName, at: &Node| {
        find(name).unwrap_or_else(|similar| {
            let remedy = similar.map_or_else(String::new, |similar| format!("; did you mean {similar:?}?"));
            let name = Excerpt(name.as_str());
            reader.problem(at.position(), format!("there is no query {name}{remedy}"));
            None
        })
    };
    let when = node
        .field("policy")
        .and_then(|node| node.field("on_no_data")?.field("when"));
    if let (Some(OnNoData::Value { when: name, .. }), Some(at)) = (&query.policy.on_no_data, when) {
        found(name, at);
    }
    let (Some(name), Some(at)) = (&query.expected, node.field("expected")) else {
        return;
    };
    let Some(expected) = found(name, at) else { return };
    if expected.expected.is_some() || weights(&expected.transform).next().is_some() {
        let message = format!(
            "{} has a query of its own that is asked beside it (expected or weighted_by); name one that has none",
            expected.name
        );
        reader.problem(at.position(), message);
    }
    let is_given = |name: &str| query.params.iter().any(|param| param.name() == name);
    for param in &expected.params {
        if param.is_required() && !is_given(param.name()) {
            let message = format!(
                "{} needs the parameter {:?}, which this query does not declare",
                expected.name,
                param.name()
            );
            reader.problem(at.position(), message);
        }
    }
}
