//! The saboteurs that were found before a run, as its directory holds them.

use super::run::Run;
use super::section::{Section, Table};
use crate::sabotage::COLUMNS;

/// What found each saboteur; `None` where nobody looked.
pub(super) fn section(run: &Run) -> Option<Section> {
    if run.sabotage.is_empty() {
        return None;
    }
    let mut section = Section::new("sabotage", "Sabotage");
    section.text(format!(
        "For every check a twin of what it checks was made that does one thing wrong (make \
         sabotage). {} were found, each by the criterion that had to, for the right reason, and \
         nobody else was accused. One that escapes is not in the table, and fails its trial.",
        run.sabotage.len()
    ));
    let mut commits: Vec<&str> = run.sabotage.iter().map(|one| one.commit.as_str()).collect();
    commits.sort_unstable();
    commits.dedup();
    section.text(format!("Looked for in commit {}.", commits.join(", ")));
    let mut table = Table::new("Saboteurs that were found", &COLUMNS);
    table.rows.extend(run.sabotage.iter().map(|one| one.cells().to_vec()));
    section.table(table);
    Some(section)
}
