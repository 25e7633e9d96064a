//! Advice: what to change in `vexfs.toml`, and what to do next.

use std::collections::BTreeSet;
use std::fs;

use homes::fuse::{How, MOUNT_LIMIT, in_shell};
use machine::config::{self, Config, line_of, written};
use machine::programs;

/// The line that mounts without options.
const BARE: &str = "fuse = \"{program} {mountpoint}\"";

/// The first line of the output: what is tried, and which line of `vexfs.toml` says so.
pub(super) fn what_is_tried(config: &Config) -> String {
    let path = config::path();
    if !path.exists() {
        return format!(
            "there is no {}, so the reference VexFS is tried; vexfs-validate init puts yours in its place",
            path.display()
        );
    }
    if let Some(module) = config.module.as_ref().filter(|_| is_module_alone(config)) {
        return format!(
            "{}: the kernel module {} ({}), and no FUSE daemon",
            path.display(),
            module.path.display(),
            place_of("module")
        );
    }
    let own = config.fuse.as_ref().and_then(|own| {
        let name = own.program.file_name()?.to_str()?;
        // A person who gives the whole path means that program.
        (programs::on_path(name)? == own.program).then(|| of_checkout(name))?
    });
    let own = own.map_or_else(String::new, |note| format!("\nnote: {note}"));
    let daemon = match &config.fuse {
        Some(own) => format!("{} ({})", shown(&own.words()), place_of("fuse")),
        None => "the reference's FUSE daemon".to_owned(),
    };
    let mounted = match &config.mount.fuse {
        Some(own) => {
            format!(", mounted by: {} ({})", shown(&own.words()), place_of("mount.fuse"))
        }
        None => String::new(),
    };
    format!("{}: {daemon}{mounted}{own}", path.display())
}

/// A command as a shell would read it, with its placeholders as they are.
fn shown(words: &[String]) -> String {
    let placeholder = |word: &str| word.starts_with('{') && word.ends_with('}');
    let word = |word: &String| match placeholder(word) {
        true => word.clone(),
        false => in_shell(std::slice::from_ref(word)),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether the configuration names a module and no FUSE daemon.
pub(super) fn is_module_alone(config: &Config) -> bool {
    config.module.is_some() && config.fuse.is_none() && config.mount.fuse.is_none()
}

/// Where `key` is set: `vexfs.toml, line 3`, or only the file if it is not set.
pub(super) fn place_of(key: &str) -> String {
    let path = config::path();
    let name = path.file_name().unwrap_or_default().display().to_string();
    let line = fs::read_to_string(&path).ok().and_then(|text| line_of(&text, key));
    line.map_or_else(|| name.clone(), |line| format!("{name}, line {line}"))
}

/// Says what `mount.fuse` should be, and on which line; on a new one if it is not set.
fn mount_should_be(what: &str) -> String {
    match config::current().ok().and_then(|config| config.mount.fuse.as_ref()) {
        Some(_) => format!("{}: {what}", place_of("mount.fuse")),
        None => format!("add to {}, under [mount]: {what}", place_of("mount.fuse")),
    }
}

/// Advice for a daemon that starts only without options.
pub(super) fn without_options() -> String {
    format!("if it takes no -o, leave {{options}} out; {}", mount_should_be(BARE))
}

/// Advice for a daemon that does not keep to the limit of `size=`.
pub(super) fn size() -> String {
    "it is started with -o size=1M (bytes, with K, M or G); libfuse refuses size= unless the program \
     parses it"
        .to_owned()
}

/// Advice for a daemon that is started without options.
pub(super) fn no_size() -> String {
    let line = place_of("mount.fuse");
    format!(
        "{line}: once the daemon takes -o, add {{options}} there; trials of small mounts ask for size="
    )
}

/// A note for a command whose program is a bare `name` that is found among the checkout's own
/// programs, which may not be the one that was meant.
pub(crate) fn of_checkout(name: &str) -> Option<String> {
    let found = programs::on_path(name).filter(|_| !name.contains('/'))?;
    let own = programs::project_directories().iter().any(|directory| found.starts_with(directory));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).filter(|directory| !found.starts_with(directory));
    // All of them are named: the first may be a version manager's rather than the system's.
    let mut files = BTreeSet::new();
    let others: Vec<String> = others
        .map(|directory| directory.join(name))
        .filter(|path| path.is_file() && path.canonicalize().is_ok_and(|file| files.insert(file)))
        .map(|path| path.display().to_string())
        .collect();
    let instead = match others.as_slice() {
        [] => String::new(),
        others => format!(", as {}", others.join(" or ")),
    };
    own.then(|| {
        format!(
            "{name} is the checkout's own, {}, which lacks the system's packages; if you mean another, \
             give its path{instead}",
            found.display()
        )
    })
}

/// Arguments that send daemons to the background.
const BACKGROUND: [&str; 5] = ["--background", "--daemon", "--daemonize", "--fork", "-b"];

/// Advice for a daemon that does not start.
pub(super) fn not_started(how: How, config: &Config) -> Option<String> {
    let own = config.fuse.as_ref()?;
    match how {
        How::Background => {
            let words = own.words();
            let (told, rest): (Vec<_>, Vec<_>) =
                words.iter().cloned().partition(|word| BACKGROUND.contains(&word.as_str()));
            let should = |words: &[String]| format!("fuse = {}", written(words));
            let place = place_of("fuse");
            Some(match told.first() {
                Some(word) => format!(
                    "{place}: it has to stay in the foreground, so leave {word} out: {}",
                    should(&rest)
                ),
                None => format!(
                    "{place}: it has to stay in the foreground; if libfuse parses the arguments: {}; \
                     other daemons need --foreground or -d",
                    should(&words.into_iter().chain(["-f".to_owned()]).collect::<Vec<_>>())
                ),
            })
        }
        How::NoMount => Some(format!(
            "{}: it runs, and mounts nothing on {{mountpoint}}; is that its last argument? The default \
             command is: {{program}} {{options}} {{mountpoint}}. {}",
            if config.mount.fuse.is_some() { place_of("mount.fuse") } else { place_of("fuse") },
            patience()
        )),
        How::Ends => Some(format!(
            "{}: run the command by hand, with an empty directory as its mount point",
            // A word of either may be what made it end.
            match &config.mount.fuse {
                Some(_) => format!("{} and {}", place_of("fuse"), place_of("mount.fuse")),
                None => place_of("fuse"),
            }
        )),
        How::NoAnswer => Some(format!("its root must answer statfs and lookup. {}", patience())),
        How::NotRun => None,
    }
}

/// Why a daemon that is slow to start is given up here.
fn patience() -> String {
    format!(
        "This command waits {} s, because a person is watching; the trials wait {} s",
        super::PATIENCE.as_secs(),
        MOUNT_LIMIT.as_secs()
    )
}

/// The command that runs all trials of a daemon.
pub(super) fn all_of_daemon(config: &Config) -> String {
    let own = config.fuse.is_some() || config.mount.fuse.is_some();
    let whose = if own { "yours" } else { "the reference" };
    format!("cargo test --test fuse, which is criterion 1 on {whose}")
}

/// The command that runs all trials of a module, on the host.
pub(super) fn all_of_module() -> String {
    "vexfs-validate guest -- cargo nextest run --profile vm --no-fail-fast -E 'binary(module)'"
        .to_owned()
}

/// What to do next. `lacks` is whether something is lacking, `all` the command that runs all
/// trials.
pub(super) fn next(lacks: bool, all: &str) -> String {
    if lacks {
        format!("next: fix what is lacking, or see all of it with {all}")
    } else {
        format!("next: {all}, and then vexfs-validate run")
    }
}
