//! What all sources over other sources have in common: how they are configured, made in order, and checked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::printable::Quoted;
use fleetgauge_core::registry::{RegistryError, SourceRegistry};
use fleetgauge_core::source::{CachedSourceConfig, MetricsSource, RetryPolicy};
use fleetgauge_core::template::Example;
use fleetgauge_syntax::ParseError;
use fleetgauge_syntax::tree::Expr;

pub(crate) type Source = Arc<dyn MetricsSource>;

/// What describes a source over others.
pub(crate) trait Layered: Clone {
    /// Why it cannot be made.
    type Error: From<RegistryError>;

    /// Its own name.
    fn name(&self) -> &str;

    /// The names of the sources beneath it.
    fn needs(&self) -> Vec<&str>;

    /// The source; `known` finds those beneath it, whose names are among `names`.
    fn make(self, known: &dyn Fn(&str) -> Option<Source>, names: &[String]) -> Result<Source, Self::Error>;

    /// The error that sources need each other in a circle, which begins and ends with the same one.
    fn circle(path: Vec<String>) -> Self::Error;
}

/// The settings of a source that asks others.
pub(crate) fn source_config(default_ttl: Duration, query_timeout: Duration) -> CachedSourceConfig {
    let mut source = CachedSourceConfig::default();
    source.cache.default_ttl = default_ttl;
    source.query_timeout = query_timeout;
    // Queries mostly wait for the sources beneath, which bound what is asked of them.
    source.max_concurrency = 1_000;
    // So do they try again.
    source.retry = RetryPolicy::never();
    source
}

/// Makes and registers all of them, or none.
pub(crate) fn register_all<C: Layered>(configs: Vec<C>, sources: &SourceRegistry) -> Result<(), C::Error> {
    let mut names: Vec<String> = sources.list();
    for config in &configs {
        if config.name().is_empty() {
            return Err(RegistryError::EmptyName.into());
        }
        if names.iter().any(|name| name == config.name()) {
            let name = config.name().to_owned();
            return Err(RegistryError::Duplicate { name }.into());
        }
        names.push(config.name().to_owned());
    }
    let order: Vec<String> = configs.iter().map(|config| config.name().to_owned()).collect();
    let mut waiting = configs;
    let mut made: HashMap<String, Source> = HashMap::new();
    while !waiting.is_empty() {
        let is_waiting: Vec<&str> = waiting.iter().map(C::name).collect();
        let is_ready = |config: &C| !config.needs().iter().any(|needed| is_waiting.contains(needed));
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.iter().cloned().partition(is_ready);
        if ready.is_empty() {
            return Err(C::circle(circle(&waiting)));
        }
        for config in ready {
            let name = config.name().to_owned();
            let known = |name: &str| made.get(name).cloned().or_else(|| sources.get(name));
            let source = config.make(&known, &names)?;
            made.insert(name, source);
        }
        waiting = rest;
    }
    for (i, name) in order.iter().enumerate() {
        let Some(source) = made.remove(name) else { continue };
        if let Err(error) = sources.register(name, source) {
            // Somebody else has taken the name meanwhile.
            order[..i].iter().for_each(|name| drop(sources.remove(name)));
            return Err(error.into());
        }
    }
    Ok(())
}

/// A circle among sources each of which needs another of them.
fn circle<C: Layered>(waiting: &[C]) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut next = waiting.first();
    while let Some(config) = next {
        path.push(config.name().to_owned());
        if let Some(begin) = path[..path.len() - 1]
            .iter()
            .position(|name| name == config.name())
        {
            path.drain(..begin);
            break;
        }
        let needed = |other: &&C| config.needs().contains(&other.name());
        next = waiting.iter().find(needed);
    }
    path
}

/// The first example that can be read.
///
/// *Errors*: what is wrong with the one that comes farthest.
pub(crate) fn read<'w>(examples: impl Iterator<Item = Example<'w>>) -> Result<(Example<'w>, Expr), String> {
    let mut farthest: Option<ParseError> = None;
    for example in examples {
        match fleetgauge_syntax::parse(example.text()) {
            Ok(expr) => return Ok((example, expr)),
            Err(error)
                if farthest
                    .as_ref()
                    .is_none_or(|known| known.offset() < error.offset()) =>
            {
                farthest = Some(error);
            }
            Err(_) => {}
        }
    }
    Err(farthest.map_or_else(|| "it has no text".to_owned(), |error| error.to_string()))
}

/// What a message ends with where `similar` may have been meant.
pub(crate) fn did_you_mean(similar: Option<&str>) -> String {
    similar.map_or(String::new(), |similar| {
        format!("; did you mean {}?", Quoted(similar))
    })
}
