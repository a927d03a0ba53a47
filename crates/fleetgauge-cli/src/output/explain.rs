//! `fleetgauge explain` for people: a paragraph for each link of the chain.

use std::fmt::Write as _;
use std::time::Duration;

use fleetgauge_core::policy::Policy;
use fleetgauge_core::printable::Printable;
use fleetgauge_core::sample::Number;

use super::table;
use crate::explained::Explained;

/// Readings that are shown; the JSON has all.
const MAX_READINGS: usize = 50;

/// How much is shown of what was asked beside a query. *Unit*: characters.
const MAX_SENT: usize = 300;

pub(crate) fn text(explained: &Explained) -> String {
    let mut text = String::new();
    let mut tell = |title: &str, what: &str| {
        let mut title = title;
        for line in what.lines() {
            // Into a string nothing fails.
            let _ = writeln!(text, "{title:<12}{}", Printable(line));
            title = "";
        }
    };
    let query = &explained.query;
    tell("query", &query.name);
    tell("template", &query.template);
    tell("", &format!("from {}", explained.from));
    let params = explained.params.iter();
    let params: Vec<_> = params.map(|(name, value)| format!("{name}={value}")).collect();
    tell("parameters", &params.join("\n"));
    tell("model by", &explained.model_by.join("\n"));
    tell("rendered", &explained.rendered);
    tell("source", &explained.source);
    let sent: Vec<_> = explained.sent().skip(1).map(shortened).collect();
    tell("beside it", &sent.join("\n"));
    let steps: Vec<_> = query.transform.iter().map(ToString::to_string).collect();
    tell(
        "expected by",
        query.expected.as_ref().map_or("", |expected| expected.as_str()),
    );
    tell("transformed", &steps.join("\n"));
    match &explained.outcome {
        Ok(answer) => {
            for warning in answer.warnings() {
                tell("warning", warning);
            }
            tell("branch", explained.branch().unwrap_or_default());
            let complete = match answer.completeness() {
                Some(completeness) => completeness.to_string(),
                None if answer.is_complete() => {
                    "nothing is known to be missing; who should report is not known".to_owned()
                }
                None => "something is missing; who should report is not known".to_owned(),
            };
            tell("complete", &complete);
            let rows = table::answer(answer, &query.unit, false);
            tell("answer", &rows);
            tell("because", explained.cause.as_deref().unwrap_or_default());
        }
        Err(error) => tell("error", error),
    }
    tell("policy", &policy(&explained.policy));
    tell("readings", &readings(explained));
    text
}

/// The start of a text that nobody would read to its end.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SENT) {
        Some((end, _)) => {
            let count = text.chars().count();
            format!("{}… ({count} characters; -o json has them all)", &text[..end])
        }
        None => text.to_owned(),
    }
}

fn policy(policy: &Policy) -> String {
    if *policy == Policy::default() {
        return "what is not a good value is withheld, and nothing is held".to_owned();
    }
    let seconds = |duration: Duration| format!("{duration:?}");
    let settings = [
        ("max_age", policy.max_age.map(seconds)),
        (
            "min_completeness",
            policy.min_completeness.map(|ratio| Number(ratio).to_string()),
        ),
        (
            "on_incomplete",
            policy.on_incomplete.map(|on| on.as_str().to_owned()),
        ),
        ("on_error", policy.on_error.map(|on| on.as_str().to_owned())),
        ("on_no_data", policy.on_no_data.as_ref().map(ToString::to_string)),
        (
            "on_undefined",
            policy.on_undefined.map(|on| on.as_str().to_owned()),
        ),
        ("hold", policy.hold.map(seconds)),
    ];
    let told = settings
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    told.collect::<Vec<_>>().join("\n")
}

fn readings(explained: &Explained) -> String {
    let mut table = table::new(&["labels", "status", "value", "age", "reason"]);
    let mut more = 0;
    for (at, reading) in explained.readings.rows(explained.clock.now()).enumerate() {
        if at >= MAX_READINGS {
            more += 1;
            continue;
        }
        let value = reading
            .value()
            .map_or(String::new(), |value| Number(value).to_string());
        let age = reading.age_then().map_or(String::new(), table::age_of);
        let reason = reading.reason();
        let reason = reason.map_or(String::new(), |reason| {
            format!("{}: {}", reason.code.as_str(), reason.text)
        });
        let status = reading.status().as_str().to_owned();
        table.add_row([reading.labels().to_string(), status, value, age, reason]);
    }
    let mut text = table::render(&mut table);
    if more > 0 {
        let _ = writeln!(text, "and {more} more; -o json has them all");
    }
    text
}
