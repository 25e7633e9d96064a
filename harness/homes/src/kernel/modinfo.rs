//! What a module's file says about itself.

/// The value of a `key=value` string in the file's `.modinfo`; the string is between two NULs.
///
/// The search goes string by string, with about one comparison per byte. Every trial of the module
/// needs it, and comparing at every byte takes an emulated CPU 50 ms.
pub(super) fn modinfo(bytes: &[u8], key: &str) -> Option<String> {
    let end = bytes.iter().rposition(|&byte| byte == 0)?;
    let mut strings = bytes[..end].split(|&byte| byte == 0).skip(1);
    let value = strings.find_map(|string| string.strip_prefix(key.as_bytes()))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Whether the file has a symbol called `name`: its string table has the name between two NULs.
pub(super) fn has_symbol(bytes: &[u8], name: &str) -> bool {
    let needle = format!("\0{name}\0");
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::among_others(b"\x7fELF\0a=1\0key=value\0b=2\0", Some("value"))]
    #[case::empty(b"\0key=\0", Some(""))]
    #[case::the_first(b"\0key=1\0key=2\0", Some("1"))]
    #[case::at_the_very_beginning(b"key=value\0", None)]
    #[case::not_ended(b"\0key=value", None)]
    #[case::end_of_another(b"\0monkey=value\0", None)]
    #[case::nothing(b"", None)]
    fn strings_stand_between_nuls(#[case] bytes: &[u8], #[case] value: Option<&str>) {
        assert_eq!(modinfo(bytes, "key=").as_deref(), value);
    }
}
