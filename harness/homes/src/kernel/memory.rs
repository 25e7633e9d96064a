//! Kernel memory, and how much of it an unloaded module has leaked.

use std::fs;

use machine::failure::{Failure, WithContext};

/// Unreclaimable slab, kernel stacks, page tables and vmalloc of /proc/meminfo, in KiB: what
/// stays when something is not freed. Pages that are allocated directly do not show here; a
/// sanitizer kernel sees them.
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

/// Allocations that a module which is not loaded has left: areas of vmalloc whose allocator has no
/// name any more, and objects in slab caches of its name. Another module that is gone may have
/// left some, too: take the number before the first load as zero.
///
/// # Errors
/// Where /proc/vmallocinfo or /proc/slabinfo cannot be read, which takes root.
pub fn leaked_allocations() -> Result<u64, Failure> {
    let read = |path| fs::read_to_string(path).context(path);
    Ok(nameless_areas(&read("/proc/vmallocinfo")?) + slab_objects(&read("/proc/slabinfo")?))
}

/// Lines of `range size caller ...`, where a caller in code that is gone is a bare address.
fn nameless_areas(vmallocinfo: &str) -> u64 {
    let callers = vmallocinfo.lines().filter_map(|line| line.split_whitespace().nth(2));
    callers.filter(|caller| caller.starts_with("0x")).count() as u64
}

/// Lines of `name active_objs num_objs ...`.
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
