//! An answer over a range as a table: a row for each series, with its course as a line of bars.

use comfy_table::{Cell, ContentArrangement, Row};
use fleetgauge_core::printable::Printable;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::{Answer, Series};
use fleetgauge_core::sample::Number;

use super::table::{self, Columns};

/// A line has at most so many bars; of more steps, several share one.
const MAX_BARS: usize = 60;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Of one step, or of several.
#[derive(Clone, Copy)]
enum Bar {
    /// No step has a value.
    Gap,
    /// One is not a finite number, or none at all.
    Undefined,
    /// The greatest of them.
    Value(f64),
}

/// A column for each label, then the smallest, the greatest and the last value, and the course.
pub(crate) fn table(answer: &Answer, steps: &Steps, unit: &str) -> String {
    if answer.is_no_data() {
        return "no data\n".to_owned();
    }
    let columns = Columns::of(table::sorted_names(
        answer.series().flat_map(|series| series.labels().iter()),
    ));
    let last = match unit {
        "" => "last".to_owned(),
        unit => format!("last ({})", Printable(unit)),
    };
    let first = columns.titles().len();
    let header: Vec<_> = (columns.titles().iter().copied())
        .chain(["min", "max", &last, "age", "course"])
        .collect();
    let mut table = table::new(&header);
    // Wrapping would break names that people copy, and the bars.
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut rows: Vec<_> = answer.series().collect();
    rows.sort_by_cached_key(|series| columns.key(series.labels()));
    for series in rows {
        let mut row = Row::from(columns.cells(series.labels().iter()));
        let (min, max) = extent(series);
        for number in [min, max] {
            row.add_cell(Cell::new(
                number.map_or_else(String::new, |n| Number(n).to_string()),
            ));
        }
        let newest = series.samples().last();
        row.add_cell(Cell::new(
            newest.map_or_else(String::new, |(_, sample)| sample.to_string()),
        ));
        // Of a series that has ended, the last value is not that of now.
        let age = newest.map(|(at, _)| steps.end().saturating_since(at));
        row.add_cell(Cell::new(
            age.map_or_else(String::new, |age| format!("{}s", Number(age.as_secs_f64()))),
        ));
        row.add_cell(Cell::new(course(series, steps)));
        table.add_row(row);
    }
    (first..first + 4).for_each(|column| table::align_right(&mut table, column));
    table::render(&mut table)
}

/// The smallest and the greatest finite value.
fn extent(series: Series<'_>) -> (Option<f64>, Option<f64>) {
    let finite = || {
        series
            .points()
            .map(|point| point.value)
            .filter(|value| value.is_finite())
    };
    (finite().reduce(f64::min), finite().reduce(f64::max))
}

/// A bar for each step, from the series' smallest value to its greatest.
fn course(series: Series<'_>, steps: &Steps) -> String {
    let together = steps.count().div_ceil(MAX_BARS);
    let mut bars = vec![Bar::Gap; steps.count().div_ceil(together)];
    for point in series.points() {
        let Some(step) = steps.position(point.timestamp) else {
            continue;
        };
        let bar = &mut bars[step / together];
        *bar = match *bar {
            _ if !point.value.is_finite() => Bar::Undefined,
            Bar::Value(value) => Bar::Value(value.max(point.value)),
            Bar::Gap => Bar::Value(point.value),
            Bar::Undefined => Bar::Undefined,
        };
    }
    let (Some(min), Some(max)) = extent(series) else {
        return bars
            .iter()
            .map(|bar| if let Bar::Gap = bar { ' ' } else { '?' })
            .collect();
    };
    let height = |value: f64| match max > min {
        // Halves, so that their difference is finite.
        true => ((value / 2.0 - min / 2.0) / (max / 2.0 - min / 2.0) * 7.0).round() as usize,
        false => 0,
    };
    let char = |bar: &Bar| match bar {
        Bar::Gap => ' ',
        Bar::Undefined => '?',
        Bar::Value(value) => BARS[height(*value).min(7)],
    };
    bars.iter().map(char).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;
    use fleetgauge_core::time::Timestamp;

    use super::*;

    fn ranged(rows: &[(&str, &[Option<f64>])]) -> (Answer, Steps) {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        let count = rows.first().map_or(1, |(_, points)| points.len());
        let at = |i: usize| Timestamp::from_millis(i as i64 * 15_000);
        for (pod, points) in rows {
            answer.label("pod", pod);
            for (i, value) in points.iter().enumerate() {
                if let Some(value) = value {
                    answer.point(*value, at(i));
                }
            }
            answer.end_points().expect("labels");
        }
        let window = Duration::from_secs(15 * (count as u64 - 1));
        let steps = Steps::until(at(count - 1), window, Duration::from_secs(15)).expect("a range");
        (answer.build(), steps)
    }

    #[test]
    fn gaps_and_what_is_not_a_number_are_seen() {
        let (answer, steps) = ranged(&[
            ("b", &[Some(0.0), Some(3.5), None, Some(7.0), Some(f64::NAN)]),
            ("a", &[Some(2.0), Some(2.0), None, None, None]),
            ("c", &[None, None, None, None, Some(f64::INFINITY)]),
        ]);
        let expected = "\
pod  min  max  last (requests)  age  course
a      2    2                2  45s  ▁▁
b      0    7              NaN   0s  ▁▅ █?
c                         +Inf   0s      ?
";
        assert_eq!(table(&answer, &steps, "requests"), expected);
    }

    #[test]
    fn many_steps_share_a_bar_of_their_greatest_value() {
        let points: Vec<_> = (0..241).map(|i| Some(if i == 101 { 9.0 } else { 1.0 })).collect();
        let (answer, steps) = ranged(&[("a", &points)]);
        let line = course(answer.series().next().expect("a series"), &steps);
        assert_eq!(line.chars().count(), 49);
        assert_eq!(line.chars().position(|bar| bar == '█'), Some(101 / 5));
        let (answer, steps) = ranged(&[("a", &[Some(-f64::MAX), Some(0.0), Some(f64::MAX)])]);
        assert_eq!(course(answer.series().next().expect("a series"), &steps), "▁▅█");
    }

    #[test]
    fn no_series_is_no_data() {
        let (answer, steps) = ranged(&[]);
        assert_eq!(table(&answer, &steps, ""), "no data\n");
    }
}
