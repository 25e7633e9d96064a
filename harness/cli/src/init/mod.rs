//! `vexfs-validate init` asks three questions and writes a commented `vexfs.toml`.

mod answer;
mod file;
mod settled;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use evidence::exit;
use machine::failure::{Failure, WithContext};
use machine::{atomic, config};

use self::answer::{Answers, MOUNTS};
use self::settled::Settled;
use super::output::outln;
use super::stop::Stop;

/// Options of `init`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Your FUSE daemon: a program and its arguments, or the directory of its cargo package
    #[arg(long, value_name = "COMMAND")]
    fuse: Option<String>,
    /// The command that mounts it [default: {program} {options} {mountpoint}]
    #[arg(long, value_name = "COMMAND")]
    mount: Option<String>,
    /// Your kernel module: its file, built for the guest's kernel, or the directory of its sources
    #[arg(long, value_name = "PATH")]
    module: Option<String>,
    /// The name of the module's file system in /proc/filesystems, if it is not the module's name
    #[arg(long, value_name = "NAME", requires = "module")]
    filesystem: Option<String>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

impl Options {
    fn answers(&self) -> Option<Answers> {
        let answers = Answers {
            fuse: self.fuse.clone(),
            mount: self.mount.clone(),
            module: self.module.clone(),
            filesystem: self.filesystem.clone(),
        };
        (answers != Answers::default()).then_some(answers)
    }
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Stop> {
    let wrong = |failure: Failure| Stop::new(exit::USAGE, failure);
    let path = config::path();
    if fs::symlink_metadata(&path).is_ok() && !options.force {
        return Err(Stop::new(
            exit::USAGE,
            format!("{} is there already; edit it, or replace it with --force", path.display()),
        ));
    }
    let here = std::env::current_dir().map_err(|error| Stop::new(exit::SETUP, error))?;
    let settled = match options.answers() {
        Some(answers) => answers.settle(&here, &path).map_err(wrong)?,
        None if io::stdin().is_terminal() && io::stdout().is_terminal() => {
            let asked = ask(&mut io::stdin().lock(), &mut io::stdout(), &here, &path);
            asked.map_err(wrong)?
        }
        None => {
            return Err(Stop::new(
                exit::USAGE,
                "without a terminal nothing can be asked; give --fuse COMMAND (and --mount COMMAND if \
                 it is not mounted by {program} {options} {mountpoint}), or --module PATH",
            ));
        }
    };
    let text = file::text(&settled);
    // Reads the text as later commands will, so that they cannot refuse a file that init wrote.
    config::parse(&text, &path).map_err(wrong)?;
    atomic::write(&path, text.as_bytes()).context(path.display()).map_err(|failure| {
        Stop::new(exit::EVIDENCE, failure.and_then("; set VEXFS_CONFIG to write another file"))
    })?;
    outln!("{} is written", path.display());
    for note in &settled.notes {
        outln!("note: {note}");
    }
    outln!("next: vexfs-validate try, which tries ten things in about ten seconds");
    Ok(ExitCode::SUCCESS)
}

/// Asks the three questions. An answer that is refused is asked for again, with the reason.
fn ask(
    hear: &mut impl BufRead,
    tell: &mut impl Write,
    here: &Path,
    path: &Path,
) -> Result<Settled, Failure> {
    let mut answers = Answers::default();
    writeln!(
        tell,
        "Three questions, then {} is written. An empty answer takes the value in brackets.",
        path.display()
    )?;
    loop {
        let question = "\n1. Your FUSE daemon: a program and its arguments (build/my_vexfs -f), or the \
                        directory\n   of its cargo package [the reference's]";
        answers.fuse = asked(hear, tell, question)?;
        match answers.settle(here, path) {
            Ok(_) => break,
            // Nothing has been named so far, but the third question may name a module.
            Err(_) if answers.fuse.is_none() => break,
            Err(failure) => writeln!(tell, "   {failure}")?,
        }
    }
    while answers.fuse.is_some() {
        writeln!(tell, "\n2. How is it mounted? A number, or a command of your own")?;
        for (number, (command, when)) in (1..).zip(MOUNTS) {
            writeln!(tell, "   {number}  {command:<34} {when}")?;
        }
        let answer = asked(hear, tell, "   [1]")?.unwrap_or_else(|| "1".to_owned());
        let known = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        answers.mount = match known {
            Some(number) => match MOUNTS.get(number) {
                Some((command, _)) => Some((*command).to_owned()),
                None => {
                    writeln!(tell, "   the numbers are 1 to {}", MOUNTS.len())?;
                    continue;
                }
            },
            None => Some(answer),
        };
        match answers.settle(here, path) {
            Ok(_) => break,
            Err(failure) => writeln!(tell, "   {failure}")?,
        }
    }
    loop {
        let question = "\n3. Your kernel module: vexfs.ko, built for the guest's kernel, or the directory \
                        of its\n   sources [none]";
        answers.module = asked(hear, tell, question)?;
        match answers.settle(here, path) {
            Ok(settled) => return Ok(settled),
            Err(failure) if answers == Answers::default() => return Err(failure),
            Err(failure) => writeln!(tell, "   {failure}")?,
        }
    }
}

/// Asks a question and returns the answer; `None` if it is empty.
fn asked(
    hear: &mut impl BufRead,
    tell: &mut impl Write,
    question: &str,
) -> Result<Option<String>, Failure> {
    write!(tell, "{question}: ")?;
    tell.flush()?;
    let mut line = String::new();
    machine::require!(
        hear.read_line(&mut line)? > 0,
        "the answers ended too early; nothing is written"
    );
    let answer = line.trim();
    Ok((!answer.is_empty()).then(|| answer.to_owned()))
}

#[cfg(test)]
mod tests;
