//! What a module's file says of itself.

/// The value of a `key=value` string of the file's `.modinfo`: NUL-terminated, behind a NUL.
pub(super) fn modinfo(bytes: &[u8], key: &str) -> Option<String> {
    let needle: Vec<u8> = std::iter::once(0).chain(key.bytes()).collect();
    let start = bytes.windows(needle.len()).position(|window| window == needle)? + needle.len();
    let length = bytes[start..].iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[start..start + length]).into_owned())
}
