//! What to change in `vexfs.toml`, and what to do next.

use std::fs;

use homes::fuse::How;
use machine::config::{self, Config, line_of, written};

/// Mounts without options.
const BARE: &str = "fuse = \"{program} {mountpoint}\"";

/// The first line: what is tried, and what says so.
pub(super) fn what_is_tried(config: &Config) -> String {
    let path = config::path();
    if !path.exists() {
        return format!(
            "there is no {}: the reference VexFS is tried; vexfs-validate init puts yours in its place",
            path.display()
        );
    }
    let daemon = match &config.fuse {
        Some(own) => format!("{} ({})", own.words().join(" "), place_of("fuse")),
        None => "the reference's FUSE daemon".to_owned(),
    };
    let mounted = match &config.mount.fuse {
        Some(own) => {
            format!(", mounted by: {} ({})", own.words().join(" "), place_of("mount.fuse"))
        }
        None => String::new(),
    };
    format!("{}: {daemon}{mounted}", path.display())
}

/// `vexfs.toml, line 3`.
pub(super) fn place_of(key: &str) -> String {
    let path = config::path();
    let name = path.file_name().unwrap_or_default().display().to_string();
    let line = fs::read_to_string(&path).ok().and_then(|text| line_of(&text, key));
    line.map_or_else(|| name.clone(), |line| format!("{name}, line {line}"))
}

/// What `mount.fuse` should be, and where: on its line, or on a new one.
fn mount_should_be(what: &str) -> String {
    match config::current().ok().and_then(|config| config.mount.fuse.as_ref()) {
        Some(_) => format!("{}: {what}", place_of("mount.fuse")),
        None => format!("add to {}, under [mount]: {what}", place_of("mount.fuse")),
    }
}

/// For a daemon that starts only without options.
pub(super) fn without_options() -> String {
    format!("if it takes no -o, leave {{options}} out; {}", mount_should_be(BARE))
}

/// For a daemon that does not hold what `size=` says.
pub(super) fn size() -> String {
    "it is given -o size=1M, in bytes with K, M or G; libfuse refuses size= unless the program parses it"
        .to_owned()
}

/// For a daemon that is not told of a size.
pub(super) fn no_size() -> String {
    let line = place_of("mount.fuse");
    format!("{line}: once it takes -o, say {{options}} there; trials of small mounts ask for size=")
}

/// For a daemon that does not start.
pub(super) fn not_started(how: How, config: &Config) -> Option<String> {
    let own = config.fuse.as_ref()?;
    match how {
        How::Background => Some(format!(
            "{}: it has to stay in the foreground; where libfuse parses the arguments: fuse = {}",
            place_of("fuse"),
            written(&own.words().into_iter().chain(["-f".to_owned()]).collect::<Vec<_>>())
        )),
        How::NoMount => Some(format!(
            "{}: it runs and mounts nothing on {{mountpoint}}; is that its last argument? As it is \
             by default: {{program}} {{options}} {{mountpoint}}",
            if config.mount.fuse.is_some() { place_of("mount.fuse") } else { place_of("fuse") }
        )),
        How::Ends => Some(format!(
            "{}: run that command by hand, with an empty directory as its mount point",
            place_of("fuse")
        )),
        How::NoAnswer | How::NotRun => None,
    }
}

/// What comes next; `lacks` is whether something is lacking.
pub(super) fn next(lacks: bool, config: &Config) -> String {
    let own = config.fuse.is_some() || config.mount.fuse.is_some();
    let whose = if own { "yours" } else { "the reference" };
    let all = format!("cargo test --test fuse, which is criterion 1 on {whose}");
    if lacks {
        format!("next: mend what is lacking, or see all of it by {all}")
    } else {
        format!("next: {all}, and then vexfs-validate run")
    }
}
