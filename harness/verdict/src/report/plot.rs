//! SVG drawings: a frame with axes, and marks in it.
//!
//! Colours are CSS classes, so one style sheet serves light, dark and paper. A drawing is as wide
//! as a telephone, and a wide page shows several side by side.

use maud::{Markup, html};

/// Width of a drawing, in SVG user units (CSS pixels at natural size).
pub const WIDTH: f64 = 420.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 46.0;
/// Approximate width of a glyph of the labels.
const GLYPH: f64 = 6.4;

/// A drawing, and a description of it in words.
pub struct Plot {
    title: String,
    alt: String,
    height: f64,
    marks: Vec<Markup>,
    keys: Vec<(&'static str, String)>,
}

impl Plot {
    /// An empty drawing. `alt` describes it to a person who cannot see it.
    pub fn new(title: impl Into<String>, alt: impl Into<String>, height: f64) -> Self {
        Plot { title: title.into(), alt: alt.into(), height, marks: Vec::new(), keys: Vec::new() }
    }

    pub(super) fn add(&mut self, mark: Markup) {
        self.marks.push(mark);
    }

    /// Adds a legend entry for the lines of `class`.
    pub(super) fn key(&mut self, class: &'static str, name: &str) {
        self.keys.push((class, name.to_owned()));
    }

    /// The drawing as a figure with an SVG; `id` is unique on the page.
    pub(super) fn figure(&self, id: &str) -> Markup {
        html! {
            figure.plot {
                figcaption {
                    (self.title)
                    @for (class, name) in &self.keys { " " span class={ "key " (class) } { (name) } }
                }
                svg viewBox={ "0 0 " (WIDTH) " " (self.height) } width=(WIDTH) height=(self.height)
                    role="img" aria-labelledby={ (id) "-title " (id) "-alt" } {
                    title id={ (id) "-title" } { (self.title) }
                    desc id={ (id) "-alt" } { (self.alt) }
                    @for mark in &self.marks { (mark) }
                }
            }
        }
    }
}

/// Breaks `text` between words into lines of at most `glyphs`.
pub(super) fn lines(text: &str, glyphs: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= glyphs => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How values become positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
}

/// An axis: its range, and what its values are.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: String,
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis from the least to the greatest of `values`, with a small margin. Values that cannot
    /// be shown (not finite, or not above 0 on a logarithmic axis) are ignored.
    pub fn around(label: &str, scale: Scale, values: impl IntoIterator<Item = f64>) -> Self {
        let shown =
            values.into_iter().filter(|v| v.is_finite() && (scale == Scale::Linear || *v > 0.0));
        let (low, high) = shown
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low > high { (1.0, 2.0) } else { (low, high) };
        let (low, high) = match scale {
            Scale::Linear => {
                let margin = ((high - low) * 0.06).max(high.abs() * 0.01);
                // All values are zero, so the range needs a margin of its own.
                let margin = if margin > 0.0 { margin } else { 1.0 };
                (low - margin, high + margin)
            }
            Scale::Log => {
                let margin = (high / low).powf(0.06).max(1.03);
                (low / margin, high * margin)
            }
        };
        Axis { label: label.to_owned(), scale, low, high }
    }

    /// A linear axis from `low` to `high`.
    pub fn exactly(label: &str, low: f64, high: f64) -> Self {
        Axis { label: label.to_owned(), scale: Scale::Linear, low, high }
    }

    /// The position of `value` on the axis, from 0 to 1; values beyond an end are placed at that
    /// end.
    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The values that get a tick: 1, 2 or 5 times a power of ten, about six at most.
    fn ticks(&self) -> Vec<f64> {
        let fine = match self.scale {
            Scale::Log => self.log_ticks(&[1.0, 2.0, 5.0]),
            Scale::Linear => Vec::new(),
        };
        match fine.len() {
            3..=6 => fine,
            7.. => self.log_ticks(&[1.0]),
            _ => self.linear_ticks(),
        }
    }

    fn log_ticks(&self, steps: &[f64]) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        (first..=last)
            .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|s| s * power).into_iter().find(|s| *s >= rough * 0.999);
        let step = step.unwrap_or(power * 10.0);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// Formats a number for an axis or a table: three significant digits, or all digits before the
/// point.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        m if m == 0.0 || m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        m if m >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return grouped(&text);
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Groups digits in threes, separated by narrow spaces.
fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Positions marks between the axes of a drawing.
pub struct Frame {
    x: Axis,
    y: Axis,
    left: f64,
    height: f64,
}

impl Frame {
    /// Draws both axes with their ticks into `plot`.
    pub fn new(plot: &mut Plot, x: Axis, y: Axis) -> Self {
        let frame = Frame { x, y, left: LEFT, height: plot.height };
        for tick in frame.y.ticks() {
            let at = frame.y(tick);
            plot.add(html! {
                line.grid x1=(frame.left) x2=(WIDTH - RIGHT) y1=(r(at)) y2=(r(at)) {}
                text.tick x=(frame.left - 6.0) y=(r(at + 4.0)) text-anchor="end" { (number(tick)) }
            });
        }
        frame.draw_x(plot);
        let middle = (TOP + frame.bottom()) / 2.0;
        plot.add(html! {
            text.label transform={ "translate(12 " (r(middle)) ") rotate(-90)" } text-anchor="middle" {
                (frame.y.label)
            }
        });
        frame
    }

    /// Draws only the horizontal axis: rows have names instead of a vertical axis.
    pub fn of_rows(plot: &mut Plot, x: Axis) -> Self {
        let frame = Frame { x, y: Axis::exactly("", 0.0, 1.0), left: RIGHT, height: plot.height };
        frame.draw_x(plot);
        frame
    }

    fn draw_x(&self, plot: &mut Plot) {
        let bottom = self.bottom();
        let mut free = f64::NEG_INFINITY;
        for tick in self.x.ticks() {
            let (at, text) = (self.x(tick), number(tick));
            let half = text.chars().count() as f64 * GLYPH / 2.0;
            plot.add(html! { line.grid x1=(r(at)) x2=(r(at)) y1=(TOP - 4.0) y2=(r(bottom)) {} });
            // Leave out a label that would touch the one before it, or the edge.
            if at - half > free && at + half < WIDTH {
                plot.add(html! {
                    text.tick x=(r(at)) y=(r(bottom + 15.0)) text-anchor="middle" { (text) }
                });
                free = at + half + 4.0;
            }
        }
        plot.add(html! {
            line.axis x1=(self.left) x2=(WIDTH - RIGHT) y1=(r(bottom)) y2=(r(bottom)) {}
            text.label x=(r((self.left + WIDTH - RIGHT) / 2.0)) y=(r(bottom + 35.0)) text-anchor="middle" {
                (self.x.label)
            }
        });
    }

    /// The horizontal position of a value.
    pub fn x(&self, value: f64) -> f64 {
        self.left + self.x.part(value) * (WIDTH - RIGHT - self.left)
    }

    /// The vertical position of a value.
    pub fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.part(value) * (self.bottom() - TOP)
    }

    /// The vertical position of the horizontal axis.
    pub fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// The height of a drawing of `rows` rows, each `high`.
    pub fn height_of_rows(rows: usize, high: f64) -> f64 {
        TOP + rows as f64 * high + BOTTOM
    }

    /// The upper edge of row `index`, if each row is `high`.
    pub fn row(index: usize, high: f64) -> f64 {
        TOP + index as f64 * high
    }

    /// A line of `class` through `points`.
    pub fn line(&self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Markup {
        use std::fmt::Write;
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{} {} ", r(self.x(x)), r(self.y(y)));
        }
        html! { polyline class={ "line " (class) } points=(path.trim_end()) {} }
    }
}

/// A position, to a tenth of a pixel.
pub(super) fn r(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        let ticks = |scale, values: [f64; 2]| Axis::around("", scale, values).ticks();
        assert_eq!(ticks(Scale::Linear, [0.0, 10.0]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(Scale::Log, [1.0, 20.0]), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(ticks(Scale::Log, [1.0, 10_000.0]), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        // Too narrow for powers of ten.
        let narrow = ticks(Scale::Log, [1.0, 1.05]);
        assert!((2..=7).contains(&narrow.len()), "{narrow:?}");
    }

    #[test]
    fn what_cannot_be_shown_does_not_break_an_axis() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![3.0, 3.0], vec![f64::INFINITY]] {
            for scale in [Scale::Linear, Scale::Log] {
                let axis = Axis::around("", scale, values.clone());
                assert!(axis.low < axis.high && axis.low.is_finite() && axis.high.is_finite());
                assert!((0.0..=1.0).contains(&axis.part(f64::NAN)));
            }
        }
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(lines("FUSE over Qdrant", 16), ["FUSE over Qdrant"]);
        assert_eq!(lines("FUSE over Qdrant", 15), ["FUSE over", "Qdrant"]);
        assert_eq!(lines("endurance of it", 4), ["endurance", "of", "it"]);
    }

    #[rstest::rstest]
    #[case(0.0, "0")]
    #[case(2.0, "2")]
    #[case(0.9512, "0.951")]
    #[case(1.0526, "1.05")]
    #[case(-52.34, "-52.3")]
    #[case(949.0, "949")]
    #[case(9_500.4, "9500")]
    #[case(5_180_888.0, "5\u{202f}180\u{202f}888")]
    fn numbers_are_short(#[case] value: f64, #[case] text: &str) {
        assert_eq!(number(value), text);
    }
}
