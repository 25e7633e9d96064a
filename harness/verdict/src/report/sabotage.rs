//! The saboteurs that were found before a run, as recorded in its directory.

use super::run::Run;
use super::section::{Section, Table};
use crate::sabotage::COLUMNS;

/// What found each saboteur; `None` if sabotage was not run.
pub(super) fn section(run: &Run) -> Option<Section> {
    let account = &run.sabotage;
    if account.found.is_empty() && account.missing.is_empty() {
        return None;
    }
    let mut section = Section::new("sabotage", "Sabotage");
    section.text(format!(
        "For every check a twin of what it checks was made that does one thing wrong (make \
         sabotage, make sanitize). {account}. Each of those found was found by the criterion that \
         had to, or by the engine's own test where no criterion is named, for the right reason. A \
         trial that speaks for each other criterion passed, or, where that stands on the same \
         broken thing, the one named failed, too."
    ));
    if !account.missing.is_empty() {
        section.text("One that was not found has escaped, or nobody has looked for it.".to_owned());
    }
    let mut table = Table::new("Saboteurs that were found", &COLUMNS);
    table.rows.extend(account.found.iter().map(|one| one.cells().to_vec()));
    section.table(table);
    Some(section)
}
