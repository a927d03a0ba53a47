//! The times of an answer's values, in as little room as they need.
//!
//! The values of an instant query mostly have one time. Those of a range query lie on the grid of its steps, with
//! gaps; what `metric[5m]` gives has times of its own in each series.

use std::ops::Range;

use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) enum Times {
    /// One value a series, all at the same time.
    Same(Timestamp),
    /// One value a series, each at its own time.
    Each(Box<[Timestamp]>),
    /// Several values a series, at multiples of a step after a time.
    Grid(Grid),
    /// Several values a series, at times of their own.
    Own {
        times: Box<[Timestamp]>,
        /// Where those of each series end.
        ends: Box<[usize]>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Grid {
    start: i64,
    /// *Unit*: milliseconds.
    step: i64,
    /// How many points there are on it, at least one.
    width: usize,
    /// `None` where each series has all of them.
    gaps: Option<Gaps>,
}

/// Which points of a grid the series have.
#[derive(Clone, Debug)]
struct Gaps {
    /// A bit a point, series after series.
    present: Box<[u64]>,
    /// Where the values of each series end.
    ends: Box<[usize]>,
}

// === impl Times ===

impl Times {
    /// Of series with one value each.
    pub(super) fn one_each(times: Vec<Timestamp>) -> Self {
        let first = times.first().copied().unwrap_or_default();
        match times.iter().all(|&time| time == first) {
            true => Self::Same(first),
            false => Self::Each(times.into_boxed_slice()),
        }
    }

    /// Of series whose values end at `ends`.
    pub(super) fn of_matrix(times: Vec<Timestamp>, ends: Vec<usize>) -> Self {
        match Grid::of(&times, &ends) {
            Some(grid) => Self::Grid(grid),
            None => Self::Own {
                times: times.into_boxed_slice(),
                ends: ends.into_boxed_slice(),
            },
        }
    }

    /// Where the values of the series at `index` end.
    pub(super) fn end(&self, index: usize) -> usize {
        match self {
            Self::Same(_) | Self::Each(_) => index + 1,
            Self::Own { ends, .. } => ends[index],
            Self::Grid(grid) => match &grid.gaps {
                Some(gaps) => gaps.ends[index],
                None => (index + 1) * grid.width,
            },
        }
    }

    /// That of the series at `index`, where each has one value.
    pub(super) fn of_one(&self, index: usize) -> Timestamp {
        match self {
            Self::Same(same) => *same,
            Self::Each(times) | Self::Own { times, .. } => times[index],
            Self::Grid(grid) => grid.at(index % grid.width),
        }
    }

    /// Those of the series at `index`, whose values are at `values`.
    pub(super) fn of(&self, index: usize, values: Range<usize>) -> impl Iterator<Item = Timestamp> + use<'_> {
        let (own, grid) = match self {
            Self::Same(same) => (std::slice::from_ref(same), None),
            Self::Each(times) | Self::Own { times, .. } => (&times[values], None),
            Self::Grid(grid) => (&[][..], Some(grid.of_series(index))),
        };
        own.iter().copied().chain(grid.into_iter().flatten())
    }

    /// Which of the values of the series at `index`, which are at `values`, are from `from` on and before `to`, and their
    /// times.
    pub(super) fn between(
        &self,
        index: usize,
        values: Range<usize>,
        from: Timestamp,
        to: Timestamp,
    ) -> (Range<usize>, impl Iterator<Item = Timestamp> + use<'_>) {
        let at = values.start;
        let (range, own, grid) = match self {
            Self::Grid(grid) => {
                let points = grid.position(from)..grid.position(to).max(grid.position(from));
                let before = |point: usize| at + grid.count_before(index, point);
                let range = before(points.start)..before(points.end);
                (range, &[][..], Some(grid.of_points(index, points)))
            }
            Self::Same(_) | Self::Each(_) | Self::Own { .. } => {
                let own = match self {
                    Self::Same(same) => std::slice::from_ref(same),
                    Self::Each(times) | Self::Own { times, .. } => &times[values],
                    Self::Grid(_) => &[],
                };
                let until = |end: Timestamp| own.partition_point(|&time| time < end);
                let (first, end) = (until(from), until(to).max(until(from)));
                (at + first..at + end, &own[first..end], None)
            }
        };
        (range, own.iter().copied().chain(grid.into_iter().flatten()))
    }

    /// *Unit*: bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Same(_) => 0,
            Self::Each(times) => size_of_val(&**times),
            Self::Own { times, ends } => size_of_val(&**times) + size_of_val(&**ends),
            Self::Grid(grid) => grid
                .gaps
                .as_ref()
                .map_or(0, |gaps| size_of_val(&*gaps.present) + size_of_val(&*gaps.ends)),
        }
    }
}

// === impl Grid ===

impl Grid {
    /// The grid on which all times lie, if it takes less room than they do.
    fn of(times: &[Timestamp], ends: &[usize]) -> Option<Self> {
        // Mostly a series has the times of the one before, which have been looked at.
        let mut begin = 0;
        let mut before: &[Timestamp] = &[];
        let mut distinct = Vec::new();
        for &end in ends {
            let series = &times[begin..end];
            if series != before {
                distinct.push(series);
            }
            (begin, before) = (end, series);
        }
        let millis = || distinct.iter().copied().flatten().map(|time| time.as_millis());
        let (start, last) = (millis().min()?, millis().max()?);
        let apart = |time: i64| time.abs_diff(start);
        let step = millis().map(apart).fold(0, greatest_common_divisor).max(1);
        let width = usize::try_from(apart(last) / step).ok()?.checked_add(1)?;
        let step = i64::try_from(step).ok()?;
        let points = width.checked_mul(ends.len())?;
        let mut grid = Self {
            start,
            step,
            width,
            gaps: None,
        };
        if !distinct.iter().all(|series| series.is_sorted_by(|a, b| a < b)) {
            return None;
        }
        if points == times.len() {
            return Some(grid);
        }
        if points.div_ceil(64) >= times.len() {
            return None;
        }
        let mut present = vec![0u64; points.div_ceil(64)].into_boxed_slice();
        let mut begin = 0;
        for (index, &end) in ends.iter().enumerate() {
            for time in &times[begin..end] {
                let point = index * width + (apart(time.as_millis()) / step.unsigned_abs()) as usize;
                present[point / 64] |= 1 << (point % 64);
            }
            begin = end;
        }
        grid.gaps = Some(Gaps {
            present,
            ends: ends.into(),
        });
        Some(grid)
    }

    fn of_series(&self, index: usize) -> impl Iterator<Item = Timestamp> + use<'_> {
        self.of_points(index, 0..self.width)
    }

    /// The times at those of `points` that the series at `index` has.
    fn of_points(&self, index: usize, points: Range<usize>) -> impl Iterator<Item = Timestamp> + use<'_> {
        let is_present = move |point: &usize| {
            let point = index * self.width + point;
            let is_set = |gaps: &Gaps| gaps.present[point / 64] >> (point % 64) & 1 == 1;
            self.gaps.as_ref().is_none_or(is_set)
        };
        points.filter(is_present).map(|point| self.at(point))
    }

    /// How many points are before `time`.
    fn position(&self, time: Timestamp) -> usize {
        let after = i128::from(time.as_millis()) - i128::from(self.start);
        let step = i128::from(self.step);
        let before = (after + step - 1).div_euclid(step).max(0);
        usize::try_from(before).map_or(self.width, |before| before.min(self.width))
    }

    /// How many of the first `points` points the series at `index` has.
    fn count_before(&self, index: usize, points: usize) -> usize {
        let Some(gaps) = &self.gaps else { return points };
        let (from, to) = (index * self.width, index * self.width + points);
        let bits = |word: usize| {
            let low = from.saturating_sub(word * 64).min(64);
            let high = (to - word * 64).min(64);
            let below = |bit: usize| 1u64.checked_shl(bit as u32).map_or(u64::MAX, |bit| bit - 1);
            (gaps.present[word] & below(high) & !below(low)).count_ones() as usize
        };
        match from == to {
            true => 0,
            false => (from / 64..to.div_ceil(64)).map(bits).sum(),
        }
    }

    fn at(&self, point: usize) -> Timestamp {
        // Where the grid spans more than half of all time, the way to a point leaves what fits, and comes back.
        Timestamp::from_millis(self.start.wrapping_add(self.step.wrapping_mul(point as i64)))
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
