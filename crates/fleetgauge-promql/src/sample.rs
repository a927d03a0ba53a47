//! The points of a series.

use fleetgauge_core::time::Timestamp;

/// The bits of the value that says "this series went away", a NaN that no exposition can contain.
///
/// Source: <https://pkg.go.dev/github.com/prometheus/prometheus/model/value#pkg-constants>.
pub const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// One point of a series.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was taken.
    pub timestamp: Timestamp,
    /// The number, bit for bit as it was appended.
    pub value: f64,
}

/// Samples of one series, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    times: Vec<i64>,
    values: Vec<f64>,
}

// === impl Sample ===

impl Sample {
    pub(crate) fn new((millis, bits): (i64, u64)) -> Self {
        Self {
            timestamp: Timestamp::from_millis(millis),
            value: f64::from_bits(bits),
        }
    }

    /// Its time in milliseconds, and its bits.
    pub(crate) fn pair(self) -> (i64, u64) {
        (self.timestamp.as_millis(), self.value.to_bits())
    }

    /// Whether it says that the series went away. Every other NaN is a value.
    pub fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE_MARKER
    }
}

/// By the bits of the value: a NaN is equal to itself, and 0 is not −0.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        (self.timestamp, self.value.to_bits()) == (other.timestamp, other.value.to_bits())
    }
}

impl Eq for Sample {}

// === impl Samples ===

impl Samples {
    /// Adds a sample; `time` is in milliseconds since the Unix epoch, and later than those before it.
    #[inline]
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, count: usize) {
        self.times.reserve(count);
        self.values.reserve(count);
    }

    /// When they were taken.
    ///
    /// *Unit*: milliseconds since the Unix epoch.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// Their values, as many as times.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Takes all of them away; the room for them stays.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
    /// Drops all but the last `count`.
    pub(crate) fn keep_last(&mut self, count: usize) {
        let dropped = self.len().saturating_sub(count);
        self.times.drain(..dropped);
        self.values.drain(..dropped);
    }

    /// Drops the staleness markers.
    pub(crate) fn drop_stale(&mut self) {
        let is_stale = |value: &f64| value.to_bits() == STALE_MARKER;
        // Mostly there is none.
        if !self.values.iter().any(is_stale) {
            return;
        }
        let mut values = self.values.iter();
        self.times
            .retain(|_| values.next().is_some_and(|value| !is_stale(value)));
        self.values.retain(|value| !is_stale(value));
    }
}
