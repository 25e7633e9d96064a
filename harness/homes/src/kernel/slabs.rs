//! The kernel's own check of the objects in its caches, if it was booted with `slub_debug`
//! (Documentation/mm/slub.rst).

use std::fs;
use std::path::Path;

use machine::failure::{Failure, WithContext};

const CACHES: &str = "/sys/kernel/slab";

/// Prefix of the `kmalloc` caches, in which a module's objects lie beside those of the whole
/// kernel. The module's own caches are checked by the kernel when unloading destroys them.
const SHARED: &str = "kmalloc-";

/// Makes the kernel check each object in the `kmalloc` caches: its red zone, and that nobody has
/// written to it while it was free. The kernel logs errors. Returns how many caches were checked,
/// which is none if the kernel was booted without `slub_debug`.
///
/// # Errors
/// If the kernel refuses the check.
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

/// Whether the cache's free objects are poisoned, and all of its objects have red zones.
fn is_watched(cache: &Path) -> Result<bool, Failure> {
    for flag in ["poison", "red_zone"] {
        let path = cache.join(flag);
        if fs::read_to_string(&path).context(path.display())?.trim() != "1" {
            return Ok(false);
        }
    }
    Ok(true)
}
