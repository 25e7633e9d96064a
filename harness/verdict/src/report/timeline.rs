//! What ran when: phases, and the trials of each criterion.

use evidence::criterion::Criterion;
use evidence::place::Place;
use evidence::{Event, PhaseState, Record, TrialState};
use maud::html;

use super::plot::{Axis, Frame, Plot, Scale, number, r};
use super::run::Run;
use super::section::{Section, Table};
use crate::rule::judgement::State;
use crate::text::shortened;

const ROW: f64 = 34.0;

/// How something ended. In a row of several spans, the greatest value decides the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum BarEnd {
    Well,
    /// It was not run, or began and never ended.
    Open,
    /// It ended undecided.
    Undecided,
    Badly,
}

impl BarEnd {
    fn word(self) -> &'static str {
        match self {
            BarEnd::Well => "PASS",
            BarEnd::Open => "INCONCLUSIVE",
            BarEnd::Undecided => "UNDECIDED",
            BarEnd::Badly => "FAIL",
        }
    }

    /// The CSS class of its colour.
    fn class(self) -> &'static str {
        crate::text::class_of(match self {
            BarEnd::Well => State::Pass,
            BarEnd::Open | BarEnd::Undecided => State::Inconclusive,
            BarEnd::Badly => State::Fail,
        })
    }
}

/// Something with a beginning and an end, in Unix milliseconds.
struct Span {
    from: u64,
    to: u64,
    end: BarEnd,
}

/// A row of the timeline.
struct TimelineRow {
    name: String,
    spans: Vec<Span>,
}

pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("timeline", "Timeline");
    let rows = rows(run);
    let Some(start) = rows.iter().flat_map(|row| &row.spans).map(|span| span.from).min() else {
        section.text("Nothing was begun.");
        return section;
    };
    let seconds = |at: u64| at.saturating_sub(start) as f64 / 1e3;
    let mut table = Table::new(
        "Seconds from the first beginning; each place by its own clock",
        &["what", "began", "ended", "parts", "state"],
    );
    for row in &rows {
        let (from, to) =
            (row.spans.iter().map(|s| s.from).min(), row.spans.iter().map(|s| s.to).max());
        let end = row.spans.iter().map(|span| span.end).max().unwrap_or(BarEnd::Open);
        table.rows.push(vec![
            row.name.clone(),
            number(from.map_or(f64::NAN, seconds)),
            number(to.map_or(f64::NAN, seconds)),
            row.spans.len().to_string(),
            end.word().to_owned(),
        ]);
    }
    let told: Vec<String> = table
        .rows
        .iter()
        .map(|row| format!("{} from {} to {} s", row[0], row[1], row[2]))
        .collect();
    let mut plot = Plot::new(
        "What ran when",
        format!("Bars over time. {}.", told.join("; ")),
        Frame::height_of_rows(rows.len(), ROW),
    );
    let ends = rows.iter().flat_map(|row| &row.spans).map(|span| seconds(span.to));
    let frame = Frame::of_rows(
        &mut plot,
        Axis::around("seconds from the beginning", Scale::Linear, ends.chain([0.0])),
    );
    for (index, row) in rows.iter().enumerate() {
        let top = Frame::row(index, ROW);
        plot.add(html! { text.row x="14" y=(r(top + 12.0)) { (shortened(&row.name, 58)) } });
        for span in &row.spans {
            let (left, right) = (frame.x(seconds(span.from)), frame.x(seconds(span.to)));
            plot.add(html! {
                rect class={ "bar " (span.end.class()) } x=(r(left)) y=(r(top + 17.0))
                    width=(r((right - left).max(1.0))) height="10" {}
            });
        }
    }
    section.text(
        "A bar in the colour of FAIL failed; one in that of INCONCLUSIVE was begun and never ended, \
         or ended undecided.",
    );
    section.figures(vec![plot], table, "Nothing was begun.");
    section
}

fn rows(run: &Run) -> Vec<TimelineRow> {
    let mut rows = Vec::new();
    for place in Place::ALL {
        let records: Vec<&Record> = run.evidence.records(place).collect();
        let begun = records.iter().filter_map(|record| match &record.event {
            Event::PhaseStarted { phase } => Some(phase.clone()),
            _ => None,
        });
        for phase in begun.collect::<Vec<_>>() {
            let spans = spans(&records, |event| of_phase(event, &phase));
            rows.push(TimelineRow { name: format!("{place}: phase {phase}"), spans });
        }
        for criterion in Criterion::ALL {
            let spans = spans(&records, |event| of_criterion(event, criterion));
            if !spans.is_empty() {
                rows.push(TimelineRow {
                    name: format!("{place}: trials of {}", criterion.title()),
                    spans,
                });
            }
        }
    }
    rows
}

/// A beginning or an end of what has this name.
enum Edge<'e> {
    Begins(&'e str),
    Ends(&'e str, BarEnd),
}

fn of_phase<'e>(event: &'e Event, wanted: &str) -> Option<Edge<'e>> {
    match event {
        Event::PhaseStarted { phase } if phase == wanted => Some(Edge::Begins(phase)),
        Event::PhaseFinished { phase, state, .. } if phase == wanted => Some(Edge::Ends(
            phase,
            match state {
                PhaseState::Done => BarEnd::Well,
                PhaseState::Failed => BarEnd::Badly,
                PhaseState::NotRun => BarEnd::Open,
            },
        )),
        _ => None,
    }
}

fn of_criterion(event: &Event, criterion: Criterion) -> Option<Edge<'_>> {
    let edge = match event {
        Event::TrialStarted { trial } => Edge::Begins(trial),
        Event::TrialFinished { trial, state, .. } => Edge::Ends(
            trial,
            match state {
                TrialState::Passed => BarEnd::Well,
                TrialState::Failed => BarEnd::Badly,
                TrialState::Undecided | TrialState::NotTried => BarEnd::Undecided,
            },
        ),
        _ => return None,
    };
    let (Edge::Begins(trial) | Edge::Ends(trial, _)) = &edge;
    (Criterion::of_trial(trial) == Some(criterion)).then_some(edge)
}

/// The spans between beginnings and ends. A span without an end is drawn up to its place's last
/// record.
fn spans<'r>(records: &[&'r Record], edge: impl Fn(&'r Event) -> Option<Edge<'r>>) -> Vec<Span> {
    let mut open: Vec<(&str, u64)> = Vec::new();
    let mut spans = Vec::new();
    for record in records {
        match edge(&record.event) {
            Some(Edge::Begins(name)) => open.push((name, record.time_ms)),
            Some(Edge::Ends(name, end)) => {
                if let Some(at) = open.iter().position(|(begun, _)| *begun == name) {
                    spans.push(Span { from: open.remove(at).1, to: record.time_ms, end });
                }
            }
            None => {}
        }
    }
    let last = records.last().map_or(0, |record| record.time_ms);
    let unended = |(_, from)| Span { from, to: last.max(from), end: BarEnd::Open };
    spans.extend(open.into_iter().map(unended));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undecided_trial_did_not_fail() {
        let mut run = crate::made::MadeRun::healthy();
        let why = "lines of the kernel log were lost";
        let again = crate::made::finished("module::loads", TrialState::Undecided, why);
        run.guest.extend(again);
        let dir = tempfile::tempdir().unwrap();
        run.write(dir.path());
        let section = section(&Run::read(dir.path(), &[]).unwrap());
        let table = section.parts.iter().find_map(|part| match part {
            crate::report::SectionPart::Figures(_, table) => Some(table),
            _ => None,
        });
        let row =
            table.unwrap().rows.iter().find(|row| row[0] == "guest: trials of Module stability");
        assert_eq!(row.unwrap()[4], "UNDECIDED");
        assert_eq!(BarEnd::Undecided.class(), "inconclusive");
    }
}
