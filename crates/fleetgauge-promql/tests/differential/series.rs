//! What the series of both kinds are made of: numbers in `data.rs`, histograms in `native.rs`.

use fleetgauge_promql::sample::SampleValue;

use super::random::Random;

/// What all times are relative to: a whole hour, so that the steps of subqueries lie the same in a script,
/// which begins at 0. All data is in one block of two hours, where series are sorted.
pub(crate) const START: i64 = 1_700_002_800_000;

/// *Unit*: milliseconds from [`START`].
pub(crate) const LENGTH: i64 = 2_400_000;

#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    /// Milliseconds from [`START`], and values.
    pub(crate) samples: Vec<(i64, SampleValue)>,
}

pub(super) const JOBS: [&str; 2] = ["a", "b"];
pub(super) const INSTANCES: [&str; 3] = ["0", "1", "2"];

pub(super) fn series<V: Into<SampleValue>>(
    name: &'static str,
    labels: &[(&'static str, &'static str)],
    samples: Vec<(i64, V)>,
) -> Series {
    let mut labels = labels.to_vec();
    labels.retain(|(_, value)| !value.is_empty());
    let samples = samples.into_iter().map(|(at, value)| (at, value.into()));
    Series {
        name,
        labels,
        samples: samples.collect(),
    }
}

/// Every 15 seconds, here and there a second early or late, and some are missing.
pub(super) fn times(random: &mut Random) -> impl Iterator<Item = i64> + use<> {
    let mut random = Random::new(random.below(usize::MAX) as u64);
    (0..LENGTH / 15_000).filter_map(move |index| {
        let jitter = random.below(3) as i64 * i64::from(random.chance(20));
        (!random.chance(5)).then_some(index * 15_000 + jitter * 1000 + 250)
    })
}

/// Small whole numbers, which are often the same.
pub(super) fn few(random: &mut Random) -> Vec<(i64, f64)> {
    let times: Vec<_> = times(random).collect();
    times.into_iter().map(|at| (at, random.below(5) as f64)).collect()
}
