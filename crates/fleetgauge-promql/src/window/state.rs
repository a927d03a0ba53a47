//! What a window and those who write into it share.

use std::sync::{Arc, OnceLock};

use crate::label::Memo;

use super::index::Index;
use super::limit::{Usage, WindowConfig};
use super::lines::Lines;
use super::loss::{LossLog, LossLogs};
use super::pending::SparePages;

#[derive(Debug)]
pub(super) struct State {
    pub(super) index: Index,
    pub(super) lines: Lines,
    pub(super) spare_pages: SparePages,
    pub(super) usage: Arc<Usage>,
    /// What queries made of the labels of the series.
    pub(super) memo: Arc<Memo>,
    pub(super) losses: LossLogs,
    /// Of series that made room for those of other targets.
    pub(super) made_room: OnceLock<Arc<LossLog>>,
}

/// How far in the future of its scrape a sample may be dated, as in Prometheus.
pub(super) const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// So much of the limit of memory may be taken beside it by what queries make of labels.
const MEMO_SHARE: usize = 32;

impl State {
    pub(super) fn new(config: WindowConfig) -> Self {
        Self {
            index: Index::default(),
            lines: Lines::default(),
            spare_pages: SparePages::default(),
            memo: Arc::new(Memo::new(config.max_bytes / MEMO_SHARE)),
            usage: Arc::new(Usage::new(config)),
            losses: LossLogs::default(),
            made_room: OnceLock::new(),
        }
    }
}
