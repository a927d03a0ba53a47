//! What could only go wrong, and federations over federations.

use std::sync::Arc;

use fleetgauge::federated::{FederatedConfig, FederatedSource, Member, Require};
use fleetgauge::policy::Fold;
use fleetgauge::{FixedBackend, MetricsSource, QueryTemplate, RefreshSpec, SourceRegistry};
use fleetgauge_core::query::Folds;
use fleetgauge_core::transform::fold;

use super::{shown, vector};

#[test]
fn what_could_only_go_wrong_is_refused_when_it_is_made() {
    let member = |name: &str| Member::new(name, name).with_label("cluster", name);
    let two = || {
        FederatedConfig::new("fleet")
            .with_member(member("eu"))
            .with_member(member("us"))
    };
    let sources = SourceRegistry::new();
    for name in ["eu", "us", "ap"] {
        sources
            .register(name, Arc::new(FixedBackend::new().into_source()))
            .unwrap();
    }
    let check = |config: FederatedConfig, expected: &str| {
        let error = FederatedSource::new(config, &sources).unwrap_err().to_string();
        assert!(
            error.starts_with("federated source \"fleet\": ") && error.contains(expected),
            "{error}"
        );
    };
    check(FederatedConfig::new("fleet"), "it has no members");
    let second = |member| {
        FederatedConfig::new("fleet")
            .with_member(Member::new("eu", "eu").with_label("cluster", "eu"))
            .with_member(member)
    };
    check(second(Member::new("us", "us")), "it needs a label");
    check(
        second(Member::new("us", "us").with_label("cluster", "eu")),
        "member \"us\": its labels are those of member \"eu\"",
    );
    check(second(member("eu")), "there is another member of this name");
    check(
        second(member("us").with_label("region", "x")),
        "it has other labels than member \"eu\"",
    );
    check(
        second(Member::new("us", "eu").with_label("cluster", "us")),
        "counted twice",
    );
    check(
        second(member("us").with_replica("us")),
        "it has the source \"us\" twice",
    );
    check(
        second(Member::new("us", "us").with_label("le", "us")),
        "\"le\" cannot be the label of a member",
    );
    check(
        second(Member::new("us", "us").with_label("a.b", "us")),
        "\"a.b\" cannot be the label of a member",
    );
    check(
        second(Member::new("us", "us").with_label("cluster", "")),
        "has no value",
    );
    check(
        two().with_member(member("uss")),
        "there is no source \"uss\" for its member \"uss\"; did you mean \"us\"?",
    );
    check(
        two().with_require(Require::AtLeast(3)),
        "3 of its 2 members are required",
    );
    check(
        two().with_require(Require::AtLeast(0)),
        "0 of its 2 members are required",
    );
    check(
        two().with_query(QueryTemplate::promql("q", "info(x)")),
        "`info` cannot be asked of several members",
    );
    check(two().with_query(QueryTemplate::promql("q", "sum(x")), "query");
    check(
        two().with_query(QueryTemplate::promql("q", "x[5m]")),
        "a range vector is not one value a series",
    );
}

#[tokio::test]
async fn federations_over_federations_are_registered_in_any_order_or_not_at_all() {
    let sources = SourceRegistry::new();
    for name in ["a", "b", "c"] {
        let answers = FixedBackend::new().values("q:part0:part0", [([], 1.0)]);
        let answers = answers.values("q:part0", [([], 1.0)]);
        sources.register(name, Arc::new(answers.into_source())).unwrap();
    }
    let of = |name: &str, label: &str, members: [&str; 2]| {
        members.iter().fold(FederatedConfig::new(name), |config, member| {
            config.with_member(Member::new(*member, *member).with_label(label, *member))
        })
    };
    let circle = [of("x", "region", ["y", "a"]), of("y", "cluster", ["x", "b"])];
    let error = FederatedSource::register_all(&sources, circle)
        .unwrap_err()
        .to_string();
    assert!(error.contains("in a circle: x -> y -> x"), "{error}");
    assert_eq!(sources.list(), ["a", "b", "c"]);

    let all = of("all", "region", ["west", "c"]).with_query(QueryTemplate::promql("q", "sum(x)"));
    FederatedSource::register_all(&sources, [all, of("west", "cluster", ["a", "b"])]).unwrap();
    let results = sources.get("all").unwrap().refresh(RefreshSpec::all()).await;
    assert_eq!(shown(results["q"].as_ref().unwrap().answer()), ["{} 3"]);
}

/// Guards against two pods of one name that are folded as one where the label of the members is not called `cluster`.
#[tokio::test]
async fn pods_of_one_name_in_two_members_stay_two_whatever_tells_members_apart() {
    let sources = SourceRegistry::new();
    for name in ["eu", "us"] {
        let backend = FixedBackend::new()
            .answer("plain:part0", vector(&["namespace=chat,pod=a 3"]))
            .answer(
                "by_pod:part0",
                vector(&[&format!("namespace=chat,pod=a,region={name} 3")]),
            )
            .answer(
                "other:part0",
                vector(&[&format!("namespace=chat,pod={name},region={name} 3")]),
            );
        sources.register(name, Arc::new(backend.into_source())).unwrap();
    }
    let config = FederatedConfig::new("fleet")
        .with_member(Member::new("eu", "eu").with_label("region", "eu"))
        .with_member(Member::new("us", "us").with_label("region", "us"))
        .with_query(QueryTemplate::promql("plain", "x"))
        .with_query(QueryTemplate::promql("by_pod", "sum by (namespace, pod) (x)"))
        .with_query(QueryTemplate::promql("other", "sum by (namespace, pod) (x)"));
    let source = FederatedSource::new(config, &sources).unwrap();
    let results = source
        .refresh(RefreshSpec::queries(["plain", "by_pod", "other"]))
        .await;
    let folds = Folds::new(Fold::Max, Fold::Sum);
    let plain = results["plain"].as_ref().unwrap();
    assert_eq!(shown(&fold(plain.answer(), folds)), ["{} 6"]);
    // What the query itself makes one can be told apart no more.
    let by_pod = results["by_pod"].as_ref().unwrap();
    assert!(!by_pod.is_complete());
    let warnings: Vec<_> = by_pod.warnings().collect();
    assert!(
        warnings[0].contains("chat/a of eu and us, are one: keep the label region"),
        "{warnings:?}"
    );
    assert!(results["other"].as_ref().unwrap().is_complete());
}
