//! Who connects next: targets that have no connection yet do so a few at a time.
//!
//! When thousands of targets are found at once, their handshakes and first pages, whose series are all new,
//! take more than there is, and scrapes of healthy targets time out. So those that connect take turns. A target
//! that does not answer gives its turn away soon, and delays the others little.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns of one source.
pub(super) struct Connecting(Semaphore);

/// How many connect and read a first page at the same time.
const TURNS: usize = 32;

/// How long a turn lasts at most; what it was for goes on without it.
const TURN: Duration = Duration::from_millis(100);

// === impl Connecting ===

impl Connecting {
    /// Waits for a turn. This is not part of the scrape, nor of its timeout.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.acquire().await.ok()
    }
}

impl Default for Connecting {
    fn default() -> Self {
        Self(Semaphore::new(TURNS))
    }
}

/// Runs `future`, with the turn that it has been given while that lasts.
pub(super) async fn with_turn<T>(turn: Option<SemaphorePermit<'_>>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    if turn.is_some()
        && let Ok(done) = tokio::time::timeout(TURN, &mut future).await
    {
        return done;
    }
    drop(turn);
    future.await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Runs `targets` at once, of which each takes `time`; gives the most that ran together, and how long all of
    /// them took.
    async fn run(targets: usize, time: Duration) -> (usize, Duration) {
        let connecting = Connecting::default();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let started = tokio::time::Instant::now();
        join_all((0..targets).map(|_| async {
            let turn = connecting.turn().await;
            with_turn(turn, async {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(time).await;
                running.fetch_sub(1, Ordering::Relaxed);
            })
            .await;
        }))
        .await;
        (most.into_inner(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn targets_connect_a_few_at_a_time() {
        let (most, took) = run(10 * TURNS, Duration::from_millis(20)).await;
        assert_eq!(most, TURNS);
        assert_eq!(took, Duration::from_millis(200));
    }

    #[tokio::test(start_paused = true)]
    async fn targets_that_hang_give_their_turn_away() {
        let (most, took) = run(10 * TURNS, Duration::from_secs(10)).await;
        assert_eq!(most, 10 * TURNS);
        assert!(took < Duration::from_secs(12), "{took:?}");
    }
}
