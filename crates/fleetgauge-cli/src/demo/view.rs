//! The table: a line for each variant with its totals, and below it one for each of its pods.

mod line;

use fleetgauge_core::printable::Printable;
use fleetgauge_core::sample::Number;

use super::metric::Metric;
use super::snapshot::{Cell, PodState, PodView, Snapshot, Status, TotalView, VariantView};
use line::{cut, cut_middle, width};

pub(crate) use line::{Line, Paint, Tone};

/// How the totals come about, for whoever reads the table.
pub(crate) const LEGEND: &str = "a variant's line is over its pods with fresh values: KV cache max; running and \
    waiting sum; TTFT mean of the last minute, weighted by requests. ~ is stale: the last value of a pod that \
    does not answer";

/// How much room there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Columns of the terminal; `None` for a file.
    pub(crate) columns: Option<usize>,
    /// Lines for the table; `None` for all.
    pub(crate) rows: Option<usize>,
}

/// A column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Of(Metric),
    Age,
}

/// Where the columns end.
struct Layout {
    /// Of the names.
    name: usize,
    bar: bool,
    /// Of the numbers: those that there is room for, from left to right.
    columns: Vec<(Column, usize)>,
}

/// The columns of numbers, from left to right, each with its title.
const COLUMNS: [(Column, &str); 5] = [
    (Column::Of(Metric::KvCacheUsage), "KV cache"),
    (Column::Of(Metric::RunningRequests), "running"),
    (Column::Of(Metric::QueueLength), "waiting"),
    (Column::Of(Metric::AvgTtft), "TTFT"),
    (Column::Age, "age"),
];

/// The same, those first that are shown where there is not room for all: what a variant is scaled by, and how old
/// that is.
const BY_IMPORTANCE: [Column; 5] = [
    Column::Of(Metric::KvCacheUsage),
    Column::Of(Metric::QueueLength),
    Column::Age,
    Column::Of(Metric::RunningRequests),
    Column::Of(Metric::AvgTtft),
];

const BAR: usize = 10;
const GAP: usize = 2;
const NUMBER: usize = 7;
/// What a name is cut to where room is scarce, before there are fewer columns.
const SHORT_NAME: usize = 22;
/// What a name is cut to where there are fewer columns.
const SHORTEST_NAME: usize = 11;
/// What is kept free for remarks while there is room.
const NOTE: usize = 16;

/// The table, header first.
pub(crate) fn table(snapshot: &Snapshot, room: Room) -> Vec<Line> {
    let layout = Layout::new(snapshot, room.columns);
    let mut lines = vec![layout.header()];
    // Header, variants, and what tells of those that are left out.
    let fixed = 1 + snapshot.variants.len();
    let (variants, budget) = match room.rows {
        Some(rows) if rows < fixed + snapshot.pods.len() => {
            (rows.saturating_sub(2).max(1), rows.saturating_sub(fixed + 1))
        }
        _ => (usize::MAX, usize::MAX),
    };
    let shown = shown(&snapshot.pods, budget);
    let rows = || snapshot.pods.iter().zip(&shown);
    for variant in snapshot.variants.iter().take(variants) {
        lines.push(layout.variant(variant));
        let own = rows().filter(|(pod, shown)| **shown && pod.variant.as_ref() == Some(&variant.variant));
        lines.extend(own.map(|(pod, _)| layout.pod(pod)));
    }
    let is_known = |pod: &PodView| {
        snapshot
            .variants
            .iter()
            .any(|v| pod.variant.as_ref() == Some(&v.variant))
    };
    let strangers: Vec<_> = rows()
        .filter(|(pod, shown)| **shown && !is_known(pod))
        .map(|(pod, _)| layout.pod(pod))
        .collect();
    if !strangers.is_empty() {
        lines.push(Line::new("of no variant", Tone::Strong));
        lines.extend(strangers);
    }
    let hidden: Vec<_> = snapshot
        .pods
        .iter()
        .zip(&shown)
        .filter(|(_, shown)| !**shown)
        .collect();
    if !hidden.is_empty() {
        let wrong = hidden.iter().filter(|(pod, _)| is_wrong(pod)).count();
        let more =
            |count: usize, noun: &str| format!("{count} more {noun}{}", if count == 1 { "" } else { "s" });
        let variants = match snapshot.variants.len().saturating_sub(variants) {
            0 => String::new(),
            count => format!("{}, ", more(count, "variant")),
        };
        let pods = more(hidden.len(), "pod");
        let text = format!("  … {variants}{pods}, {wrong} of them with something missing");
        lines.push(Line::new(text, Tone::Faint));
    }
    lines
}

/// What of `blocks` there is room for, those below first. A block is shown whole or not at all: half a sentence
/// says nothing.
pub(crate) fn fitting(mut blocks: Vec<Vec<Line>>, rows: usize) -> Vec<Line> {
    while blocks.len() > 1 && blocks.iter().map(Vec::len).sum::<usize>() > rows {
        blocks.remove(0);
    }
    blocks.into_iter().flatten().collect()
}

/// Text in lines of at most `columns`, those after the first indented. Lines of a command end in a backslash,
/// so that it can be pasted.
pub(crate) fn wrapped(text: &str, indent: usize, columns: usize, is_command: bool, tone: Tone) -> Vec<Line> {
    let end = if is_command { " \\" } else { "" };
    let room = columns.saturating_sub(end.len());
    let mut lines: Vec<String> = Vec::new();
    let words = text.trim_start();
    let mut line = " ".repeat(text.len() - words.len());
    for word in words.split(' ') {
        if !line.trim().is_empty() && width(&line) + 1 + width(word) > room {
            lines.push(format!("{line}{end}"));
            line = " ".repeat(indent);
            line.push_str(word);
            continue;
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.into_iter().map(|line| Line::new(line, tone)).collect()
}

/// Which pods are shown where there is not room for all: those with something to tell first.
fn shown(pods: &[PodView], budget: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by_key(|&index| !is_wrong(&pods[index]));
    let mut shown = vec![false; pods.len()];
    order
        .into_iter()
        .take(budget)
        .for_each(|index| shown[index] = true);
    shown
}

fn is_wrong(pod: &PodView) -> bool {
    pod.reason.is_some()
        || pod.state == PodState::Listed && pod.cells.iter().any(|cell| cell.fresh().is_none())
}

// === impl Layout ===

impl Layout {
    fn new(snapshot: &Snapshot, columns: Option<usize>) -> Self {
        let pods = snapshot.pods.iter().map(|pod| 2 + width(&pod.pod));
        let variants = snapshot
            .variants
            .iter()
            .map(|variant| width(variant.variant.as_str()));
        let name = pods.chain(variants).max().unwrap_or(0).max(13);
        let Some(columns) = columns else {
            return Self::of(name, true, COLUMNS.len());
        };
        let numbers = |count: usize| count * (GAP + NUMBER);
        let all = numbers(COLUMNS.len());
        if name + BAR + 1 + all + GAP + NOTE <= columns {
            return Self::of(name, true, COLUMNS.len());
        }
        let least = SHORT_NAME.min(name);
        if least + all <= columns {
            let left = columns.saturating_sub(all + GAP + NOTE);
            return Self::of(left.clamp(least, name), false, COLUMNS.len());
        }
        let fits = |count: &usize| SHORTEST_NAME + numbers(*count) <= columns;
        let count = (1..COLUMNS.len()).rev().find(fits).unwrap_or(1);
        let left = columns.saturating_sub(numbers(count));
        Self::of(left.min(name), false, count)
    }

    /// With the `count` most important columns.
    fn of(name: usize, bar: bool, count: usize) -> Self {
        let mut end = name + if bar { BAR + 1 } else { 0 };
        let shown = COLUMNS.iter().map(|(column, _)| *column);
        let shown = shown.filter(|column| BY_IMPORTANCE[..count].contains(column));
        let columns = shown.map(|column| {
            end += GAP + NUMBER;
            (column, end)
        });
        Self {
            name,
            bar,
            columns: columns.collect(),
        }
    }

    fn header(&self) -> Line {
        let mut line = Line::new(cut("variant / pod", self.name), Tone::Faint);
        for (column, title) in COLUMNS {
            if let Some(end) = self.end(column) {
                line.push_right(title, Tone::Faint, end);
            }
        }
        line
    }

    /// Where a column ends, if it is shown.
    fn end(&self, column: Column) -> Option<usize> {
        let shown = self.columns.iter().find(|(shown, _)| *shown == column);
        shown.map(|(_, end)| *end)
    }

    /// Where the last of the columns of these metrics ends.
    fn last_end(&self, metrics: &[Metric]) -> usize {
        let ends = metrics.iter().filter_map(|metric| self.end(Column::Of(*metric)));
        ends.max().unwrap_or(self.name + GAP)
    }

    fn variant(&self, variant: &VariantView) -> Line {
        let name = cut_middle(variant.variant.as_str(), self.name);
        let mut line = Line::new(name, Tone::Strong);
        if let Some(reason) = in_common(
            variant
                .totals
                .iter()
                .map(|total| (total.value, total.reason.as_deref())),
        ) {
            line.pad_to(self.name + GAP);
            let end = self.last_end(&Metric::ALL);
            line.push(
                cut(&Printable(reason).to_string(), end - self.name - GAP),
                Tone::Faint,
            );
            return line;
        }
        for (metric, total) in Metric::ALL.into_iter().zip(&variant.totals) {
            let (text, tone) = match total.value {
                Some(value) => (number(metric, value), Tone::Strong),
                None => ("no data".to_owned(), Tone::Faint),
            };
            if let Some(end) = self.end(Column::Of(metric)) {
                line.push_right(text, tone, end);
            }
        }
        self.note(&mut line, variant_note(variant), Tone::Warning);
        line
    }

    fn pod(&self, pod: &PodView) -> Line {
        let name = cut_middle(&pod.pod, self.name.saturating_sub(2));
        let mut line = Line::new(format!("  {name}"), Tone::Plain);
        let common = in_common(pod.cells.iter().map(|cell| (cell.value, cell.reason.as_deref())));
        // Of a dead pod the rate over the last minute is still there: it does not hide the reason.
        let gauges = pod.cells[..3].iter();
        let common_gauges = in_common(gauges.map(|cell| (cell.value, cell.reason.as_deref())));
        let mut remarks = Vec::new();
        if let Some(reason) = common.or(common_gauges) {
            let metrics = &Metric::ALL[..if common.is_some() { 4 } else { 3 }];
            let end = self.last_end(metrics);
            line.pad_to(self.name + GAP);
            let tone = match pod.cells[0].status {
                Status::Error => Tone::Bad,
                _ => Tone::Faint,
            };
            line.push(cut(&Printable(reason).to_string(), end - self.name - GAP), tone);
            if common.is_none() {
                self.cell(&mut line, Metric::AvgTtft, pod.cell(Metric::AvgTtft));
            }
            remarks.extend(pod.reason.as_deref().filter(|pod_reason| *pod_reason != reason));
        } else {
            for metric in Metric::ALL {
                self.cell(&mut line, metric, pod.cell(metric));
            }
            remarks.extend(pod.reason.as_deref());
            let of_cells = pod.cells.iter().filter_map(|cell| cell.reason.as_deref());
            for reason in of_cells {
                if !remarks.contains(&reason) {
                    remarks.push(reason);
                }
            }
        }
        let (age, tone) = match pod.age {
            Some(age) => (format!("{:.1} s", age.as_secs_f64()), age_tone(pod)),
            None => ("never".to_owned(), Tone::Faint),
        };
        if let Some(end) = self.end(Column::Age) {
            line.push_right(age, tone, end);
        }
        self.note(&mut line, remarks.join("; "), Tone::Warning);
        line
    }

    fn cell(&self, line: &mut Line, metric: Metric, cell: &Cell) {
        let Some(end) = self.end(Column::Of(metric)) else {
            return;
        };
        let (text, tone) = match (cell.status, cell.value) {
            (Status::Value, Some(value)) => {
                if metric == Metric::KvCacheUsage && self.bar {
                    line.pad_to(self.name + GAP);
                    line.push(bar(value), fill_tone(value));
                }
                (number(metric, value), Tone::Plain)
            }
            (Status::Undefined, Some(value)) => (Number(value).to_string(), Tone::Warning),
            (Status::Stale, Some(value)) => (format!("~{}", number(metric, value)), Tone::Faint),
            (Status::Error, _) => ("error".to_owned(), Tone::Bad),
            _ => ("no data".to_owned(), Tone::Faint),
        };
        line.push_right(text, tone, end);
    }

    fn note(&self, line: &mut Line, text: String, tone: Tone) {
        if !text.is_empty() {
            let end = self.columns.last().map_or(self.name, |(_, end)| *end);
            line.pad_to(end + GAP);
            line.push(text, tone);
        }
    }
}

/// The reason why none of these has a value, where it is the same for all.
fn in_common<'a>(mut cells: impl Iterator<Item = (Option<f64>, Option<&'a str>)>) -> Option<&'a str> {
    let (None, Some(first)) = cells.next()? else {
        return None;
    };
    cells
        .all(|(value, reason)| value.is_none() && reason == Some(first))
        .then_some(first)
}

/// What the totals leave out.
fn variant_note(variant: &VariantView) -> String {
    let mut notes: Vec<String> = Vec::new();
    let reason_of = |total: &TotalView| total.reason.clone();
    let gauges = &variant.totals[..3];
    if let Some(least) = gauges.iter().min_by_key(|total| total.counted)
        && let Some(reason) = reason_of(least)
    {
        notes.push(reason);
    }
    if let Some(reason) = reason_of(variant.total(Metric::AvgTtft))
        && !notes.contains(&reason)
    {
        notes.push(format!("TTFT {reason}"));
    }
    notes.join("; ")
}

fn age_tone(pod: &PodView) -> Tone {
    if pod.reason.is_some() {
        Tone::Warning
    } else {
        Tone::Plain
    }
}

fn fill_tone(ratio: f64) -> Tone {
    match ratio {
        ratio if ratio >= 0.9 => Tone::Bad,
        ratio if ratio >= 0.7 => Tone::Warning,
        _ => Tone::Good,
    }
}

/// A bar of ten characters, in steps of an eighth of one.
fn bar(ratio: f64) -> String {
    const PARTS: [Option<char>; 8] = [
        None,
        Some('▏'),
        Some('▎'),
        Some('▍'),
        Some('▌'),
        Some('▋'),
        Some('▊'),
        Some('▉'),
    ];
    let eighths = (ratio.clamp(0.0, 1.0) * (8 * BAR) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(PARTS[eighths % 8]);
    bar
}

/// As people read it.
fn number(metric: Metric, value: f64) -> String {
    match metric {
        // A little is not nothing.
        Metric::KvCacheUsage if value > 0.0 && value < 0.1 => format!("{:.1} %", 100.0 * value),
        Metric::KvCacheUsage => format!("{:.0} %", 100.0 * value),
        Metric::RunningRequests | Metric::QueueLength => Number(value).to_string(),
        Metric::AvgTtft if value < 1.0 => format!("{:.0} ms", 1000.0 * value),
        Metric::AvgTtft => format!("{value:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_shown_whole_or_not_at_all() {
        let block = |text: &str, columns| wrapped(text, 9, columns, false, Tone::Plain);
        let blocks = || {
            vec![
                block("some words on it", 10),
                block("     try b", 80),
                block("end", 80),
            ]
        };
        let check = |rows: usize, expected: &[&str]| {
            let lines = fitting(blocks(), rows);
            let lines: Vec<_> = lines.iter().map(|line| line.paint(Paint::None, None)).collect();
            assert_eq!(lines, expected, "{rows} rows");
        };
        let (legend, rest) = (
            ["some words", "         on", "         it"],
            ["     try b", "end"],
        );
        check(5, &[&legend[..], &rest[..]].concat());
        check(4, &rest);
        check(2, &rest);
        check(0, &["end"]);
    }

    #[test]
    fn commands_are_wrapped_so_that_they_can_be_pasted() {
        let lines = wrapped(
            "try: a query --prometheus http://x -p y=z",
            7,
            24,
            true,
            Tone::Plain,
        );
        let lines: Vec<_> = lines.iter().map(|line| line.paint(Paint::None, None)).collect();
        assert_eq!(
            lines,
            [
                "try: a query \\",
                "       --prometheus \\",
                "       http://x -p y=z"
            ]
        );
    }

    /// A pod that has its values, or none of them.
    fn view(name: &str, reason: Option<&str>) -> PodView {
        let value = Cell {
            status: Status::Value,
            value: Some(0.5),
            age: None,
            reason: None,
        };
        PodView {
            namespace: "chat".into(),
            pod: name.into(),
            variant: "chat/llama".parse().ok(),
            reason: reason.map(str::to_owned),
            age: None,
            cells: Metric::ALL.map(|_| reason.map_or_else(|| value.clone(), Cell::error)),
            weight: Some(1.0),
            state: PodState::Listed,
            settled: true,
        }
    }

    #[test]
    fn pods_with_something_to_tell_are_shown_first() {
        let pods = vec![
            view("a", None),
            view("b", None),
            view("c", Some("timeout after 1s")),
        ];
        let snapshot = Snapshot {
            at: Default::default(),
            variants: vec![VariantView::new("chat/llama".parse().unwrap(), &pods)],
            pods,
            problem: None,
        };
        let check = |rows: usize, expected: &[&str]| {
            let room = Room {
                columns: Some(120),
                rows: Some(rows),
            };
            let lines = table(&snapshot, room);
            let lines = lines.iter().map(|line| line.paint(Paint::None, Some(120)));
            let firsts: Vec<_> = lines
                .map(|line| line.trim().split("  ").next().unwrap().to_owned())
                .collect();
            assert_eq!(firsts, expected, "{rows} rows");
        };
        let head = ["variant / pod", "chat/llama"];
        check(5, &[head[0], head[1], "a", "b", "c"]);
        check(
            4,
            &[
                head[0],
                head[1],
                "c",
                "… 2 more pods, 0 of them with something missing",
            ],
        );
        check(
            1,
            &[
                head[0],
                head[1],
                "… 3 more pods, 1 of them with something missing",
            ],
        );
    }

    #[test]
    fn a_table_fits_its_room_and_shows_values_first() {
        let pods: Vec<_> = (0..4)
            .map(|index| {
                view(
                    &format!("vllm-llama-8b-c59bb99b9-{index}"),
                    (index == 3).then_some("timeout after 1s"),
                )
            })
            .collect();
        let variant = |name: &str| VariantView::new(name.parse().unwrap(), &pods);
        let snapshot = Snapshot {
            at: Default::default(),
            variants: vec![variant("chat/llama"), variant("chat/other")],
            pods,
            problem: None,
        };
        let painted = |columns: usize, rows: usize| -> Vec<String> {
            let room = Room {
                columns: Some(columns),
                rows: Some(rows),
            };
            let lines = table(&snapshot, room);
            lines
                .iter()
                .map(|line| line.paint(Paint::None, Some(columns)))
                .collect()
        };
        for (columns, rows) in (1..130).flat_map(|columns| (1..12).map(move |rows| (columns, rows))) {
            let lines = painted(columns, rows);
            assert!(lines.len() <= rows.max(3), "{columns}x{rows}: {lines:#?}");
            assert!(
                lines.iter().all(|line| width(line) <= columns),
                "{columns}x{rows}: {lines:#?}"
            );
            assert!(
                columns < 20 || lines[1].contains("50 %"),
                "{columns}x{rows}: {lines:#?}"
            );
        }
        let check = |size: (usize, usize), expected: &[&str]| assert_eq!(painted(size.0, size.1), expected);
        check(
            (20, 5),
            &[
                "variant / … KV cache",
                "chat/llama      50 %",
                "  vllm…b9-3  timeou…",
                "chat/other   no pods",
                "  … 3 more pods, 0 …",
            ],
        );
        check(
            (29, 3),
            &[
                "variant / … KV cache  waiting",
                "chat/llama      50 %      1.5",
                "  … 1 more variant, 4 more p…",
            ],
        );
    }

    #[test]
    fn bars_grow_by_eighths() {
        let check = |ratio: f64, expected: &str| assert_eq!(bar(ratio), expected);
        check(0.0, "");
        check(0.0125, "▏");
        check(0.55, "█████▌");
        check(1.0, "██████████");
        check(7.0, "██████████");
    }
}
