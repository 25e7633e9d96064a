//! `vexfs-validate gate load`: loads the installed module into the running kernel.

use std::process::{Command, ExitCode};
use std::time::Duration;

use evidence::exit;
use homes::kernel::{Consent, may_load};
use machine::child::Running;
use machine::project;

use super::Load;
use super::place::Root;
use super::status::{GateState, look};
use crate::attest::public_key;
use crate::output::outln;
use crate::stop::Stop;

/// Limit for modprobe(8), also in an emulated guest.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn load(options: &Load) -> Result<ExitCode, Stop> {
    let consent =
        if options.yes_on_this_machine { Consent::YesOnThisMachine } else { Consent::None };
    may_load(consent).map_err(|failure| Stop::new(exit::REFUSED, failure))?;
    let key = options.key.as_deref().map(public_key).transpose()?;
    let release = project::running_kernel();
    let shut = |why: &str| {
        Stop::new(
            exit::REFUSED,
            format!(
                "the gate of kernel {release} is shut, nothing is loaded: {why}; see: vexfs-validate \
                 gate status"
            ),
        )
    };
    let root = Root::new("/".as_ref());
    let (file, statement) = match look(&root.home(&release), &release, key.as_ref()) {
        GateState::Open { file, statement, .. } => (file, statement),
        GateState::Empty => return Err(shut("no module has passed")),
        GateState::Broken(why) => return Err(shut(&why)),
    };
    let name = file.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
    // Load it with modprobe, which prints the notice of a module that has passed in the VM only.
    Running::start(Command::new("modprobe").arg(&name))
        .and_then(|running| running.finish(LIMIT)?.must_succeed("modprobe"))
        .map_err(|failure| Stop::new(exit::FAIL, format!("{name} is not loaded: {failure}")))?;
    outln!("loaded: {statement}");
    Ok(ExitCode::SUCCESS)
}
