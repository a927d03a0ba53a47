//! `fleetgauge query`: one question to a Prometheus, answered now.

use std::time::Duration;

use anyhow::{anyhow, bail};
use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::printable::{Excerpt, Printable};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::Answer;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::{QueryError, RefreshSpec};
use fleetgauge_core::template::Template;
use fleetgauge_promql::parse::Expression;

use super::render;
use crate::cli::{ParamArgs, Query, QueryFormat};
use crate::config::{self, Environment};
use crate::failure::Usage;
use crate::output::{self, csv, json, range, table};
use crate::sources::Sources;

/// What the query of `--promql` is registered under.
const TYPED: &str = "promql";

/// What was asked, and what came back.
struct Answered {
    unit: String,
    promql: String,
    answer: Answer,
    /// Of a range.
    steps: Option<Steps>,
}

/// A range without a given step has so many steps, and one more.
const DEFAULT_STEPS: u32 = 60;

pub(super) fn run(args: &Query) -> anyhow::Result<()> {
    // clap has seen to it that one of them is there.
    let asked = args
        .name
        .as_deref()
        .or(args.promql.as_deref())
        .unwrap_or_default();
    match ask(args) {
        Ok(answered) => print(asked, &answered, args.output),
        Err(error) => {
            if args.output == QueryFormat::Json && !error.is::<Usage>() {
                let error = format!("{error:#}");
                output::print(&match args.range {
                    Some(_) => json::to_line(&json::range::RangeAnswer::failed(asked, error))?,
                    None => json::to_line(&json::QueryAnswer::failed(asked, error))?,
                })?;
            }
            Err(error)
        }
    }
}

fn ask(args: &Query) -> anyhow::Result<Answered> {
    let environment = Environment::of_process();
    if !environment.collector_enabled()? {
        bail!("COLLECTOR_V2=false switches this collector off; unset it, or set it to true");
    }
    let config = config::read_if_given(args.source.config.as_deref())?;
    let sources = Sources::new(&config, &environment, &args.source);
    let asked = sources.chosen(args.name.as_deref())?;
    let mut query = find(args, &sources, &asked)?;
    let params = render::values(&args.params);
    if !sources.is_composed(&asked) {
        check_params(&query.name, &query.params, &args.params, &params)?;
    }
    if args.source.timeout.is_some() {
        query.timeout = args.source.timeout;
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let source = sources.open(&asked)?;
        let (name, unit) = (query.name.clone(), query.unit.clone());
        source
            .query_list()
            .replace(query)
            .map_err(|error| registering(args, error))?;
        if sources.is_composed(&asked) {
            // A query over others takes their parameters, too, which are known only now.
            let query = source.query_list().find(&name)?;
            check_params(&name, query.params(), &args.params, &params)?;
        }
        let promql = source.query_list().render(&name, &params)?;
        let mut spec = RefreshSpec::queries([&*name]).params(params);
        if let Some(range) = args.range {
            spec = spec.range(range, args.step.unwrap_or_else(|| default_step(range)));
        }
        let outcomes = source.refresh(spec).await;
        match &outcomes[&*name] {
            Ok(result) => Ok(Answered {
                unit,
                promql,
                answer: result.answer().clone(),
                steps: result.steps(),
            }),
            Err(error) => Err(failed(args, error)),
        }
    })
}

/// In whole seconds, unless that is too coarse.
fn default_step(range: Duration) -> Duration {
    let step = range / DEFAULT_STEPS;
    let unit = Duration::from_millis(if step < Duration::from_secs(1) { 1 } else { 1000 });
    let units = step.as_nanos().div_ceil(unit.as_nanos()).max(1);
    unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
}

/// The query that was asked for, by its name or as it was typed.
fn find(args: &Query, sources: &Sources<'_>, source: &str) -> anyhow::Result<QueryTemplate> {
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
fn check_params(
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
fn registering(args: &Query, error: fleetgauge_core::query_list::RegisterError) -> anyhow::Error {
    use fleetgauge_core::query_list::RegisterError::Template;
    match (&args.promql, error) {
        (Some(text), Template { error, .. }) => {
            render::pointing(text, error.line(), error.column(), error.message())
        }
        (_, error) => error.into(),
    }
}

fn failed(args: &Query, error: &QueryError) -> anyhow::Error {
    match (&args.promql, error.fetch_error()) {
        // The name of a typed query is ours, and tells nothing.
        (Some(_), Some(fetch)) => anyhow!("{fetch}"),
        _ => anyhow!("{error}"),
    }
}

fn print(asked: &str, answered: &Answered, format: QueryFormat) -> anyhow::Result<()> {
    let Answered {
        unit,
        promql,
        answer,
        steps,
    } = answered;
    if format != QueryFormat::Json {
        for warning in answer.warnings() {
            output::note(&format!("warning: {}", Printable(warning)));
        }
        for info in answer.infos() {
            output::note(&format!("info: {}", Printable(info)));
        }
    }
    match (format, steps) {
        (QueryFormat::Table, Some(steps)) => output::print_line(&range::table(answer, steps, unit)),
        (QueryFormat::Json, Some(steps)) => {
            let mut entry = json::range::RangeAnswer::answered(asked, answer, steps);
            entry.unit = unit;
            entry.promql = Some(promql);
            output::print(&json::to_line(&entry)?)
        }
        (QueryFormat::Table, None) => {
            // What is not PromQL, but MetricsQL, may order its answer.
            let is_ordered = Expression::parse(promql).map_or(true, |expression| expression.is_ordered());
            output::print_line(&table::answer(answer, unit, is_ordered))
        }
        (QueryFormat::Csv, _) => {
            if answer.is_no_data() {
                output::note("no data");
            }
            output::print_data(&csv::answer(answer)?)
        }
        (QueryFormat::Json, None) => {
            let mut entry = json::QueryAnswer::answered(asked, answer);
            entry.unit = unit;
            entry.promql = Some(promql);
            output::print(&json::to_line(&entry)?)
        }
    }
}
