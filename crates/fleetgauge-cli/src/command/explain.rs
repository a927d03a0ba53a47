//! `fleetgauge explain`: the chain from a template to what may be acted on.

use std::sync::Arc;

use anyhow::anyhow;
use fleetgauge_core::cache::Lookup;
use fleetgauge_core::policy::OnNoData;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::query::{Companions, QueryTemplate, QueryType};
use fleetgauge_core::reading::{ReadingSpec, Readings};
use fleetgauge_core::source::RefreshSpec;
use fleetgauge_core::time::Clock;
use fleetgauge_syntax::rewrite;

use super::question;
use crate::cli::{Explain, OutputFormat};
use crate::cluster;
use crate::config::{self, Config, Environment, SourceSection};
use crate::explained::Explained;
use crate::failure::Reported;
use crate::output::{self, explain, json};
use crate::sources::Sources;

pub(super) fn run(args: &Explain) -> anyhow::Result<()> {
    let explained = ask(args)?;
    match args.output {
        OutputFormat::Table => output::print_line(&explain::text(&explained))?,
        OutputFormat::Json => output::print(&json::to_line(&json::explain::Explanation::new(&explained))?)?,
    }
    match &explained.outcome {
        Ok(_) => Ok(()),
        // It is told among the rest.
        Err(_) => Err(Reported.into()),
    }
}

fn ask(args: &Explain) -> anyhow::Result<Explained> {
    let environment = Environment::of_collector()?;
    let config = config::read_if_given(args.source.config.as_deref())?;
    let sources = Sources::new(&config, &environment, &args.source);
    let question::Asked {
        source: asked,
        mut query,
        params,
        metric,
    } = question::asked(&args.question, &args.source, &sources)?;
    query.companions = Some(Companions::all());

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let source = sources.open(&asked)?;
        let list = source.query_list();
        list.replace(query.clone())
            .map_err(|error| question::registering(&args.question, error))?;
        let registered = list.find(&query.name)?;
        if sources.is_composed(&asked) {
            question::check_params(&query.name, registered.params(), &args.question.params, &params)?;
        }
        let rendered = registered.render(&params)?;
        let clock = Clock::system();
        let mut spec = ReadingSpec::new(&query.name, registered.name().clone())
            .source(&asked)
            .unit(&query.unit);
        spec.policy = match metric {
            Some(metric) => metric.policy.clone(),
            None => config.policy_of(&query),
        };
        spec.knows_completeness = !sources.is_prometheus(&asked) || query.expected.is_some();
        spec.fold = query.folds_by();
        spec.sample_interval = config.source(&asked).and_then(SourceSection::sample_interval);
        let policy = spec.policy.clone();
        let from = match metric {
            Some(metric) => format!(
                "{}, as the metric {} of the configuration asks it",
                origin(&config, &query),
                metric.name
            ),
            None => origin(&config, &query),
        };
        let readings = Readings::new(spec, clock.clone()).map_err(|errors| {
            let file = args.source.config.as_ref();
            let place = file.map_or_else(String::new, |file| format!("{}: ", file.display()));
            let name = Quoted(&query.name);
            anyhow!(
                "{place}the policy of the query {name} of {from}, over the defaults, cannot be followed for the source \
                 {asked}:\n{errors}"
            )
        })?;
        let proof = match &policy.on_no_data {
            Some(OnNoData::Value { when, .. }) => Some(when.as_str()),
            _ => None,
        };
        let names = [&*query.name].into_iter().chain(proof);
        source
            .refresh(RefreshSpec::queries(names).params(params.clone()))
            .await;
        let found = source.lookup(&query.name, &params);
        let proof = proof.map(|when| source.lookup(when, &params));
        readings.update(&found, proof.as_ref());
        let outcome = match &found {
            Lookup::Value(value) => Ok(value.result().answer().clone()),
            Lookup::Failed(failure) => Err(question::failed(&args.question, &failure.error).to_string()),
            _ => Err("there is no answer".to_owned()),
        };
        let cause = match &outcome {
            Ok(answer) if answer.is_no_data() => {
                Some(question::cause(Arc::clone(&source), query.clone(), &params).await)
            }
            _ => None,
        };
        let tree = fleetgauge_syntax::parse(&rendered).ok();
        let operands = tree.iter().flat_map(rewrite::operands);
        let given = args.question.params.params.iter();
        let given = given.chain(&args.question.params.regex).cloned();
        let names: Vec<_> = args.question.params.names().collect();
        let of_metric = metric.into_iter().flat_map(|metric| metric.params.iter());
        let of_metric = of_metric.filter(|(name, _)| !names.contains(name));
        let of_metric = of_metric.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let section = metric.and_then(|metric| metric.for_each).and(config.kubernetes.as_ref());
        Ok(Explained {
            from,
            model_by: section.map(cluster::model_places).unwrap_or_default(),
            params: given.chain(of_metric).collect(),
            rendered,
            source: asked,
            operands: operands.map(|operand| operand.to_string()).collect(),
            outcome,
            cause,
            policy,
            readings: readings.judged(),
            clock,
            query,
        })
    })
}

/// Where the template of a query is from.
fn origin(config: &Config, query: &QueryTemplate) -> String {
    let has = |pack: &&fleetgauge::Pack| pack.queries().iter().any(|known| known.name == query.name);
    if query.query_type == QueryType::PromQl && query.name == question::TYPED {
        "typed".to_owned()
    } else if let Some(pack) = config.packs.iter().find(has) {
        format!("the pack {} of the configuration", pack.name())
    } else if let Some(pack) = config.builtin.iter().find(has) {
        format!("the built-in pack {}", pack.name())
    } else {
        "the configuration".to_owned()
    }
}
