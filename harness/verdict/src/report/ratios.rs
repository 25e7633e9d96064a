//! Every ratio with its interval and threshold: a forest plot.

use evidence::clock::Clock;
use evidence::place::Place;
use evidence::processor::name_of;
use evidence::stats::Ratio;
use maud::html;

use super::plot::{Axis, Frame, Plot, Scale, lines, number, r};
use super::run::Run;
use super::section::{Section, Table};
use crate::rule::judgement::State;
use crate::rule::ratios::JudgedRatio;

const ROW: f64 = 44.0;
/// Height of each further line of a row's name.
const LINE: f64 = 14.0;
/// Glyphs in a line of a row's name.
const GLYPHS: usize = 58;

pub(super) fn section(run: &Run) -> Section {
    let all: Vec<&JudgedRatio> = run.verdict.criteria.iter().flat_map(|one| &one.ratios).collect();
    let mut section = Section::new("ratios", "Ratios of speed");
    let mut table = Table::new(
        "Speed of A over speed of B, with exact bounds of the median over rounds and of its control",
        &[
            "ratio",
            "where, times are",
            "A over B, with the bounds that are judged",
            "lower bound must be",
            "outcome",
            "decides",
            "improvement",
            "rounds",
            "A over B alone, and with the copy in A's place",
            "controls: A over its copy, both over the slowed copy",
            "bootstrap",
            "note",
        ],
    );
    for one in &all {
        let bounds =
            |ratio: &Option<Ratio>| ratio.map_or_else(String::new, |ratio| ratio.to_string());
        let (cpu, clock) = (name_of(one.accelerator), one.clock.name());
        let rounds = one.ratio.map_or_else(String::new, |ratio| ratio.rounds.to_string());
        let disturbed = one.disturbances.map(|rounds| rounds.to_string());
        table.rows.push(vec![
            one.title.clone(),
            format!("{}, {cpu}, {clock}", one.place),
            bounds(&one.ratio),
            one.demand(),
            State::from(one.outcome).to_string(),
            yes(one.decides),
            yes(one.improvement),
            match disturbed.filter(|told| told != "none") {
                Some(told) => format!("{rounds}: {told}"),
                None => rounds,
            },
            of_both(one.calibrated.map(|all| [all.alone, all.by_copy])),
            of_both(one.calibrated.zip(one.slowed).map(|(all, slowed)| [all.equal, slowed])),
            one.bootstrap.map_or_else(String::new, |b| format!("[{:.3}, {:.3}]", b.lower, b.upper)),
            one.note.clone(),
        ]);
    }
    let plots = Place::ALL
        .into_iter()
        .flat_map(|place| [Clock::Wall, Clock::Instructions].map(|clock| (place, clock)))
        .filter_map(|(place, clock)| {
            let is_here = |one: &&JudgedRatio| (one.place, one.clock) == (place, clock);
            let measured = all.iter().copied().filter(|one| one.ratio.is_some());
            let here: Vec<&JudgedRatio> = measured.filter(is_here).collect();
            let (cpu, clock) = (name_of(here.first()?.accelerator), clock.name());
            Some(forest(&format!("Ratios, {place}, {cpu}, {clock}"), &here))
        })
        .collect();
    section.text(
        "A ratio passes where its whole interval reaches the threshold (the upright mark), and \
         fails where all of it stays below. The interval is that of A over B and that of a copy of \
         A over B together. Hollow ones are reported and do not decide. It is an \
         improvement where its lower bound is above 1. The bounds of a bootstrap stand beside and \
         decide nothing. Where the machine disturbed rounds the table says how many were done again, how \
         many are counted all the same, and of how many the kernel does not tell; guest \
         instructions know no such noise.",
    );
    section.figures(plots, table, "No ratio was measured.");
    section
}

fn of_both(ratios: Option<[Ratio; 2]>) -> String {
    ratios.map_or_else(String::new, |[one, other]| format!("{one}\n{other}"))
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// One row per ratio: its name, and below it the interval, the estimate and the threshold.
fn forest(title: &str, ratios: &[&JudgedRatio]) -> Plot {
    let shown: Vec<(&JudgedRatio, Ratio)> =
        ratios.iter().filter_map(|one| Some((*one, one.ratio?))).collect();
    let told: Vec<String> = shown
        .iter()
        .map(|(one, ratio)| {
            let (low, high) = (number(ratio.lower), number(ratio.upper));
            format!(
                "{}: {} [{low}, {high}], threshold {}",
                one.title,
                number(ratio.estimate),
                one.threshold
            )
        })
        .collect();
    let alt = format!("Forest plot on a logarithmic axis. {}.", told.join("; "));
    let name =
        |one: &JudgedRatio| lines(&format!("{}: {}", one.title, State::from(one.outcome)), GLYPHS);
    let longest = shown.iter().map(|(one, _)| name(one).len()).max().unwrap_or(1);
    let row = ROW + LINE * (longest - 1) as f64;
    let mut plot = Plot::new(title, alt, Frame::height_of_rows(shown.len(), row));
    let values = shown
        .iter()
        .flat_map(|(one, ratio)| [ratio.lower, ratio.upper, ratio.estimate, one.threshold])
        .chain([1.0]);
    let axis = Axis::around("speed of A over speed of B (logarithmic)", Scale::Log, values);
    let frame = Frame::of_rows(&mut plot, axis);
    plot.add(html! {
        line.one x1=(r(frame.x(1.0))) x2=(r(frame.x(1.0))) y1="6" y2=(frame.bottom()) {}
    });
    for (index, (one, ratio)) in shown.into_iter().enumerate() {
        let top = Frame::row(index, row);
        let middle = top + row - 17.0;
        let state = State::from(one.outcome);
        let class =
            format!("{} {}", crate::text::class_of(state), if one.decides { "" } else { "hollow" });
        let (left, right) = (frame.x(ratio.lower), frame.x(ratio.upper));
        let threshold = frame.x(one.threshold);
        let name = name(one);
        let first = middle - 14.0 - LINE * (name.len() - 1) as f64;
        plot.add(html! {
            text.row y=(r(first)) {
                @for (number, line) in name.iter().enumerate() {
                    tspan x="14" dy=(if number == 0 { 0.0 } else { LINE }) { (line) }
                }
            }
            line.threshold x1=(r(threshold)) x2=(r(threshold)) y1=(r(middle - 8.0)) y2=(r(middle + 8.0)) {}
            g class=(class.trim_end()) {
                line.interval x1=(r(left)) x2=(r(right)) y1=(r(middle)) y2=(r(middle)) {}
                circle.estimate cx=(r(frame.x(ratio.estimate))) cy=(r(middle)) r="5" {}
            }
        });
    }
    plot
}
