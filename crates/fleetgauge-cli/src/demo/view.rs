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

/// Where the columns end.
struct Layout {
    /// Of the names.
    name: usize,
    bar: bool,
    kv: usize,
    running: usize,
    waiting: usize,
    ttft: usize,
    age: usize,
}

const BAR: usize = 10;
const GAP: usize = 2;
const NUMBER: usize = 7;
/// What a name is cut to where room is scarce.
const SHORT_NAME: usize = 22;
/// What is kept free for remarks while there is room.
const NOTE: usize = 16;

/// The table, header first.
pub(crate) fn table(snapshot: &Snapshot, room: Room) -> Vec<Line> {
    let layout = Layout::new(snapshot, room.columns);
    let mut lines = vec![layout.header()];
    // Header, variants, and what tells of those that are left out.
    let fixed = 1 + snapshot.variants.len();
    let budget = match room.rows {
        Some(rows) if rows < fixed + snapshot.pods.len() => rows.saturating_sub(fixed + 1),
        _ => usize::MAX,
    };
    let shown = shown(&snapshot.pods, budget);
    let rows = || snapshot.pods.iter().zip(&shown);
    for variant in &snapshot.variants {
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
        let (count, s) = (hidden.len(), if hidden.len() == 1 { "" } else { "s" });
        let text = format!("  … {count} more pod{s}, {wrong} of them with something missing");
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
        let numbers = |kv: usize| 5 * GAP + kv + 4 * NUMBER;
        let with_bar = BAR + 1 + NUMBER;
        let Some(columns) = columns else {
            return Self::of(name, true);
        };
        if name + numbers(with_bar) + GAP + NOTE <= columns {
            return Self::of(name, true);
        }
        let left = columns.saturating_sub(numbers(NUMBER) + GAP + NOTE);
        Self::of(left.clamp(SHORT_NAME.min(name), name), false)
    }

    fn of(name: usize, bar: bool) -> Self {
        let kv = name + GAP + if bar { BAR + 1 } else { 0 } + NUMBER;
        let running = kv + GAP + NUMBER;
        let waiting = running + GAP + NUMBER;
        let ttft = waiting + GAP + NUMBER;
        Self {
            name,
            bar,
            kv,
            running,
            waiting,
            ttft,
            age: ttft + GAP + NUMBER,
        }
    }

    fn header(&self) -> Line {
        let mut line = Line::new("variant / pod", Tone::Faint);
        for (title, column) in [
            ("KV cache", self.kv),
            ("running", self.running),
            ("waiting", self.waiting),
            ("TTFT", self.ttft),
            ("age", self.age),
        ] {
            line.push_right(title, Tone::Faint, column);
        }
        line
    }

    fn column(&self, metric: Metric) -> usize {
        match metric {
            Metric::KvCacheUsage => self.kv,
            Metric::RunningRequests => self.running,
            Metric::QueueLength => self.waiting,
            Metric::AvgTtft => self.ttft,
        }
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
            line.push(cut(reason, self.ttft - self.name - GAP), Tone::Faint);
            return line;
        }
        for (metric, total) in Metric::ALL.into_iter().zip(&variant.totals) {
            let (text, tone) = match total.value {
                Some(value) => (number(metric, value), Tone::Strong),
                None => ("no data".to_owned(), Tone::Faint),
            };
            line.push_right(text, tone, self.column(metric));
        }
        self.note(&mut line, variant_note(variant), Tone::Warning);
        line
    }

    fn pod(&self, pod: &PodView) -> Line {
        let mut line = Line::new(format!("  {}", cut_middle(&pod.pod, self.name - 2)), Tone::Plain);
        let common = in_common(pod.cells.iter().map(|cell| (cell.value, cell.reason.as_deref())));
        // Of a dead pod the rate over the last minute is still there: it does not hide the reason.
        let gauges = pod.cells[..3].iter();
        let common_gauges = in_common(gauges.map(|cell| (cell.value, cell.reason.as_deref())));
        let mut remarks = Vec::new();
        if let Some(reason) = common.or(common_gauges) {
            let end = if common.is_some() { self.ttft } else { self.waiting };
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
        line.push_right(age, tone, self.age);
        self.note(&mut line, remarks.join("; "), Tone::Warning);
        line
    }

    fn cell(&self, line: &mut Line, metric: Metric, cell: &Cell) {
        let column = self.column(metric);
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
        line.push_right(text, tone, column);
    }

    fn note(&self, line: &mut Line, text: String, tone: Tone) {
        if !text.is_empty() {
            line.pad_to(self.age + GAP);
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

    #[test]
    fn pods_with_something_to_tell_are_shown_first() {
        let pod = |name: &str, reason: Option<&str>| PodView {
            namespace: "chat".into(),
            pod: name.into(),
            variant: "chat/llama".parse().ok(),
            reason: reason.map(str::to_owned),
            age: None,
            cells: Metric::ALL.map(|_| Cell {
                status: Status::Value,
                value: Some(0.5),
                age: None,
                reason: None,
            }),
            weight: Some(1.0),
            state: PodState::Listed,
            settled: true,
        };
        let pods = vec![pod("a", None), pod("b", None), pod("c", Some("timeout after 1s"))];
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
    fn bars_grow_by_eighths() {
        let check = |ratio: f64, expected: &str| assert_eq!(bar(ratio), expected);
        check(0.0, "");
        check(0.0125, "▏");
        check(0.55, "█████▌");
        check(1.0, "██████████");
        check(7.0, "██████████");
    }
}
