//! The query that `query` and `explain` are asked for: of a pack, of the configuration or of one of its metrics, or typed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use fleetgauge::doctor::Doctor;
use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::{MetricsSource, QueryError};
use fleetgauge_core::template::Template;
use fleetgauge_server::metric::MetricSpec;

use super::render;
use crate::cli::{ParamArgs, QuestionArgs, SourceArgs};
use crate::failure::Usage;
use crate::sources::Sources;

/// What the query of `--promql` is registered under.
pub(super) const TYPED: &str = "promql";

/// What was asked.
pub(super) struct Asked<'a> {
    pub(super) source: String,
    /// With the timeout that was given.
    pub(super) query: QueryTemplate,
    /// The values that were given, over those of the metric.
    pub(super) params: Params,
    /// The metric of the configuration that was named.
    pub(super) metric: Option<&'a MetricSpec>,
}

/// What was asked, the name being that of a query or else of a metric of the configuration. The parameters of a composed source are
/// not checked, since it knows them once it is made.
pub(super) fn asked<'a>(
    args: &QuestionArgs,
    source_args: &SourceArgs,
    sources: &Sources<'a>,
) -> anyhow::Result<Asked<'a>> {
    let metric = args.name.as_deref().and_then(|name| sources.metric(name));
    let (name, source) = match metric {
        Some(metric) if !source_args.names_one() => (Some(metric.query.as_str()), metric.source.to_string()),
        Some(metric) => (
            Some(metric.query.as_str()),
            sources.chosen(Some(metric.query.as_str()))?,
        ),
        None => (args.name.as_deref(), sources.chosen(args.name.as_deref())?),
    };
    let mut query = find(name, args, sources, &source)?;
    let mut params = render::values(&args.params);
    if let Some(metric) = metric {
        let given: BTreeSet<&str> = args.params.names().collect();
        for (name, value) in metric.params.iter().filter(|(name, _)| !given.contains(name)) {
            params.push(name, value);
        }
    }
    if !sources.is_composed(&source) {
        let checked = check_params(&query.name, &query.params, &args.params, &params);
        checked.map_err(|error| match metric.filter(|metric| metric.for_each.is_some()) {
            Some(metric) => error.context(format!(
                "the metric {} is read for each variant; give the parameters of one",
                metric.name
            )),
            None => error,
        })?;
    }
    query.timeout = source_args.timeout.or(query.timeout);
    Ok(Asked {
        source,
        query,
        params,
        metric,
    })
}

/// The query of this name, or the one that was typed.
fn find(
    name: Option<&str>,
    args: &QuestionArgs,
    sources: &Sources<'_>,
    source: &str,
) -> anyhow::Result<QueryTemplate> {
    let Some(name) = name else {
        let text = args.promql.as_deref().unwrap_or_default();
        let mut query = QueryTemplate::promql(TYPED, text);
        query.params = render::declare(text, &args.params, &args.kinds)?;
        // What does not compile is told when it is registered.
        if let Ok(template) = Template::compile(text, &query.params) {
            let kinds = args.kinds.iter().map(|(name, _)| name.as_str());
            render::warn_of_unused(&template, args.params.names().chain(kinds));
            let rendered = template.render(&render::values(&args.params));
            rendered.map_err(|error| render::not_rendered(text, &error))?;
        }
        return Ok(query);
    };
    let known: Vec<_> = sources.queries(source).collect();
    if let Some(query) = known.iter().find(|query| query.name == name) {
        return Ok((*query).clone());
    }
    let names = || known.iter().map(|query| &*query.name);
    // A name without its pack is the likeliest mistake.
    let behind_slash = names().find(|known| known.split_once('/').is_some_and(|(_, short)| short == name));
    let metrics = || sources.metrics().map(|metric| metric.name.as_str());
    match behind_slash.or_else(|| similar(name, names().chain(metrics()))) {
        Some(similar) => bail!("there is no query {}; did you mean {similar:?}?", Excerpt(name)),
        None if sources.is_composed(source) => {
            let names: Vec<_> = names().collect();
            bail!(
                "source {source} has no query {}; it has {}, and --promql takes an expression over its inputs",
                Excerpt(name),
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            )
        }
        None => bail!(
            "there is no query {}; `fleetgauge packs` lists the packs, and --promql takes an expression",
            Excerpt(name)
        ),
    }
}

/// Tells all parameters that are missing at once, and those that were likely misspelt.
pub(super) fn check_params(
    query: &str,
    declared: &[ParamSpec],
    args: &ParamArgs,
    params: &Params,
) -> anyhow::Result<()> {
    let missing: Vec<_> = declared
        .iter()
        .filter(|param| param.is_required() && params.get(param.name()).is_none())
        .collect();
    for name in args.names() {
        let Some(param) = declared.iter().find(|param| param.name() == name) else {
            // A script may give the same parameters to all its queries, so this is no error.
            let unset = declared.iter().map(ParamSpec::name);
            render::warn_unused(query, name, unset.filter(|known| params.get(known).is_none()));
            continue;
        };
        if params.values(name).len() > 1 && !param.kind().is_list() {
            return Err(render::several(name).context(format!("query {query}")));
        }
        if args.regex.iter().any(|(regex, _)| regex == name) && param.kind() != ParamKind::Regex {
            let kind = param.kind();
            bail!(Usage(format!(
                "parameter {name:?} of {query} is {kind}, not regex; give it with -p"
            )));
        }
    }
    match &*missing {
        [] => Ok(()),
        [one] => Err(render::missing(one.name()).context(format!("query {query}"))),
        several => {
            let flags: Vec<_> = several
                .iter()
                .map(|param| format!("-p {}=VALUE", param.name()))
                .collect();
            let names: Vec<_> = several
                .iter()
                .map(|param| format!("{:?}", param.name()))
                .collect();
            let (names, flags) = (names.join(", "), flags.join(" "));
            bail!("query {query}: parameters {names} are missing; give them with {flags}")
        }
    }
}

/// How long it is looked for why there is no data.
const CAUSE_WITHIN: Duration = Duration::from_secs(10);

/// Why a query has no rows now, as the doctor finds it out.
pub(super) async fn cause(source: Arc<dyn MetricsSource>, query: QueryTemplate, params: &Params) -> String {
    let doctor = Doctor::new(source).params(params.clone()).deadline(CAUSE_WITHIN);
    let found = doctor.examine(&[query]).await.into_iter().next();
    found.map_or_else(|| "it was not found out why".to_owned(), |found| found.what)
}

/// A fault of a template that was typed is shown where it is.
pub(super) fn registering(
    args: &QuestionArgs,
    error: fleetgauge_core::query_list::RegisterError,
) -> anyhow::Error {
    use fleetgauge_core::query_list::RegisterError::Template;
    match (&args.promql, error) {
        (Some(text), Template { error, .. }) => {
            render::pointing(text, error.line(), error.column(), error.message())
        }
        (_, error) => error.into(),
    }
}

pub(super) fn failed(args: &QuestionArgs, error: &QueryError) -> anyhow::Error {
    match (&args.promql, error.fetch_error()) {
        // The name of a typed query is ours, and tells nothing.
        (Some(_), Some(fetch)) => anyhow!("{fetch}"),
        _ => anyhow!("{error}"),
    }
}
