//! Which series there are, and their labels.

use std::collections::BTreeSet;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::{Listed, Queryable};

use super::api::Call;
use super::query::{TRUNCATED, Times};
use super::reply::{ApiError, ErrorKind, Reply};
use crate::json::LabelMap;
use crate::merged::Merged;

/// How many series are looked at between two looks at the clock.
const CLOCKED_SERIES: usize = 10_000;

/// `/series`
pub(super) fn series(call: &Call) -> Result<Reply, ApiError> {
    if call.params.all("match[]").next().is_none() {
        return Err(ApiError::new(
            ErrorKind::BadData,
            "there is no match[]: add a selector, as match[]=up",
        ));
    }
    let limit = call.params.limit()?;
    let times = Times::of(call)?;
    let selectors = call.params.selectors()?;
    let data = data(call, &times);
    let mut missing = Missing::default();
    let mut all: Vec<LabelSet> = Vec::new();
    let max_series = call.config().engine.max_series;
    for matchers in &selectors {
        let selection = data.select(matchers, times.start, times.end);
        for at in 0..selection.len() {
            if at % CLOCKED_SERIES == 0 {
                call.time_left()?;
            }
            if all.len() >= max_series {
                let message = format!("there are more than {max_series} series: ask for fewer");
                return Err(ApiError::new(ErrorKind::Execution, message));
            }
            all.push(selection.labels(at));
        }
        if selection.has_changed() {
            missing.add_changed();
        }
    }
    if selectors.len() > 1 {
        all.sort_unstable();
        all.dedup();
    }
    let is_cut = all.len() > limit;
    all.truncate(limit);
    let series: Vec<LabelMap<'_>> = all.iter().map(|labels| labels.iter().collect()).collect();
    let warnings = warnings(call, &data, &selectors, &times, missing, is_cut);
    call.success(series, &warnings, &[])
}

/// `/labels`
pub(super) fn names(call: &Call) -> Result<Reply, ApiError> {
    list(call, |data, matchers, start, end, limit| {
        data.label_names(matchers, start, end, limit)
    })
}

/// `/label/NAME/values`
pub(super) fn values(call: &Call, name: &str) -> Result<Reply, ApiError> {
    let name = unescaped(name);
    if name.is_empty() {
        return Err(ApiError::new(ErrorKind::BadData, "a label's name is not empty"));
    }
    list(call, |data, matchers, start, end, limit| {
        data.label_values(&name, matchers, start, end, limit)
    })
}

fn list(
    call: &Call,
    ask: impl Fn(&Merged, &[Matcher], Timestamp, Timestamp, usize) -> Listed,
) -> Result<Reply, ApiError> {
    let limit = call.params.limit()?;
    let times = Times::of(call)?;
    let mut selectors = call.params.selectors()?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let data = data(call, &times);
    let mut missing = Missing::default();
    let mut texts = BTreeSet::new();
    let mut is_cut = false;
    for matchers in &selectors {
        call.time_left()?;
        let listed = ask(&data, matchers, times.start, times.end, limit);
        is_cut |= listed.was_cut;
        texts.extend(listed.texts);
        if listed.has_changed {
            missing.add_changed();
        }
    }
    is_cut |= texts.len() > limit;
    let texts: Vec<&str> = texts.iter().take(limit).map(|text| &**text).collect();
    let warnings = warnings(call, &data, &selectors, &times, missing, is_cut);
    call.success(texts, &warnings, &[])
}

fn data(call: &Call, times: &Times) -> Merged {
    // Whoever does not say since when asks for what there is.
    let asked = if times.is_given { times.start } else { call.now() };
    call.data(asked)
}

/// What may lack, and that a limit was reached.
fn warnings(
    call: &Call,
    data: &Merged,
    selectors: &[Vec<Matcher>],
    times: &Times,
    mut missing: Missing,
    is_cut: bool,
) -> Vec<String> {
    let now = call.now();
    let reads = selectors.iter().map(|matchers| match times.is_given {
        true => Read::range(matchers, times.start, times.end.min(now)),
        false => Read::newest(matchers, now, now),
    });
    data.missing(&reads.collect::<Vec<_>>(), &mut missing);
    let mut warnings = Call::warnings(missing);
    if is_cut {
        warnings.push(TRUNCATED.to_owned());
    }
    warnings
}

/// A name as Prometheus's clients write one in a path that has other characters than letters: `U__a_2e_b` is `a.b`.
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/querying/api/#querying-label-values>
fn unescaped(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once('_') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            plain.push('_');
            rest = after;
            continue;
        }
        let code = after.split_once('_').and_then(|(code, after)| {
            let is_code = (1..=6).contains(&code.len());
            let code = u32::from_str_radix(code, 16).ok().filter(|_| is_code)?;
            Some((char::from_u32(code)?, after))
        });
        // What is not escaped as a whole stands for itself.
        let Some((character, after)) = code else {
            return name.to_owned();
        };
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_characters_are_escaped_in_a_path() {
        let check = |name: &str, plain: &str| assert_eq!(unescaped(name), plain);
        check("pod", "pod");
        check("U__a_2e_b", "a.b");
        check("U__a__b_3a_", "a_b:");
        check("U___e9_", "é");
        check("U__a_b", "U__a_b");
        check("U__a_zz_b", "U__a_zz_b");
        check("U__", "");
    }
}
