//! What the doors show, and whether the pods have said it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleetgauge_server::door::keda::proto::external_scaler_client::ExternalScalerClient;
use fleetgauge_server::door::keda::proto::{GetMetricsRequest, ScaledObjectRef};
use fleetgauge_testkit::http;
use serde_json::Value;
use tonic::transport::Channel;

use super::daemon::{Daemon, HOLD, MAX_AGE};
use super::fleet::{Fleet, Shown};
use super::pod::{NAMES, PODS};
use crate::support::daemon::events;

/// A stream is read at once, unless this process had to wait, or the daemon stood still before it had sent what it had made.
const READ_WITHIN: Duration = Duration::from_secs(4);
/// How long one that is withheld by time alone may take to be so among the series of the readings.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Judge {
    pub(super) daemon: Arc<Daemon>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) counts: Mutex<BTreeMap<String, Counts>>,
    pub(super) findings: Mutex<Vec<String>>,
    pub(super) is_over: AtomicBool,
}

/// How often something was shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// With nothing reserved, and with something.
    pub(super) whole: u64,
    pub(super) reserved: u64,
    /// Why there was no number.
    pub(super) none: u64,
}

// === impl Judge ===

impl Judge {
    fn find(&self, what: &str, finding: &str, shown: &dyn std::fmt::Display) {
        let mut findings = self.findings.lock().unwrap();
        findings.push(format!("{what}: {finding}\n{shown}"));
    }

    fn count(&self, what: &str, change: impl FnOnce(&mut Counts)) {
        change(self.counts.lock().unwrap().entry(what.to_owned()).or_default());
    }

    fn judge(&self, what: &str, shown: Shown, text: &dyn std::fmt::Display) {
        self.count(what, |counts| match shown.is_whole {
            true => counts.whole += 1,
            false => counts.reserved += 1,
        });
        if let Err(finding) = self.fleet.judge(shown) {
            self.find(what, &finding, text);
        }
    }

    /// Asks all doors but KEDA's, over and over.
    pub(super) fn ask(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            self.json();
            self.prometheus("sum(soak_page)", MAX_AGE, true);
            self.prometheus("sum(soak_page) or vector(0)", MAX_AGE, true);
            self.prometheus("fleetgauge_reading{metric=\"sum\"}", HOLD + ENDS_WITHIN, false);
            self.federate();
            if http::get(self.daemon.server, "/-/healthy").map_or(0, |answer| answer.status) != 200 {
                self.find("health", "it is not told", &"");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of a page, and when it was asked for and there.
    fn get(&self, path: &str) -> (u16, String, Instant, Instant) {
        let asked = Instant::now();
        match http::get(self.daemon.server, path) {
            Ok(answer) => (answer.status, answer.text(), asked, Instant::now()),
            Err(error) => (0, error.to_string(), asked, Instant::now()),
        }
    }

    // --- the JSON API ---

    fn json(&self) {
        let (status, text, asked, until) = self.get("/api/fleetgauge/v1/metrics");
        let page: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(metrics) = page["metrics"].as_array().filter(|_| status == 200) else {
            return self.find("JSON", "there is no answer", &text);
        };
        for metric in metrics {
            self.metric("JSON", metric, asked, until);
        }
    }

    fn metric(&self, door: &str, metric: &Value, asked: Instant, until: Instant) {
        let name = metric["metric"].as_str().unwrap_or_default();
        let what = format!("{door} {name}");
        let readings = metric["readings"].as_array().map_or(&[][..], Vec::as_slice);
        if readings.is_empty() {
            self.find(&what, "there is neither a reading nor a reason", metric);
        }
        let mut rows = Shown::at(asked, until, MAX_AGE);
        let mut has = [false; PODS];
        for reading in readings {
            let (pod, variant) = (&reading["labels"]["pod"], &reading["labels"]["variant"]);
            let is_of_variant = |name: &str| variant.as_str().is_none_or(|variant| name.starts_with(variant));
            let of = NAMES.map(|name| pod.as_str().map_or(is_of_variant(name), |pod| pod == name));
            (0..PODS).for_each(|number| has[number] |= of[number]);
            let is_value = reading["status"] == "value";
            let Some(value) = reading["value"]
                .as_f64()
                .filter(|_| is_value || reading["status"] == "held")
            else {
                if reading["status"] != "withheld"
                    || !reading["value"].is_null()
                    || reading["reason"].is_null()
                {
                    self.find(&what, "it is neither a number nor withheld", metric);
                }
                self.count(&what, |counts| counts.none += 1);
                continue;
            };
            let completeness = &reading["completeness"];
            let is_whole = is_value && completeness["expected"] == completeness["reporting"];
            if is_value && !is_whole && name != "partial" {
                self.find(&what, "somebody is missing, and it is shown as a value", metric);
            }
            rows.is_whole |= is_whole && name == "rows";
            let shown = Shown {
                value,
                age: reading["age_seconds"].as_f64(),
                is_whole,
                of,
                ..Shown::at(asked, until, if is_value { MAX_AGE } else { HOLD })
            };
            self.judge(&what, shown, metric);
        }
        if let Some(number) = self.fleet.misses(has, rows) {
            self.find(&what, &format!("there is no row of pod {number}"), metric);
        }
    }

    /// Reads the stream of events, over and over.
    pub(super) fn stream(&self) {
        let mut lines = events(self.daemon.server);
        while !self.is_over.load(Ordering::Relaxed) {
            let line = match lines.next() {
                Some(Ok(line)) => line,
                end => return self.find("stream", "it has ended", &format!("{end:?}")),
            };
            let Some(metric) = line.strip_prefix("data: ") else {
                continue;
            };
            let now = Instant::now();
            match serde_json::from_str(metric) {
                Ok(metric @ Value::Object(_)) if metric["readings"].is_array() => {
                    self.metric("stream", &metric, now - READ_WITHIN, now);
                }
                // A metric that is no more.
                Ok(Value::Object(_)) => {}
                _ => self.find("stream", "it is not JSON", &metric),
            }
        }
    }

    // --- the Prometheus API ---

    fn prometheus(&self, query: &str, max_age: Duration, is_raw: bool) {
        let path = format!("/api/v1/query?query={}", http::percent_encode(query));
        let (status, text, asked, until) = self.get(&path);
        let page: Value = serde_json::from_str(&text).unwrap_or_default();
        let reserves = page["warnings"]
            .as_array()
            .is_some_and(|warnings| !warnings.is_empty());
        let result = &page["data"]["result"];
        match (status, result.as_array().map(Vec::as_slice)) {
            (200, Some([])) if reserves => self.count(query, |counts| counts.none += 1),
            (200, Some([])) => self.find(query, "there is nothing, and no reason", &text),
            (200, Some(rows)) => {
                for row in rows {
                    let value = row["value"][1].as_str().and_then(|value| value.parse().ok());
                    let value = value.unwrap_or(f64::NAN);
                    // The alternative: nobody takes it for measured with such a warning.
                    if value == 0.0 && reserves {
                        self.count(query, |counts| counts.none += 1);
                        continue;
                    }
                    let is_whole = is_raw && !reserves;
                    // With a warning it may be of before a standstill.
                    let max_age = if reserves { 2 * HOLD } else { max_age };
                    let shown = Shown {
                        value,
                        is_whole,
                        ..Shown::at(asked, until, max_age)
                    };
                    self.judge(query, shown, &text);
                }
            }
            (422 | 503, _) if page["error"].is_string() => self.count(query, |counts| counts.none += 1),
            _ => self.find(query, "there is no answer", &format!("{status} {text}")),
        }
    }

    fn federate(&self) {
        let (status, text, asked, until) = self.get("/federate?match[]=soak_page");
        if status != 200 {
            return self.find("federate", "there is no answer", &format!("{status} {text}"));
        }
        let is_whole = !text.contains("# WARNING");
        let mut has = [false; PODS];
        let max_age = if is_whole { MAX_AGE } else { 2 * HOLD };
        let shown = Shown {
            is_whole,
            ..Shown::at(asked, until, max_age)
        };
        for line in text.lines().filter(|line| line.starts_with("soak_page")) {
            let of = NAMES.map(|name| line.contains(name));
            let value = line.rsplit(' ').nth(1).and_then(|value| value.parse().ok());
            let (Some(value), true) = (value, of.contains(&true)) else {
                return self.find("federate", "there is a line of nobody", &text);
            };
            (0..PODS).for_each(|number| has[number] |= of[number]);
            self.judge("federate", Shown { value, of, ..shown }, &text);
        }
        if let Some(number) = self.fleet.misses(has, shown) {
            self.find("federate", &format!("pod {number} is missing"), &text);
        }
    }

    // --- KEDA ---

    /// Asks as KEDA does, over and over.
    pub(super) async fn scale(&self) {
        let channel = Channel::from_shared(format!("http://{}", self.daemon.keda)).unwrap();
        let mut scaler = ExternalScalerClient::new(channel.connect().await.unwrap());
        while !self.is_over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let request = GetMetricsRequest {
                scaled_object_ref: Some(scaled_object()),
                metric_name: "sum".to_owned(),
            };
            let answer = scaler.get_metrics(request).await;
            let until = Instant::now();
            let shown = |value: f64| Shown {
                value,
                ..Shown::at(asked, until, HOLD)
            };
            match answer.map(|answer| answer.into_inner().metric_values) {
                Ok(values) if values.len() == 1 => {
                    self.judge(
                        "KEDA",
                        shown(values[0].metric_value_float),
                        &format!("{values:?}"),
                    );
                }
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    self.count("KEDA", |counts| counts.none += 1);
                }
                other => self.find("KEDA", "there is no answer", &format!("{other:?}")),
            }
            match scaler
                .is_active(scaled_object())
                .await
                .map(|answer| answer.into_inner().result)
            {
                // It is as if 0 were told.
                Ok(false) => self.judge("KEDA's activity", shown(0.0), &"not active"),
                Ok(true) => self.count("KEDA's activity", |counts| counts.reserved += 1),
                Err(status) if status.code() == tonic::Code::Unavailable => {}
                other => self.find("KEDA", "there is no answer", &format!("{other:?}")),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Who asks for the metric `sum`.
pub(super) fn scaled_object() -> ScaledObjectRef {
    let metadata = [("metric", "sum"), ("target", "5")];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ScaledObjectRef {
        name: "soak".to_owned(),
        namespace: "soak".to_owned(),
        scaler_metadata: metadata.into(),
    }
}
