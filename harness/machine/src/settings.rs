//! Environment variables that the guest must inherit from the host.

/// Variables that change what cargo builds or how trials behave. The guest needs them to find what
/// the host built, and repeating a trial means repeating them.
pub const SETTINGS: &[&str] = &[
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "CI",
    "NO_COLOR",
    "PROPTEST_CASES",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "VEXFS_CONFIG",
];

/// Prefixes of further such variables.
pub const SETTINGS_FAMILIES: &[&str] = &["CARGO_PROFILE_", "VEXFS_VALIDATION_"];

/// The variables of these that are set, by name.
pub fn settings() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| {
            SETTINGS.contains(&name.as_str())
                || SETTINGS_FAMILIES.iter().any(|family| name.starts_with(family))
        })
}
