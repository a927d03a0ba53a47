//! What there is beside series: targets, what is known of metrics, and what Grafana asks of every Prometheus.

use std::collections::BTreeMap;

use fleetgauge::scrape::TargetStatus;
use fleetgauge_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::api::{Call, ScrapedSource};
use super::reply::{ApiError, ErrorKind, Reply};
use super::time;
use crate::series::{READING, READING_AGE, READING_HELD, READING_WITHHELD};

/// The Prometheus whose API this is: clients ask which version they may count on.
const SPOKEN: &str = "3.5.0";

/// What is known of the metrics that are made here. Of those that are scraped, types and helps are not kept.
const METADATA: [(&str, &str, &str); 4] = [
    (
        READING,
        "The number of a metric that is kept fresh; none where it is withheld.",
        "",
    ),
    (
        READING_AGE,
        "How old the number was when it was written, in seconds.",
        "seconds",
    ),
    (
        READING_HELD,
        "Whether the number is the last good one, held in the place of one that is not accepted.",
        "",
    ),
    (
        READING_WITHHELD,
        "1 where there is no number; the label reason says why.",
        "",
    ),
];

/// As Prometheus tells a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `/metadata`
pub(super) fn metadata(call: &Call) -> Result<Reply, ApiError> {
    let number = |name: &str| match call.params.get(name) {
        "" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(number) => Ok(usize::try_from(number).ok()),
            Err(_) => Err(ApiError::new(
                ErrorKind::BadData,
                format!("{name} must be a whole number"),
            )),
        },
    };
    let limit = number("limit")?.unwrap_or(usize::MAX);
    number("limit_per_metric")?;
    let wanted = call.params.get("metric");
    let known = METADATA
        .iter()
        .filter(|(name, ..)| wanted.is_empty() || *name == wanted);
    let known: BTreeMap<&str, [Value; 1]> = known
        .take(limit)
        .map(|(name, help, unit)| (*name, [json!({"type": "gauge", "help": help, "unit": unit})]))
        .collect();
    call.success(known, &[], &[])
}

/// `/targets`
pub(super) fn targets(call: &Call) -> Result<Reply, ApiError> {
    let state = call.params.get("state");
    let is_wanted = |one: &str| {
        ["", "any", one]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(state))
    };
    let pool = call.params.get("scrapePool");
    let scraped = call.served.scraped.iter();
    let scraped = scraped.filter(|scraped| pool.is_empty() || *scraped.name == *pool);
    let (mut active, mut dropped, mut warnings) = (Vec::new(), Map::new(), Vec::new());
    for scraped in scraped {
        if is_wanted("active") {
            let targets = scraped.source.targets();
            active.extend(targets.iter().map(|target| entry(scraped, target)));
        }
        if is_wanted("dropped") {
            let stats = scraped.source.scrape_stats();
            let count = stats.targets_dropped + stats.targets_duplicate + stats.targets_relabel_dropped;
            dropped.insert(scraped.name.to_string(), json!(count));
        }
        for (discovery, error) in scraped.source.discovery_errors() {
            warnings.push(format!("{}: {discovery}: {error}", scraped.name));
        }
    }
    let mut data = json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": Value::Null});
    if is_wanted("dropped") {
        data["droppedTargetCounts"] = Value::Object(dropped);
    }
    call.success(data, &warnings, &[])
}

fn entry(scraped: &ScrapedSource, target: &TargetStatus) -> Value {
    let at = |time: Option<Timestamp>| time.map_or_else(|| NEVER.to_owned(), time::print);
    json!({
        "discoveredLabels": {},
        "labels": target.labels,
        "scrapePool": scraped.name,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error.as_ref().map(ToString::to_string).unwrap_or_default(),
        "lastScrape": at(target.last_scrape),
        "lastScrapeDuration": target.duration.as_secs_f64(),
        "health": target.health.as_str(),
        "scrapeInterval": duration(scraped.interval),
        "scrapeTimeout": duration(scraped.timeout),
    })
}

/// As Prometheus writes one: `1s`, `1m30s`, `250ms`.
fn duration(duration: std::time::Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1_000 == 0 => format!("{}s", millis / 1_000),
        millis => format!("{millis}ms"),
    }
}

/// `/targets/metadata`: none is kept.
pub(super) fn target_metadata(call: &Call) -> Result<Reply, ApiError> {
    call.success([(); 0], &[], &[])
}

/// `/scrape_pools`
pub(super) fn pools(call: &Call) -> Result<Reply, ApiError> {
    let names: Vec<&str> = call.served.scraped.iter().map(|scraped| &*scraped.name).collect();
    call.success(json!({"scrapePools": names}), &[], &[])
}

/// `/rules`: there are none.
pub(super) fn rules(call: &Call) -> Result<Reply, ApiError> {
    let kind = call.params.get("type").to_ascii_lowercase();
    if !["", "alert", "record"].contains(&&*kind) {
        return Err(ApiError::param("type", "it is alert or record"));
    }
    call.params.selectors()?;
    call.success(json!({"groups": []}), &[], &[])
}

/// `/alerts`: there are none.
pub(super) fn alerts(call: &Call) -> Result<Reply, ApiError> {
    call.success(json!({"alerts": []}), &[], &[])
}

/// `/alertmanagers`: there are none.
pub(super) fn alertmanagers(call: &Call) -> Result<Reply, ApiError> {
    let data = json!({"activeAlertmanagers": [], "droppedAlertmanagers": []});
    call.success(data, &[], &[])
}

/// `/status/buildinfo`
pub(super) fn build(call: &Call) -> Result<Reply, ApiError> {
    let data = json!({
        "version": SPOKEN,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "Fleetgauge",
        "applicationVersion": env!("CARGO_PKG_VERSION"),
    });
    call.success(data, &[], &[])
}

/// `/status/runtimeinfo`
pub(super) fn runtime(call: &Call) -> Result<Reply, ApiError> {
    let series = call.served.scraped.iter();
    let series: usize = series.map(|scraped| scraped.source.window().stats().series).sum();
    let data = json!({
        "serverTime": time::print(call.now()),
        "timeSeriesCount": series,
        "storageRetention": call
            .served
            .scraped
            .iter()
            .map(|scraped| scraped.source.window().config().retention)
            .max()
            .map_or_else(String::new, duration),
    });
    call.success(data, &[], &[])
}

/// `/status/config`: who asks for it is not to see more than it may.
pub(super) fn config(call: &Call) -> Result<Reply, ApiError> {
    call.success(json!({"yaml": ""}), &[], &[])
}

/// `/status/flags`
pub(super) fn flags(call: &Call) -> Result<Reply, ApiError> {
    call.success(json!({}), &[], &[])
}
