//! The servers that are written to. One whose section did not change goes on; one whose address and labels did not change is
//! followed by one that goes on where it was; of the others, what is left is sent.

use std::sync::Arc;

use anyhow::Context;
use fleetgauge::prometheus::remote_write::RemoteWrite;
use fleetgauge::promql::window::Window;
use fleetgauge_server::door::api::RemoteView;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Environment, RemoteWriteSection};

/// Those that are written to.
#[derive(Default)]
pub(super) struct Remotes {
    running: Vec<Running>,
    tracker: TaskTracker,
}

/// Those of a configuration, of which nothing runs so far that does not run by now.
pub(super) struct Prepared(Vec<Next>);

struct Next {
    running: Running,
    sends_scraped: bool,
    sends_readings: bool,
    history: Option<String>,
    /// Whether it is to be started; and when that one has ended whose place it takes.
    starts: bool,
    after: Option<CancellationToken>,
}

#[derive(Clone)]
struct Running {
    name: String,
    content: String,
    remote: Arc<RemoteWrite>,
    stop: CancellationToken,
    ended: CancellationToken,
}

// === impl Remotes ===

impl Remotes {
    /// Makes those of `sections`.
    ///
    /// *Errors*: one of them cannot be made.
    pub(super) fn prepare(
        &self,
        sections: &[RemoteWriteSection],
        environment: &Environment,
    ) -> anyhow::Result<Prepared> {
        let prepare = |section: &RemoteWriteSection| {
            let before = self.running.iter().find(|running| running.name == section.name);
            let next = |running, starts, after| Next {
                running,
                sends_scraped: section.sends_scraped,
                sends_readings: section.sends_readings,
                history: section.history.clone(),
                starts,
                after,
            };
            if let Some(same) = before.filter(|before| before.content == section.content) {
                return Ok(next(same.clone(), false, None));
            }
            let config = section.config(environment)?;
            let followed = before.filter(|before| {
                let known = before.remote.config();
                let labels = |labels: &[(String, String)]| {
                    let mut labels = labels.to_vec();
                    labels.sort();
                    labels
                };
                known.client.url == config.client.url
                    && labels(&known.external_labels) == labels(&config.external_labels)
            });
            let remote = match followed {
                Some(before) => RemoteWrite::in_place_of(&before.remote, config),
                None => RemoteWrite::new(config, []),
            };
            let running = Running {
                name: section.name.clone(),
                content: section.content.clone(),
                remote: Arc::new(remote.with_context(|| format!("remote_write {}", section.name))?),
                stop: CancellationToken::new(),
                ended: CancellationToken::new(),
            };
            Ok(next(running, true, followed.map(|before| before.ended.clone())))
        };
        sections
            .iter()
            .map(prepare)
            .collect::<anyhow::Result<_>>()
            .map(Prepared)
    }

    /// Writes to these from now on, of what these windows hold. Gives by which source what one of them has written is read.
    pub(super) fn run(
        &mut self,
        prepared: Prepared,
        scraped: &[Window],
        readings: &Window,
    ) -> (Vec<RemoteView>, Option<(String, Arc<RemoteWrite>)>) {
        let goes_on = |running: &Running| {
            let mut kept = prepared.0.iter().filter(|next| !next.starts);
            kept.any(|next| Arc::ptr_eq(&next.running.remote, &running.remote))
        };
        for running in self.running.iter().filter(|running| !goes_on(running)) {
            running.stop.cancel();
        }
        self.running.clear();
        let mut views = Vec::with_capacity(prepared.0.len());
        let mut history = None;
        for next in prepared.0 {
            let Running {
                name,
                remote,
                stop,
                ended,
                ..
            } = next.running.clone();
            let scraped = scraped.iter().filter(|_| next.sends_scraped);
            remote.set_windows(scraped.chain(next.sends_readings.then_some(readings)).cloned());
            views.push(RemoteView {
                name,
                remote: Arc::clone(&remote),
            });
            if let Some(source) = next.history {
                history.get_or_insert((source, Arc::clone(&remote)));
            }
            if next.starts {
                self.tracker.spawn(async move {
                    let _ended = ended.drop_guard();
                    if let Some(before) = next.after {
                        before.cancelled().await;
                    }
                    remote.run(stop.cancelled_owned()).await;
                });
            }
            self.running.push(next.running);
        }
        (views, history)
    }

    /// Has all of them send what is left; whoever waits for the tracker knows when they have.
    pub(super) fn end(&mut self) -> TaskTracker {
        self.running.iter().for_each(|running| running.stop.cancel());
        self.tracker.close();
        self.tracker.clone()
    }
}
