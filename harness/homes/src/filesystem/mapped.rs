//! A file's bytes in memory.

use std::fs::File;
use std::ptr::NonNull;

use machine::failure::{Failure, WithContext};
use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, MsyncFlags, ProtFlags, mmap, mmap_anonymous, mprotect,
    mremap, msync, munmap,
};

/// A mapping of a file's first bytes, unmapped on drop. Its bytes are copied, never borrowed:
/// the file may change beneath.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// A mapping whose stores go to `file`.
    pub fn shared(file: &File, length: usize) -> Result<Mapping, Failure> {
        Mapping::new(file, length, MapFlags::SHARED)
    }

    /// A mapping whose stores stay in it.
    pub fn private(file: &File, length: usize) -> Result<Mapping, Failure> {
        Mapping::new(file, length, MapFlags::PRIVATE)
    }

    fn new(file: &File, length: usize, flags: MapFlags) -> Result<Mapping, Failure> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping where the kernel likes.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, flags, file, 0) };
        Ok(Mapping { start: not_null(start.context("mmap")?)?, length })
    }

    /// mremap(2): the mapping has `length` bytes from now on, and may have moved.
    pub fn resize(&mut self, length: usize) -> Result<(), Failure> {
        let start = self.start.as_ptr().cast();
        // SAFETY: exactly this mapping, of which nobody holds a pointer.
        let start = unsafe { mremap(start, self.length, length, MremapFlags::MAYMOVE) };
        (self.start, self.length) = (not_null(start.context("mremap")?)?, length);
        Ok(())
    }

    /// Where byte `at` lies.
    pub fn address(&self, at: usize) -> *mut u8 {
        assert!(at < self.length);
        self.start.as_ptr().wrapping_add(at)
    }

    /// The `length` bytes from `at` on, which must be within the file.
    pub fn load(&self, at: usize, length: usize) -> Vec<u8> {
        assert!(at + length <= self.length);
        let mut bytes = vec![0; length];
        // SAFETY: both are `length` bytes long, and `bytes` is new.
        unsafe { self.address(at).copy_to_nonoverlapping(bytes.as_mut_ptr(), length) };
        bytes
    }

    /// Stores `bytes` from `at` on, which must be within the file.
    pub fn store(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.length);
        // SAFETY: within the mapping, which is writable, and of which nobody holds a reference.
        unsafe { self.address(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// msync(2) of all of it.
    pub fn sync(&self) -> std::io::Result<()> {
        // SAFETY: exactly the pages of this mapping.
        Ok(unsafe { msync(self.start.as_ptr().cast(), self.length, MsyncFlags::SYNC) }?)
    }
}

fn not_null(start: *mut std::ffi::c_void) -> Result<NonNull<u8>, Failure> {
    NonNull::new(start.cast()).ok_or_else(|| Failure::new("mapped at address 0"))
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the pages of this mapping, of which nobody holds a pointer.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A page of memory with none behind it.
pub(super) struct LastPage(NonNull<u8>);

const PAGE: usize = 4096;

impl LastPage {
    /// A page, and an address behind it that is kept free.
    pub(super) fn new() -> Result<LastPage, Failure> {
        let (readable, none) = (ProtFlags::READ | ProtFlags::WRITE, MprotectFlags::empty());
        // SAFETY: fresh mappings where the kernel likes.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), 2 * PAGE, readable, MapFlags::PRIVATE) };
        let page = LastPage(not_null(start.context("mmap")?)?);
        // SAFETY: the second of the pages just mapped.
        unsafe { mprotect(page.0.as_ptr().add(PAGE).cast(), PAGE, none) }.context("mprotect")?;
        Ok(page)
    }

    /// Puts `bytes`, at most a page, so that the page ends with them; where they begin.
    pub(super) fn put_at_end(&self, bytes: &[u8]) -> *mut u8 {
        let at = PAGE - bytes.len();
        // SAFETY: within the page, to which only this writes.
        unsafe {
            let start = self.0.as_ptr().add(at);
            start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            start
        }
    }
}

impl Drop for LastPage {
    fn drop(&mut self) {
        // SAFETY: exactly the two pages, of which nobody holds a pointer.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), 2 * PAGE) };
    }
}
