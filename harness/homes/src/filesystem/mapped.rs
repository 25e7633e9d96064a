//! Mappings of files into memory.

use std::fs::File;
use std::ptr::NonNull;

use machine::failure::{Failure, WithContext};
use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, MsyncFlags, ProtFlags, mmap, mmap_anonymous, mprotect,
    mremap, msync, munmap,
};

/// A mapping of a file's first bytes, unmapped on drop. The bytes are copied and never borrowed,
/// because the file may change meanwhile.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// A mapping whose stores go to `file`.
    pub fn shared(file: &File, length: usize) -> Result<Mapping, Failure> {
        Mapping::new(file, length, MapFlags::SHARED)
    }

    /// A mapping whose stores do not reach the file.
    pub fn private(file: &File, length: usize) -> Result<Mapping, Failure> {
        Mapping::new(file, length, MapFlags::PRIVATE)
    }

    fn new(file: &File, length: usize, flags: MapFlags) -> Result<Mapping, Failure> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, flags, file, 0) };
        Ok(Mapping { start: not_null(start.context("mmap")?)?, length })
    }

    /// Calls mremap(2): the mapping then has `length` bytes, and may have moved.
    pub fn resize(&mut self, length: usize) -> Result<(), Failure> {
        let start = self.start.as_ptr().cast();
        // SAFETY: exactly this mapping is remapped, and nobody holds a pointer into it.
        let start = unsafe { mremap(start, self.length, length, MremapFlags::MAYMOVE) };
        (self.start, self.length) = (not_null(start.context("mremap")?)?, length);
        Ok(())
    }

    /// The address of byte `at`.
    pub fn address(&self, at: usize) -> *mut u8 {
        assert!(at < self.length);
        self.start.as_ptr().wrapping_add(at)
    }

    /// Copies the `length` bytes from `at` on, which must lie within the file.
    pub fn load(&self, at: usize, length: usize) -> Vec<u8> {
        assert!(at + length <= self.length);
        let mut bytes = vec![0; length];
        // SAFETY: both ranges are `length` bytes long, and `bytes` is new.
        unsafe { self.address(at).copy_to_nonoverlapping(bytes.as_mut_ptr(), length) };
        bytes
    }

    /// Stores `bytes` from `at` on, which must lie within the file.
    pub fn store(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.length);
        // SAFETY: within the mapping, which is writable and to which nobody holds a reference.
        unsafe { self.address(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Calls msync(2) on the whole mapping.
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
        // SAFETY: exactly the pages of this mapping, to which nobody holds a pointer.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A page of memory that is followed by an inaccessible one.
pub(super) struct LastPage(NonNull<u8>);

const PAGE: usize = 4096;

impl LastPage {
    /// Maps a page, and keeps the addresses after it inaccessible.
    pub(super) fn new() -> Result<LastPage, Failure> {
        let (readable, none) = (ProtFlags::READ | ProtFlags::WRITE, MprotectFlags::empty());
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), 2 * PAGE, readable, MapFlags::PRIVATE) };
        let page = LastPage(not_null(start.context("mmap")?)?);
        // SAFETY: the second of the two pages that were just mapped.
        unsafe { mprotect(page.0.as_ptr().add(PAGE).cast(), PAGE, none) }.context("mprotect")?;
        Ok(page)
    }

    /// Puts `bytes`, at most a page, at the end of the page, and returns their address.
    pub(super) fn put_at_end(&self, bytes: &[u8]) -> *mut u8 {
        let at = PAGE - bytes.len();
        // SAFETY: within the page, to which only this function writes.
        unsafe {
            let start = self.0.as_ptr().add(at);
            start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            start
        }
    }
}

impl Drop for LastPage {
    fn drop(&mut self) {
        // SAFETY: exactly these two pages, to which nobody holds a pointer.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), 2 * PAGE) };
    }
}
