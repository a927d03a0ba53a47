//! Values of flags, as they are typed.

use std::time::Duration;

use fleetgauge_core::params::ParamKind;
use fleetgauge_core::time::parse_seconds;

const EXPECTED_DURATION: &str =
    "expected a duration such as 30s or 1m30s, or a number of seconds, more than zero";

pub(super) fn pods(text: &str) -> Result<u16, String> {
    let pods = text.parse().ok().filter(|pods| (1..=3000).contains(pods));
    pods.ok_or_else(|| "expected 1 to 3000 pods".to_owned())
}

/// Any characters may be in a name that a page has in quotes, but no page has one that is blank; braces are taken
/// for a selector's.
pub(super) fn metric_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("expected the name of a metric, such as vllm:num_requests_waiting".to_owned());
    }
    if text.ends_with('}') && text.contains('{') {
        return Err("expected the name of a metric alone, without labels".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// A service account, `NAMESPACE/NAME`.
pub(super) fn account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("expected NAMESPACE/NAME".to_owned()),
    }
}

pub(super) fn param_kind(text: &str) -> Result<(String, ParamKind), String> {
    let (name, kind) = key_value(text).map_err(|_| "expected NAME=KIND".to_owned())?;
    let kind = kind.parse::<ParamKind>().map_err(|error| error.to_string())?;
    Ok((name, kind))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_seconds(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| EXPECTED_DURATION.to_owned())
}

pub(super) fn scrape_interval(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(60);
    let interval = parse_seconds(text)
        .ok()
        .filter(|interval| bounds.contains(interval));
    interval.ok_or_else(|| "expected a duration from 100ms to 1m, such as 1s or 0.5".to_owned())
}

pub(super) fn step(text: &str) -> Result<Duration, String> {
    let step = parse_seconds(text)
        .ok()
        .filter(|step| *step >= Duration::from_millis(1));
    step.ok_or_else(|| EXPECTED_DURATION.to_owned())
}

pub(super) fn tolerance(text: &str) -> Result<f64, String> {
    let tolerance = text.parse().ok().filter(|ratio| (0.0..1.0).contains(ratio));
    tolerance.ok_or_else(|| "expected a number from 0 to below 1, such as 1e-9".to_owned())
}
