//! `vexfs-validate doctor`

use std::process::ExitCode;

use clap::Args;
use console::{StyledObject, style};
use criteria::doctor::{self, Condition, Examined};
use evidence::exit;

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
    let message = "what is marked 'missing' is needed; make setup build provides all of it that \
                   can be installed or built";
    Err(Stop::new(exit::SETUP, message))
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
