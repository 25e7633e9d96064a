//! A person's answers, and whether they can be used.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use homes::kernel::ModuleFile;
use machine::config;
use machine::failure::{Failure, WithContext};
use machine::{fail, require};

use super::file;
use super::settled::Settled;
use crate::tryout::advice;

/// The ways of mounting that are offered, each with an example or a remark.
pub(super) const MOUNTS: [(&str, &str); 3] = [
    ("{program} {options} {mountpoint}", "my_vexfs -o size=64M DIR"),
    ("{program} {mountpoint} {options}", "my_vexfs DIR -o size=64M"),
    ("{program} {mountpoint}", "it takes no -o; trials of small mounts will fail"),
];

/// The answers as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub fuse: Option<String>,
    pub mount: Option<String>,
    pub module: Option<String>,
    pub filesystem: Option<String>,
}

impl Answers {
    /// Checks the answers for the file `path`. Their relative paths begin in `here`.
    ///
    /// # Errors
    /// The first answer that cannot be used, and why.
    pub(super) fn settle(&self, here: &Path, path: &Path) -> Result<Settled, Failure> {
        require!(
            self.mount.is_none() || self.fuse.is_some(),
            "--mount says how to mount the daemon of --fuse, and --fuse is not given"
        );
        require!(
            self.fuse.is_some() || self.module.is_some(),
            "neither a daemon nor a module is named; without vexfs.toml the reference is tried"
        );
        let beside = path.parent().unwrap_or(Path::new("/"));
        let mut paths = Paths { here, beside, notes: Vec::new() };
        let fuse = self.fuse.as_deref().map(|text| paths.command(text)).transpose()?;
        let mount = self.mount.as_deref().map(|text| paths.command(text)).transpose()?;
        let module = self.module.as_deref().map(|text| paths.of(text));
        let Paths { mut notes, .. } = paths;
        let filesystem = self.filesystem.clone();
        if let Some(words) = &fuse {
            runs(words, beside, &mut notes).context("--fuse")?;
        }
        if let Some(module) = &module {
            is_module(&beside.join(module), &mut notes).context("--module")?;
        }
        if let Some(words) = &mount {
            mounts(words, &mut notes);
        }
        let settled = Settled { fuse, mount, module, filesystem, notes };
        // The reader of the file has the last word. Its message names the file, which is not
        // written yet.
        config::parse(&file::text(&settled), path).map_err(|failure| {
            let said = failure.to_string();
            let begin = format!("{}: ", path.display());
            Failure::new(said.strip_prefix(&begin).unwrap_or(&said))
        })?;
        Ok(settled)
    }
}

/// Translates paths from the person's directory to the file's.
struct Paths<'a> {
    here: &'a Path,
    beside: &'a Path,
    notes: Vec<String>,
}

impl Paths<'_> {
    /// `path` as it is written into the file: relative to the file's directory, or absolute.
    fn of(&self, path: &str) -> String {
        let absolute = self.here.join(path);
        let absolute = absolute.canonicalize().unwrap_or(absolute);
        let beside = self.beside.canonicalize().unwrap_or_else(|_| self.beside.to_owned());
        absolute.strip_prefix(&beside).unwrap_or(&absolute).display().to_string()
    }

    /// The words of a command. The command runs in the file's directory, so a word that names a
    /// file in the person's directory is translated.
    fn command(&mut self, text: &str) -> Result<Vec<String>, Failure> {
        require!(
            !text.trim().is_empty(),
            "the command is empty; it must begin with a program: --fuse 'build/my_vexfs -f'"
        );
        // If the whole text is a path, it is a single word: a path may contain blanks.
        let whole = self.here.join(text);
        let words: Vec<String> = match whole.exists() {
            true => vec![text.to_owned()],
            false => text.split_whitespace().map(str::to_owned).collect(),
        };
        let words = words.into_iter().enumerate().map(|(number, word)| {
            let is_path =
                word.contains(['/', '.']) && !word.starts_with('-') && !word.contains('{');
            let is_there = self.here.join(&word).exists() && (is_path || number == 0);
            // A directory of the same name does not hide a program on the path.
            let is_meant = is_path || self.here.join(&word).is_file() || whole.exists();
            if !is_there || !is_meant || Path::new(&word).is_absolute() {
                return word;
            }
            let settled = self.of(&word);
            if self.here != self.beside && settled != word {
                self.notes.push(format!(
                    "{word} is written as {settled}, because paths begin in the file's directory"
                ));
            }
            settled
        });
        Ok(words.collect())
    }
}

/// Checks that the first of `words` can be run or built.
fn runs(words: &[String], beside: &Path, notes: &mut Vec<String>) -> Result<(), Failure> {
    let Some(name) = words.first() else { fail!("the command has no words") };
    let program = beside.join(name);
    if program.is_dir() {
        require!(
            program.join("Cargo.toml").is_file(),
            "{} has no Cargo.toml; name the daemon's program itself",
            program.display()
        );
    } else if program.is_file() {
        let mode = fs::metadata(&program).context(program.display())?.permissions().mode();
        require!(mode & 0o111 != 0, "{} {}", program.display(), instead_of(name));
    }
    if program.exists() {
        hidden_from_the_guest(&program, notes);
    }
    notes.extend(advice::of_checkout(name));
    for word in &words[1..] {
        let is_path =
            word.contains('/') || [".py", ".sh", ".pl"].iter().any(|end| word.ends_with(end));
        if is_path && !word.starts_with('-') && !beside.join(word).exists() {
            notes.push(format!("{word} is not there (the command runs in {})", beside.display()));
        }
    }
    Ok(())
}

/// Why the file `name` cannot be run, and what to name instead.
fn instead_of(name: &str) -> String {
    let end = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    match end {
        "c" | "cc" | "cpp" | "go" | "h" | "rs" => {
            "is source code; name the program that is built from it, or the directory of a cargo package"
                .to_owned()
        }
        "pl" | "py" | "rb" => {
            let interpreter = match end {
                "pl" => "perl",
                "py" => "python3",
                _ => "ruby",
            };
            format!(
                "is not executable; run chmod +x on it, or name its interpreter first \
                 (/usr/bin/{interpreter} {name})"
            )
        }
        _ => format!(
            "is not executable; run chmod +x on it, or name its interpreter first (sh {name})"
        ),
    }
}

/// Notes what may be a mistake in a command that mounts.
fn mounts(words: &[String], notes: &mut Vec<String>) {
    let says = |name: &str| words.iter().any(|word| word.contains(name));
    if !says("{program}") {
        notes.push(
            "the mounting command has no {program}, so it does not run what --fuse names".into(),
        );
    }
    if !says("{options}") {
        notes.push("without {options}, the trials of small mounts cannot pass".into());
    }
}

/// Checks that `path` is a module's file, or a directory where one can be built.
fn is_module(path: &Path, notes: &mut Vec<String>) -> Result<(), Failure> {
    require!(path.exists(), "{} is not there", path.display());
    hidden_from_the_guest(path, notes);
    if path.is_dir() {
        require!(
            ["Kbuild", "Makefile"].iter().any(|name| path.join(name).is_file()),
            "{} has neither Kbuild nor Makefile; name the module's file itself",
            path.display()
        );
        return Ok(());
    }
    let module = ModuleFile::read(path)?;
    let kernel = module.vermagic.split(' ').next().unwrap_or_default();
    notes.push(format!(
        "the module is built for kernel {kernel}; boot that one: vexfs-validate run --kernel {kernel}"
    ));
    Ok(())
}

/// Notes that the guest cannot see `path`, because it has a /tmp of its own.
fn hidden_from_the_guest(path: &Path, notes: &mut Vec<String>) {
    let real: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.starts_with("/tmp") {
        notes.push(format!("{} is under /tmp, which the guest does not see", real.display()));
    }
}
