//! What goes wrong with a pod, and when.

use std::time::Duration;

/// Something that happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The process ends: the port is closed, connections to it are refused, its requests are lost.
    Die,
    /// It accepts connections and never answers. The engine goes on.
    Hang,
    /// `/metrics` answers 500. The engine goes on.
    ServerError,
    /// The connection ends in the middle of the page. The engine goes on.
    CutOff,
    /// The engine's gauges are exposed as NaN.
    NotANumber,
    /// A new process under the same name and address: counters start at zero, requests are lost.
    Restart,
    /// A new pod at the same address: as [`Fault::Restart`], and with another name.
    Rename,
    /// Whatever was wrong is over; a dead pod starts again, as a new process.
    Recover,
}

/// Faults by schedule.
///
/// ```
/// use std::time::Duration;
/// use fleetgauge_sim::{Fault, Script};
///
/// let seconds = Duration::from_secs;
/// let script = Script::new()
///     .at(seconds(20), Fault::Hang)
///     .at(seconds(35), Fault::Recover)
///     .repeat_every(seconds(60));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// By time.
    steps: Vec<(Duration, Fault)>,
    period: Option<Duration>,
}

// === impl Fault ===

impl Fault {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Die,
        Self::Hang,
        Self::ServerError,
        Self::CutOff,
        Self::NotANumber,
        Self::Restart,
        Self::Rename,
        Self::Recover,
    ];

    /// A word for it, as in `die`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Die => "die",
            Self::Hang => "hang",
            Self::ServerError => "server_error",
            Self::CutOff => "cut_off",
            Self::NotANumber => "not_a_number",
            Self::Restart => "restart",
            Self::Rename => "rename",
            Self::Recover => "recover",
        }
    }
}

// === impl Script ===

impl Script {
    /// An empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `fault`, this time after the script begins. *Unit*: simulated time.
    #[must_use]
    pub fn at(mut self, time: Duration, fault: Fault) -> Self {
        let index = self.steps.partition_point(|&(at, _)| at <= time);
        self.steps.insert(index, (time, fault));
        self
    }

    /// Begins again after every `period`; what lies beyond it is not reached. Zero means once.
    #[must_use]
    pub fn repeat_every(mut self, period: Duration) -> Self {
        self.period = (!period.is_zero()).then_some(period);
        self
    }

    /// What happens in `[from, to)`, in order.
    pub(crate) fn due(&self, from: Duration, to: Duration) -> impl Iterator<Item = Fault> {
        let period = self.period.map(|period| period.as_nanos());
        let (from, to) = (from.as_nanos(), to.as_nanos());
        let first = period.map_or(0, |period| from / period);
        // One round is left over from before `from`, and the last begins before `to`.
        let last = period.map_or(0, |period| to.saturating_sub(1) / period);
        (first..=last).flat_map(move |round| {
            let start = period.map_or(0, |period| period * round);
            let steps = self.steps.iter().filter(move |(at, _)| {
                let (at, whole) = (at.as_nanos(), period.unwrap_or(u128::MAX));
                at < whole && (from..to).contains(&(start + at))
            });
            steps.map(|&(_, fault)| fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &Script, from: u64, to: u64, expected: &[Fault]) {
        let due = script.due(Duration::from_secs(from), Duration::from_secs(to));
        assert_eq!(due.collect::<Vec<_>>(), expected, "{from}..{to}");
    }

    #[test]
    fn each_step_is_due_once() {
        let seconds = Duration::from_secs;
        let once = Script::new()
            .at(seconds(5), Fault::Recover)
            .at(seconds(2), Fault::Hang);
        check(&once, 0, 2, &[]);
        check(&once, 2, 5, &[Fault::Hang]);
        check(&once, 2, 6, &[Fault::Hang, Fault::Recover]);
        check(&once, 6, 600, &[]);
        let again = once.repeat_every(seconds(5));
        check(&again, 0, 8, &[Fault::Hang, Fault::Hang]);
        check(&again, 7, 8, &[Fault::Hang]);
        check(&again, 8, 12, &[]);
        check(&Script::new(), 0, 9, &[]);
    }
}
