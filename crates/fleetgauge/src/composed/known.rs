//! The labels of inputs' answers as series. The same series are answered again and again, and their labels take longer to
//! make than the rest of a small composition.

use std::sync::{Arc, Mutex, PoisonError};

use fleetgauge_core::result::MetricResult;
use fleetgauge_promql::answers::{AnswersError, RowLabels};

/// How many series are kept of all inputs, which is some ten megabytes; a larger answer is read anew each time.
const MAX_SERIES: usize = 50_000;

/// How many answers are kept: of each input those of several parameters.
const MAX_ANSWERS: usize = 100;

/// The labels of the answers that were read last.
#[derive(Default)]
pub(super) struct KnownLabels(Mutex<Vec<Known>>);

struct Known {
    /// Which of the inputs.
    input: usize,
    /// One with these series.
    result: Arc<MetricResult>,
    labels: RowLabels,
}

// === impl KnownLabels ===

impl KnownLabels {
    /// Those of what the input, which is called `name`, has answered.
    ///
    /// *Errors*: [`AnswersError`]
    pub(super) fn of(
        &self,
        input: usize,
        name: &str,
        result: &Arc<MetricResult>,
    ) -> Result<RowLabels, AnswersError> {
        // A text has no series either; and of a histogram the labels may be known, but it cannot be read.
        if result.is_empty() || result.answer().has_histograms() {
            return RowLabels::new(name, result.answer());
        }
        if let Some(labels) = self.find(input, result) {
            return Ok(labels);
        }
        let labels = RowLabels::new(name, result.answer())?;
        let result = Arc::clone(result);
        self.keep(Known {
            input,
            result,
            labels: labels.clone(),
        });
        Ok(labels)
    }

    fn find(&self, input: usize, result: &Arc<MetricResult>) -> Option<RowLabels> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &Known| {
            known.input == input
                && (Arc::ptr_eq(&known.result, result)
                    || known.result.answer().has_series_of(result.answer()))
        };
        let at = all.iter().rposition(is_same)?;
        // The one that was read last is behind, and the answer that is no longer needed goes.
        let mut known = all.remove(at);
        let before = std::mem::replace(&mut known.result, Arc::clone(result));
        let labels = known.labels.clone();
        all.push(known);
        drop(all);
        drop(before);
        Some(labels)
    }

    fn keep(&self, new: Known) {
        if new.labels.len() > MAX_SERIES {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(new);
        let mut series = 0;
        let newest = all.iter().rev().take(MAX_ANSWERS);
        let fits = newest.take_while(|known| {
            series += known.labels.len();
            series <= MAX_SERIES
        });
        let too_many = all.len() - fits.count();
        let gone: Vec<_> = all.drain(..too_many).collect();
        drop(all);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;
    use fleetgauge_core::time::Timestamp;

    use super::*;

    fn result(pods: impl IntoIterator<Item = usize>, value: f64) -> Arc<MetricResult> {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        for pod in pods {
            let pod = pod.to_string();
            answer
                .series([("pod", &*pod)], value, Timestamp::default())
                .expect("labels");
        }
        let query = "q".parse().expect("a name");
        Arc::new(MetricResult::new(query, Timestamp::default(), answer.build()))
    }

    fn kept(known: &KnownLabels) -> Vec<(usize, usize)> {
        let all = known.0.lock().expect("no panic");
        all.iter()
            .map(|known| (known.input, known.labels.len()))
            .collect()
    }

    #[test]
    fn the_series_of_an_input_are_kept_once_and_their_newest_answer() {
        let known = KnownLabels::default();
        let of = |input, result: &Arc<MetricResult>| known.of(input, "in", result).expect("series").len();
        let first = result([1, 2], 1.0);
        assert_eq!((of(0, &first), of(0, &first)), (2, 2));
        let second = result([1, 2], 2.0);
        assert_eq!((of(0, &second), kept(&known)), (2, vec![(0, 2)]));
        assert_eq!(Arc::strong_count(&first), 1);
        // Other series, in another order, or of another input.
        assert_eq!(of(0, &result([1, 2, 3], 1.0)), 3);
        assert_eq!(of(0, &result([2, 1], 1.0)), 2);
        assert_eq!(of(1, &second), 2);
        assert_eq!(kept(&known), [(0, 2), (0, 3), (0, 2), (1, 2)]);
        // A text is none, though there is an answer without series.
        assert_eq!(of(0, &result([], 0.0)), 0);
        let mut text = AnswerBuilder::new(Stamp::Evaluated);
        text.text("seven", Timestamp::default());
        let query = "q".parse().expect("a name");
        let text = MetricResult::new(query, Timestamp::default(), text.build());
        assert_eq!(known.of(0, "in", &Arc::new(text)).err(), Some(AnswersError::Text));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let known = KnownLabels::default();
        let of = |pods: std::ops::Range<usize>| known.of(0, "in", &result(pods, 1.0)).expect("series");
        of(0..MAX_SERIES + 1);
        assert_eq!(kept(&known), []);
        of(0..MAX_SERIES - 1);
        of(0..1);
        of(1..2);
        assert_eq!(kept(&known), [(0, 1), (0, 1)]);
        (0..MAX_ANSWERS + 5).for_each(|pod| drop(of(pod..pod + 1)));
        assert_eq!(kept(&known).len(), MAX_ANSWERS);
    }
}
