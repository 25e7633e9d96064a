//! `vexfs-validate gate status`: lists kernels and the modules installed for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence::exit;
use verdict::attestation::{PublicKey, ShownFiles, Statement};

use super::Status;
use super::place::{ATTESTATION, KEY, NOTICE, Root};
use super::upgrade::last_upgrade;
use crate::attest::{open, public_key, refused, shown};
use crate::output::outln;
use crate::stop::Stop;

/// The state of a kernel's gate.
pub(super) enum GateState {
    /// A module is installed, and its attestation holds.
    Open { file: PathBuf, statement: Box<Statement>, key: String, in_the_vm: bool },
    /// No module is installed.
    Empty,
    /// A module is installed that should not be; with the reason.
    Broken(String),
}

pub(super) fn status(options: &Status) -> Result<ExitCode, Stop> {
    let root = Root::new(&options.root);
    let key = options.key.as_deref().map(public_key).transpose()?;
    let kernels = match kernels(&root.kernels()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        kernels => kernels.map_err(|error| {
            Stop::new(exit::EVIDENCE, format!("{}: {error}", root.kernels().display()))
        })?,
    };
    if kernels.is_empty() {
        outln!("no kernel has modules in {}", root.kernels().display());
    }
    for release in kernels {
        match look(&root.home(&release), &release, key.as_ref()) {
            GateState::Open { file, statement, key, in_the_vm } => {
                let level = if in_the_vm { "open, VM only" } else { "open" };
                outln!("{release}: {level}: {statement}; signed by key {key}");
                outln!("  module       {}", file.display());
                outln!("  attestation  {}", file.with_file_name(ATTESTATION).display());
            }
            GateState::Empty => outln!(
                "{release}: shut, FUSE serves: no module has passed; validate with: vexfs-validate \
                 gate upgrade --kernel {release}, or all of it with: vexfs-validate run --kernel \
                 {release}, then attest, and gate install"
            ),
            GateState::Broken(why) => outln!(
                "{release}: shut: {why}; install again with: vexfs-validate gate install, or take \
                 it out with: vexfs-validate gate remove --kernel {release}"
            ),
        }
        if let Some(upgrade) = last_upgrade(&options.root, &release) {
            outln!("  last upgrade {upgrade}");
        }
        for other in others(&root.modules(&release), "vexfs") {
            outln!("  {other} has not passed the gate, and modprobe may load it; remove it");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernel releases that have modules.
pub(super) fn kernels(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Examines the gate of `release`. It trusts nothing there but the signature.
pub(super) fn look(home: &Path, release: &str, key: Option<&PublicKey>) -> GateState {
    let modules = match fs::read_dir(home) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return GateState::Empty,
        Err(error) => return GateState::Broken(format!("{}: {error}", home.display())),
        Ok(entries) => {
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            paths.filter(|path| path.extension().is_some_and(|one| one == "ko"))
        }
    };
    let Ok([file]) = <[PathBuf; 1]>::try_from(modules.collect::<Vec<_>>()) else {
        return GateState::Broken(format!("{} does not hold one module", home.display()));
    };
    let checked = || {
        let key = match key {
            Some(key) => key.clone(),
            None => public_key(&home.join(KEY))?,
        };
        let attestation = home.join(ATTESTATION);
        let (module, _) = shown(&file, "module")?;
        let (statement, _) = open(&attestation, &key)?;
        let due = ShownFiles { module: Some(&module), kernel: Some(release), fuse: None };
        statement.must_hold_for(due).map_err(|why| refused(&attestation, &why))?;
        Ok::<_, Stop>((Box::new(statement), key.id()))
    };
    match checked() {
        Ok((statement, key)) => {
            let in_the_vm = home.join(NOTICE).exists();
            GateState::Open { file, statement, key, in_the_vm }
        }
        Err(stop) => GateState::Broken(stop.message),
    }
}

/// Other modules called `name` that depmod has listed for modprobe.
pub(super) fn others(modules: &Path, name: &str) -> Vec<String> {
    let listed = fs::read_to_string(modules.join("modules.dep")).unwrap_or_default();
    let paths = listed.lines().filter_map(|line| Some(line.split_once(':')?.0));
    let is_it = |path: &&str| {
        let file = path.rsplit('/').next().unwrap_or_default();
        let rest = file.strip_prefix(name);
        rest.is_some_and(|rest| rest == ".ko" || rest.starts_with(".ko."))
            && !path.starts_with("updates/vexfs-gate/")
    };
    paths.filter(is_it).map(|path| modules.join(path).display().to_string()).collect()
}
