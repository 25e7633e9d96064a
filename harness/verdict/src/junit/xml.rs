//! Writes JUnit as XML, using only the part of the format that all readers and both common schemas
//! agree on. Ant's schema (by Windy Road) requires attributes and elements that others leave out,
//! and has no output of a single test; the schema of Jenkins' xUnit plugin allows no attribute that
//! Ant's lacks.

use std::io;

use evidence::utc::Utc;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::suite::{Bad, Case, CaseResult, Suite};

/// Maximum characters of a `message`, which readers show on one line.
const MESSAGE: usize = 300;

/// Writes `suites`.
pub(super) fn text(suites: &[Suite]) -> io::Result<String> {
    let mut out = Out(Writer::new_with_indent(Vec::new(), b' ', 2));
    out.document(suites)?;
    String::from_utf8(out.0.into_inner()).map(|text| text + "\n").map_err(io::Error::other)
}

struct Out(Writer<Vec<u8>>);

impl Out {
    fn document(&mut self, suites: &[Suite]) -> io::Result<()> {
        self.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        self.open("testsuites", &[])?;
        for (id, suite) in suites.iter().enumerate() {
            self.suite(id, suite)?;
        }
        self.close("testsuites")
    }

    fn suite(&mut self, id: usize, suite: &Suite) -> io::Result<()> {
        let count = |is: fn(&CaseResult) -> bool| {
            suite.cases.iter().filter(|case| is(&case.outcome)).count().to_string()
        };
        self.open(
            "testsuite",
            &[
                ("name", &suite.name),
                ("package", "vexfs-validation"),
                ("id", &id.to_string()),
                // The evidence does not name the host; the schema's default is used.
                ("hostname", "localhost"),
                ("timestamp", &Utc::of_milliseconds(suite.began_ms).iso8601()),
                ("tests", &suite.cases.len().to_string()),
                ("failures", &count(|one| matches!(one, CaseResult::Failure(_)))),
                ("errors", &count(|one| matches!(one, CaseResult::Error(_)))),
                ("skipped", &count(|one| matches!(one, CaseResult::Skipped(_)))),
                ("time", &seconds(suite.cases.iter().fold(0.0, |sum, case| sum + case.seconds))),
            ],
        )?;
        self.open("properties", &[])?;
        for (name, value) in &suite.properties {
            self.empty("property", &[("name", name), ("value", value)])?;
        }
        self.close("properties")?;
        for case in &suite.cases {
            self.case(case)?;
        }
        self.leaf("system-out", &[], &suite.notes)?;
        self.leaf("system-err", &[], &suite.errors)?;
        self.close("testsuite")
    }

    fn case(&mut self, case: &Case) -> io::Result<()> {
        let time = seconds(case.seconds);
        let attributes =
            [("name", case.name.as_str()), ("classname", &case.class), ("time", &time)];
        if case.outcome == CaseResult::Passed {
            return self.empty("testcase", &attributes);
        }
        self.open("testcase", &attributes)?;
        match &case.outcome {
            CaseResult::Passed => {}
            CaseResult::Skipped(reason) => {
                self.empty("skipped", &[("message", &one_line(reason))])?
            }
            CaseResult::Failure(bad) => self.bad("failure", bad)?,
            CaseResult::Error(bad) => self.bad("error", bad)?,
        }
        self.close("testcase")
    }

    fn bad(&mut self, element: &str, bad: &Bad) -> io::Result<()> {
        let attributes = [("message", one_line(&bad.message)), ("type", bad.kind.to_owned())];
        self.leaf(
            element,
            &attributes.each_ref().map(|(name, value)| (*name, value.as_str())),
            &bad.details,
        )
    }

    fn open(&mut self, element: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        self.0.write_event(Event::Start(start(element, attributes)))
    }

    fn empty(&mut self, element: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        self.0.write_event(Event::Empty(start(element, attributes)))
    }

    fn leaf(&mut self, element: &str, attributes: &[(&str, &str)], text: &str) -> io::Result<()> {
        self.open(element, attributes)?;
        self.0.write_event(Event::Text(BytesText::new(&plain(text))))?;
        self.close(element)
    }

    fn close(&mut self, element: &str) -> io::Result<()> {
        self.0.write_event(Event::End(BytesEnd::new(element)))
    }
}

fn start<'a>(element: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(element);
    for (name, value) in attributes {
        start.push_attribute((*name, plain(value).as_str()));
    }
    start
}

/// `text` with only those characters that XML allows.
fn plain(text: &str) -> String {
    crate::text::clean(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// Joins lines, because XML readers turn a line break in an attribute into a space.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    crate::text::shortened(&words.join(" "), MESSAGE)
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3}")
}
