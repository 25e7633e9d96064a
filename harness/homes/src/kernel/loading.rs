//! Loading a module. If one that is not the reference cannot be loaded, one trial fails and says why
//! in a sentence; the others report that they were not tried.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::process::Command;
use std::time::Duration;

use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use vexfs_uapi::Home;

use super::barrier::{Consent, may_load};
use super::kmsg::KernelLog;
use super::module::{
    LoadedModule, ModuleFile, delete_by_name, init, listed_modules, registered_file_systems,
};
use super::names::{Names, names};
use crate::cause::Cause;
use crate::is_own;

/// The time limit of modprobe(8), in an emulated guest.
const NEEDED_LIMIT: Duration = Duration::from_secs(120);
/// What trials say that were not tried because of another's failure to load the module. It would
/// not load in another guest either.
pub const DOES_NOT_LOAD: &str = "does not load as it should";
/// How many of the kernel log's last lines are shown if a module was not loaded.
const LINES: usize = 3;

/// Loads the modules that the module under test needs and that are not loaded yet. They stay
/// loaded, because they are not part of it.
///
/// # Errors
/// If modprobe(8) does not know them, or cannot load them.
pub fn load_needed() -> Result<(), Failure> {
    may_load(Consent::None)?;
    if !is_own(Home::Kernel)? {
        return Ok(());
    }
    let file = ModuleFile::of_running_kernel()?;
    let there = listed_modules()?;
    for name in file.depends.iter().filter(|name| !there.contains(&name.replace('-', "_"))) {
        let module = file.path.display();
        let mut modprobe = Command::new("modprobe");
        let loaded = Running::start(modprobe.arg(name))
            .and_then(|running| running.finish(NEEDED_LIMIT)?.must_succeed("modprobe"));
        loaded.context(format!(
            "{module} needs the module {name} (modinfo -F depends), which is not loaded; where \
             modprobe does not find it, build it into {module}"
        ))?;
    }
    Ok(())
}

/// Checks that no other trial has found the module impossible to use.
///
/// # Errors
/// As not tried, where one has.
pub fn may_be_tried() -> Result<(), Failure> {
    match Cause::of_this_trial("").found_by() {
        Some(first) => Err(Failure::not_tried(format!(
            "not tried: {} {DOES_NOT_LOAD}; {first} says why",
            names().module
        ))),
        None => Ok(()),
    }
}

impl ModuleFile {
    /// Loads it with finit_module(2).
    ///
    /// # Errors
    /// Its errno.
    pub fn load(&self) -> Result<LoadedModule, Failure> {
        self.load_with("")
    }

    /// Loads it with finit_module(2) and the module parameters `name=value name=value`.
    ///
    /// # Errors
    /// Its errno.
    pub fn load_with(&self, parameters: &str) -> Result<LoadedModule, Failure> {
        let file = File::open(&self.path).context(self.path.display())?;
        let parameters = CString::new(parameters)?;
        let own = BeforeLoading::of_own()?;
        let loaded = init(&file, &parameters);
        match own {
            Some(watch) => watch.check(loaded),
            None => loaded,
        }
    }
}

/// The modules, file systems and log of the kernel before a module is loaded.
struct BeforeLoading {
    modules: BTreeSet<String>,
    file_systems: BTreeSet<String>,
    log: KernelLog,
}

impl BeforeLoading {
    /// Records the present state, if the module is not the reference.
    fn of_own() -> Result<Option<BeforeLoading>, Failure> {
        if !is_own(Home::Kernel)? {
            return Ok(None);
        }
        let mut log = KernelLog::from_now()?;
        log.read()?;
        let (modules, file_systems) = (listed_modules()?, registered_file_systems()?);
        Ok(Some(BeforeLoading { modules, file_systems, log }))
    }

    /// Checks that the loaded module is what vexfs.toml says, and that loading it logged no
    /// trouble.
    ///
    /// # Errors
    /// What to change; the module is then unloaded again.
    pub(super) fn check(
        mut self,
        loaded: Result<LoadedModule, Failure>,
    ) -> Result<LoadedModule, Failure> {
        let logged = self.log.read()?;
        let loaded = loaded.map_err(|failure| {
            let said: Vec<&str> = logged.records.iter().map(|record| &*record.text).collect();
            let said = said[said.len().saturating_sub(LINES)..].join("; ");
            let said = if said.is_empty() { said } else { format!("; the kernel says: {said}") };
            failure.and_then(said)
        })?;
        let as_it_should = || {
            let modules = came(&self.modules, listed_modules()?);
            if let Err(failure) = is_called(names(), &modules) {
                for called in &modules {
                    delete_by_name(called).context(format!("unloading {called}"))?;
                }
                return Err(failure);
            }
            registers(names(), &self.file_systems, registered_file_systems()?)?;
            match logged.check().context(format!("loading {}", names().module)) {
                // Lost lines are detected where the trial's log is read.
                Err(failure) if failure.is_undecided() => Ok(()),
                other => other,
            }
        };
        as_it_should().inspect_err(|_| Cause::of_this_trial("").note())?;
        Ok(loaded)
    }
}

/// Checks that the module is called as vexfs.toml says, if any has come to /proc/modules.
fn is_called(names: &Names, modules: &BTreeSet<String>) -> Result<(), Failure> {
    require!(
        modules.is_empty() || modules.contains(&names.module),
        "/proc/modules calls the module {} and not {}; set module.name to that in vexfs.toml",
        listed(modules),
        names.module
    );
    Ok(())
}

/// Checks that the file system is called as vexfs.toml says, by what was in /proc/filesystems
/// `before` and is there `now`.
fn registers(
    names: &Names,
    before: &BTreeSet<String>,
    now: BTreeSet<String>,
) -> Result<(), Failure> {
    let Names { module, file_system } = names;
    if now.contains(file_system) {
        return Ok(());
    }
    let others = came(before, now);
    require!(
        !others.is_empty(),
        "{module} is loaded, but {file_system} is not in /proc/filesystems, and nothing else has \
         come there"
    );
    fail!(
        "{module} is loaded, but {file_system} is not in /proc/filesystems: its file system is \
         called {}; set module.filesystem to that in vexfs.toml",
        listed(&others)
    );
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn came(before: &BTreeSet<String>, now: BTreeSet<String>) -> BTreeSet<String> {
    now.into_iter().filter(|name| !before.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial_name;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_wrong_module_name_says_which_line_to_change() {
        let names = Names { module: "plainfs".to_owned(), file_system: "plain".to_owned() };
        is_called(&names, &set(&["plainfs"])).unwrap();
        is_called(&names, &set(&[])).unwrap();
        let said = is_called(&names, &set(&["simple"])).unwrap_err().to_string();
        assert!(
            said.contains("calls the module simple and not plainfs; set module.name"),
            "{said}"
        );

        let before = set(&["ext4"]);
        registers(&names, &before, set(&["ext4", "plain"])).unwrap();
        let said = registers(&names, &before, set(&["ext4", "simple"])).unwrap_err().to_string();
        assert!(said.contains("is called simple; set module.filesystem to that"), "{said}");
        let said = registers(&names, &before, before.clone()).unwrap_err().to_string();
        assert!(said.contains("nothing else has come there"), "{said}");
    }

    #[test]
    fn a_module_that_does_not_load_fails_one_trial_and_the_others_are_not_tried() {
        // Names without a criterion, which no real trial shares.
        trial_name::set(Some("of no criterion::finds it".to_owned()));
        may_be_tried().unwrap();
        Cause::of_this_trial("").note();
        trial_name::set(Some("of no criterion::comes later".to_owned()));
        let later = may_be_tried().unwrap_err();
        trial_name::set(None);
        assert!(later.is_not_tried(), "{later}");
        let said = later.to_string();
        assert!(said.contains(DOES_NOT_LOAD) && said.contains("finds it says why"), "{said}");
    }
}
