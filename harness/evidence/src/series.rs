//! The kernel matrix: the series of kernels that a module is proven on, read from
//! `fixtures/guest/kernels.txt`, and which releases belong to a series.

use std::str::FromStr;

const TABLE: &str = include_str!("../../../fixtures/guest/kernels.txt");

/// A line of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// As `--kernel` takes it: `6.12`, or `6.12-rt` for its PREEMPT_RT flavour.
    pub name: String,
    /// The releases of Debian that package it, by code name, the preferred one first.
    pub from: Vec<String>,
    /// Why it is in the matrix.
    pub why: String,
}

/// The kernels of the matrix, in its order.
///
/// # Panics
/// If the built-in table has a malformed line.
pub fn matrix() -> Vec<Series> {
    rows(TABLE).expect("fixtures/guest/kernels.txt is a table")
}

fn rows(table: &str) -> Result<Vec<Series>, String> {
    let lines = table.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::parse).collect()
}

impl FromStr for Series {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split_whitespace();
        let (name, from) = (words.next(), words.next());
        let why = words.collect::<Vec<_>>().join(" ");
        match (name, from) {
            (Some(name), Some(from)) if !why.is_empty() => Ok(Series {
                name: name.to_owned(),
                from: from.split(',').map(str::to_owned).collect(),
                why,
            }),
            _ => Err(format!("'{line}' is not a series, a release of Debian and a reason")),
        }
    }
}

/// Whether `release` belongs to `series`, or is the release that `series` names.
///
/// `6.1.0-56-amd64` belongs to `6.1` and `6.12.117+deb12-amd64` does not. Kernels of another
/// flavour behave differently, so a flavour has to be named: `6.12.117+deb12-rt-amd64` belongs to
/// `6.12-rt` only.
pub fn is_of_series(release: &str, series: &str) -> bool {
    if series.is_empty() || release == series {
        return release == series && !release.is_empty();
    }
    let flavour = |name: &str| release.contains(&format!("-{name}-"));
    let (number, real_time) = match series.strip_suffix("-rt") {
        Some(number) => (number, true),
        None => (series, false),
    };
    !flavour("cloud")
        && flavour("rt") == real_time
        && release
            .strip_prefix(number)
            .is_some_and(|rest| rest.starts_with(['.', '+', '-']) || rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::DEFAULT_SERIES;
    use crate::thresholds::ENDURANCE;

    #[test]
    fn releases_are_told_apart_by_number_and_flavour() {
        let of = |series| {
            [
                "6.1.0-57-amd64",
                "6.1.0-57-rt-amd64",
                "6.12.117+deb12-amd64",
                "6.12.117+deb12-rt-amd64",
                "6.12.117+deb12-cloud-amd64",
                "7.3.4+deb13-amd64",
                "7.3-rc1",
            ]
            .into_iter()
            .filter(|release| is_of_series(release, series))
            .collect::<Vec<_>>()
        };
        assert_eq!(of("6.1"), ["6.1.0-57-amd64"]);
        assert_eq!(of("6.1-rt"), ["6.1.0-57-rt-amd64"]);
        assert_eq!(of("6.12"), ["6.12.117+deb12-amd64"]);
        assert_eq!(of("6.12-rt"), ["6.12.117+deb12-rt-amd64"]);
        assert_eq!(of("6.12.117"), ["6.12.117+deb12-amd64"]);
        assert_eq!(of("6.12.117+deb12-cloud-amd64"), ["6.12.117+deb12-cloud-amd64"]);
        assert_eq!(of("7.3"), ["7.3.4+deb13-amd64", "7.3-rc1"]);
        assert_eq!(of("7"), ["7.3.4+deb13-amd64", "7.3-rc1"]);
        assert!(of("").is_empty() && of("6").len() == 2);
        assert!(!is_of_series("", ""));
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        assert!(rows("# none\n\n6.1  bookworm  the oldest").is_ok());
        assert!(rows("6.1  bookworm").unwrap_err().contains("6.1  bookworm"));
    }

    #[test]
    fn the_matrix_holds_the_default_and_is_what_must_endure() {
        let names: Vec<String> = matrix().into_iter().map(|one| one.name).collect();
        assert!(names.iter().any(|name| name == DEFAULT_SERIES), "{names:?}");
        assert_eq!(names, ENDURANCE.kernels, "each kernel of the matrix needs a soak");
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len(), "a series appears twice in {names:?}");
    }

    /// The Makefile and `setup.sh` cannot ask this crate for the default, so they repeat it.
    #[test]
    fn the_default_is_the_same_everywhere() {
        let makefile = include_str!("../../../Makefile");
        assert!(makefile.contains(&format!("\nKERNEL ?= {DEFAULT_SERIES}\n")));
        let setup = include_str!("../../../fixtures/guest/setup.sh");
        assert!(setup.contains(&format!("\nkernel={DEFAULT_SERIES}\n")));
    }

    /// Documents and CI name the same kernels as the matrix.
    #[test]
    fn documents_and_the_module_name_the_same_kernels() {
        let page = include_str!("../../../docs/kernel-module.md");
        for one in matrix() {
            let row = format!("| {} | {} |", one.name, one.why);
            assert!(page.contains(&row), "docs/kernel-module.md lacks: {row}");
        }
        // CI reads the matrix when it runs, so its workflow names no kernel.
        let ci = include_str!("../../../docs/ci/vexfs-validation.yml");
        assert!(ci.contains("fixtures/guest/kernels.txt"));
        let chosen: Vec<&str> =
            ci.lines().map(str::trim).filter(|line| line.starts_with("kernel:")).collect();
        assert!(!chosen.is_empty());
        for line in chosen {
            assert_eq!(line, "kernel: ${{ fromJSON(needs.kernels.outputs.all) }}");
        }
        // The newest kernel of the matrix is the newest that the module's sources have been tried
        // on.
        let newest = matrix().iter().filter_map(|one| number(&one.name)).max().unwrap();
        let untried = format!("KERNEL_VERSION({}, {}, 0)", newest.0, newest.1 + 1);
        let compat = include_str!("../../../fixtures/vexfs/kernel/compat.h");
        let line = compat.lines().find(|line| line.contains("#define VEXFS_UNTRIED")).unwrap();
        assert!(line.ends_with(&untried), "{line} is not {untried}");
    }

    fn number(series: &str) -> Option<(u32, u32)> {
        let (major, minor) = series.trim_end_matches("-rt").split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
}
