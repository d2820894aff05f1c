//! docs/bench/cost.svg: what a context switch costs, and how a collection grows, drawn from the committed results.

use std::fmt::Write;

use anyhow::Result;

use super::report::Report;
use super::row::{Row, Unit};
use super::{Family, RESULTS};
use crate::repository;

/// The file, as docs/cost.md names it.
pub(super) const NAME: &str = "bench/cost.svg";

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 270.0;
/// Of a panel's drawing: left edge to right edge, bottom to top.
const SPAN: (f64, f64) = (230.0, 170.0);
const BOTTOM: f64 = 220.0;
/// Readable on light and on dark ground.
const STYLE: &str = "\
text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.axis{stroke:#8c959f}.podscope{fill:#0969da}\
.other{fill:#8c959f}.line{fill:none;stroke:#0969da;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#848d97}.podscope{fill:#58a6ff}.line{stroke:#58a6ff}}";

/// The picture.
pub(crate) fn svg() -> Result<String> {
    Ok(draw(&Report::read(&repository().join(RESULTS))?))
}

fn draw(report: &Report) -> String {
    let rows = |family| report.families.get(&family).map_or(&[][..], |measured| &measured.rows[..]);
    let growth = rows(Family::Growth);
    let panels = [
        bars("One context switch", rows(Family::Switch)),
        curve("One collection, by tasks", growth, "tasks"),
        curve("One collection, by containers", growth, "containers"),
    ];
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\n<style>{STYLE}</style>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let left = 50.0 + index as f64 * (WIDTH / panels.len() as f64);
        let _infallible = write!(text, "<g transform=\"translate({left} 0)\">\n{panel}</g>\n");
    }
    text + "</svg>\n"
}

/// The first switch row with what stands beside it, and the one without scheduling detail.
fn bars(title: &str, rows: &[Row]) -> String {
    let mut bars: Vec<(String, f64, &str)> = Vec::new();
    if let Some((row, value)) = rows.first().and_then(|row| Some((row, row.value?))) {
        bars.push(("podscope".to_owned(), value, "podscope"));
        bars.extend(row.beside.iter().map(|beside| (beside.name.clone(), beside.value, "other")));
    }
    if let Some(value) = rows.get(1).and_then(|row| row.value) {
        bars.insert(1, ("without detail".to_owned(), value, "podscope"));
    }
    bars.retain(|(_, value, _)| value.is_finite());
    bars.sort_by(|a, b| a.1.total_cmp(&b.1));
    let most = bars.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut text = heading(title);
    for (index, (name, value, class)) in bars.iter().enumerate() {
        let (y, width) = (60.0 + index as f64 * 42.0, value / most * SPAN.0);
        let shown = escaped(&format!("{name}: {}", Unit::Seconds.show(*value)));
        let _infallible = write!(
            text,
            "<text x=\"0\" y=\"{y}\">{shown}</text>\n<rect class=\"{class}\" x=\"0\" y=\"{:.0}\" width=\"{width:.1}\" height=\"14\"/>\n",
            y + 6.0
        );
    }
    text
}

/// The times along an axis, both on logarithmic scales.
fn curve(title: &str, rows: &[Row], axis: &str) -> String {
    let point = |row: &Row| {
        let at = row.at.as_ref().filter(|at| at.axis == axis && row.unit == Unit::Seconds)?;
        Some((at.x, row.value.filter(|value| *value > 0.0)?))
    };
    let points: Vec<(f64, f64)> = rows.iter().filter_map(point).collect();
    let scale = |values: Vec<f64>| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min).log10();
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max).log10();
        move |value: f64| if high > low { (value.log10() - low) / (high - low) } else { 0.5 }
    };
    let across = scale(points.iter().map(|(x, _)| *x).collect());
    let up = scale(points.iter().map(|(_, y)| *y).collect());
    let place = |&(x, y): &(f64, f64)| (across(x) * SPAN.0, BOTTOM - up(y) * (SPAN.1 - 20.0));
    let mut text = heading(title);
    let _infallible = writeln!(text, "<path class=\"axis\" d=\"M0 {BOTTOM}H{}\"/>", SPAN.0);
    let path: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let _infallible = writeln!(text, "<polyline class=\"line\" points=\"{}\"/>", path.join(" "));
    for point in &points {
        let (x, y) = place(point);
        let _infallible = write!(
            text,
            "<circle class=\"podscope\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>\n<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            y - 9.0,
            Unit::Seconds.show(point.1),
            BOTTOM + 18.0,
            point.0,
        );
    }
    text
}

fn heading(title: &str) -> String {
    format!("<text class=\"title\" x=\"0\" y=\"28\">{}</text>\n", escaped(title))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_sorted() {
        let rows = [
            Row::new("switch", Unit::Seconds, 100e-9).beside("an <empty> one", 50e-9),
            Row::new("without detail", Unit::Seconds, 60e-9),
        ];
        let text = bars("t", &rows);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        assert!(at("an &lt;empty&gt; one: 50 ns") < at("without detail: 60 ns"));
        assert!(at("without detail: 60 ns") < at("podscope: 100 ns"));
        assert!(text.contains("width=\"115.0\"") && text.contains("width=\"230.0\""), "{text}");
    }

    #[test]
    fn a_curve_takes_the_points_of_its_axis() {
        let row = |axis: &str, x, value| Row::new("c", Unit::Seconds, value).at(axis, x);
        let rows = [row("tasks", 100, 1e-3), row("tasks", 10_000, 1e-1), row("containers", 1, 1.0)];
        let text = curve("t", &rows, "tasks");
        assert!(text.contains("points=\"0.0 220.0 230.0 70.0\""), "{text}");
        // Nothing measured is an empty panel, and no number that is none.
        assert!(!curve("t", &[], "tasks").contains("NaN"));
        assert!(!draw(&Report::default()).contains("NaN"));
    }
}
