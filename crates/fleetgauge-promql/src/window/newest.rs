//! The newest sample of a series, for many readers beside one writer.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The newest sample of a series, published by one writer.
///
/// The writer fills the slot that readers do not look at, then points them there; a reader whose slot was
/// pointed away from meanwhile looks again. A writer that is stopped anywhere stops no reader.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// How often something was published; its last bit is the slot. 0 if nothing was. Above [`CUT`] it is how often that was
    /// no new sample.
    published: AtomicU64,
    slots: [(AtomicI64, AtomicU64); 2],
}

/// What is published when there is no sample any more. No sample can have its time.
const NONE: (i64, u64) = (i64::MIN, 0);

/// Added for what is published where samples went. No series is published to so often.
const CUT: u64 = 1 << 48;

// === impl Newest ===

impl Newest {
    /// Publishes a new sample. For the writer alone.
    pub(super) fn publish(&self, sample: (i64, u64)) {
        self.publish_as(sample, 1);
    }

    /// Publishes what is the newest sample now that those after it went. For the writer alone.
    pub(super) fn go_back(&self, sample: Option<(i64, u64)>) {
        self.publish_as(sample.unwrap_or(NONE), 1 + CUT);
    }

    fn publish_as(&self, sample: (i64, u64), step: u64) {
        let next = self.published.load(Ordering::Relaxed) + step;
        let (time, value) = &self.slots[(next & 1) as usize];
        // Release: who reads what is stored here also finds `published` moved on from the sample that was
        // here before.
        time.store(sample.0, Ordering::Release);
        value.store(sample.1, Ordering::Release);
        self.published.store(next, Ordering::Release);
    }

    pub(super) fn read(&self) -> Option<(i64, u64)> {
        self.read_counted().1
    }

    /// How many samples have been published, and the newest.
    pub(super) fn read_counted(&self) -> (u64, Option<(i64, u64)>) {
        loop {
            let published = self.published.load(Ordering::Acquire);
            if published == 0 {
                return (0, None);
            }
            let (time, value) = &self.slots[(published & 1) as usize];
            let sample = (time.load(Ordering::Acquire), value.load(Ordering::Acquire));
            if self.published.load(Ordering::Relaxed) == published {
                let count = published % CUT - published / CUT;
                return (count, (sample.0 != NONE.0).then_some(sample));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that belongs to a time, so that a torn sample shows.
    fn value_at(time: i64) -> u64 {
        (time as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn the_newest_sample_is_never_half_of_another() {
        let newest = Newest::default();
        let last = 2_000_000;
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=last).for_each(|time| newest.publish((time, value_at(time)))));
            let mut before = 0;
            while before < last {
                let Some((time, value)) = newest.read() else {
                    continue;
                };
                assert_eq!(value, value_at(time), "at {time}");
                assert!(time >= before, "{time} after {before}");
                before = time;
            }
        });
    }

    #[test]
    fn what_is_withdrawn_is_gone() {
        let newest = Newest::default();
        assert_eq!(newest.read(), None);
        newest.publish((1, 2));
        assert_eq!(newest.read_counted(), (1, Some((1, 2))));
        newest.publish((2, 3));
        newest.go_back(None);
        assert_eq!(newest.read_counted(), (2, None));
        newest.publish((1, 2));
        assert_eq!(newest.read_counted(), (3, Some((1, 2))));
    }
}
