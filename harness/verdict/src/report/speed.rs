//! Latencies of all operations (ECDF), and recall against speed.

use evidence::place::Place;
use evidence::stats::median;
use evidence::thresholds::Rule;
use evidence::{Measurement, Round};
use maud::html;

use super::plot::{Axis, Frame, Plot, Scale, number, r};
use super::run::Run;
use super::section::{Section, Table};

/// Points of a curve, one or two pixels apart.
const POINTS: usize = 160;

pub(super) fn latencies(run: &Run) -> Section {
    let mut section = Section::new("latencies", "Latencies");
    let mut plots = Vec::new();
    let mut table = Table::new(
        "Latency of each operation in the rounds that count, microseconds",
        &["measurement", "place", "contender", "operations", "50 %", "90 %", "99 %", "greatest"],
    );
    for (place, one) in run.measurements() {
        let sides = [
            (&one.a.contender, sorted(one, |round| &round.a_ns)),
            (&one.b.contender, sorted(one, |round| &round.b_ns)),
        ];
        if sides.iter().any(|(_, sorted)| sorted.is_empty()) {
            continue;
        }
        let title = title(one);
        for (contender, sorted) in &sides {
            let mut row = vec![title.clone(), place.to_string(), (*contender).clone()];
            row.push(sorted.len().to_string());
            row.extend([0.5, 0.9, 0.99, 1.0].map(|part| number(quantile(sorted, part))));
            table.rows.push(row);
        }
        plots.push(ecdf(&format!("{place}: {title}"), sides));
    }
    section.text(
        "How many of a contender's operations took at most so long. An operation is a query, or a \
         batch of rows stored.",
    );
    section.figures(plots, table, "No latency was measured.");
    section
}

/// What was measured, and what its times count.
fn title(one: &Measurement) -> String {
    let title = Rule::find(&one.rule).map_or(&*one.rule, |rule| rule.title);
    format!("{title}, {}", one.clock.name())
}

/// Latencies in microseconds, in ascending order.
fn sorted(one: &Measurement, side: fn(&Round) -> &[u64]) -> Vec<f64> {
    let mut all: Vec<f64> =
        one.counted().flat_map(side).map(|&nanoseconds| nanoseconds as f64 / 1e3).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The smallest value that at least the share `part` of all values do not exceed.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

fn ecdf(title: &str, [a, b]: [(&String, Vec<f64>); 2]) -> Plot {
    let told = [&a, &b].map(|(contender, sorted)| {
        format!(
            "{contender}: half within {} µs, 99 % within {} µs",
            number(quantile(sorted, 0.5)),
            number(quantile(sorted, 0.99))
        )
    });
    let alt = format!("Empirical distribution of latencies. {}.", told.join("; "));
    let mut plot = Plot::new(title, alt, 250.0);
    let ends = [&a.1, &b.1].into_iter().flat_map(|one| [one[0], one[one.len() - 1]]);
    let x = Axis::around("latency in µs (logarithmic)", Scale::Log, ends);
    let frame = Frame::new(&mut plot, x, Axis::exactly("operations, %", 0.0, 100.0));
    for ((contender, sorted), class) in [a, b].into_iter().zip(["a", "b"]) {
        let curve = (0..=POINTS).map(|point| {
            let part = point as f64 / POINTS as f64;
            (quantile(&sorted, part), part * 100.0)
        });
        plot.add(frame.line(class, curve));
        plot.key(class, contender);
    }
    plot
}

/// A contender in one measurement.
struct Point {
    place: Place,
    contender: String,
    measurement: String,
    recall: f64,
    speed: f64,
}

pub(super) fn recall(run: &Run) -> Section {
    let mut section = Section::new("recall", "Recall against speed");
    let points: Vec<Point> =
        run.measurements().flat_map(|(place, one)| points(place, one)).collect();
    let mut table = Table::new(
        "Recall@10 and the median speed over rounds; the numbers are those of the plot",
        &["#", "contender", "place", "recall@10", "queries a second", "measured in"],
    );
    for (index, one) in points.iter().enumerate() {
        table.rows.push(vec![
            (index + 1).to_string(),
            one.contender.clone(),
            one.place.to_string(),
            format!("{:.4}", one.recall),
            number(one.speed),
            one.measurement.clone(),
        ]);
    }
    let plots = Place::ALL.into_iter().filter_map(|place| scatter(place, &points)).collect();
    section.text(
        "Up and to the right is better. A ratio counts only at a recall not below the other's.",
    );
    section.figures(plots, table, "No search was measured.");
    section
}

fn points(place: Place, one: &Measurement) -> Vec<Point> {
    let speeds = one.counted().map(|round| round.speeds(one.operations_per_round));
    let (a, b): (Vec<f64>, Vec<f64>) = speeds.unzip();
    [(&one.a, a), (&one.b, b)]
        .into_iter()
        .filter_map(|(side, speeds)| {
            Some(Point {
                place,
                contender: side.contender.clone(),
                measurement: title(one),
                recall: side.recall?,
                speed: median(&speeds).filter(|speed| speed.is_finite())?,
            })
        })
        .collect()
}

fn scatter(place: Place, all: &[Point]) -> Option<Plot> {
    let here: Vec<(usize, &Point)> =
        all.iter().enumerate().filter(|(_, point)| point.place == place).collect();
    if here.is_empty() {
        return None;
    }
    let told: Vec<String> = here
        .iter()
        .map(|(index, point)| {
            format!(
                "{}: {} recall {:.3}, {} queries a second",
                index + 1,
                point.contender,
                point.recall,
                number(point.speed)
            )
        })
        .collect();
    let mut plot = Plot::new(
        format!("Recall against speed, {place}"),
        format!("Scatter plot. {}.", told.join("; ")),
        300.0,
    );
    let x = Axis::around("recall@10", Scale::Linear, here.iter().map(|(_, one)| one.recall));
    let y = Axis::around(
        "queries a second (logarithmic)",
        Scale::Log,
        here.iter().map(|(_, one)| one.speed),
    );
    let frame = Frame::new(&mut plot, x, y);
    for (index, point) in here {
        let (x, y) = (frame.x(point.recall), frame.y(point.speed));
        plot.add(html! {
            circle.point cx=(r(x)) cy=(r(y)) r="4" {}
            // Points that nearly coincide have their numbers on different sides.
            text.number x=(r(if index % 2 == 0 { x - 7.0 } else { x + 7.0 })) y=(r(y - 5.0))
                text-anchor=(if index % 2 == 0 { "end" } else { "start" }) { (index + 1) }
        });
    }
    Some(plot)
}
