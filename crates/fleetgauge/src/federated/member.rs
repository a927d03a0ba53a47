//! A member, and the sources that it is asked through.
//!
//! All replicas are asked side by side. One of them answers what is computed, whole: at first the one with the newest samples,
//! and then the same one for as long as it does. The series themselves are had of all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::backend::{FetchError, Request};
use fleetgauge_core::label::Labels;
use fleetgauge_core::printable::{Excerpt, Quoted};
use fleetgauge_core::query::{QueryName, Shape};
use fleetgauge_core::result::{Answer, AnswerKind, Series};
use fleetgauge_core::time::{Clock, Moment};
use fleetgauge_syntax::rewrite::newest;
use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::chosen::{Chosen, Offer};
use super::config::Member;
use super::plan::{Question, Split};
use super::replica::{dated, filled};
use crate::layered::Source;

/// A member with its sources.
pub(super) struct SourceMember {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    replicas: Vec<Replica>,
    timeout: Option<Duration>,
    /// When it last had the series that something needs.
    had: Mutex<HashMap<String, Moment>>,
    chosen: Chosen,
}

pub(super) struct Replica {
    pub(super) name: String,
    pub(super) source: Source,
}

/// What all members are asked with.
pub(super) struct Ask<'a> {
    pub(super) query: &'a QueryName,
    pub(super) split: &'a Split,
    /// So that sources that collect samples themselves collect them once for all parts.
    pub(super) asked_at: std::time::Instant,
    pub(super) max_age: Option<Duration>,
    /// Whether native histograms are taken, as they come.
    pub(super) histograms: bool,
    pub(super) deadline: Instant,
    pub(super) clock: &'a Clock,
    /// How long series that are gone are missed; `None` where another time than now is asked for.
    pub(super) gone_after: Option<Duration>,
}

/// What a replica has answered.
struct Answered<'a> {
    replica: &'a Replica,
    answers: Vec<Answer>,
    /// The time of its newest sample. *Unit*: seconds since the Unix epoch.
    newest: f64,
}

/// By how much the clock of a member may differ from ours.
const CLOCK_WITHIN: Duration = Duration::from_secs(5);
/// When one replica has answered, the others have as long again, and at least this.
const GRACE: Duration = Duration::from_millis(200);
/// Of how many parts it is kept whether there were series.
const MAX_HAD: usize = 10_000;

// === impl Ask ===

impl Ask<'_> {
    fn timed(&self, mut request: Request) -> Request {
        request.asked_at = self.asked_at;
        request.max_age = self.max_age;
        request
    }
}

// === impl SourceMember ===

impl SourceMember {
    pub(super) fn new(member: &Member, replicas: Vec<Replica>) -> Self {
        let mut labels = member.labels.clone();
        labels.sort();
        Self {
            name: member.name.clone(),
            labels,
            replicas,
            timeout: member.timeout,
            had: Mutex::default(),
            chosen: Chosen::default(),
        }
    }

    /// The answers to these questions.
    ///
    /// *Errors*: why it does not report.
    pub(super) async fn answers(&self, questions: &[usize], ask: &Ask<'_>) -> Result<Vec<Answer>, String> {
        let begun = Instant::now();
        let own = self.timeout.map(|timeout| begun + timeout);
        let deadline = own.map_or(ask.deadline, |own| own.min(ask.deadline));
        let questions: Vec<&Question> = questions.iter().map(|&i| &ask.split.questions[i]).collect();
        match timeout_at(deadline, self.asked(&questions, ask, deadline)).await {
            Ok(answers) => answers,
            Err(_) => {
                let after = deadline - begun;
                Err(FetchError::Timeout { after }.to_string())
            }
        }
    }

    async fn asked(
        &self,
        questions: &[&Question],
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<Vec<Answer>, String> {
        let (mut answered, switch) = self.of_replicas(questions, ask, deadline).await?;
        let mut first = answered.remove(0);
        for (place, question) in questions.iter().enumerate() {
            if question.is_raw && !answered.is_empty() {
                let others: Vec<&Answer> = answered.iter().map(|other| &other.answers[place]).collect();
                first.answers[place] = filled(&first.answers[place], &others, question);
            }
            let answer = &first.answers[place];
            self.check(answer, question)?;
            self.check_present(answer, question, first.replica, ask, deadline)
                .await?;
        }
        if let (Some(switch), Some(answer)) = (switch, first.answers.first_mut()) {
            *answer = std::mem::replace(answer, Answer::no_data()).with_warning(&switch);
        }
        Ok(first.answers)
    }

    /// What the replicas answer, the one that counts first; at least one. And what is to be told where it is another one than
    /// before.
    async fn of_replicas(
        &self,
        questions: &[&Question],
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<(Vec<Answered<'_>>, Option<String>), String> {
        let newest = (self.replicas.len() > 1)
            .then(|| newest_of(questions, ask))
            .flatten();
        let begun = Instant::now();
        let asked = self.replicas.iter().map(|replica| {
            let newest = newest.as_ref();
            async move { (replica, replica.answers(questions, newest, ask, deadline).await) }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let (mut answered, mut failed) = (Vec::new(), Vec::new());
        let mut until = deadline;
        while let Ok(Some((replica, outcome))) = timeout_at(until, asked.next()).await {
            match outcome {
                Ok(one) => {
                    let now = Instant::now();
                    until = until.min(now + (now - begun).max(GRACE));
                    answered.push(one);
                }
                Err(error) if self.replicas.len() > 1 => failed.push(format!("{}: {error}", replica.name)),
                Err(error) => failed.push(error.to_string()),
            }
        }
        if answered.is_empty() {
            if !asked.is_empty() {
                let after = Instant::now() - begun;
                failed.push(FetchError::Timeout { after }.to_string());
            }
            return Err(failed.join("; "));
        }
        if self.replicas.len() == 1 {
            return Ok((answered, None));
        }
        let offers = answered.iter().map(|one| Offer {
            replica: self.place(one.replica),
            losses: one.losses(),
            newest: one.newest,
        });
        let about = newest.as_ref().map_or("", |(text, _)| text);
        let (order, switch) = self.chosen.order(about, offers.collect(), ask.clock.now());
        let rank = |one: &Answered<'_>| order.iter().position(|place| *place == self.place(one.replica));
        answered.sort_by_key(rank);
        let switch = switch.map(|switch| {
            let name = |place: usize| &*self.replicas[place].name;
            let (from, to) = (name(switch.from), name(switch.to));
            let why = switch.why.unwrap_or_else(|| {
                let of_it = failed
                    .iter()
                    .find(|error| error.starts_with(&format!("{from}: ")));
                of_it.map_or_else(|| format!("{from}: it has not answered in time"), Clone::clone)
            });
            let told = format!("{to} answers in the place of {from}: {why}");
            tracing::warn!(member = %self.name, query = %ask.query, "another replica answers: {told}");
            told
        });
        Ok((answered, switch))
    }

    fn place(&self, replica: &Replica) -> usize {
        let place = self
            .replicas
            .iter()
            .position(|other| std::ptr::eq(other, replica));
        place.unwrap_or_default()
    }

    /// Whether the rows can be told from those of other members once they get the labels.
    ///
    /// *Errors*: why they cannot.
    fn check(&self, answer: &Answer, question: &Question) -> Result<(), String> {
        if question.is_matrix() != (answer.kind() == AnswerKind::Matrix) || answer.text().is_some() {
            return Err(format!(
                "its answer to {} is of another kind than was asked for",
                question.text
            ));
        }
        let (mut with, mut without) = (0, 0);
        for series in answer.series() {
            match self.carried(series.labels())? {
                true => with += 1,
                false => without += 1,
            }
        }
        match with > 0 && without > 0 {
            true => Err(format!(
                "some of the rows of {} carry the labels of the member already, and others do not: its series must have \
                 all of them, or none",
                question.text
            )),
            false => Ok(()),
        }
    }

    /// Whether a row carries labels of the member.
    fn carried(&self, row: Labels<'_>) -> Result<bool, String> {
        let mut carried = 0;
        for (name, value) in &self.labels {
            match row.get(name) {
                None => {}
                Some(own) if own == value => carried += 1,
                Some(own) => {
                    return Err(format!(
                        "the row {row} carries {name}={}, and is to get {name}={}; drop the label there, or name the \
                         label of the members otherwise",
                        Quoted(own),
                        Quoted(value)
                    ));
                }
            }
        }
        Ok(carried > 0)
    }

    /// Asks, where an answer is empty or its range ends so, and was not a moment ago, whether the series are still there.
    ///
    /// *Errors*: they are not.
    async fn check_present(
        &self,
        answer: &Answer,
        question: &Question,
        replica: &Replica,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<(), String> {
        let (Some(gone_after), Some(present)) = (ask.gone_after, &question.present) else {
            return Ok(());
        };
        let now = ask.clock.now();
        if is_empty(answer, question) {
            let had = self.with_had(|had| had.get(present).copied());
            let Some(ago) = had.map(|had| now.saturating_since(had)) else {
                return Ok(());
            };
            if ago >= gone_after {
                return Ok(());
            }
            let request = question.beside(named(ask.query, "present"), present, left(deadline));
            let answer = replica.source.ask(ask.timed(request)).await;
            if answer.map_err(|error| error.to_string())?.is_no_data() {
                return Err(format!(
                    "empty: nothing answers {present} any more, and {ago:.0?} ago it did"
                ));
            }
        }
        self.with_had(|had| {
            if had.len() >= MAX_HAD {
                had.retain(|_, had| now.saturating_since(*had) < gone_after);
            }
            if had.len() < MAX_HAD {
                had.insert(present.clone(), now);
            }
        });
        Ok(())
    }

    fn with_had<R>(&self, with: impl FnOnce(&mut HashMap<String, Moment>) -> R) -> R {
        with(&mut self.had.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Replica ===

impl Replica {
    /// All answers; of one that fails, none.
    async fn answers<'a>(
        &'a self,
        questions: &[&Question],
        newest: Option<&(String, &Question)>,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<Answered<'a>, FetchError> {
        let answers = questions.iter().map(|question| {
            let part = &ask.split.plan.pushed[question.part].name;
            let request = question.request(named(ask.query, part), left(deadline));
            let request = ask.timed(request.with_histograms(ask.histograms));
            let asked = request.text.clone();
            let answer = self.source.ask(request.with_clock_within(CLOCK_WITHIN));
            async move { answer.await.map_err(|error| with_question(error, &asked)) }
        });
        let newest = async {
            let (text, question) = newest?;
            let request = question.beside(named(ask.query, "newest"), text, left(deadline));
            let answer = self.source.ask(ask.timed(request)).await.ok()?;
            answer.values().next().map(|value| value.value)
        };
        let ages = questions.iter().map(|question| async move {
            let part = &ask.split.plan.pushed[question.part].name;
            let text = question.last.as_ref()?;
            let name = named(ask.query, &format!("{part}:age"));
            let request = question.beside(name, text, left(deadline));
            self.source.ask(ask.timed(request)).await.ok()
        });
        let (answers, newest, ages) = tokio::join!(try_join_all(answers), newest, join_all(ages));
        let answers = answers?.into_iter().zip(&ages);
        let answers = answers.map(|(answer, of_rows)| match of_rows {
            Some(of_rows) => dated(answer, of_rows),
            None => answer,
        });
        Ok(Answered {
            replica: self,
            answers: answers.collect(),
            newest: newest.unwrap_or(f64::NEG_INFINITY),
        })
    }
}

impl Answered<'_> {
    /// How much is known to be missing from it.
    fn losses(&self) -> u64 {
        let of_each = self.answers.iter().map(|answer| {
            let missing = answer.completeness().map_or(0, |known| known.missing().count());
            missing.max(u64::from(!answer.is_complete()))
        });
        of_each.sum()
    }
}

/// What cannot be used is told with its series, which may have no metric's name; so what was asked is told, too.
fn with_question(error: FetchError, asked: &str) -> FetchError {
    match error {
        FetchError::Unsupported { what } => FetchError::Unsupported {
            what: format!("asked for {}: {what}", Excerpt(asked)),
        },
        other => other,
    }
}

/// What tells the newest sample of all that is asked, and the question that asks for the latest time.
fn newest_of<'q>(questions: &[&'q Question], ask: &Ask<'_>) -> Option<(String, &'q Question)> {
    let parts = questions
        .iter()
        .map(|question| &ask.split.plan.pushed[question.part].expr);
    let latest = questions.iter().max_by_key(|question| question.at)?;
    Some((newest(parts)?.to_string(), latest))
}

/// Whether no row has a value for the time that was asked for, or for the last one.
fn is_empty(answer: &Answer, question: &Question) -> bool {
    let reaches_the_end =
        |series: Series<'_>| (series.points().last()).is_some_and(|point| point.timestamp == question.at);
    match question.shape {
        Shape::Instant => answer.is_no_data(),
        _ => !answer.series().any(reaches_the_end),
    }
}

/// The name under which the sources of members are asked for a part of `query`.
fn named(query: &QueryName, part: &str) -> QueryName {
    format!("{query}:{part}")
        .parse()
        .unwrap_or_else(|_| query.clone())
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
