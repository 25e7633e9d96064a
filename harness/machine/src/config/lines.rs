//! Line numbers of settings in `vexfs.toml`, for use in messages.

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

/// The positions of the values.
#[derive(Deserialize)]
struct ConfigValues {
    fuse: Option<Spanned<IgnoredAny>>,
    module: Option<Spanned<IgnoredAny>>,
    benchmark: Option<Spanned<IgnoredAny>>,
    #[serde(default)]
    mount: MountValues,
}

#[derive(Default, Deserialize)]
struct MountValues {
    fuse: Option<Spanned<IgnoredAny>>,
    module: Option<Spanned<IgnoredAny>>,
}

/// The line in `text`, counted from 1, of the value of `key`: `fuse`, `module`, `benchmark`,
/// `mount.fuse` or `mount.module`. `None` if there is no such value.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let ConfigValues { fuse, module, benchmark, mount } = toml::from_str(text).ok()?;
    let value = match key {
        "fuse" => fuse,
        "module" => module,
        "benchmark" => benchmark,
        "mount.fuse" => mount.fuse,
        "mount.module" => mount.module,
        _ => None,
    };
    let start = value?.span().start;
    Some(text.get(..start)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_on_their_lines() {
        let text = "# mine\nfuse = 'd -f'\n\n[mount]\n# so\nfuse = '{program} {mountpoint}'\n";
        assert_eq!(line_of(text, "fuse"), Some(2));
        assert_eq!(line_of(text, "mount.fuse"), Some(6));
        assert_eq!(line_of(text, "module"), None);
        assert_eq!(line_of("mount.fuse = '{mountpoint}'\n", "mount.fuse"), Some(1));
        assert_eq!(line_of("fuse = ", "fuse"), None);
    }
}
