//! The loop closed: users make engines busy, the daemon reads them, the real HPA controller scales by that, and what is scaled
//! changes what is read. Then all goes wrong, one thing after the other, and the HPA holds.
//!
//! Whoever scales is watched all the time: each number of replicas that an HPA says it desires is held against what the engines
//! truly have.

use std::fs;

use serde_json::{Value, json};

use crate::support::aggregation::{NAMESPACE, autoscaler};
use crate::support::closed_loop::{ALONE, FIFTY, Loop, PAIR, STABILIZATION, deployment, external, load_of};
use crate::support::daemon::until;
use crate::support::show::{Act, Show};

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn the_hpa_follows_the_load_and_holds_through_every_fault() {
    let mut world = Loop::start();
    let described = world.aggregation.until_described();
    let first = fs::read_to_string(world.token()).unwrap();
    world.engines.set_users(ALONE, 8);
    world.engines.set_users(PAIR, 8);
    for deployment in [ALONE, PAIR] {
        world.deploy(deployment);
    }
    world.listen();
    world
        .aggregation
        .autoscale(ALONE, &json!([load_of(ALONE)]), STABILIZATION);
    let two = json!([load_of(PAIR), external(json!({"name": "backlog"}))]);
    world.aggregation.autoscale(PAIR, &two, STABILIZATION);
    world.until_level(ALONE, 1, 8);
    world.until_level(PAIR, 1, 8);

    // Load comes and goes, and each variant has its own.
    world.engines.set_users(ALONE, 48);
    world.until_level(ALONE, 5, 48);
    // New engines take what waits at the old one: each of them works at four requests.
    until(|| world.engines.waiting(ALONE) == 48 - 5 * 4);
    world.engines.set_users(PAIR, 28);
    world.until_level(PAIR, 3, 28);
    world.until_level(ALONE, 5, 48);
    world.engines.set_users(ALONE, 28);
    world.until_level(ALONE, 3, 28);
    world.until_level(PAIR, 3, 28);

    // From now on the daemon's first token is nobody's: the second is in the file, which it reads again.
    world.write_token("second");
    world
        .aggregation
        .kubectl(&["delete", "secret", "first", "--namespace", NAMESPACE]);

    world.engines.hang_half();
    world.hold((3, 3), &["incomplete", "have reported"]);
    world.engines.heal();
    world.until_level(ALONE, 3, 28);
    world.until_level(PAIR, 3, 28);

    world.engines.mute();
    world.hold((3, 3), &["no_data", "no longer", "no data"]);
    world.engines.heal();
    world.until_level(ALONE, 3, 28);
    world.until_level(PAIR, 3, 28);

    // All the while the API server has had nothing to complain of.
    world.aggregation.hears_no_complaint_since(described);
    // Killed, and nobody is there for a while.
    world.daemon = None;
    world.until_both_are_told(&["unable to fetch metrics", "unable to get external metric"]);
    world.until_given_up(10);
    assert_eq!((world.replicas(ALONE), world.replicas(PAIR)), (3, 3));
    world.start_daemon();
    let described = world.aggregation.until_described();
    world.until_level(ALONE, 3, 28);
    world.until_level(PAIR, 3, 28);
    world.engines.set_users(ALONE, 38);
    world.until_level(ALONE, 4, 38);
    world.aggregation.hears_no_complaint_since(described);

    world.aggregation.cluster.kill_api_server();
    world.engines.set_users(PAIR, 38);
    until(|| world.engines.requests(PAIR) == 38);
    world.aggregation.cluster.start_api_server().unwrap();
    let described = world.aggregation.until_described();
    world.until_level(PAIR, 4, 38);
    world.until_level(ALONE, 4, 38);
    world.engines.set_users(ALONE, 18);
    world.until_level(ALONE, 2, 18);
    world.until_only_the_second_counts(&first);
    world.aggregation.hears_no_complaint_since(described);
    world.judge();
    assert!(world.desires.lock().unwrap().len() > 10);
}

/// An HPA of type `Pods` reckons with pods that have no number by a rule of its own, and one that has a number does not wait for those
/// that have none.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn missing_pods_are_reckoned_with_and_fifty_hpas_without_a_number_delay_nobody() {
    let world = Loop::start();
    world.deploy(ALONE);
    let count = |replicas: &str| {
        world
            .aggregation
            .kubectl(&["scale", "deployment", ALONE, replicas, "--namespace", NAMESPACE]);
    };
    count("--replicas=4");
    world.engines.set_users(ALONE, 80);
    let selected = format!(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}/pods/*/pod_load?labelSelector=app%3D{ALONE}"
    );
    let values = || {
        let list = world.aggregation.get(&selected).unwrap_or_default();
        let value = |item: &Value| item["value"].as_str().unwrap().parse::<u32>().unwrap();
        list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(value)
            .collect::<Vec<_>>()
    };
    until(|| values() == [20; 4]);
    world.engines.hang_half();
    until(|| values() == [20; 2]);
    world.listen();
    let target = json!({"type": "AverageValue", "averageValue": "8"});
    let of_pods = json!([{"type": "Pods", "pods": {"metric": {"name": "pod_load"}, "target": target}}]);
    world.aggregation.autoscale(ALONE, &of_pods, STABILIZATION);
    let desired = |after: usize| {
        let desires = world.desires.lock().unwrap();
        desires
            .iter()
            .skip(after)
            .map(|desire| desire.replicas)
            .find(|replicas| *replicas != 4)
    };
    // 20 of 8 would be ten of four. Those that are missing are taken to be idle: (20 + 20 + 0 + 0) / 8.
    until(|| desired(0).is_some());
    assert_eq!(desired(0), Some(5));
    // The fifth has (20 + 20 + what it gets) / 8, which is no more than one more: they stay where they are.
    world.engines.heal();

    world
        .aggregation
        .autoscale(ALONE, &json!([load_of(ALONE)]), STABILIZATION);
    world.engines.set_users(ALONE, 18);
    until(|| world.replicas(ALONE) == 2);
    // What it desired by the rule above was not by what the engines had.
    world.desires.lock().unwrap().clear();
    world.until_level(ALONE, 2, 18);
    world.aggregation.kubectl(&["create", "namespace", "withheld"]);
    let objects = (0..FIFTY).flat_map(|number| {
        let name = format!("withheld-{number}");
        let never = json!([external(json!({"name": "never"}))]);
        [
            deployment(&name, "withheld"),
            autoscaler(&name, "withheld", &never, 0),
        ]
    });
    world.aggregation.apply(&objects.collect());
    // All of them ask by now, again and again.
    until(|| world.answered(503) >= 3 * FIFTY);
    let before = world.answered(503);
    world.engines.set_users(ALONE, 38);
    until(|| world.replicas(ALONE) == 4);
    let meanwhile = world.answered(503) - before;
    assert!(
        meanwhile <= 4 * FIFTY,
        "{meanwhile} others were told something meanwhile"
    );
    world.judge();
}

/// What people watch, for some seconds.
#[test]
#[ignore = "needs a Kubernetes control plane"]
fn the_demo_shows_the_loop_and_what_it_lacks() {
    let mut show = Show::start();
    let mut shown = Vec::new();
    // Until the HPA has scaled, and then without metrics.
    until(|| {
        shown.clear();
        show.play(&[(0, Act::Users(28)), (0, Act::End)], &mut shown)
            .unwrap();
        show.screen().contains("3, and the HPA desires 3")
    });
    until(|| show.screen().contains("reading   28"));
    show.act(Act::Mute);
    until(|| {
        let screen = show.screen();
        screen.contains("reading   withheld")
            && screen.contains("unable to get external metric")
            && screen.contains("fault     no metrics")
    });
    assert!(
        show.screen().contains("3, and the HPA desires 3"),
        "{}",
        show.screen()
    );
    let begun = show.elapsed().as_secs();
    show.play(&[(0, Act::Heal), (begun + 2, Act::End)], &mut shown)
        .unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("-- Heal") && shown.contains("engines   3 with 28 requests, of which 16 wait"),
        "{shown}"
    );
}
