//! Curves as a picture.

use std::fmt::Write;

use super::samples::{CURVES, Sample};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 110.0;
const TOP: f64 = 40.0;
/// More points than these cannot be told apart.
const POINTS: usize = 600;

/// One strip for each curve, each from zero to its highest value, over the minutes.
pub(super) fn svg(samples: &[Sample], title: &str) -> String {
    let height = TOP + CURVES.len() as f64 * HEIGHT + 30.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    for index in 0..CURVES.len() {
        strip(&mut text, samples, index);
    }
    let minutes = samples.last().map_or(0.0, |sample| sample.at.as_secs_f64() / 60.0);
    let base = height - 12.0;
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let x = LEFT + part * (WIDTH - LEFT - 20.0);
        // Nothing reports a failed write into a text.
        let _ = writeln!(
            text,
            "<text x=\"{x:.0}\" y=\"{base:.0}\" text-anchor=\"middle\">{} min</text>",
            (part * minutes * 10.0).round() / 10.0
        );
    }
    text.push_str("</svg>\n");
    text
}

/// Draws a curve below those before it.
fn strip(text: &mut String, samples: &[Sample], index: usize) {
    let curve = &CURVES[index];
    let (top, bottom) = (TOP + index as f64 * HEIGHT, TOP + (index + 1) as f64 * HEIGHT - 20.0);
    let highest = samples.iter().map(|sample| sample.values[index]).fold(1.0, f64::max);
    let end = samples.last().map_or(1.0, |sample| sample.at.as_secs_f64().max(1.0));
    let step = samples.len().div_ceil(POINTS).max(1);
    let point = |sample: &Sample| {
        let x = LEFT + sample.at.as_secs_f64() / end * (WIDTH - LEFT - 20.0);
        format!("{x:.1},{:.1}", bottom - sample.values[index] / highest * (bottom - top - 8.0))
    };
    let points: Vec<String> = samples.iter().step_by(step).map(point).collect();
    let right = WIDTH - 20.0;
    let _ = write!(
        text,
        "<text x=\"{0}\" y=\"{1:.0}\" text-anchor=\"end\">{2}</text>\n\
         <text x=\"{0}\" y=\"{3:.0}\" text-anchor=\"end\" fill=\"gray\">up to {highest:.0} {4}</text>\n\
         <path d=\"M{LEFT} {top:.0}V{bottom:.0}H{right}\" fill=\"none\" stroke=\"lightgray\"/>\n\
         <polyline points=\"{5}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"1.2\"/>\n",
        LEFT - 8.0,
        top + 30.0,
        curve.name,
        top + 46.0,
        curve.unit,
        points.join(" ")
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_curve_is_drawn_within_the_picture() {
        let sample = |second| Sample { at: Duration::from_secs(second), values: [second as f64; CURVES.len()] };
        let samples: Vec<Sample> = (0..=3600).map(sample).collect();
        let picture = svg(&samples, "<a> & b");
        assert_eq!(picture.matches("<polyline").count(), CURVES.len());
        assert!(picture.contains("&lt;a> &amp; b") && picture.contains(">60 min<"), "{picture}");
        for points in picture.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let points: Vec<&str> = points.split(' ').collect();
            assert!(points.len() <= POINTS, "{}", points.len());
            for point in points {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((LEFT..=WIDTH).contains(&x) && (TOP..TOP + 6.0 * HEIGHT).contains(&y), "{point}");
            }
        }
    }
}
