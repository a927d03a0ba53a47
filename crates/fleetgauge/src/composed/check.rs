//! Whether a query that is to be registered can be answered from the inputs, on each way through its template.

use std::collections::{BTreeMap, BTreeSet};

use fleetgauge_core::params::ParamSpec;
use fleetgauge_core::query_list::RegisteredQuery;
use fleetgauge_core::template::{Coverage, Example};
use fleetgauge_syntax::tree::Matcher;

use super::input::SourceInput;
use super::plan::Plan;
use crate::layered::read;
use crate::reads::{Times, TimesShape};

/// How many ways through a template are looked at; of more, each branch is.
const MAX_WAYS: usize = 64;

/// The parameters that the answers of `query` depend on beside those that it declares: those of the inputs it names.
/// What is needed on some ways only, or by an optional input, nobody has to give.
///
/// *Errors*: why it cannot be answered.
pub(super) fn check(query: &RegisteredQuery, inputs: &[SourceInput]) -> Result<Vec<ParamSpec>, String> {
    let source = &*query.template().template;
    let ways = query.ways(MAX_WAYS);
    let mut is_open = ways.coverage() != Coverage::Whole;
    let (mut read_by_any, mut required_by_each): (BTreeSet<usize>, Option<BTreeSet<String>>) =
        Default::default();
    for way in ways.iter() {
        let (example, expr) = read(way.examples())?;
        let is_known = |matcher: &Matcher| stands_in(source, &example, matcher);
        // Stand-ins for durations say nothing.
        let knows_ranges = example.text() == source;
        let plan = Plan::of_known(&expr, inputs, ONCE, &is_known, knows_ranges)
            .map_err(|error| error.to_string())?;
        is_open |= plan.is_open;
        let read = plan.fetches.iter().map(|fetch| fetch.input);
        read_by_any.extend(read.clone());
        let required: BTreeSet<String> = read.flat_map(|input| required(&inputs[input])).collect();
        required_by_each = Some(match required_by_each {
            None => required,
            Some(others) => &others & &required,
        });
    }
    if is_open {
        // It may read any of them.
        read_by_any.extend(0..inputs.len());
    }
    let required = required_by_each.unwrap_or_default();
    let mut further: BTreeMap<String, ParamSpec> = BTreeMap::new();
    for spec in read_by_any.iter().flat_map(|&input| inputs[input].declared()) {
        let name = spec.name().to_owned();
        let is_declared = query.params().iter().any(|known| known.name() == name);
        // What takes a list takes one value as well.
        let is_wider = further.get(&name).is_none_or(|_| spec.kind().is_list());
        if !is_declared && is_wider {
            let spec = match required.contains(&name) {
                true => ParamSpec::required(&*name, spec.kind()),
                false => ParamSpec::optional(&*name, spec.kind()),
            };
            further.insert(name, spec);
        }
    }
    Ok(further.into_values().collect())
}

/// Of a check the times make no difference.
const ONCE: Times = Times {
    start: 0,
    step: 1,
    count: 1,
    shape: TimesShape::Now,
};

/// The parameters without which `input` fails, where that fails the query.
fn required(input: &SourceInput) -> impl Iterator<Item = String> + use<> {
    let declared = input.declared().into_iter();
    let is_optional = input.is_optional;
    let required = declared.filter(move |spec| spec.is_required() && !is_optional);
    required.map(|spec| spec.name().to_owned())
}

/// Whether the value of `matcher` stands in the template as it is, and is not, or not in part, that of a parameter.
fn stands_in(source: &str, example: &Example<'_>, matcher: &Matcher) -> bool {
    let (line, column) = example.position(source, matcher.place);
    let Some(line) = source.split('\n').nth(line.saturating_sub(1)) else {
        return false;
    };
    let from = line
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or("", |(at, _)| &line[at..]);
    let from = from.strip_prefix(['"', '\'', '`']).unwrap_or(from);
    from.starts_with(&matcher.value)
}
