//! Helpers for text that goes into several outputs.

use std::io;
use std::path::Path;

use crate::rule::judgement::State;

/// `text` without colour codes and control characters, which consoles and programs write, so that a
/// page, Markdown and XML can hold it.
pub(crate) fn clean(text: &str) -> String {
    let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    anstream::adapter::strip_str(text).to_string().chars().filter(shown).collect()
}

/// `text`, cut to at most `glyphs`.
pub(crate) fn shortened(text: &str, glyphs: usize) -> String {
    if text.chars().count() <= glyphs {
        return text.to_owned();
    }
    text.chars().take(glyphs.saturating_sub(1)).chain(['…']).collect()
}

/// The CSS class of a state's colour.
pub(crate) fn class_of(state: State) -> &'static str {
    match state {
        State::Pass => "pass",
        State::Fail => "fail",
        State::Inconclusive => "inconclusive",
    }
}

/// Puts the path before the message of an error.
pub(crate) fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
