//! The kernel's own look at the objects of its caches, where it was booted to keep watch over them
//! (`slub_debug`, Documentation/mm/slub.rst).

use std::fs;
use std::path::Path;

use machine::failure::{Failure, WithContext};

const CACHES: &str = "/sys/kernel/slab";

/// Caches of `kmalloc`, which a module has objects in and shares with the whole kernel. Its own are
/// looked at by the kernel when unloading destroys them.
const SHARED: &str = "kmalloc-";

/// Looks at each object of the caches of `kmalloc`: what lies behind it, and where it is free, that
/// nobody has written to it. What is wrong the kernel tells in its log. How many caches were looked
/// at: none where it was not booted with `slub_debug`.
///
/// # Errors
/// The kernel refuses to look.
pub fn look_at_slabs() -> Result<usize, Failure> {
    let Ok(caches) = fs::read_dir(CACHES) else { return Ok(0) };
    let mut looked_at = 0;
    for cache in caches {
        let cache = cache.context(CACHES)?;
        let is_shared = cache.file_name().to_string_lossy().starts_with(SHARED);
        if is_shared && is_watched(&cache.path())? {
            let path = cache.path().join("validate");
            fs::write(&path, "1").context(path.display())?;
            looked_at += 1;
        }
    }
    Ok(looked_at)
}

/// Whether free objects of the cache are poisoned, and all have red zones.
fn is_watched(cache: &Path) -> Result<bool, Failure> {
    for flag in ["poison", "red_zone"] {
        let path = cache.join(flag);
        if fs::read_to_string(&path).context(path.display())?.trim() != "1" {
            return Ok(false);
        }
    }
    Ok(true)
}
