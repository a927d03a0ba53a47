//! Holds answers back until a test lets them go.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A gate before answers, closed at first. Clones are the same gate.
///
/// A request is counted before it waits: [`FaultyServer::until`](super::FaultyServer::until) tells when
/// it has come, and then the test opens the gate.
#[derive(Clone, Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
}

// === impl Gate ===

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
        }
    }

    /// Lets `count` waiting or future answers through.
    pub fn pass(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Lets all answers through, from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    pub(super) async fn wait(&self) {
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
