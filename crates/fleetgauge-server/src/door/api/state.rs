//! What the JSON door shows: the store, and what it is filled from.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::http::StatusCode;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::similar::similar;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::fleet::{FleetView, Reloads, RemoteView, SourceView};
use crate::door::problem::Problem;
use crate::readiness::Readiness;
use crate::scheduler::Scheduler;
use crate::store::{Entry, Store};
use crate::variant::Variant;

/// What the door shows.
///
/// Cheap to clone; clones show the same.
#[derive(Clone)]
pub struct Api(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) scheduler: Scheduler,
    pub(super) readiness: Readiness,
    pub(super) events: Events,
    /// What the configuration describes.
    pub(super) fleet: ArcSwap<FleetView>,
    /// Who is written to.
    remotes: ArcSwap<Vec<RemoteView>>,
    reloads: Mutex<Reloads>,
}

// === impl Api ===

impl Api {
    /// A door over the store of `scheduler`, whose streams end with `stop`.
    pub fn new(scheduler: &Scheduler, readiness: Readiness, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            store: scheduler.store().clone(),
            scheduler: scheduler.clone(),
            readiness,
            events: Events::new(stop),
            fleet: ArcSwap::default(),
            remotes: ArcSwap::default(),
            reloads: Mutex::default(),
        }))
    }

    /// Shows these sources and variants from now on.
    pub fn set_sources(&self, sources: Vec<SourceView>, variants: Vec<Variant>) {
        self.0.fleet.store(Arc::new(FleetView { sources, variants }));
    }

    /// Shows these variants from now on.
    pub fn set_variants(&self, variants: Vec<Variant>) {
        let sources = self.sources();
        self.0.fleet.store(Arc::new(FleetView { sources, variants }));
    }

    /// Shows these servers as written to from now on.
    pub fn set_remotes(&self, remotes: Vec<RemoteView>) {
        self.0.remotes.store(Arc::new(remotes));
    }

    /// Notes that the configuration was read anew, and what was wrong with it.
    pub fn reloaded(&self, outcome: Result<(), String>) {
        let mut reloads = self.0.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.at = Some(self.0.store.clock().wall());
        match outcome {
            Ok(()) => {
                reloads.taken += 1;
                reloads.error = None;
            }
            Err(error) => {
                reloads.refused += 1;
                reloads.error = Some(error);
            }
        }
    }

    /// Shows what the configuration says otherwise than at the start, and is taken at a start alone. Gives whether that is
    /// news.
    pub fn needs_restart(&self, what: BTreeSet<&'static str>) -> bool {
        let mut reloads = self.0.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = reloads.needs_restart != what;
        reloads.needs_restart = what;
        is_news
    }

    /// How the configuration was read since the start.
    pub fn reloads(&self) -> Reloads {
        self.0
            .reloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The sources that are shown.
    pub(in crate::door) fn sources(&self) -> Vec<SourceView> {
        self.0.fleet.load().sources.clone()
    }

    /// The servers that are written to.
    pub(in crate::door) fn remotes(&self) -> Vec<RemoteView> {
        self.0.remotes.load().to_vec()
    }

    /// The variants that are shown.
    pub(in crate::door) fn variants(&self) -> Vec<Variant> {
        self.0.fleet.load().variants.clone()
    }

    pub(in crate::door) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// A place for one more stream, if there is one.
    pub(in crate::door) fn stream_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.0.events.slot()
    }

    /// Cancelled when streams are to end.
    pub(in crate::door) fn stopping(&self) -> CancellationToken {
        self.0.events.stop.clone()
    }

    pub(in crate::door) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(in crate::door) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    /// How many streams are open.
    pub(in crate::door) fn streams(&self) -> usize {
        self.0.events.open()
    }

    /// The metric `name`.
    ///
    /// *Errors*: there is none.
    pub(super) fn entry(&self, name: &str) -> Result<Arc<Entry>, Problem> {
        self.0.store.get(name).ok_or_else(|| {
            let all = self.0.store.all();
            let known = all.iter().map(|entry| entry.spec().name.as_str());
            let similar = match similar(name, known) {
                Some(similar) => format!("; did you mean {similar:?}?"),
                None => "; /api/fleetgauge/v1/metrics lists them".to_owned(),
            };
            let detail = format!("there is no metric {}{similar}", Quoted(name));
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }
}
