//! Lines of readings over time, as SVG. Where there was no number there is no line.

use std::fmt::Write as _;
use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use maud::{Markup, html};

use super::words::{Quantity, TimeOfDay};

/// The times that are drawn, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) step: Duration,
}

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    /// Whose numbers these are.
    pub(super) name: String,
    pub(super) points: Vec<Point>,
    /// When each of them was held: the last good number in the place of one.
    pub(super) held: Vec<Point>,
}

pub(super) type Point = (Timestamp, f64);

/// Where numbers are drawn: `width` by `height`, from `low` to `high`.
struct Area {
    span: Span,
    low: f64,
    high: f64,
    left: f64,
    width: f64,
    height: f64,
}

/// So many lines can be told apart by their colour.
pub(super) const LINES: usize = 8;

/// The size of a chart with its scales, and the margins of these. *Unit*: pixels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 10.0;

/// The size of a line within a table. *Unit*: pixels.
const SPARK: (f64, f64) = (120.0, 26.0);

// === impl Span ===

impl Span {
    /// The last `length` before `now`, in `steps` steps that do not move with the time.
    pub(super) fn last(length: Duration, steps: u32, now: Timestamp) -> Self {
        let step = length / steps;
        let millis = i64::try_from(step.as_millis()).unwrap_or(1).max(1);
        let end = now.as_millis().div_euclid(millis) * millis;
        Self {
            start: Timestamp::from_millis(end - millis * i64::from(steps)),
            end: Timestamp::from_millis(end),
            step,
        }
    }
}

// === drawings ===

/// A line without scales; `None` where there is nothing to draw.
pub(super) fn spark(points: &[Point], span: Span) -> Option<Markup> {
    let area = Area::over(points.iter().map(|point| point.1), span)?;
    let area = Area {
        left: 0.0,
        width: SPARK.0,
        height: SPARK.1,
        ..area
    };
    let view = format!("0 -1 {} {}", SPARK.0, SPARK.1 + 2.0);
    Some(html! {
        svg .spark viewBox=(view) preserveAspectRatio="none" aria-hidden="true" {
            path d=(area.path(points, 0.0)) {}
        }
    })
}

/// Lines with scales, of at most [`LINES`]; `None` where there is nothing to draw.
pub(super) fn chart(lines: &[Line], span: Span, unit: &str, what: &str) -> Option<Markup> {
    let lines = &lines[..lines.len().min(LINES)];
    let numbers = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.1));
    let area = Area::over(numbers, span)?;
    let marks = marks(area.low, area.high);
    let area = Area {
        low: area.low.min(marks[0]),
        high: area.high.max(marks[marks.len() - 1]),
        left: LEFT,
        width: WIDTH - LEFT - 10.0,
        height: HEIGHT - BELOW - ABOVE,
        ..area
    };
    let times = area.times();
    Some(html! {
        svg .chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(what) {
            @for value in marks {
                @let y = area.y(value) + ABOVE;
                line .rule x1=(LEFT) x2=(WIDTH - 10.0) y1=(rounded(y)) y2=(rounded(y)) {}
                text .scale x=(LEFT - 8.0) y=(rounded(y + 4.0)) text-anchor="end" { (mark(value, unit)) }
            }
            @for at in times {
                text .scale x=(rounded(area.x(at))) y=(HEIGHT - 6.0) text-anchor="middle" { (clock(at)) }
            }
            @for (at, line) in lines.iter().enumerate() {
                g class={ "line line" (at) } {
                    title { (line.name) }
                    path .held d=(area.path(&line.held, ABOVE)) {}
                    path d=(area.path(&line.points, ABOVE)) {}
                }
            }
        }
    })
}

/// A sample of the colour of a line.
pub(super) fn swatch(at: usize) -> Markup {
    html! {
        @if at < LINES {
            svg class={ "swatch line line" (at) } viewBox="0 0 14 4" aria-hidden="true" { path d="M0 2H14" {} }
        }
    }
}

// === impl Area ===

impl Area {
    /// One that all of `numbers` are in; `None` if there are none.
    fn over(numbers: impl Iterator<Item = f64>, span: Span) -> Option<Self> {
        let finite = numbers.filter(|number| number.is_finite()).map(drawable);
        let bounds = finite.fold(None, |bounds, number| match bounds {
            None => Some((number, number)),
            Some((low, high)) => Some((f64::min(low, number), f64::max(high, number))),
        });
        let (low, high) = bounds?;
        // Zero is what everything is compared with.
        let (low, high) = (low.min(0.0), high.max(0.0));
        let high = if high - low > 1e-300 { high } else { low + 1.0 };
        Some(Self {
            span,
            low,
            high,
            left: 0.0,
            width: 1.0,
            height: 1.0,
        })
    }

    fn x(&self, at: Timestamp) -> f64 {
        let since = |at: Timestamp| at.saturating_since(self.span.start).as_secs_f64();
        self.left + self.width * since(at) / since(self.span.end).max(1e-3)
    }

    fn y(&self, value: f64) -> f64 {
        self.height * (1.0 - (drawable(value) - self.low) / (self.high - self.low))
    }

    /// A path through the points, interrupted where one is missing.
    fn path(&self, points: &[Point], above: f64) -> String {
        let mut path = String::new();
        let mut before: Option<Timestamp> = None;
        let apart = self.span.step + self.span.step / 2;
        for &(at, value) in points {
            if !value.is_finite() {
                before = None;
                continue;
            }
            let goes_on = before.is_some_and(|before| at.saturating_since(before) <= apart);
            let (x, y) = (rounded(self.x(at)), rounded(self.y(value) + above));
            // Writing to a string does not fail. A point alone is a dot, by a line of no length with round ends.
            let _ = match goes_on {
                true => write!(path, "L{x} {y}"),
                false => write!(path, "M{x} {y}h0"),
            };
            before = Some(at);
        }
        path
    }

    /// The times that are written below.
    fn times(&self) -> Vec<Timestamp> {
        let (start, end) = (self.span.start.as_millis(), self.span.end.as_millis());
        let seconds = [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400];
        let apart = seconds.map(|seconds: i64| seconds * 1_000);
        let apart = apart.iter().find(|apart| (end - start) / **apart <= 8);
        let apart = *apart.unwrap_or(&(7 * 86_400_000));
        let first = start.div_euclid(apart) + 1;
        let last = end.div_euclid(apart);
        let times = (first..=last).take(20);
        times.map(|at| Timestamp::from_millis(at * apart)).collect()
    }
}

/// Some four numbers that are easily read, from the last one below `low` to the first one above `high`.
fn marks(low: f64, high: f64) -> Vec<f64> {
    let rough = ((high - low) / 4.0).max(1e-300);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).floor();
    let count = ((high / step).ceil() - first).clamp(1.0, 8.0) as u32;
    (0..=count).map(|at| (first + f64::from(at)) * step).collect()
}

/// A number whose distance to any other one is finite: what is beyond is at the edge.
fn drawable(number: f64) -> f64 {
    number.clamp(-1e300, 1e300)
}

/// A number of the scale: what it is of is told elsewhere, unless it is short.
fn mark(value: f64, unit: &str) -> String {
    match (Quantity { value, unit }).parts() {
        (number, short) if short.len() <= 3 && !short.is_empty() => format!("{number} {short}"),
        (number, _) => number,
    }
}

/// To a tenth of a pixel, as text.
fn rounded(pixels: f64) -> String {
    let text = format!("{pixels:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Hours and minutes.
fn clock(at: Timestamp) -> String {
    let mut text = TimeOfDay(at).to_string();
    text.truncate(5);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_line_is_interrupted_where_there_is_no_number() {
        let span = Span::last(Duration::from_secs(60), 6, at(1_003));
        assert_eq!((span.start, span.end), (at(940), at(1_000)));
        let points = [
            (at(940), 0.0),
            (at(950), 1.0),
            (at(970), 1.0),
            (at(980), f64::NAN),
        ];
        let drawn = spark(&points, span).unwrap().into_string();
        assert!(drawn.contains("M0 26h0L20 0M60 0h0\""), "{drawn}");
        assert!(spark(&[(at(940), f64::NAN)], span).is_none());
        assert!(spark(&[], span).is_none());
    }

    #[test]
    fn scales_are_easily_read_and_hold_whatever_there_is() {
        assert_eq!(marks(0.0, 9.3), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(marks(-3.0, 1.0), [-3.0, -2.0, -1.0, 0.0, 1.0]);
        let span = Span::last(Duration::from_secs(900), 60, at(10_000));
        for value in [1e-300, 5e-324, f64::MAX, -f64::MAX, 0.0, 1e21] {
            let line = Line {
                name: "<b>".to_owned(),
                points: vec![(at(9_990), value), (at(10_000), -value)],
                held: Vec::new(),
            };
            let drawn = chart(&[line], span, "requests", "x").unwrap().into_string();
            assert!(
                !drawn.contains("NaN") && !drawn.contains("inf"),
                "{value}: {drawn}"
            );
            assert!(drawn.contains("&lt;b&gt;"), "{drawn}");
        }
    }
}
