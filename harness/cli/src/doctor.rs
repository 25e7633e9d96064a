//! `vexfs-validate doctor`

use std::process::ExitCode;

use clap::Args;
use console::{StyledObject, style};
use criteria::doctor::{self, Condition, Examined};
use evidence::exit;
use machine::distribution;

use super::output::outln;
use super::stop::Stop;

/// Options of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorOptions {
    /// Print nothing but what would run the guest's CPU: kvm, or tcg where it is emulated
    #[arg(long)]
    accelerator: bool,
}

pub(super) fn run(options: &DoctorOptions) -> Result<ExitCode, Stop> {
    if options.accelerator {
        let (accelerator, _) =
            guest::accelerator_here().map_err(|error| Stop::new(error.exit(), error))?;
        outln!("{accelerator}");
        return Ok(ExitCode::SUCCESS);
    }
    let groups = doctor::examine();
    for (heading, examined) in &groups {
        outln!("{}", style(heading).bold());
        for one in examined {
            show(one);
        }
    }
    if doctor::is_fit(&groups) {
        outln!("everything that a validation needs is there");
        return Ok(ExitCode::SUCCESS);
    }
    Err(Stop::new(exit::SETUP, what_to_do(distribution::other_than_debian().as_deref())))
}

/// Says what to do about missing things. `another` is the name of a Linux that is not Debian.
fn what_to_do(another: Option<&str>) -> String {
    match another {
        None => "everything marked 'missing' is needed; make setup build provides what can be \
                 installed or built"
            .into(),
        Some(name) => format!(
            "everything marked 'missing' is needed, and make setup installs Debian's packages: on {name} run \
             all of it in a container, with podman or docker: {}",
            distribution::IN_A_CONTAINER
        ),
    }
}

/// Prints one thing. `console` uses no colours if NO_COLOR is set or standard output is no
/// terminal.
fn show(one: &Examined) {
    let (sign, detail, remedy) = match &one.condition {
        Condition::Works(detail) => (style("ok").green(), detail, None),
        Condition::Limited(why) => (style("limited").yellow(), &why.what, Some(&why.remedy)),
        Condition::Missing(why) => (style("missing").red().bold(), &why.what, Some(&why.remedy)),
    };
    line(&sign, &one.what, detail);
    if let Some(remedy) = remedy {
        outln!("{:10} -> {remedy}", "");
    }
}

fn line(sign: &StyledObject<&str>, what: &str, detail: &str) {
    let colon = if detail.is_empty() { "" } else { ": " };
    outln!("  {sign:<8} {what}{colon}{detail}");
}

#[cfg(test)]
mod tests {
    use super::what_to_do;

    #[test]
    fn on_another_linux_the_container_is_named() {
        assert!(what_to_do(None).contains("make setup build"));
        let other = what_to_do(Some("Fedora Linux 42"));
        assert!(
            other.contains("on Fedora Linux 42") && other.contains("HOST=container"),
            "{other}"
        );
    }
}
