//! `fleetgauge query`: one question to a Prometheus, answered now.

use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::printable::Printable;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::Answer;
use fleetgauge_core::source::RefreshSpec;
use fleetgauge_promql::parse::Expression;

use super::question;
use crate::cli::{Query, QueryFormat};
use crate::config::{self, Environment};
use crate::failure::Usage;
use crate::output::{self, csv, json, range, table};
use crate::sources::Sources;

/// What was asked, and what came back.
struct Answered {
    unit: String,
    promql: String,
    answer: Answer,
    /// Why it has no rows, if it has none.
    cause: Option<String>,
    /// Of a range.
    steps: Option<Steps>,
}

/// A range without a given step has so many steps, and one more.
const DEFAULT_STEPS: u32 = 60;

pub(super) fn run(args: &Query) -> anyhow::Result<()> {
    // clap has seen to it that one of them is there.
    let asked = args.question.text();
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
    if let (Some(range), Some(step)) = (args.range, args.step)
        && step > range
    {
        // The newest multiple of the step may be older than the range.
        let what = format!("--step {step:?} is longer than --range {range:?}, in which no step may lie");
        return Err(Usage(what).into());
    }
    let environment = Environment::of_collector()?;
    let config = config::read_if_given(args.source.config.as_deref())?;
    let sources = Sources::new(&config, &environment, &args.source);
    let question::Asked {
        source: asked,
        query,
        params,
        ..
    } = question::asked(&args.question, &args.source, &sources)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let source = sources.open(&asked)?;
        let (name, unit) = (query.name.clone(), query.unit.clone());
        source
            .query_list()
            .replace(query.clone().histograms())
            .map_err(|error| question::registering(&args.question, error))?;
        if sources.is_composed(&asked) {
            // A query over others takes their parameters, too, which are known only now.
            let query = source.query_list().find(&name)?;
            question::check_params(&name, query.params(), &args.question.params, &params)?;
        }
        let promql = source.query_list().render(&name, &params)?;
        let mut spec = RefreshSpec::queries([&*name]).params(params.clone());
        if let Some(range) = args.range {
            let history = config.remote_write.iter().find_map(|remote| remote.history.as_deref());
            if let Some(history) = history.filter(|history| !sources.is_prometheus(&asked) && *history != asked) {
                output::note(&format!(
                    "note: this command scrapes now and has no past: --source {history} has what a daemon has sent there, and \
                     --prometheus with the address of a daemon has both"
                ));
            }
            spec = spec.range(range, args.step.unwrap_or_else(|| default_step(range)));
        }
        let outcomes = source.refresh(spec).await;
        match &outcomes[&*name] {
            Ok(result) => Ok(Answered {
                unit,
                promql,
                cause: match result.is_no_data() {
                    true => Some(question::cause(Arc::clone(&source), query, &params).await),
                    false => None,
                },
                answer: result.answer().clone(),
                steps: result.steps(),
            }),
            Err(error) => Err(question::failed(&args.question, error)),
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

fn print(asked: &str, answered: &Answered, format: QueryFormat) -> anyhow::Result<()> {
    let Answered {
        unit,
        promql,
        answer,
        cause,
        steps,
    } = answered;
    if format != QueryFormat::Json {
        for warning in answer.warnings() {
            output::note(&format!("warning: {}", Printable(warning)));
        }
        for info in answer.infos() {
            output::note(&format!("info: {}", Printable(info)));
        }
        if let Some(cause) = cause {
            output::note(&format!("no data: {}", Printable(cause)));
        }
    }
    match (format, steps) {
        (QueryFormat::Table, Some(steps)) => output::print_line(&range::table(answer, steps, unit)),
        (QueryFormat::Json, Some(steps)) => {
            let mut entry = json::range::RangeAnswer::answered(asked, answer, steps);
            entry.unit = unit;
            entry.promql = Some(promql);
            entry.cause = cause.as_deref();
            output::print(&json::to_line(&entry)?)
        }
        (QueryFormat::Table, None) => {
            // What is not PromQL, but MetricsQL, may order its answer.
            let is_ordered = Expression::parse(promql).map_or(true, |expression| expression.is_ordered());
            output::print_line(&table::answer(answer, unit, is_ordered))
        }
        (QueryFormat::Csv, _) => output::print_data(&csv::answer(answer)?),
        (QueryFormat::Json, None) => {
            let mut entry = json::QueryAnswer::answered(asked, answer);
            entry.unit = unit;
            entry.promql = Some(promql);
            entry.cause = cause.as_deref();
            output::print(&json::to_line(&entry)?)
        }
    }
}
