//! One variant in time: its users, the way of their requests to its pods, and the pods.
//!
//! Time goes in turns of a tenth of a second: requests that arrive in a turn are sent to pods by what was
//! known at its beginning, then every pod lives through the turn on its own. A request goes to any live pod
//! by chance, as through a Service, or to the one that the endpoint picker chooses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dice::Dice;
use crate::gateway::{Endpoint, Gateway};
use crate::pod::{Pod, lock};
use crate::request::Request;
use crate::variant::Variant;

/// A turn. *Unit*: nanoseconds.
pub(crate) const TURN_NS: u64 = 100_000_000;

/// One variant.
#[derive(Debug)]
pub(crate) struct World {
    variant: Variant,
    pods: Vec<Arc<Pod>>,
    /// The endpoint picker, and the pod that it runs in.
    picker: Option<(Arc<Mutex<Gateway>>, Arc<Pod>)>,
    dice: Dice,
    /// When somebody might ask next; `None` if nobody ever does.
    candidate_ns: Option<u64>,
}

// === impl World ===

impl World {
    pub(crate) fn new(
        variant: Variant,
        pods: Vec<Arc<Pod>>,
        picker: Option<(Arc<Mutex<Gateway>>, Arc<Pod>)>,
        dice: Dice,
    ) -> Self {
        let mut world = Self {
            variant,
            pods,
            picker,
            dice,
            candidate_ns: Some(0),
        };
        if let Some((gateway, _)) = &world.picker {
            let unknown = |pod: &Arc<Pod>| Endpoint {
                name: String::new(),
                port: pod.lock().port,
                ready: false,
                waiting: 0,
                running: 0,
                kv_cache_ratio: 0.0,
                dispatched: 0,
            };
            lock(gateway).endpoints = world.pods.iter().map(unknown).collect();
            world.report();
        }
        world.candidate_ns = world.next_candidate(0);
        world
    }

    /// Lives through the turn that ends at `end_ns`.
    pub(crate) fn turn(&mut self, end_ns: u64) {
        let picker = self.picker.as_ref().filter(|(_, pod)| !pod.lock().is_dead());
        let gateway = picker.map(|(gateway, _)| Arc::clone(gateway));
        if let Some(gateway) = &gateway {
            let begin_ns = end_ns - TURN_NS;
            self.send_held(gateway, begin_ns);
        }
        let mut live = None;
        while let Some(at_ns) = self.candidate_ns.filter(|&at| at < end_ns) {
            self.candidate_ns = self.next_candidate(at_ns);
            // Thinning: of candidates at the peak rate, the share that the present rate has of it.
            let rate = self.variant.load.rate_at(Duration::from_nanos(at_ns));
            if !self.dice.chance(rate / self.variant.load.peak_rate()) {
                continue;
            }
            let request = Request::draw(&mut self.dice, &self.variant.shape, at_ns);
            if let Some(gateway) = &gateway {
                lock(gateway).accept(request);
                self.send_held(gateway, at_ns);
                continue;
            }
            let live: &Vec<usize> = live.get_or_insert_with(|| {
                (0..self.pods.len())
                    .filter(|&index| !self.pods[index].lock().is_dead())
                    .collect()
            });
            // With nobody there the connection is refused, and no server counts it.
            if let Some(&index) = live.get(self.dice.below(live.len())) {
                self.pods[index].lock().push(request);
            }
        }
        for pod in &self.pods {
            pod.lock().advance(end_ns);
        }
        self.report();
    }

    fn next_candidate(&mut self, from_ns: u64) -> Option<u64> {
        let rate = self.variant.load.peak_rate() * self.pods.len() as f64;
        (rate > 0.0).then(|| from_ns.saturating_add((self.dice.exponential(rate) * 1e9) as u64))
    }

    fn send_held(&self, gateway: &Mutex<Gateway>, now_ns: u64) {
        let mut gateway = lock(gateway);
        while let Some((request, index)) = gateway.dispatch(now_ns) {
            self.pods[index].lock().push(request);
        }
    }

    /// The endpoint picker looks at its pods.
    fn report(&self) {
        if let Some((gateway, _)) = &self.picker {
            let mut gateway = lock(gateway);
            for (pod, endpoint) in self.pods.iter().zip(&mut gateway.endpoints) {
                pod.lock().report_to(endpoint);
            }
        }
    }
}

/// Simulated time as the public face tells it.
pub(crate) fn as_duration(ns: u64) -> Duration {
    Duration::from_nanos(ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use crate::pod::Template;
    use crate::variant::EngineKind;

    fn world(load: Load, pods: usize) -> World {
        let variant = Variant::new("ns", "v", EngineKind::Vllm { ranks: 1 }, "m").with_load(load);
        let template = Arc::new(Template::new(variant.clone(), 0.0));
        let pod = |i: usize| {
            Arc::new(Pod::new(
                Arc::clone(&template),
                format!("p{i}"),
                Dice::new(1, "p"),
                0,
                None,
            ))
        };
        World::new(variant, (0..pods).map(pod).collect(), None, Dice::new(1, "w"))
    }

    fn arrived(world: &World) -> Vec<u64> {
        world
            .pods
            .iter()
            .map(|pod| pod.lock().engines()[0].tally.arrived)
            .collect()
    }

    #[test]
    fn requests_come_at_the_rate_asked_for() {
        let check = |load, expected: f64| {
            let mut world = world(load, 4);
            (1..=1_000).for_each(|turn| world.turn(turn * TURN_NS));
            let counts = arrived(&world);
            let per_pod = counts.iter().sum::<u64>() as f64 / 4.0;
            assert!(
                (per_pod - expected).abs() <= 0.1 * expected,
                "{load:?}: {counts:?}"
            );
        };
        check(Load::Steady { rate: 5.0 }, 500.0);
        check(Load::Idle, 0.0);
        check(
            Load::Ramp {
                from: 0.0,
                to: 8.0,
                over: Duration::from_secs(100),
            },
            400.0,
        );
    }

    #[test]
    fn the_dead_get_nothing_and_the_others_their_share() {
        let mut world = world(Load::Steady { rate: 5.0 }, 2);
        world.pods[0].lock().suffer(crate::Fault::Die, 0);
        (1..=1_000).for_each(|turn| world.turn(turn * TURN_NS));
        let counts = arrived(&world);
        assert_eq!(counts[0], 0);
        assert!(counts[1] > 900, "{counts:?}");
        assert!(world.candidate_ns.unwrap() >= 1_000 * TURN_NS);
    }
}
