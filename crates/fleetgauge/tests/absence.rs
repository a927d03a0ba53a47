//! The ways to be absent by what is read of it: in no cell of the table a number stands for what is not there.

mod read;
mod world;

use std::sync::Arc;

use fleetgauge::composed::{ComposedConfig, ComposedSource, Input};
use fleetgauge::policy::Policy;
use fleetgauge::reading::{ReadingSpec, Readings};
use fleetgauge::{MetricsSource, Params, QueryTemplate, SourceRegistry};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use self::world::{Way, World};

/// What a way of reading makes of a way to be absent.
#[derive(Clone, Copy, Debug)]
enum Cell {
    /// This.
    Is(&'static str),
    /// There is no such cell, for this reason.
    Not(&'static str),
}

use Cell::{Is, Not};

const NO_DATA: Cell = Is("no data");
const UNDEFINED: Cell = Is("undefined");
/// With a warning that says what is missing.
const INCOMPLETE: Cell = Is("incomplete");
/// The federation has not heard of its member, whatever that one's reason is.
const MEMBERS: Cell = Is("error: members");
const HISTORY: Cell = Not(
    "a range is a history, to each step of which its server has carried the sample on; nobody reads it as one number (not_a_vector)",
);

/// By way to be absent: get, range, composed, federated, transformed, reading.
///
/// Pods that a variant's index knows as deleted are not here: nobody tells of them yet.
#[rustfmt::skip]
const TABLE: [(Way, [Cell; 6]); 34] = [
    (Way::NoTarget,               [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: no_data")]),
    (Way::DiscoveryFails,         [Is("error: discovery"),   Is("error: discovery"),   Is("error: discovery"),   MEMBERS,       Is("error: discovery"),   Is("withheld: failed")]),
    (Way::AllTargetsFail,         [Is("error: unreachable"), Is("error: unreachable"), Is("error: unreachable"), MEMBERS,       Is("error: unreachable"), Is("withheld: failed")]),
    (Way::AllTargetsFailNow,      [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::SomeFail,               [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::Withdrawn,              [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::LabelMissing,           [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       UNDEFINED,                Is("withheld: no_data")]),
    (Way::ValueNeverSeen,         [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: no_data")]),
    (Way::MetricNeverSeen,        [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: no_data")]),
    (Way::Ended,                  [Is("ended"),              Is("no point now"),       Is("ended"),              Is("ended"),   Is("ended"),              Is("withheld: ended")]),
    (Way::TooOld,                 [Is("too old"),            HISTORY,                  Is("too old"),            Is("too old"), Is("too old"),            Is("withheld: too_old")]),
    (Way::TooOldOfPods,           [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: too_old")]),
    (Way::NaN,                    [UNDEFINED,                UNDEFINED,                UNDEFINED,                UNDEFINED,     UNDEFINED,                Is("withheld: undefined")]),
    (Way::Infinite,               [UNDEFINED,                UNDEFINED,                UNDEFINED,                UNDEFINED,     UNDEFINED,                Is("withheld: undefined")]),
    (Way::Warning,                [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: age_unknown")]),
    (Way::PartialAnswer,          [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: age_unknown")]),
    (Way::HalfAnAnswer,           [Is("error: unreachable"), Is("error: unreachable"), Is("error: unreachable"), MEMBERS,       Is("error: unreachable"), Is("withheld: failed")]),
    (Way::MemberDown,             [MEMBERS,                  MEMBERS,                  MEMBERS,                  MEMBERS,       MEMBERS,                  Is("withheld: failed")]),
    (Way::MemberDownAnyIsEnough,  [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::MemberEmpty,            [MEMBERS,                  MEMBERS,                  MEMBERS,                  MEMBERS,       MEMBERS,                  Is("withheld: expired")]),
    (Way::MemberEmptyAnyIsEnough, [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::InputDown,              [Is("error: unavailable"), Is("error: unavailable"), Is("error: unavailable"), MEMBERS,       Is("error: unavailable"), Is("withheld: failed")]),
    (Way::OptionalInputDown,      [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::UnmappedPods,           [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::SeriesLimit,            [Is("error: incomplete"),  Is("error: incomplete"),  Is("error: incomplete"),  MEMBERS,       Is("error: incomplete"),  Is("withheld: incomplete")]),
    (Way::TargetLimit,            [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::Starting,               [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: no_data")]),
    (Way::Gone,                   [NO_DATA,                  Is("no point now"),       NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: no_data")]),
    (Way::Idle,                   [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: no_data")]),
    (Way::IdleUnguarded,          [UNDEFINED,                UNDEFINED,                UNDEFINED,                UNDEFINED,     UNDEFINED,                Is("withheld: undefined")]),
    (Way::ZeroReplicas,           [NO_DATA,                  NO_DATA,                  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("value: no_replicas")]),
    // The range begins before we do.
    (Way::NoneReady,              [NO_DATA,                  Is("error: incomplete"),  NO_DATA,                  NO_DATA,       NO_DATA,                  Is("withheld: completeness_unknown")]),
    (Way::ShortWindow,            [INCOMPLETE,               INCOMPLETE,               INCOMPLETE,               INCOMPLETE,    INCOMPLETE,               Is("withheld: incomplete")]),
    (Way::FirstStart,             [Is("error: discovery"),   Is("error: discovery"),   Is("error: discovery"),   MEMBERS,       Is("error: discovery"),   Is("withheld: failed")]),
];

/// Compares a column with what is so; all cells that differ are told.
async fn check(column: usize, read: impl for<'a> Fn(&'a mut World) -> LocalBoxFuture<'a, String>) {
    let mut wrong = Vec::new();
    for (way, cells) in TABLE {
        let expected = match cells[column] {
            Is(expected) => expected,
            Not(reason) => {
                assert!(reason.len() > 20, "{way:?}: why is there no such cell?");
                continue;
            }
        };
        let mut world = World::new(way).await;
        let reading = std::panic::AssertUnwindSafe(read(&mut world)).catch_unwind();
        let found = reading.await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            format!(
                "panicked: {}",
                text.or(panic.downcast_ref().copied()).unwrap_or_default()
            )
        });
        if found != expected {
            wrong.push(format!("{way:?}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn get() {
    check(0, |world| read::get(world).boxed_local()).await;
}

#[tokio::test]
async fn range() {
    check(1, |world| read::range(world).boxed_local()).await;
}

#[tokio::test]
async fn composed() {
    check(2, |world| read::composed(world).boxed_local()).await;
}

#[tokio::test]
async fn federated() {
    check(3, |world| read::federated(world).boxed_local()).await;
}

#[tokio::test]
async fn transformed() {
    check(4, |world| read::transformed(world).boxed_local()).await;
}

#[tokio::test]
async fn reading() {
    check(5, |world| read::reading(world).boxed_local()).await;
}

/// Ranges tell no ages; what is computed from one of an input has one all the same.
#[tokio::test]
async fn a_reading_over_a_range_of_an_input_is_judged_by_its_age() {
    let mut world = World::new(Way::TooOldOfPods).await;
    world.register("q", world.text, &[]);
    let sources = SourceRegistry::new();
    sources.register("base", Arc::clone(&world.source)).unwrap();
    let config = ComposedConfig::new("composed")
        .with_input(Input::new("x", "base", "q"))
        .with_query(QueryTemplate::promql("longest", "max_over_time(x[30s])"));
    let source = ComposedSource::with_clock(config, &sources, world.clock.clone()).unwrap();
    let policy = Policy::default().max_age(read::MAX_AGE);
    let spec = ReadingSpec::new("metric", "longest".parse().unwrap()).policy(policy);
    let readings = Readings::new(spec, world.clock.clone()).unwrap();
    let update = async || {
        let _ = world::asked(&source, "longest").await;
        readings.update(&source.lookup("longest", &Params::new()), None);
        read::read(&readings)
    };
    assert_eq!(update().await, "value");
    world.spoil().await;
    assert_eq!(update().await, "withheld: too_old");
}
