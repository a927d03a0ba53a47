//! Makes federated sources: names become sources, and what could only go wrong later is refused.

use std::sync::Arc;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::params::ParamSpec;
use fleetgauge_core::query_list::RegisteredQuery;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::{CachedSource, MetricsSource};
use fleetgauge_core::time::Clock;
use fleetgauge_syntax::rewrite::distribute;

use super::backend::FederatedBackend;
use super::config::{FederatedConfig, Member};
use super::error::FederatedError;
use super::member::{Replica, SourceMember};
use crate::layered::{self, Layered, Source};

/// How many ways through a template are looked at; of more, each branch is.
const MAX_WAYS: usize = 64;

/// The source that `config` describes; `known` finds the sources of its members, whose names are `names`.
pub(super) fn source(
    config: FederatedConfig,
    known: &dyn Fn(&str) -> Option<Source>,
    names: &[String],
    clock: Clock,
) -> Result<(CachedSource, Arc<FederatedBackend>), FederatedError> {
    let of = &config.name;
    if config.needs().contains(&&**of) {
        let path = vec![of.clone(), of.clone()];
        return Err(FederatedError::Circle { path });
    }
    let mut members: Vec<SourceMember> = Vec::new();
    for (place, member) in config.members.iter().enumerate() {
        check(member, &config.members[..place]).map_err(|why| FederatedError::Member {
            of: of.clone(),
            member: member.name.clone(),
            why,
        })?;
        members.push(resolved(of, member, known, names)?);
    }
    if members.is_empty() {
        return Err(FederatedError::NoMembers { of: of.clone() });
    }
    let required = config.require.of(members.len());
    if !(1..=members.len()).contains(&required) {
        return Err(FederatedError::Require {
            of: of.clone(),
            required,
            members: members.len(),
        });
    }
    let backend = Arc::new(FederatedBackend::new(members, &config, clock.clone()));
    let settings = layered::source_config(config.default_ttl, config.query_timeout);
    let source = CachedSource::with_clock(Arc::clone(&backend) as _, settings, clock);
    let labels: Vec<String> = backend.labels().map(str::to_owned).collect();
    source
        .query_list()
        .set_check(move |query| is_distributable(query, &labels));
    for query in config.queries {
        let registered = source.query_list().register(query);
        registered.map_err(|error| FederatedError::Query {
            of: config.name.clone(),
            error: Box::new(error),
        })?;
    }
    Ok((source, backend))
}

impl Layered for FederatedConfig {
    type Error = FederatedError;

    fn name(&self) -> &str {
        &self.name
    }

    fn needs(&self) -> Vec<&str> {
        let sources = self.members.iter().flat_map(|member| &member.sources);
        sources.map(String::as_str).collect()
    }

    fn make(
        self,
        known: &dyn Fn(&str) -> Option<Source>,
        names: &[String],
    ) -> Result<Source, FederatedError> {
        Ok(Arc::new(source(self, known, names, Clock::system())?.0))
    }

    fn circle(path: Vec<String>) -> FederatedError {
        FederatedError::Circle { path }
    }
}

/// Whether a member can be told from those `before` it.
///
/// *Errors*: what is wrong with it.
fn check(member: &Member, before: &[Member]) -> Result<(), String> {
    let Member { labels, sources, .. } = member;
    if labels.is_empty() {
        return Err(
            "it needs a label that tells its series from those of the others, such as `cluster`".into(),
        );
    }
    for (place, (name, value)) in labels.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name =
            name.starts_with(|c: char| is_plain(c) && !c.is_ascii_digit()) && name.chars().all(is_plain);
        // These mean something to queries themselves.
        if !is_name || [METRIC_NAME, "le", "quantile", "variant", "model", "scope"].contains(&&**name) {
            return Err(format!("{name:?} cannot be the label of a member"));
        }
        if value.is_empty() {
            return Err(format!("its label {name:?} has no value"));
        }
        if labels[..place].iter().any(|(other, _)| other == name) {
            return Err(format!("it has the label {name:?} twice"));
        }
    }
    for (place, source) in sources.iter().enumerate() {
        if sources[..place].contains(source) {
            return Err(format!("it has the source {source:?} twice"));
        }
    }
    let names = |member: &Member| -> std::collections::BTreeSet<String> {
        member.labels.iter().map(|(name, _)| name.clone()).collect()
    };
    for other in before {
        if other.name == member.name {
            return Err("there is another member of this name".into());
        }
        if names(other) != names(member) {
            return Err(format!(
                "it has other labels than member {:?}: give all members labels of the same names",
                other.name
            ));
        }
        if other.labels.iter().all(|label| labels.contains(label)) {
            return Err(format!(
                "its labels are those of member {:?}, so that their series could not be told apart; if both hold the \
                 same series, make one a replica of the other",
                other.name
            ));
        }
        if let Some(source) = sources.iter().find(|source| other.sources.contains(source)) {
            return Err(format!(
                "its source {source:?} is one of member {:?} as well, and would be counted twice",
                other.name
            ));
        }
    }
    Ok(())
}

fn resolved(
    of: &str,
    member: &Member,
    known: &dyn Fn(&str) -> Option<Source>,
    names: &[String],
) -> Result<SourceMember, FederatedError> {
    let replicas = member.sources.iter().map(|wanted| match known(wanted) {
        Some(source) => Ok(Replica {
            name: wanted.clone(),
            source,
        }),
        None => Err(FederatedError::UnknownSource {
            of: of.to_owned(),
            member: member.name.clone(),
            wanted: wanted.clone(),
            similar: similar(wanted, names.iter().map(String::as_str)).map(str::to_owned),
        }),
    });
    let replicas = replicas.collect::<Result<Vec<_>, _>>()?;
    Ok(SourceMember::new(member, replicas))
}

/// Whether a query that is to be registered can be asked of several members, on each way through its template.
///
/// *Errors*: why it cannot.
fn is_distributable(query: &RegisteredQuery, labels: &[String]) -> Result<Vec<ParamSpec>, String> {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    for way in query.ways(MAX_WAYS).iter() {
        let (_, expr) = layered::read(way.examples())?;
        distribute(&expr, &labels).map_err(|error| error.to_string())?;
    }
    Ok(Vec::new())
}
