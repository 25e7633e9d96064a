//! What a report says, in reading order.

use super::run::Run;
use super::section::Section;
use super::{cycles, details, ratios, recorded, sabotage, sanitizers, speed, summary, timeline};

/// All sections, in reading order.
pub fn sections(run: &Run) -> Vec<Section> {
    let mut sections = vec![summary::criteria(run)];
    sections.extend(summary::levels(run));
    sections.extend(summary::missing(run));
    sections.extend([
        summary::bare_metal(run),
        ratios::section(run),
        recorded::section(run),
        speed::latencies(run),
        speed::recall(run),
        cycles::section(run),
        timeline::section(run),
    ]);
    sections.extend(sabotage::section(run));
    sections.extend(sanitizers::section(run));
    sections.extend([
        details::trials(run),
        details::environment(run),
        details::kernel_log(run),
        details::again(run),
    ]);
    sections
}
