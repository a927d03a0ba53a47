//! Makes composed sources: names become sources and queries, and those that need each other are made in order.

use std::sync::Arc;

use fleetgauge_core::query_list::{QueryRenderError, RegisterError};
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::{CachedSource, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_syntax::name::metric_name;

use super::backend::ComposedBackend;
use super::check::check;
use super::config::{ComposedConfig, Input, InputQuery};
use super::error::ComposedError;
use super::input::{Inputs, SourceInput};
use crate::layered::{self, Layered, Source};

/// The source that `config` describes; `known` finds the sources of its inputs, whose names are `names`.
pub(super) fn source(
    config: ComposedConfig,
    known: &dyn Fn(&str) -> Option<Source>,
    names: &[String],
    clock: Clock,
) -> Result<CachedSource, ComposedError> {
    if config.inputs.iter().any(|input| input.source == config.name) {
        let path = vec![config.name.clone(), config.name];
        return Err(ComposedError::Circle { path });
    }
    let mut inputs: Vec<SourceInput> = Vec::new();
    for input in &config.inputs {
        if inputs.iter().any(|other| other.name == input.name) {
            return Err(ComposedError::DuplicateInput {
                of: config.name,
                input: input.name.clone(),
            });
        }
        inputs.push(resolved(&config.name, input, known, names)?);
    }
    let inputs: Inputs = inputs.into();
    let backend = Arc::new(ComposedBackend::new(
        config.name.clone(),
        Arc::clone(&inputs),
        config.query_timeout,
        clock.clone(),
    ));
    let source = CachedSource::with_clock(
        Arc::clone(&backend) as _,
        layered::source_config(config.default_ttl, config.query_timeout),
        clock,
    );
    backend.set_queries(source.query_list().clone());
    source.query_list().set_check(move |query| check(query, &inputs));
    for query in config.queries {
        let registered = source.query_list().register(query);
        registered.map_err(|error| refused(&config.name, error))?;
    }
    Ok(source)
}

impl Layered for ComposedConfig {
    type Error = ComposedError;

    fn name(&self) -> &str {
        &self.name
    }

    fn needs(&self) -> Vec<&str> {
        self.inputs.iter().map(|input| input.source.as_str()).collect()
    }

    fn make(self, known: &dyn Fn(&str) -> Option<Source>, names: &[String]) -> Result<Source, ComposedError> {
        Ok(Arc::new(source(self, known, names, Clock::system())?))
    }

    fn circle(path: Vec<String>) -> ComposedError {
        ComposedError::Circle { path }
    }
}

fn resolved(
    of: &str,
    input: &Input,
    known: &dyn Fn(&str) -> Option<Source>,
    names: &[String],
) -> Result<SourceInput, ComposedError> {
    let of = || of.to_owned();
    metric_name(&input.name).map_err(|why| ComposedError::InputName {
        of: of(),
        input: input.name.clone(),
        why: why.to_owned(),
    })?;
    let step = i64::try_from(input.step.as_millis()).unwrap_or(0);
    if step == 0 || !input.step.subsec_nanos().is_multiple_of(1_000_000) {
        return Err(ComposedError::Step {
            of: of(),
            input: input.name.clone(),
        });
    }
    let source = known(&input.source).ok_or_else(|| ComposedError::UnknownSource {
        of: of(),
        input: input.name.clone(),
        wanted: input.source.clone(),
        similar: similar(&input.source, names.iter().map(String::as_str)).map(str::to_owned),
    })?;
    let unknown = |error: QueryRenderError| ComposedError::UnknownQuery {
        of: of(),
        input: input.name.clone(),
        wanted: input.source.clone(),
        error: Box::new(error),
    };
    let query = match &input.query {
        InputQuery::Named(name) => {
            source.query_list().find(name).map_err(unknown)?;
            name.clone()
        }
        InputQuery::Own(template) => {
            let mut template = (**template).clone();
            template.name = format!("composed:{}/{}", of(), input.name);
            // Nobody but the composed source asks for it.
            template.only_by_name = true;
            let name = template.name.clone();
            let replaced = source.query_list().replace(template);
            replaced.map_err(|error| refused(&of(), error))?;
            name
        }
    };
    Ok(SourceInput {
        name: input.name.clone(),
        source_name: input.source.clone(),
        source,
        query,
        params: input.params.clone(),
        is_optional: input.is_optional,
        step,
    })
}

fn refused(of: &str, error: RegisterError) -> ComposedError {
    ComposedError::Query {
        of: of.to_owned(),
        error: Box::new(error),
    }
}
