//! `any_of`: one query made of several, joined with `or`.
//!
//! Each pod runs one engine, so what the engines' queries answer for a fleet are disjoint sets of series, and
//! their union is the answer for all of it. Naming them, instead of copying their text, keeps one copy of
//! each.

use fleetgauge_core::params::ParamSpec;
use fleetgauge_core::query::{QueryTemplate, QueryType};
use fleetgauge_core::transform::TransformStep;

/// What the named queries become together.
#[derive(Default)]
pub(super) struct Union {
    pub(super) template: String,
    pub(super) params: Vec<ParamSpec>,
    /// That of the only query, if there is one: what several make of their answers would be done with those of all.
    pub(super) transform: Vec<TransformStep>,
    count: usize,
}

// === impl Union ===

impl Union {
    /// Joins `query` to those before it.
    ///
    /// *Errors*: why it cannot be joined.
    pub(super) fn add(&mut self, query: &QueryTemplate) -> Result<(), String> {
        if query.query_type != QueryType::PromQl {
            return Err(format!(
                "{} is not PromQL, so it cannot be joined with others",
                query.name
            ));
        }
        let transforms = query.transform.len() + self.transform.len();
        if self.count > 0 && transforms > 0 {
            return Err(format!(
                "{} cannot be joined with others, since a query with a transform is among them; name it alone",
                query.name
            ));
        }
        for param in &query.params {
            match self.params.iter_mut().find(|known| known.name() == param.name()) {
                None => self.params.push(param.clone()),
                Some(known) if known.kind() == param.kind() => {
                    if param.is_required() {
                        *known = param.clone();
                    }
                }
                Some(known) => {
                    let (query, name, kind) = (&query.name, param.name(), param.kind());
                    let other = known.kind();
                    return Err(format!(
                        "{query} declares {name:?} as {kind}, and a query before it as {other}"
                    ));
                }
            }
        }
        if !self.template.is_empty() {
            self.template.push_str("\nor\n");
        }
        self.template.push_str(&query.template);
        self.transform.clone_from(&query.transform);
        self.count += 1;
        Ok(())
    }
}
