//! Whether the counts of a histogram started anew.

use super::buckets::BucketsView;
use super::shape::{CounterReset, FloatHistogram, Layout};

// === impl Histogram ===

impl FloatHistogram {
    /// Whether it cannot have grown out of `previous`, so that its program has started anew between them.
    pub fn is_reset_since(&self, previous: &Self) -> bool {
        match self.counter_reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        match (&self.layout, &previous.layout) {
            (Layout::Custom(own), Layout::Custom(bounds)) if own == bounds => {
                has_fallen(&self.positive.view(), &previous.positive.view())
            }
            (Layout::Custom(own), Layout::Custom(bounds)) => self.has_fallen_below(previous, own, bounds),
            (&Layout::Exponential(own), &Layout::Exponential(before)) if own <= before => {
                self.has_fallen_since(previous, u32::from(before.abs_diff(own)))
            }
            // A program may go on with coarser buckets, not with finer ones or others.
            _ => true,
        }
    }

    /// What a store of samples knows of its resets where `previous` is the sample before it; none where that is no
    /// histogram. That it began anew it says itself or nobody does: where counts have fallen, or buckets have changed,
    /// whoever looks at both sees it.
    pub fn counter_reset_after(&self, previous: Option<&Self>) -> CounterReset {
        use CounterReset::{Gauge, NotReset, Reset, Unknown};
        match (
            self.counter_reset,
            previous.map(|previous| previous.counter_reset),
        ) {
            (Gauge, _) => return Gauge,
            (_, Some(Gauge)) => return Unknown,
            (Reset, _) => return Reset,
            _ => {}
        }
        let Some(previous) = previous else {
            return Unknown;
        };
        let is_continued = self.layout == previous.layout
            && self.zero_threshold == previous.zero_threshold
            && self.count >= previous.count
            && self.zero_count >= previous.zero_count
            && !has_fallen(&self.positive.view(), &previous.positive.view())
            && !has_fallen(&self.negative.view(), &previous.negative.view());
        if is_continued { NotReset } else { Unknown }
    }

    /// *`levels`*: by how many schemas the previous one is finer.
    fn has_fallen_since(&self, previous: &Self, levels: u32) -> bool {
        let threshold = self.zero_threshold;
        if threshold < previous.zero_threshold {
            return true;
        }
        let (zero_count, widened) = previous.zero_of_width::<f64>(threshold);
        if widened != threshold || self.zero_count < zero_count {
            return true;
        }
        let [positive, negative] = self.behind_zero_bucket(threshold);
        let before = previous.behind_zero_bucket(threshold);
        let [positive_before, negative_before] = before.map(|buckets| buckets.reduced(levels));
        has_fallen(&positive, &positive_before.view()) || has_fallen(&negative, &negative_before.view())
    }

    /// Whether less is counted between two bounds that both have.
    fn has_fallen_below(&self, previous: &Self, own: &[f64], bounds: &[f64]) -> bool {
        let shared = own.iter().copied().filter(|bound| bounds.contains(bound));
        let mut lower = f64::NEG_INFINITY;
        for upper in shared.chain([f64::INFINITY]) {
            let counted = |histogram: &Self| -> f64 {
                let buckets = histogram.buckets();
                let within = buckets.filter(|bucket| bucket.upper > lower && bucket.upper <= upper);
                within.map(|bucket| bucket.count).sum()
            };
            if counted(self) < counted(previous) {
                return true;
            }
            lower = upper;
        }
        false
    }
}

/// Whether a bucket counts less than before.
fn has_fallen(now: &BucketsView<'_, f64>, before: &BucketsView<'_, f64>) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|(index, count)| {
        while now.next_if(|&(at, _)| at < index).is_some() {}
        match now.peek() {
            Some(&(at, own)) if at == index => own < count,
            _ => count != 0.0,
        }
    })
}
