//! Queries: at one time, and over a range.

use std::time::Duration;

use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::EvalError;
use fleetgauge_promql::parse::{self, ValueType};

use super::api::Call;
use super::data::QueryData;
use super::param::Nanos;
use super::reply::{ApiError, ErrorKind, Reply};
use super::time;

/// The words of Prometheus, which clients know.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// By how much a client's clock may be ahead.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5);

/// So many steps a range may have, as in Prometheus.
const MAX_POINTS: i128 = 11_000;

/// `/query`
pub(super) fn instant(call: &Call) -> Result<Reply, ApiError> {
    let params = &call.params;
    let limit = params.limit()?;
    let at = params.time("time")?.unwrap_or_else(|| call.now());
    params.duration("timeout")?;
    let lookback = params.duration("lookback_delta")?;
    let query = params.get("query");
    parse_query(call, query)?;
    let engine = call.engine(lookback)?;
    let evaluation = engine.instant(&call.data(at), query, at).map_err(failure)?;
    let found = &evaluation.answer;
    if found.is_no_data() && !found.is_complete() {
        // Who scales on it takes "nothing" for zero, as KEDA does unless it is told otherwise.
        let reasons: Vec<&str> = found.warnings().collect();
        let message = format!("no values, and some may be missing: {}", reasons.join("; "));
        return Err(ApiError::new(ErrorKind::Execution, message));
    }
    answer(call, found, limit, ahead(call, at))
}

/// `/query_range`
pub(super) fn range(call: &Call) -> Result<Reply, ApiError> {
    let params = &call.params;
    let limit = params.limit()?;
    let start = params.required_time("start")?;
    let end = params.required_time("end")?;
    if end < start {
        return Err(ApiError::param("end", "it is before the start"));
    }
    let step = step(params.required_duration("step")?)?;
    let span = i128::from(end.as_millis()) - i128::from(start.as_millis());
    if span * 1_000_000 / i128::try_from(step.as_nanos()).unwrap_or(i128::MAX) > MAX_POINTS {
        let message = format!(
            "the range has more than {MAX_POINTS} points for each series: make the step larger, or the range shorter"
        );
        return Err(ApiError::new(ErrorKind::BadData, message));
    }
    params.duration("timeout")?;
    let lookback = params.duration("lookback_delta")?;
    let query = params.get("query");
    let kind = parse_query(call, query)?;
    if !matches!(kind, ValueType::Scalar | ValueType::InstantVector) {
        let why = format!(
            "a range query gives numbers or an instant vector at each step, and this is of the type {kind}"
        );
        return Err(ApiError::param("query", why));
    }
    let engine = call.engine(lookback)?;
    let evaluated = call.range(&engine, query, (start, end, step));
    let (found, told) = evaluated.map_err(failure)?;
    answer(call, &found, limit, ahead(call, start).into_iter().chain(told))
}

/// `/format_query`
pub(super) fn format(call: &Call) -> Result<Reply, ApiError> {
    let query = parse::format(call.params.get("query"));
    let query = query.map_err(|error| ApiError::param("query", error))?;
    call.success(query, &[], &[])
}

/// `/query_exemplars`: there are none.
pub(super) fn exemplars(call: &Call) -> Result<Reply, ApiError> {
    let params = &call.params;
    let start = params.time("start")?.unwrap_or(time::MIN);
    let end = params.time("end")?.unwrap_or(time::MAX);
    if end < start {
        return Err(ApiError::new(ErrorKind::BadData, "the end is before the start"));
    }
    parse_query(call, params.get("query"))?;
    call.success([(); 0], &[], &[])
}

fn parse_query(call: &Call, query: &str) -> Result<ValueType, ApiError> {
    let parsed = call.parser().parse(query);
    let parsed = parsed.map_err(|error| ApiError::param("query", error))?;
    Ok(parsed.value_type())
}

fn step(step: Nanos) -> Result<Duration, ApiError> {
    match u64::try_from(step).map(Duration::from_nanos) {
        Ok(step) if step >= Duration::from_millis(1) => Ok(step),
        _ => Err(ApiError::param("step", "a step is a millisecond or longer")),
    }
}

fn failure(error: EvalError) -> ApiError {
    let kind = match &error {
        EvalError::Parse(_) => ErrorKind::BadData,
        EvalError::Timeout { .. } => ErrorKind::Timeout,
        _ => ErrorKind::Execution,
    };
    ApiError::new(kind, error.to_string())
}

/// What is to be said of a time that is yet to come: whatever has no samples then has none *yet*.
fn ahead(call: &Call, at: Timestamp) -> Option<String> {
    let ahead = at.saturating_since(call.now());
    (ahead > CLOCKS_DIFFER_BY).then(|| {
        let seconds = ahead.as_secs();
        format!(
            "the time that is asked for is {seconds} s ahead of this server's clock: what is there then is not known yet, and \
             nothing is no zero"
        )
    })
}

fn answer(
    call: &Call,
    answer: &Answer,
    limit: usize,
    told: impl IntoIterator<Item = String>,
) -> Result<Reply, ApiError> {
    let data = QueryData::new(answer).limit(limit);
    let mut warnings: Vec<String> = answer.warnings().map(str::to_owned).collect();
    warnings.extend(told);
    if data.is_cut() {
        warnings.push(TRUNCATED.to_owned());
    }
    let mut infos: Vec<String> = answer.infos().map(str::to_owned).collect();
    infos.extend(call.served.shard.filter(|shard| shard.is_part()).map(|shard| {
        format!("samples of pods are those of {shard} alone; readings are of all that their source asks")
    }));
    call.success(data, &warnings, &infos)
}

/// The times that are read where a request may leave them out.
pub(super) struct Times {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Whether the request names the start: whoever leaves it out asks for what there is.
    pub(super) is_given: bool,
}

impl Times {
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let start = call.params.time("start")?;
        let end = call.params.time("end")?;
        Ok(Self {
            start: start.unwrap_or(time::MIN),
            end: end.unwrap_or(time::MAX),
            is_given: start.is_some(),
        })
    }
}
