//! Each way of reading, and what it makes of what is absent: in a few words, so that a table can say what is expected.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::federated::{FederatedConfig, FederatedSource, Member, Require};
use fleetgauge::policy::{Fold, OnError, OnIncomplete, OnNoData, OnUndefined, Policy};
use fleetgauge::query::Shape;
use fleetgauge::reading::{ReadingSpec, Readings, Status};
use fleetgauge::result::AnswerKind;
use fleetgauge::source::Outcome;
use fleetgauge::transform::{TransformStep, VariantFold, promql};
use fleetgauge::{
    FixedBackend, Lookup, MetricResult, MetricsSource, Params, QueryTemplate, RefreshSpec, SourceRegistry,
};

use super::world::{World, asked, good_pods};

/// How old a value may be.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(15);

/// What nobody may take for a whole and good one.
const NUMBER: &str = "a number";
const NO_DATA: &str = "no data";

/// What came of a query, in a few words.
fn seen(outcome: &Outcome) -> String {
    let result = match outcome {
        Ok(result) => result,
        Err(error) => return format!("error: {}", error.reason()),
    };
    if !result.is_complete() {
        assert!(
            result.warnings().next().is_some(),
            "incomplete, and nothing says why"
        );
        return "incomplete".to_owned();
    }
    let rows: BTreeSet<&str> = match result.answer().kind() {
        AnswerKind::Matrix => last_points(result).collect(),
        _ => result
            .values()
            .enumerate()
            .map(|(row, value)| row_seen(result, row, value.value))
            .collect(),
    };
    match rows.is_empty() {
        true => NO_DATA.to_owned(),
        false => rows.into_iter().collect::<Vec<_>>().join(", "),
    }
}

fn row_seen(result: &MetricResult, row: usize, value: f64) -> &'static str {
    let age = result.age(row);
    match age.duration() {
        _ if !value.is_finite() => "undefined",
        _ if age.is_ended() => "ended",
        Some(age) if age > MAX_AGE => "too old",
        _ => NUMBER,
    }
}

/// What each series has at the last step.
fn last_points(result: &MetricResult) -> impl Iterator<Item = &'static str> {
    let end = result.steps().unwrap().end();
    result
        .answer()
        .series()
        .map(move |series| match series.points().last() {
            Some(last) if last.timestamp < end => "no point now",
            Some(last) if last.value.is_finite() => NUMBER,
            Some(_) => "undefined",
            None => "no point",
        })
}

/// Whether it can be known of that there is no whole number.
fn is_known_not_to_be_whole(seen: &str) -> bool {
    seen == "incomplete" || seen.starts_with("error: ")
}

/// The query itself, and what the cache has of it then.
pub(crate) async fn get(world: &mut World) -> String {
    spoilt(world).await;
    world.register("q", world.text, &world.steps);
    let source = &*world.source;
    assert!(matches!(
        source.lookup("q", &Params::new()),
        Lookup::NeverRefreshed
    ));
    assert!(source.get("q", &Params::new()).is_none());
    let outcome = asked(source, "q").await;
    check_cached(&outcome, &source.lookup("q", &Params::new()));
    seen(&outcome)
}

/// What is cached is what was seen.
fn check_cached(outcome: &Outcome, cached: &Lookup) {
    match (outcome, cached) {
        (Ok(_), Lookup::Value(value)) => {
            assert_eq!(seen(outcome), seen(&Ok(Arc::clone(value.result()))));
        }
        (Err(error), Lookup::Failed(failure)) => assert_eq!(error.reason(), failure.error.reason()),
        other => panic!("{other:?}"),
    }
}

/// The same over a minute, in steps of 15 seconds.
pub(crate) async fn range(world: &mut World) -> String {
    spoilt(world).await;
    world.register("q", world.range_text, &world.steps);
    let spec = RefreshSpec::queries(["q"]);
    let results = world.source.refresh_range(spec, WINDOW, STEP).await;
    let outcome = results["q"].clone();
    let shape = Shape::Range {
        window: WINDOW,
        step: STEP,
    };
    check_cached(&outcome, &world.source.lookup_shape("q", &Params::new(), shape));
    seen(&outcome)
}

/// The query as the input of a composed source.
pub(crate) async fn composed(world: &mut World) -> String {
    spoilt(world).await;
    world.register("q", world.text, &world.steps);
    let sources = SourceRegistry::new();
    sources.register("base", Arc::clone(&world.source)).unwrap();
    let config = ComposedConfig::new("composed").with_input(Input::new("x", "base", "q"));
    let source = ComposedSource::with_clock(config, &sources, world.clock.clone()).unwrap();
    // The input's own timeout is to pass first.
    let of = async |text: &str| {
        let query = QueryTemplate::promql("q", text).timeout(4 * world.timeout);
        source.query_list().replace(query).unwrap();
        seen(&asked(&source, "q").await)
    };
    let sum = of("sum(x)").await;
    assert_eq!(of("x").await, sum);
    // Of no data that is whole this says zero, and means it.
    let hidden = of("sum(x) or vector(0)").await;
    if sum != NO_DATA {
        assert_eq!(hidden, sum, "in sum(x) or vector(0)");
    }
    sum
}

/// The query as that of a federation whose member the source is.
pub(crate) async fn federated(world: &mut World) -> String {
    spoilt(world).await;
    // Alone: the other member has no series, and never had.
    let empty = Arc::new(FixedBackend::new().into_source());
    let alone = of_federation(world, empty, Require::All, world.text).await;
    // Beside a member that is good, and would be enough.
    let (peer, _pods) = good_pods(&world.clock);
    let text = format!("sum({})", world.text);
    let beside = of_federation(world, Arc::new(peer), Require::Any, &text).await;
    match &*alone {
        // Then the other one's number is all there is.
        NO_DATA => {}
        lost if is_known_not_to_be_whole(lost) => {
            assert!(is_known_not_to_be_whole(&beside), "{beside} beside a good member");
        }
        _ => assert_ne!(beside, NUMBER, "beside a good member"),
    }
    alone
}

async fn of_federation(world: &World, other: Arc<dyn MetricsSource>, require: Require, text: &str) -> String {
    let sources = SourceRegistry::new();
    sources.register("base", Arc::clone(&world.source)).unwrap();
    sources.register("other", other).unwrap();
    let config = ["base", "other"]
        .iter()
        .fold(FederatedConfig::new("federated"), |config, name| {
            config.with_member(Member::new(*name, *name).with_label("cluster", *name))
        });
    let config = config.with_require(require);
    let source = FederatedSource::with_clock(config, &sources, world.clock.clone()).unwrap();
    let query = QueryTemplate::promql("q", text).timeout(world.timeout);
    let query = world.steps.iter().cloned().fold(query, QueryTemplate::transform);
    source.query_list().replace(query).unwrap();
    seen(&asked(&source, "q").await)
}

/// The query with each step that an answer may go through.
pub(crate) async fn transformed(world: &mut World) -> String {
    spoilt(world).await;
    let of = async |step: TransformStep| {
        let mut steps = world.steps.clone();
        let text = match &world.transformed {
            None => world.text,
            Some((text, first)) => {
                steps.push(first.clone());
                text
            }
        };
        steps.push(step);
        world.register("q", text, &steps);
        seen(&asked(&*world.source, "q").await)
    };
    let by_promql = of(promql("sum(answer)").unwrap()).await;
    let by_variant = of(TransformStep::ByVariant(VariantFold::By(Fold::Sum))).await;
    let by_label = of(TransformStep::LabelToValue("slots".to_owned())).await;
    assert_eq!(by_variant, by_promql, "by_variant and promql");
    // The number in a label is one, whatever the value is.
    if by_promql != "undefined" {
        assert_eq!(by_label, by_promql, "label_to_value and promql");
    }
    by_promql
}

/// The query by a policy, which accepts nothing else than whole and good ones; and by one that holds the last good number.
pub(crate) async fn reading(world: &mut World) -> String {
    let mut policy = Policy::default().max_age(MAX_AGE);
    if world.knows_completeness {
        policy = policy.min_completeness(0.9);
    }
    let holding = Policy::default()
        .on_error(OnError::Hold)
        .on_incomplete(OnIncomplete::Hold)
        .on_no_data(OnNoData::Hold)
        .on_undefined(OnUndefined::Hold)
        .hold(Duration::from_secs(300))
        .over(&policy);
    let readings = [policy, holding].map(|policy| {
        let mut spec = ReadingSpec::new("metric", "q".parse().unwrap()).policy(policy);
        spec.knows_completeness = world.knows_completeness;
        spec.is_over_pods_alone = world.is_over_pods_alone;
        Readings::new(spec, world.clock.clone()).unwrap()
    });
    let [failing, holding] = &readings;
    let update = async |world: &World| {
        let _ = asked(&*world.source, "q").await;
        for readings in [failing, holding] {
            readings.update(&world.source.lookup("q", &Params::new()), None);
        }
    };
    assert_eq!(read(failing), "withheld: never_refreshed");
    world.register("q", world.text, &world.steps);
    if world.was_good {
        update(world).await;
        assert_eq!(read(failing), "value");
    }
    world.spoil().await;
    update(world).await;
    let (failed, held) = (read(failing), read(holding));
    match world.was_good {
        true => assert_eq!(
            held,
            failed.replace("withheld: ", "held: "),
            "with the last good number"
        ),
        false => assert_eq!(held, failed, "with nothing to hold"),
    }
    failed
}

/// All rows as they are read, or what is read where there is none.
pub(crate) fn read(readings: &Readings) -> String {
    let mut reader = readings.reader();
    let shown = |reading: fleetgauge::reading::Reading<'_>| {
        let reason = reading.reason().map(|reason| reason.code.as_str());
        assert_eq!(reading.value().is_none(), reading.status() == Status::Withheld);
        match reason {
            None => reading.status().as_str().to_owned(),
            Some(reason) => format!("{}: {reason}", reading.status().as_str()),
        }
    };
    let mut rows: BTreeSet<String> = reader.rows().map(shown).collect();
    if rows.is_empty() {
        rows.insert(shown(reader.get(&[])));
    }
    Vec::from_iter(rows).join(", ")
}

/// Makes it as absent as it is to be; where it was there before, that has been seen.
async fn spoilt(world: &mut World) {
    if world.was_good {
        world.register("before", world.text, &world.steps);
        assert_eq!(seen(&asked(&*world.source, "before").await), NUMBER, "before");
    }
    world.spoil().await;
}
