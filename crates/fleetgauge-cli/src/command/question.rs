//! The query that `query` and `explain` are asked for: of a pack, of the configuration, or typed.

use anyhow::{anyhow, bail};
use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::QueryError;
use fleetgauge_core::template::Template;

use super::render;
use crate::cli::{ParamArgs, QuestionArgs, SourceArgs};
use crate::failure::Usage;
use crate::sources::Sources;

/// What the query of `--promql` is registered under.
pub(super) const TYPED: &str = "promql";

/// What was asked: the source, its query with the timeout that was given, and the values of the parameters. The parameters
/// of a composed source are not checked, since it knows them once it is made.
pub(super) fn asked(
    args: &QuestionArgs,
    source_args: &SourceArgs,
    sources: &Sources<'_>,
) -> anyhow::Result<(String, QueryTemplate, Params)> {
    let source = sources.chosen(args.name.as_deref())?;
    let mut query = find(args, sources, &source)?;
    let params = render::values(&args.params);
    if !sources.is_composed(&source) {
        check_params(&query.name, &query.params, &args.params, &params)?;
    }
    query.timeout = source_args.timeout.or(query.timeout);
    Ok((source, query, params))
}

/// The query that was asked for, by its name or as it was typed.
fn find(args: &QuestionArgs, sources: &Sources<'_>, source: &str) -> anyhow::Result<QueryTemplate> {
    let Some(name) = &args.name else {
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
    if let Some(query) = known.iter().find(|query| query.name == *name) {
        return Ok((*query).clone());
    }
    let names = || known.iter().map(|query| &*query.name);
    // A name without its pack is the likeliest mistake.
    let behind_slash = names().find(|known| known.split_once('/').is_some_and(|(_, short)| short == name));
    match behind_slash.or_else(|| similar(name, names())) {
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
