//! Prints a sequence as a script that needs Python 3 and nothing else.

use super::compare::{Agreed, Difference};
use super::operation::Operation;

/// What replays steps; the marked lines are put in the place of its empty lists.
const REPLAY: &str = include_str!("../../../../fixtures/walk/replay.py");

/// A script that does `steps` in each directory that it is given, and says where one does something else
/// than the homes agreed on, or than is due in the last step.
pub fn script(steps: &[Operation], agreed: &[Agreed], difference: &Difference) -> String {
    let mut due: Vec<String> = agreed.iter().map(|one| one.outcome.words()).collect();
    due.push(if difference.of == "state" { String::new() } else { difference.due.clone() });
    let list = |lines: &mut dyn Iterator<Item = String>| -> String {
        lines.map(|line| format!("    {line},\n")).collect()
    };
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let steps = list(&mut steps.iter().map(|step| format!("r'{}'", step.json())));
    let due = list(&mut due.iter().map(|one| quoted(one)));
    let state = match difference.of {
        "state" => list(&mut difference.due.lines().map(|line| quoted(line.trim()))),
        _ => String::new(),
    };
    REPLAY
        .replace("STEPS = []", &format!("STEPS = [\n{steps}]"))
        .replace("DUE = []", &format!("DUE = [\n{due}]"))
        .replace("DUE_STATE = []", &format!("DUE_STATE = [\n{state}]"))
}
