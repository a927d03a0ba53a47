//! The same expressions over the same series, evaluated by a real Prometheus and by us.
//!
//! Series and expressions are generated from a seed. Answers are compared to the last bit where that is
//! defined (selectors, arithmetic, `min`, `count` …) and to 1e-12 else; what one refuses, the other must
//! refuse. A failure is shrunk to a small expression over few series, and printed as a script that can go
//! to `tests/scripts`.
//!
//! For more than what runs by default:
//!
//! ```text
//! FLEETGAUGE_DIFFERENTIAL=1000000 FLEETGAUGE_DIFFERENTIAL_SEED=7 \
//!     cargo test --release -p fleetgauge-promql --test it differential -- --nocapture --include-ignored
//! ```
//!
//! There are two oracles. Debian's Prometheus 2.42 is always there; where it and Prometheus 3 differ we do as 3
//! does, and what would show it is kept out: see `differential/data.rs` for the series and
//! `differential/generate.rs` for the expressions. Prometheus 3 itself is asked where the environment says where it
//! is (`FLEETGAUGE_PROMETHEUS_3`, `FLEETGAUGE_PROMTOOL_3`), which the test command does where it can get it, and else
//! skips the test; of its answers, warnings and infos are compared as well, with their places, and the order of what is
//! sorted.
//!
//! Some differences are forgiven, as the oracle is known to be wrong or older there. How many, is printed, and a
//! generator that makes many of them fails the test: it would compare little.

pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod expr;
pub(crate) mod generate;
mod native;
pub(crate) mod oracle;
pub(crate) mod random;
mod remote_write;
mod series;
mod shrink;
pub(crate) mod version;
mod vocabulary;

use std::fmt::Write as _;

use fleetgauge_promql::engine::{Engine, EngineConfig};
use fleetgauge_promql::store::MemoryStore;

use data::Series;
use expr::{Expr, Kind};
use generate::{Choices, time};
use oracle::{Answer, Oracle, Programs, Value, When};
use random::Random;
use version::Version;

use crate::support::prometheus_3;

/// How many expressions, where nothing else is asked for.
const DEFAULT_COUNT: usize = 20_000;

/// Series are made anew after so many.
const PER_DATA: usize = 2_000;

/// The first failures tell most.
const MAX_FAILURES: usize = 5;

/// What is asked.
struct Asked {
    version: Version,
    programs: Programs,
}

struct Pair {
    version: Version,
    oracle: Oracle,
    engine: Engine,
    store: MemoryStore,
}

/// What was compared, to know that it is worth it.
#[derive(Debug, Default)]
struct Counts {
    asked: usize,
    answered: usize,
    empty: usize,
    refused: usize,
    /// Of those that were answered, with a warning or an info.
    remarked: usize,
    /// Where we differ, and may.
    mistaken: usize,
    beyond: usize,
    known: usize,
    unsteady: usize,
}

/// How our answer stands to Prometheus's.
enum Verdict {
    Same,
    Differs(String),
    Forgiven(Forgiven),
}

/// Why we may differ.
#[derive(Clone, Copy)]
enum Forgiven {
    /// The expression [is mistaken](Expr::is_mistaken) by the oracle.
    Mistaken,
    /// The oracle [looks beyond](is_beyond) what was asked.
    Beyond,
    /// [Known](is_known) to be refused by what came after the oracle, [no more](is_refused_no_more), or to be
    /// [another number](compare::is_beside_infinity) there.
    Known,
    /// The oracle gives our answer where it was asked nothing before. In 3.5 the buckets of histograms are taken for those of
    /// other samples here and there, as their memory is used again.
    Unsteady,
}

/// How many of `asked` may be forgiven under one heading: three times what was seen, one in 300, and a few where few
/// are asked.
fn forgivable(asked: usize) -> usize {
    3 + asked * 3 / 300
}

// === impl Pair ===

impl Pair {
    fn new(asked: &Asked, series: &[Series]) -> Self {
        Self {
            version: asked.version,
            oracle: Oracle::start(&asked.programs, series),
            engine: Engine::new(EngineConfig::default().with_histograms(true)),
            store: data::store(series),
        }
    }

    /// Prometheus's answer, and how ours stands to it.
    fn compare(&mut self, expr: &Expr, when: When) -> (Result<Answer, String>, Verdict) {
        let query = expr.print(data::START);
        let theirs = self.oracle.ask(&query, when);
        // It was renamed without a change.
        let new = query.replace("holt_winters", "double_exponential_smoothing");
        let ours = compare::ours(&self.engine, &self.store, &new, when);
        let is_3 = self.version == Version::V3;
        let difference = match (&theirs, &ours) {
            (Err(_), Err(_)) => None,
            (Ok(_), Err(error)) => Some(format!("Prometheus answers, we refuse: {error}")),
            (Err(error), Ok(_)) => Some(format!("we answer, Prometheus refuses: {error}")),
            (Ok(theirs), Ok(ours)) => {
                let scale = || compare::scale(&self.engine, &self.store, expr, when);
                let difference = compare::difference(expr, theirs, ours, scale);
                match self.version {
                    Version::V2 => difference,
                    Version::V3 => difference
                        .or_else(|| compare::order(expr, theirs, ours))
                        .or_else(|| compare::notes(theirs, ours)),
                }
            }
        };
        let Some(difference) = difference else {
            return (theirs, Verdict::Same);
        };
        let verdict = match (&theirs, &ours) {
            _ if is_3 && expr.walk().into_iter().any(Expr::is_mistaken) => {
                Verdict::Forgiven(Forgiven::Mistaken)
            }
            (Err(_), Ok(_)) if is_3 && is_beyond(expr, when) => Verdict::Forgiven(Forgiven::Beyond),
            (Ok(_), Err(error)) if is_known(self.version, expr, &error.to_string()) => {
                Verdict::Forgiven(Forgiven::Known)
            }
            (Err(error), Ok(_)) if is_refused_no_more(error, when) => Verdict::Forgiven(Forgiven::Known),
            _ if compare::is_beside_infinity(&self.engine, &self.store, expr, when) => {
                Verdict::Forgiven(Forgiven::Known)
            }
            _ => Verdict::Differs(difference),
        };
        (theirs, verdict)
    }

    fn differs(&mut self, expr: &Expr, when: When) -> bool {
        matches!(self.compare(expr, when).1, Verdict::Differs(_))
    }
}

// === impl Counts ===

impl Counts {
    fn forgive(&mut self, forgiven: Forgiven) {
        match forgiven {
            Forgiven::Mistaken => self.mistaken += 1,
            Forgiven::Beyond => self.beyond += 1,
            Forgiven::Known => self.known += 1,
            Forgiven::Unsteady => self.unsteady += 1,
        }
    }

    /// Fails where so much is forgiven, refused or empty that to agree means little.
    fn check(&self, version: Version) {
        let asked = self.asked;
        for (heading, forgiven) in [
            ("mistaken", self.mistaken),
            ("beyond", self.beyond),
            ("known", self.known),
            ("unsteady", self.unsteady),
        ] {
            println!("{version:?}: {forgiven} of {asked} were forgiven as {heading}");
            assert!(
                forgiven <= forgivable(asked),
                "more than {} are forgiven as {heading}: {self:?}",
                forgivable(asked)
            );
        }
        assert!(self.answered * 2 > asked, "{self:?}");
        assert!(self.refused * 50 > asked, "{self:?}");
        if version == Version::V3 {
            assert!(self.remarked * 50 > asked, "{self:?}");
        }
    }
}

/// Where the oracle answers and what came after it refuses.
///
/// 3.5: what is not a number of series is refused only where there is a series; later it is always.
///
/// Both: of series of which two match, those that a comparison filters out are no match; later they are.
fn is_known(version: Version, expr: &Expr, error: &str) -> bool {
    if error.starts_with("multiple matches for labels") && expr.walk().into_iter().any(Expr::is_filter) {
        return true;
    }
    let errors = ["Parameter value is NaN", "Ratio value is NaN", "flows int64"];
    version == Version::V3 && errors.iter().any(|known| error.contains(known))
}

/// Series that become one, but never meet at a step, are refused up to 3.5 by what looks at all steps at once: functions
/// over ranges, the unary minus and in 3.5 `label_replace` and `label_join`; later they are one series.
fn is_refused_no_more(error: &str, when: When) -> bool {
    let is_range = matches!(when, When::Range(..));
    is_range && error.contains("vector cannot contain metrics with the same labelset")
}

/// In range queries 3.5 evaluates what is inside a subquery with `@` at as many steps more as those have, and refuses
/// what it finds there.
fn is_beyond(expr: &Expr, when: When) -> bool {
    let is_range = matches!(when, When::Range(..));
    is_range && expr.walk().iter().any(|part| part.is_held_subquery())
}

pub(crate) fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

fn when(random: &mut Choices<'_>) -> When {
    if random.chance(50) {
        return When::At(time(random));
    }
    let start = time(random);
    let step = random.pick(&[5_000, 7_000, 15_000, 30_000, 60_000, 300_000]);
    When::Range(start, start + step * random.below(25) as i64 + 1000, step)
}

/// A failure as a script, with what Prometheus answers.
fn script(expr: &Expr, series: &[Series], when: When, theirs: &Result<Answer, String>) -> String {
    let mut text = data::script(series);
    let query = expr
        .print(0)
        .replace("holt_winters", "double_exponential_smoothing");
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let (start, step, count) = match when {
        When::At(at) => {
            let _ = writeln!(text, "\neval instant at {} {query}", seconds(at));
            (at, 1, 1)
        }
        When::Range(start, end, step) => {
            let (from, to, step_text) = (seconds(start), seconds(end), seconds(step));
            let _ = writeln!(text, "\neval range from {from} to {to} step {step_text} {query}");
            (start, step, (end - start) / step + 1)
        }
    };
    match theirs {
        Err(error) => {
            let _ = writeln!(text, "  # {error}\n  expect fail");
        }
        Ok(answer) => {
            for (labels, samples) in &answer.series {
                // They are told by their bounds, which no notation is.
                let has_histograms = samples.values().any(|value| matches!(value, Value::Histogram(_)));
                let mark = if has_histograms { "# " } else { "" };
                let values = (0..count).map(|index| match samples.get(&(start + index * step)) {
                    Some(value) => format!(" {value}"),
                    None => " _".to_owned(),
                });
                let _ = writeln!(text, "  {mark}{labels}{}", values.collect::<String>());
            }
        }
    }
    text
}

/// Makes a failure small and tells it.
fn report(
    asked: &Asked,
    pair: &mut Pair,
    series: &[Series],
    (expr, when): (Expr, When),
    first: &str,
) -> String {
    let original = expr.print(data::START);
    let expr = shrink::expression(expr, |simpler| pair.differs(simpler, when));
    let few = shrink::series(&expr, series, |few| Pair::new(asked, few).differs(&expr, when));
    let (theirs, verdict) = Pair::new(asked, &few).compare(&expr, when);
    let difference = match verdict {
        Verdict::Differs(difference) => difference,
        Verdict::Same | Verdict::Forgiven(_) => format!("asked first: {first}"),
    };
    format!(
        "--- {}\n{difference}\n{}\nshrunk from: {original} at {when:?}\n",
        expr.print(0),
        script(&expr, &few, when, &theirs)
    )
}

#[test]
fn prometheus_2_42_and_we_give_the_same_answers() {
    compare_with(&Asked {
        version: Version::V2,
        programs: Programs::v2(),
    });
}

#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_and_we_give_the_same_answers() {
    compare_with(&Asked {
        version: Version::V3,
        programs: Programs {
            prometheus: prometheus_3::program("FLEETGAUGE_PROMETHEUS_3"),
            promtool: prometheus_3::program("FLEETGAUGE_PROMTOOL_3"),
            flags: vec![
                "--enable-feature=promql-experimental-functions,native-histograms",
                "--web.enable-remote-write-receiver",
            ],
            takes_histograms: true,
        },
    });
}

fn compare_with(asked: &Asked) {
    let version = asked.version;
    let count = number("FLEETGAUGE_DIFFERENTIAL", DEFAULT_COUNT);
    let seed = number("FLEETGAUGE_DIFFERENTIAL_SEED", 1) as u64;
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    while counts.asked < count && failures.len() < MAX_FAILURES {
        let series = data::generate(&mut random, version);
        let mut pair = Pair::new(asked, &series);
        let mut random = Choices::new(&mut random, version);
        for _ in 0..PER_DATA.min(count - counts.asked) {
            let expr = generate::expression(&mut random);
            let mut when = when(&mut random);
            // A range of ranges is refused, which need not be tried often.
            if expr.has_info() || expr.kind() == Kind::Matrix && random.chance(90) {
                when = When::At(time(&mut random));
            }
            counts.asked += 1;
            let (theirs, verdict) = pair.compare(&expr, when);
            match &theirs {
                Ok(answer) if answer.series.is_empty() => counts.empty += 1,
                Ok(_) => counts.answered += 1,
                Err(_) => counts.refused += 1,
            }
            counts.remarked += usize::from(theirs.is_ok_and(|answer| !answer.notes.is_empty()));
            match verdict {
                Verdict::Same => {}
                Verdict::Forgiven(forgiven) => counts.forgive(forgiven),
                Verdict::Differs(_) if !Pair::new(asked, &series).differs(&expr, when) => {
                    counts.forgive(Forgiven::Unsteady);
                }
                Verdict::Differs(first) => {
                    failures.push(report(asked, &mut pair, &series, (expr, when), &first));
                }
            }
            if failures.len() == MAX_FAILURES {
                break;
            }
        }
    }
    println!("{version:?}, seed {seed}: {counts:?}");
    assert!(
        failures.is_empty(),
        "{version:?}, seed {seed}: {counts:?}\n{}",
        failures.join("\n")
    );
    counts.check(version);
}

/// Two that refuse everything, know of nothing, or are forgiven everything agree too easily.
#[test]
fn agreement_that_means_little_fails() {
    let good = || Counts {
        asked: 1000,
        answered: 800,
        refused: 100,
        remarked: 100,
        ..Counts::default()
    };
    good().check(Version::V3);
    let fails = |change: fn(&mut Counts)| {
        let mut counts = good();
        change(&mut counts);
        std::panic::catch_unwind(|| counts.check(Version::V3)).is_err()
    };
    assert!(!fails(
        |counts| (0..forgivable(1000)).for_each(|_| counts.forgive(Forgiven::Mistaken))
    ));
    for forgiven in [
        Forgiven::Mistaken,
        Forgiven::Beyond,
        Forgiven::Known,
        Forgiven::Unsteady,
    ] {
        let mut counts = good();
        (0..=forgivable(1000)).for_each(|_| counts.forgive(forgiven));
        assert!(std::panic::catch_unwind(|| counts.check(Version::V3)).is_err());
    }
    assert!(fails(|counts| counts.answered = 400));
    assert!(fails(|counts| counts.refused = 10));
    assert!(fails(|counts| counts.remarked = 10));
}
