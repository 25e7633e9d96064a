//! `repro/<trial>.sh`: a script for each trial that failed or never ended, which runs exactly that
//! trial in the same way: commit, place, kernel, accelerator, clock and variables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use evidence::clock::Clock;
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::shell::quoted;
use evidence::{Environment, Event};

use super::run::Run;
use crate::trial_end::TrialEnd;

/// The directory of the scripts in a run's directory.
pub(super) const DIRECTORY: &str = "repro";
/// How many characters of a failure's message a script repeats.
const SHOWN: usize = 400;
/// Settings that belong to that run's machine or terminal, and not to the trial.
const OF_THAT_MACHINE: &[&str] = &["CARGO_TARGET_DIR", "CI", "NO_COLOR", "RUSTC_WRAPPER"];

/// A script and the trial that it repeats.
pub(super) struct Script {
    /// File name in [`DIRECTORY`].
    pub name: String,
    /// The trial.
    pub trial: String,
    /// Where the trial failed.
    pub places: Vec<Place>,
    /// What the file holds.
    pub text: String,
}

/// One script for each trial that failed or never ended, in whichever place.
pub(super) fn scripts(run: &Run) -> Vec<Script> {
    let mut failed: BTreeMap<String, Vec<(Place, String)>> = BTreeMap::new();
    for place in Place::ALL {
        for (trial, end) in run.trial_ends(place) {
            let why = match end {
                TrialEnd::Failed(why) | TrialEnd::Undecided(why) => {
                    format!("{} in the {place}: {why}", end.words())
                }
                TrialEnd::Began => format!("began in the {place} and never ended"),
                _ => continue,
            };
            failed.entry(trial.to_owned()).or_default().push((place, why));
        }
    }
    failed
        .into_iter()
        .map(|(trial, failures)| Script {
            name: file_name(&trial),
            text: text(run, &trial, &failures),
            places: failures.into_iter().map(|(place, _)| place).collect(),
            trial,
        })
        .collect()
}

/// Writes the scripts of `run` into `into`.
pub(super) fn write(run: &Run, into: &Path) -> io::Result<()> {
    let scripts = scripts(run);
    if scripts.is_empty() {
        return Ok(());
    }
    let directory = into.join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    for script in scripts {
        let path = directory.join(script.name);
        fs::write(&path, script.text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The file name for a trial's script. Anybody may have written the trial's name into the evidence,
/// so only characters that are safe in a file name are kept.
fn file_name(trial: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    trial.replace("::", "__").chars().map(safe).collect::<String>() + ".sh"
}

fn text(run: &Run, trial: &str, failures: &[(Place, String)]) -> String {
    let mut text = "#!/bin/bash\n".to_owned();
    comment(&mut text, &format!("Repeats {trial}, as run {} had it.", run.name));
    for (_, why) in failures {
        comment(&mut text, &crate::text::shortened(why, SHOWN));
    }
    text.push_str(
        "#\n\
         # It takes the checkout that it lies in, or the one of the current directory, as it is;\n\
         # with --checkout it checks out that run's commit first.\n\
         set -euo pipefail\n\n",
    );
    let commit = run.commit().unwrap_or("unknown");
    let (clean, dirty) = commit.strip_suffix("-dirty").map_or((commit, false), |c| (c, true));
    let _ = writeln!(text, "commit={}", quoted(clean));
    let _ = writeln!(text, "trial={}\n", quoted(trial));
    text.push_str(CHECKOUT);
    if dirty {
        text.push_str("echo 'repro: that checkout had changes that are not in its commit' >&2\n");
    }
    text.push_str("\nexport PATH=\"$root/.cache/tools/bin:$root/.cache/venv/bin:$PATH\"\n");
    let kernel = run.guest_kernel();
    let mut settings = settings(run);
    match kernel {
        // The kernel that ran: a command line may have named a different one than the environment.
        Some(kernel) => drop(settings.insert("VEXFS_KERNEL".to_owned(), kernel.to_owned())),
        None => comment(&mut text, "The run recorded no kernel: this takes the default."),
    }
    let kernel = kernel.map_or_else(String::new, |kernel| format!(" KERNEL={}", quoted(kernel)));
    for (name, value) in settings {
        let _ = writeln!(text, "export {name}={}", quoted(&value));
    }
    let _ = writeln!(
        text,
        "make build{kernel} || {{\n\techo 'repro: make setup installs what a build lacks' >&2\n\
         \texit 10\n}}\n\nstatus=0",
    );
    if failures.iter().any(|(place, _)| *place == Place::Guest) {
        text.push_str(BUILT);
    }
    for (place, _) in failures {
        let command = match place {
            Place::Host => "cargo nextest run --locked --profile ci".to_owned(),
            Place::Guest => format!(
                "\"$built/debug/vexfs-validate\" guest{} -- \\\n\t\
                 cargo nextest run --locked --profile vm",
                machine(run, trial)
            ),
        };
        let _ = writeln!(
            text,
            "{command} \\\n\t-E \"package(vexfs-validation) and test(=$trial)\" || status=$?"
        );
    }
    text.push_str("exit \"$status\"\n");
    text
}

/// Finds the checkout, and says how it differs from the run's.
const CHECKOUT: &str = r#"here=$(dirname "${BASH_SOURCE[0]}")
root=$(git -C "$here" rev-parse --show-toplevel 2>/dev/null || git rev-parse --show-toplevel)
cd "$root"
if [ ! -f fixtures/expected-tests.json ]; then
	echo "repro: $root is no checkout of vexfs-validation; start this from inside one" >&2
	exit 2
fi
if [ "${1-}" = --checkout ]; then
	git checkout --detach "$commit"
fi
now=$(git rev-parse HEAD)
if [ "$now" != "$commit" ]; then
	echo "repro: this checkout is at $now, the run was of $commit (--checkout goes there)" >&2
fi
"#;

/// Asks cargo where it builds, which may be elsewhere than in the checkout.
const BUILT: &str = r#"built=$(cargo metadata --no-deps --offline --format-version 1 2>/dev/null |
	sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p') || true
built=${built:-target}
"#;

/// Writes `words` as comment lines, so that nothing in them becomes a command.
fn comment(text: &mut String, words: &str) {
    for line in crate::text::clean(words).lines() {
        let _ = writeln!(text, "# {}", line.trim_end());
    }
}

/// The variables of the run that a trial may depend on.
fn settings(run: &Run) -> BTreeMap<String, String> {
    let environment = run.environment(Place::Host).or_else(|| run.environment(Place::Guest));
    let mut settings = environment.map_or_else(BTreeMap::new, |one| one.variables.clone());
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    settings.retain(|name, _| is_name(name) && !OF_THAT_MACHINE.contains(&name.as_str()));
    settings
}

/// The guest that the trial was last begun in, as options of `vexfs-validate guest`.
fn machine(run: &Run, trial: &str) -> String {
    let mut seen: Option<&Environment> = None;
    let mut of_trial = None;
    for record in run.evidence.records(Place::Guest) {
        match &record.event {
            Event::Environment(environment) => seen = Some(environment),
            Event::TrialStarted { trial: begun } if begun == trial => of_trial = seen,
            _ => {}
        }
    }
    let launch = match of_trial {
        Some(environment) => run.launch_of(environment),
        None => run.boots.last().map(|boot| &boot.launch).or(run.launch.as_ref()),
    };
    let kernel = run.guest_kernel().map(|kernel| format!(" --kernel {}", quoted(kernel)));
    let mut options = kernel.unwrap_or_default();
    let accelerator = of_trial
        .map(|one| one.accelerator)
        .or_else(|| launch.map(|launch| launch.accelerator.into()))
        .and_then(Processor::accelerator);
    if let Some(accelerator) = accelerator {
        let _ = write!(options, " --accelerator {accelerator}");
    }
    let clock = of_trial.and_then(|one| one.clock).or_else(|| launch.map(|launch| launch.clock));
    if clock == Some(Clock::Instructions) {
        // The instruction clock always has one CPU.
        options.push_str(" --clock instructions");
    } else if let Some(cpus) =
        of_trial.map(|one| one.cpus as u64).or_else(|| launch.map(|launch| launch.cpus))
    {
        let _ = write!(options, " --cpus {cpus}");
    }
    if let Some(launch) = launch {
        let _ = write!(options, " --memory {}", launch.memory_mib);
        if !launch.detectors.is_empty() {
            options.push_str(" --detectors");
        }
    }
    options
}
