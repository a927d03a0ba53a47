//! The endpoint picker in front of a pool: it sends each request to the pod with the shortest queue, and
//! holds requests back while every pod is saturated.
//!
//! It knows its pods as the real one does, from what they said last, not from inside.
//!
//! Source: the Gateway API inference extension, `pkg/epp/{metrics,flowcontrol,saturationdetector}`, with the
//! older metric names (`inference_extension_`).

use std::collections::VecDeque;

use crate::histogram::Histogram;
use crate::request::Request;
use crate::scheduler::seconds;

/// A pod counts as saturated with this many requests waiting, or
const QUEUE_DEPTH_THRESHOLD: usize = 5;
/// with this much of its KV cache in use.
const KV_CACHE_THRESHOLD: f64 = 0.8;

const QUEUE_SECONDS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0,
];
const TOKENS: &[f64] = &[
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32778.0,
    65536.0, 131072.0, 262144.0, 524288.0, 1048576.0,
];

/// What the picker knows of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) ready: bool,
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    pub(crate) kv_cache_ratio: f64,
    /// Requests sent to it, under its present name.
    pub(crate) dispatched: u64,
}

/// The picker's state.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) namespace: String,
    pub(crate) pool: String,
    pub(crate) model: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) held: VecDeque<Request>,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    pub(crate) waited_seconds: Histogram,
    pub(crate) input_tokens: Histogram,
}

// === impl Endpoint ===

impl Endpoint {
    fn is_saturated(&self) -> bool {
        self.waiting >= QUEUE_DEPTH_THRESHOLD || self.kv_cache_ratio >= KV_CACHE_THRESHOLD
    }
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn new(namespace: &str, pool: &str, model: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pool: pool.to_owned(),
            model: model.to_owned(),
            endpoints: Vec::new(),
            held: VecDeque::new(),
            requests: 0,
            failed: 0,
            expired: 0,
            waited_seconds: Histogram::new(QUEUE_SECONDS),
            input_tokens: Histogram::new(TOKENS),
        }
    }

    /// A new process: its counts are gone, what it knows of its pods it knows again at once. Clients whose
    /// requests it held get nothing.
    pub(crate) fn restart(&mut self) {
        let mut endpoints = std::mem::take(&mut self.endpoints);
        endpoints.iter_mut().for_each(|endpoint| endpoint.dispatched = 0);
        *self = Self {
            endpoints,
            ..Self::new(&self.namespace, &self.pool, &self.model)
        };
    }

    /// Takes a request in.
    pub(crate) fn accept(&mut self, request: Request) {
        self.requests += 1;
        self.input_tokens.observe(f64::from(request.prompt));
        self.held.push_back(request);
    }

    /// The next request that may go at `now_ns`, and the index of its pod.
    pub(crate) fn dispatch(&mut self, now_ns: u64) -> Option<(Request, usize)> {
        loop {
            if self.held.front()?.deadline_ns() < now_ns {
                self.held.pop_front();
                self.expired += 1;
                continue;
            }
            let ready = self
                .endpoints
                .iter_mut()
                .enumerate()
                .filter(|(_, endpoint)| endpoint.ready);
            let best = ready.min_by(|(_, a), (_, b)| {
                let load = |e: &Endpoint| (e.waiting, e.running);
                load(a)
                    .cmp(&load(b))
                    .then(a.kv_cache_ratio.total_cmp(&b.kv_cache_ratio))
            });
            let Some((index, endpoint)) = best else {
                self.held.pop_front();
                self.failed += 1;
                continue;
            };
            if endpoint.is_saturated() {
                return None;
            }
            let mut request = self.held.pop_front()?;
            endpoint.dispatched += 1;
            // Until it is heard of again, it is assumed to have got that much more to do.
            if endpoint.running < 8 {
                endpoint.running += 1
            } else {
                endpoint.waiting += 1
            }
            self.waited_seconds
                .observe(seconds(now_ns.saturating_sub(request.arrived_ns)));
            // The server counts from when it gets it; the client, from when it asked.
            request.patience_ns = request.deadline_ns() - now_ns;
            request.arrived_ns = now_ns;
            return Some((request, index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Ending;

    fn gateway(pods: &[(bool, usize)]) -> Gateway {
        let mut gateway = Gateway::new("ns", "pool", "m");
        gateway.endpoints = pods
            .iter()
            .map(|&(ready, waiting)| Endpoint {
                name: "p".into(),
                port: 1,
                ready,
                waiting,
                running: 8,
                kv_cache_ratio: 0.1,
                dispatched: 0,
            })
            .collect();
        gateway
    }

    fn request(arrived_ns: u64) -> Request {
        Request {
            arrived_ns,
            prompt: 10,
            output: 10,
            max_tokens: 10,
            ending: Ending::Stop,
            prefix: None,
            patience_ns: 1_000,
            priority: 0,
            handler: 0,
        }
    }

    /// How many of ten requests go to each pod, and how many are held, failed and expired at `now_ns`.
    fn check(pods: &[(bool, usize)], now_ns: u64, to: &[u64], rest: (usize, u64, u64)) {
        let mut gateway = gateway(pods);
        (0..10).for_each(|_| gateway.accept(request(0)));
        while gateway.dispatch(now_ns).is_some() {}
        let sent: Vec<u64> = gateway.endpoints.iter().map(|e| e.dispatched).collect();
        assert_eq!(sent, to, "{pods:?}");
        assert_eq!(
            (gateway.held.len(), gateway.failed, gateway.expired),
            rest,
            "{pods:?}"
        );
    }

    #[test]
    fn requests_go_to_the_shortest_queue_and_are_held_when_all_are_long() {
        check(&[(true, 0), (true, 3)], 0, &[5, 2], (3, 0, 0));
        check(&[(true, 9), (false, 0)], 0, &[0, 0], (10, 0, 0));
        check(&[(true, 9)], 2_000, &[0], (0, 0, 10));
        check(&[(false, 0)], 0, &[0], (0, 10, 0));
        check(&[], 0, &[], (0, 10, 0));
    }
}
