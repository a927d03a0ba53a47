//! Small questions of several queries, asked as one: what a refresh asks beside its queries has a row or a few each, and a
//! request of its own would cost more than its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetgauge_core::label::Labels;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

/// The label that tells whose row it is, where several questions were asked together.
pub(super) const ASKED: &str = "__asked__";

/// For how long questions are gathered: the queries of a refresh are sent one after the other within less. What is asked
/// beside a query is late by as much, and is not waited for unless the query was answered sooner.
const GATHERED_FOR: Duration = Duration::from_millis(1);

/// How many questions are one at most; a server joins their rows one by one.
const MAX_QUESTIONS: usize = 20;

/// For how long a server may be busy with them. It answers them one after the other, where by themselves each would be answered
/// beside the others.
pub(super) const MAX_COST: Duration = Duration::from_millis(100);

/// What one question was answered: by an answer of its own, or by some rows of one.
#[derive(Debug)]
pub(super) struct Part {
    answer: Arc<Answer>,
    number: Option<usize>,
}

/// Those that are being gathered.
#[derive(Debug, Default)]
pub(super) struct Together(Mutex<Option<Arc<Batch>>>);

/// Questions for one time.
#[derive(Debug)]
struct Batch {
    at: Timestamp,
    opened: Instant,
    questions: Mutex<Questions>,
    answer: OnceCell<Result<Arc<Answer>, String>>,
}

#[derive(Debug, Default)]
struct Questions {
    texts: Vec<String>,
    cost: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Part ===

impl Part {
    /// What was asked alone.
    pub(super) fn alone(answer: Answer) -> Self {
        Self {
            answer: Arc::new(answer),
            number: None,
        }
    }

    /// The whole answer, which may have rows for other questions.
    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The rows for this question, with their values. They may have the label [`ASKED`].
    pub(super) fn rows(&self) -> impl Iterator<Item = (Labels<'_>, f64)> {
        let number = self.number.map(|number| number.to_string());
        self.answer
            .values()
            .filter(move |row| number.is_none() || row.labels.get(ASKED) == number.as_deref())
            .map(|row| (row.labels, row.value))
    }
}

// === impl Together ===

impl Together {
    /// The time for which questions are being gathered, and when that began. A query that is sent for this time has its own
    /// among them.
    pub(super) fn gathering(&self) -> Option<(Timestamp, std::time::Instant)> {
        let open = lock(&self.0);
        open.as_ref().map(|batch| (batch.at, batch.opened.into_std()))
    }

    /// Asks `text`, which may take as long as `cost`, for the time `at`, with others that are asked for it, in a text of at
    /// most `max_bytes`. Where that goes wrong, which may be the others' fault, it is asked alone.
    pub(super) async fn ask<'a>(
        &self,
        at: Timestamp,
        (text, cost): (&str, Duration),
        max_bytes: usize,
        ask: impl Fn(String) -> BoxFuture<'a, Result<Answer, String>>,
    ) -> Result<Part, String> {
        let (batch, number) = self.join(at, (text, cost), max_bytes);
        // Whoever is first asks for all; if it is given up, the next does.
        let answer = batch.answer.get_or_init(|| async {
            sleep_until(batch.opened + GATHERED_FOR).await;
            ask(self.close(&batch)).await.map(Arc::new)
        });
        let answer = answer.await;
        let is_alone = lock(&batch.questions).texts.len() == 1;
        match answer {
            Ok(answer) if is_alone || answer.is_complete() => Ok(Part {
                answer: Arc::clone(answer),
                number: (!is_alone).then_some(number),
            }),
            Err(why) if is_alone => Err(why.clone()),
            _ => ask(text.to_owned()).await.map(Part::alone),
        }
    }

    /// The batch that a question is now part of, and which part.
    fn join(&self, at: Timestamp, question: (&str, Duration), max_bytes: usize) -> (Arc<Batch>, usize) {
        let mut open = lock(&self.0);
        if let Some(batch) = open.as_ref().filter(|batch| batch.at == at)
            && let Some(number) = lock(&batch.questions).add(question, max_bytes)
        {
            return (Arc::clone(batch), number);
        }
        let mut questions = Questions::default();
        let number = questions.add(question, usize::MAX).unwrap_or_default();
        let batch = Arc::new(Batch {
            at,
            opened: Instant::now(),
            questions: Mutex::new(questions),
            answer: OnceCell::new(),
        });
        *open = Some(Arc::clone(&batch));
        (batch, number)
    }

    /// Lets nobody else in. Gives the text for all.
    fn close(&self, batch: &Arc<Batch>) -> String {
        let mut open = lock(&self.0);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, batch)) {
            *open = None;
        }
        lock(&batch.questions).as_one()
    }
}

// === impl Questions ===

impl Questions {
    /// Adds one, if there is room for it. Gives its number.
    fn add(&mut self, (text, cost): (&str, Duration), max_bytes: usize) -> Option<usize> {
        if let Some(known) = self.texts.iter().position(|known| known == text) {
            return Some(known);
        }
        let bytes: usize = self.texts.iter().map(String::len).sum();
        let has_room = self.texts.len() < MAX_QUESTIONS
            && bytes.saturating_add(text.len()) <= max_bytes
            && self.cost.saturating_add(cost) <= MAX_COST;
        if !has_room && !self.texts.is_empty() {
            return None;
        }
        self.texts.push(text.to_owned());
        self.cost = self.cost.saturating_add(cost);
        Some(self.texts.len() - 1)
    }

    fn as_one(&self) -> String {
        if let [alone] = &self.texts[..] {
            return alone.clone();
        }
        let marked = self
            .texts
            .iter()
            .enumerate()
            .map(|(number, text)| format!(r#"label_replace({text}, "{ASKED}", "{number}", "", "")"#));
        marked.collect::<Vec<_>>().join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const AT: Timestamp = Timestamp::from_millis(1_000);

    fn answer(rows: &[(&str, f64)]) -> Answer {
        let rows = rows
            .iter()
            .map(|(number, value)| format!(r#"{{"metric":{{"{ASKED}":"{number}"}},"value":[1,"{value}"]}}"#));
        let rows = rows.collect::<Vec<_>>().join(",");
        let json = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}}}"#);
        super::super::api::decode_answer(json.as_bytes()).unwrap()
    }

    fn values(part: Result<Part, String>) -> Vec<f64> {
        part.unwrap().rows().map(|(_, value)| value).collect()
    }

    #[tokio::test]
    async fn questions_for_one_time_are_asked_as_one_and_each_has_its_rows() {
        let (together, count) = (Together::default(), AtomicUsize::new(0));
        let ask = |text: String| {
            count.fetch_add(1, Ordering::Relaxed);
            let both =
                r#"label_replace(a, "__asked__", "0", "", "") or label_replace(b, "__asked__", "1", "", "")"#;
            let answer = match &*text {
                "c" => answer(&[("", 5.0)]),
                text if text == both => answer(&[("1", 2.0), ("0", 1.0)]),
                other => panic!("{other}"),
            };
            ready(Ok(answer)).boxed()
        };
        let later = Timestamp::from_millis(1_001);
        let (a, b, again, c) = tokio::join!(
            together.ask(AT, ("a", QUICK), 100, ask),
            together.ask(AT, ("b", QUICK), 100, ask),
            together.ask(AT, ("a", QUICK), 100, ask),
            together.ask(later, ("c", QUICK), 100, ask),
        );
        assert_eq!([values(a), values(b), values(again)], [[1.0], [2.0], [1.0]]);
        assert_eq!(values(c), [5.0]);
        assert_eq!(count.into_inner(), 2);
        assert_eq!(together.gathering(), None);
    }

    #[tokio::test]
    async fn one_that_is_refused_costs_the_others_nothing() {
        let together = Together::default();
        let ask = |text: String| {
            let answer = match &*text {
                "good" => Ok(answer(&[("", 1.0)])),
                _ => Err(format!("no: {text}")),
            };
            ready(answer).boxed()
        };
        let (good, bad) = tokio::join!(
            together.ask(AT, ("good", QUICK), 100, ask),
            together.ask(AT, ("bad", QUICK), 100, ask)
        );
        assert_eq!(values(good), [1.0]);
        assert_eq!(bad.unwrap_err(), "no: bad");
    }

    #[tokio::test]
    async fn one_that_is_given_up_while_it_asks_for_all_leaves_the_others_their_answers() {
        let together = Together::default();
        let never = |_: String| pending().boxed();
        let ask = |_: String| ready(Ok(answer(&[("0", 1.0), ("1", 2.0)]))).boxed();
        let mut first = Box::pin(together.ask(AT, ("a", QUICK), 100, never));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(together.ask(AT, ("b", QUICK), 100, ask));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(values(second.await), [2.0]);
    }

    #[tokio::test]
    async fn a_text_is_not_longer_than_it_may_be() {
        let together = Together::default();
        let ask = |text: String| ready(Ok(answer(&[("", text.len() as f64)]))).boxed();
        let (a, b) = tokio::join!(
            together.ask(AT, ("aaaa", QUICK), 6, ask),
            together.ask(AT, ("bbb", QUICK), 6, ask)
        );
        assert_eq!([values(a), values(b)], [[4.0], [3.0]]);
    }
}
