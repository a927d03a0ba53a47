//! Memory over time, as a picture for the documentation.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Beside and below the lines, for what is written there.
const MARGIN: f64 = 56.0;
const COLOURS: [&str; 4] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"];

/// What was measured of one who holds memory.
pub(crate) struct Line {
    pub(crate) name: String,
    /// Seconds and bytes, in the order of time.
    pub(crate) points: Vec<(f64, f64)>,
}

/// An SVG picture of resident memory over time.
pub(crate) fn memory_over_time(lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let gib = f64::from(1 << 30);
    let seconds = points().fold(60.0, |most: f64, point| most.max(point.0));
    let top = (points().fold(0.0, |most: f64, point| most.max(point.1)) / gib * 4.0).ceil() / 4.0;
    let x = |at: f64| MARGIN + at / seconds * (WIDTH - 2.0 * MARGIN);
    let y = |gib: f64| HEIGHT - MARGIN - gib / top.max(0.25) * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    };
    text(MARGIN, MARGIN - 36.0, "start", "Resident memory, GiB");
    text(WIDTH - MARGIN, HEIGHT - 12.0, "end", "minutes");
    for quarter in 0..=(top * 4.0) as usize {
        let at = quarter as f64 / 4.0;
        text(MARGIN - 8.0, y(at) + 4.0, "end", &at.to_string());
    }
    for minute in (0..=(seconds / 60.0) as usize).step_by(3) {
        text(
            x(minute as f64 * 60.0),
            HEIGHT - MARGIN + 18.0,
            "middle",
            &minute.to_string(),
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS) {
        let path: Vec<_> = line
            .points
            .iter()
            .map(|&(at, bytes)| format!("{:.1},{:.1}", x(at), y(bytes / gib)))
            .collect();
        let path = path.join(" ");
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{path}\"/>"
        );
        if let Some(&(at, bytes)) = line.points.last() {
            let (x, y, name) = (x(at), y(bytes / gib) - 6.0, &line.name);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
