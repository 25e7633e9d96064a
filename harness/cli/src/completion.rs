//! `vexfs-validate completion SHELL`

use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::shells;

use super::output;
use super::stop::Stop;

/// A shell whose completions are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash(1)
    #[value(help = "source <(vexfs-validate completion bash)")]
    Bash,
    /// zsh(1)
    #[value(help = r#"vexfs-validate completion zsh >"${fpath[1]}/_vexfs-validate""#)]
    Zsh,
    /// fish(1)
    #[value(help = "vexfs-validate completion fish | source")]
    Fish,
}

/// Prints the completions of `command`.
pub(super) fn run(shell: Shell, mut command: clap::Command) -> Result<ExitCode, Stop> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, name, &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, name, &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, name, &mut script),
    }
    // Written in one piece; a reader may close the pipe early.
    output::put(format_args!("{}", String::from_utf8_lossy(&script)));
    Ok(ExitCode::SUCCESS)
}
