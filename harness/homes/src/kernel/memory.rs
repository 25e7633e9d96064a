//! Kernel memory, and how much of it an unloaded module has leaked.

use std::fs;

use machine::failure::{Failure, WithContext};
use nix::errno::Errno;

/// Unreclaimable slab, kernel stacks, page tables and vmalloc from /proc/meminfo, in KiB: memory
/// that stays allocated if something is not freed. Pages that are allocated directly do not show
/// here; a sanitizer kernel sees them.
pub fn kernel_memory_kib() -> Result<i64, Failure> {
    const PARTS: [&str; 4] = ["SUnreclaim:", "KernelStack:", "PageTables:", "VmallocUsed:"];
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let mut sum = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|name| PARTS.contains(&name)) {
            sum += words.next().unwrap_or_default().parse::<i64>().context(line)?;
        }
    }
    Ok(sum)
}

/// How many allocations a module has left that is not loaded any more: vmalloc areas whose
/// allocator has no name any more, and objects in slab caches named after the module. Other
/// unloaded modules may have left some, too, so take the number before the first load as zero.
///
/// A kernel without SLUB_DEBUG has no /proc/slabinfo. Objects that are left in a cache are reported
/// there in its log, when the cache goes with the module.
///
/// # Errors
/// If /proc/vmallocinfo or /proc/slabinfo cannot be read, which requires root.
pub fn leaked_allocations() -> Result<u64, Failure> {
    let read = |path| fs::read_to_string(path).context(path);
    let slabs = match read("/proc/slabinfo") {
        Err(failure) if failure.errno() == Some(Errno::ENOENT) => String::new(),
        slabs => slabs?,
    };
    Ok(nameless_areas(&read("/proc/vmallocinfo")?) + slab_objects(&slabs))
}

/// Counts lines `range size caller ...` whose caller is a bare address, because its code is gone.
fn nameless_areas(vmallocinfo: &str) -> u64 {
    let callers = vmallocinfo.lines().filter_map(|line| line.split_whitespace().nth(2));
    callers.filter(|caller| caller.starts_with("0x")).count() as u64
}

/// Adds up lines `name active_objs num_objs ...`.
fn slab_objects(slabinfo: &str) -> u64 {
    let caches = slabinfo.lines().filter(|line| line.starts_with(&super::names().module));
    caches.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_left_is_counted() {
        let areas = "\
            0xffffb1c340000000-0xffffb1c340005000   20480 irq_init_percpu_irqstack+0x11d/0x1a0 vmap\n\
            0xffffb1c340008000-0xffffb1c34000a000    8192 0xffffffffc0a41f2b pages=1 vmalloc N0=1\n\
            0xffffb1c340010000-0xffffb1c340012000    8192 unpurged vm_area\n";
        assert_eq!(nameless_areas(areas), 1);
        let slabs = "slabinfo - version: 2.1\n\
            # name            <active_objs> <num_objs> <objsize>\n\
            vexfs_inode            3     28    576\n\
            fuse_inode            70     70    896\n";
        assert_eq!(slab_objects(slabs), 3);
    }
}
