//! The connections of a door: what each of them keeps, and which are cut.
//!
//! An answer that is on its way to its reader is memory, and a connection is a place that somebody else could have. So
//! readers that do not read are cut, and where a door is full, those that ask for nothing make room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// What a door has seen of connections.
///
/// Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    cuts: [AtomicU64; Cut::ALL.len()],
}

/// Why a door has cut a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// It asked for nothing, or did not end its handshake.
    Silent,
    /// It asked for nothing for a while, and the door was full.
    Idle,
    /// It did not read its answer.
    SlowReader,
    /// The door's answers that were not read were more than it keeps, and those of this one were the oldest.
    Unread,
}

/// The connections of one door.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Open>);

#[derive(Debug)]
struct Open {
    counts: ConnectionCounts,
    max_unread: usize,
    /// How much of answers is kept for their readers. *Unit*: bytes.
    unread: AtomicUsize,
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Connection>>,
}

/// One connection.
///
/// Cheap to clone; clones are the same connection.
#[derive(Clone, Debug)]
pub(super) struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    door: Connections,
    id: u64,
    state: Mutex<State>,
    cut: OnceLock<Cut>,
    /// It is to end when it has answered what it was asked.
    ending: CancellationToken,
    /// It is to end now.
    ended: CancellationToken,
}

#[derive(Debug)]
struct State {
    /// How many requests are being answered.
    requests: usize,
    /// Since when that has been as it is.
    since: Instant,
    next: u64,
    /// Since when answers are kept for the reader, and how long they are.
    kept: BTreeMap<u64, (Instant, usize)>,
    /// Since when pieces of them are with the connection.
    handed: BTreeMap<u64, Instant>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Connection);

/// An answer, or a part of one, that is kept for its reader.
#[derive(Debug)]
pub(super) struct Kept {
    connection: Connection,
    id: u64,
    bytes: usize,
}

/// A piece that the connection has and the reader has not taken.
#[derive(Debug)]
pub(super) struct Handed {
    connection: Connection,
    id: u64,
}

// === impl Cut ===

impl Cut {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Idle, Self::SlowReader, Self::Unread];

    /// One word, for a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::SlowReader => "slow_reader",
            Self::Unread => "unread",
        }
    }
}

// === impl ConnectionCounts ===

impl ConnectionCounts {
    /// Connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.accepted()
            .saturating_sub(self.0.closed.load(Ordering::Relaxed))
    }

    /// Connections that ended in an error, of TLS or of HTTP.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Connections that were cut for this reason.
    pub fn cut(&self, why: Cut) -> u64 {
        self.0.cuts[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count_failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Connections ===

impl Connections {
    /// Those of a door that keeps `max_unread` bytes of answers for their readers.
    pub(super) fn new(counts: ConnectionCounts, max_unread: usize) -> Self {
        Self(Arc::new(Open {
            counts,
            max_unread,
            unread: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            all: Mutex::default(),
        }))
    }

    /// Another one, until it is [closed](Connection::close).
    pub(super) fn accept(&self) -> Connection {
        let open = &self.0;
        open.counts.0.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = Connection(Arc::new(Inner {
            door: self.clone(),
            id: open.next.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(State {
                requests: 0,
                since: Instant::now(),
                next: 0,
                kept: BTreeMap::new(),
                handed: BTreeMap::new(),
            }),
            cut: OnceLock::new(),
            ending: CancellationToken::new(),
            ended: CancellationToken::new(),
        }));
        lock(&open.all).insert(connection.0.id, connection.clone());
        connection
    }

    /// Ends up to `count` of those that have asked for nothing for `idle_for`, those first that did so for the longest.
    pub(super) fn make_room(&self, count: usize, idle_for: Duration) {
        let now = Instant::now();
        let all = lock(&self.0.all);
        let idle = all.values().filter(|one| one.0.cut.get().is_none());
        let idle = idle.filter_map(|one| {
            let state = one.state();
            let idle_since = (state.requests == 0).then_some(state.since)?;
            (now.saturating_duration_since(idle_since) >= idle_for).then_some((idle_since, one))
        });
        let mut idle: Vec<_> = idle.collect();
        idle.sort_by_key(|(since, _)| *since);
        for (_, one) in idle.into_iter().take(count) {
            one.cut(Cut::Idle, &one.0.ending);
        }
    }

    /// Cuts those that have not taken a piece of an answer for `within`.
    pub(super) fn cut_slow_readers(&self, within: Duration) {
        let now = Instant::now();
        for one in lock(&self.0.all).values() {
            let oldest = one.state().handed.values().min().copied();
            if oldest.is_some_and(|since| now.saturating_duration_since(since) >= within) {
                one.cut(Cut::SlowReader, &one.0.ended);
            }
        }
    }

    /// Cuts those whose answers have waited for the longest, until what is left is within the bound.
    fn cut_unread(&self) {
        let mut over = self
            .0
            .unread
            .load(Ordering::Relaxed)
            .saturating_sub(self.0.max_unread);
        if over == 0 {
            return;
        }
        let all = lock(&self.0.all);
        let waiting = all.values().filter_map(|one| {
            let state = one.state();
            let since = state.kept.values().map(|(since, _)| *since).min()?;
            let bytes: usize = state.kept.values().map(|(_, bytes)| bytes).sum();
            Some((since, bytes, one))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|(since, ..)| *since);
        for (_, bytes, one) in waiting {
            if over == 0 {
                return;
            }
            over = over.saturating_sub(bytes);
            one.cut(Cut::Unread, &one.0.ended);
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Comes when it is to end once it has answered what it was asked.
    pub(super) async fn ending(&self) {
        self.0.ending.cancelled().await;
    }

    /// Comes when it is to end now.
    pub(super) async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// Counts it as cut for this reason.
    pub(super) fn count_cut(&self, why: Cut) {
        if self.0.cut.set(why).is_ok() {
            self.0.door.0.counts.0.cuts[why as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that it has ended.
    pub(super) fn close(&self) {
        let open = &self.0.door.0;
        lock(&open.all).remove(&self.0.id);
        open.counts.0.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that a request is being answered.
    pub(super) fn answering(&self) -> Answering {
        let mut state = self.state();
        state.requests += 1;
        Answering(self.clone())
    }

    /// Says that so much is kept for the reader.
    pub(super) fn keep(&self, bytes: usize) -> Kept {
        let id = self.state().id();
        self.state().kept.insert(id, (Instant::now(), bytes));
        let kept = Kept {
            connection: self.clone(),
            id,
            bytes,
        };
        let door = &self.0.door;
        door.0.unread.fetch_add(bytes, Ordering::Relaxed);
        door.cut_unread();
        kept
    }

    /// Says that the connection has a piece, and the reader has not taken it.
    pub(super) fn hand(&self) -> Handed {
        let mut state = self.state();
        let id = state.id();
        state.handed.insert(id, Instant::now());
        Handed {
            connection: self.clone(),
            id,
        }
    }

    fn cut(&self, why: Cut, how: &CancellationToken) {
        self.count_cut(why);
        how.cancel();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

// === what ends by itself ===

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.since = Instant::now();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let door = &self.connection.0.door.0;
        door.unread.fetch_sub(self.bytes, Ordering::Relaxed);
        self.connection.state().kept.remove(&self.id);
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.connection.state().handed.remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
