//! The memory that a request is made with, with guard pages around it and canaries in the rest.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;

use machine::failure::Failure;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use vexfs_uapi::IOC_MAX_SIZE;

const PAGE: usize = 4096;
/// Room for the largest request, in whole pages.
const ROOM: usize = (IOC_MAX_SIZE + 1).next_multiple_of(PAGE) + PAGE;
/// Guard, room, guard, read-only room, guard.
const MAPPED: usize = PAGE + ROOM + PAGE + ROOM + PAGE;
/// The bytes beside a request, for one page. A write beyond the request hits its direct
/// neighbourhood or nothing at all, and filling the whole room would take an emulated guest most of
/// its time.
const CANARIES: [u8; PAGE] = [0xa5; PAGE];

/// Where the bytes of a request are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Directly before a page that is not mapped: one byte too many is EFAULT.
    BeforeGuard,
    /// Directly after a page that is not mapped, followed by canaries.
    AfterGuard,
    /// In memory that cannot be written to.
    ReadOnly,
    /// With the second half in a page that is not mapped.
    CutOff,
    /// In a page that is not mapped.
    Unmapped,
    /// At address 0.
    Null,
    /// In the kernel's half of the address space.
    Kernel,
    /// At a non-canonical address.
    NonCanonical,
    /// Across the end of the address space.
    Top,
}

impl Placement {
    /// Placements at which a request cannot be answered.
    pub const BAD: [Placement; 7] = [
        Placement::ReadOnly,
        Placement::CutOff,
        Placement::Unmapped,
        Placement::Null,
        Placement::Kernel,
        Placement::NonCanonical,
        Placement::Top,
    ];

    /// Whether all bytes can be read.
    pub fn is_readable(self) -> bool {
        matches!(self, Placement::BeforeGuard | Placement::AfterGuard | Placement::ReadOnly)
    }

    /// Whether all bytes can be written.
    pub fn is_writable(self) -> bool {
        matches!(self, Placement::BeforeGuard | Placement::AfterGuard)
    }
}

/// A mapping that is reused for many requests.
pub struct Memory(NonNull<u8>);

// SAFETY: the mapping belongs to this value alone, like the memory of a `Vec`.
unsafe impl Send for Memory {}

impl Memory {
    /// Makes the mapping.
    pub fn new() -> Result<Memory, Failure> {
        const { assert!(MAPPED > 0) };
        let length = NonZeroUsize::new(MAPPED).ok_or_else(|| Failure::new("no memory is asked"))?;
        let flags = MapFlags::MAP_PRIVATE;
        // SAFETY: a fresh mapping, which touches no existing memory.
        let base = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_NONE, flags) }?.cast();
        let memory = Memory(base);
        memory.protect(PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        memory.protect(READ_ONLY_ROOM, ProtFlags::PROT_READ)?;
        Ok(memory)
    }

    /// Sets the protection of the room at `offset`.
    fn protect(&self, offset: usize, protection: ProtFlags) -> Result<(), Failure> {
        // SAFETY: the room lies within the mapping, to which no reference is held now.
        Ok(unsafe { mprotect(self.0.add(offset).cast(), ROOM, protection) }?)
    }

    /// The room that can be read and written.
    fn room(&mut self) -> &mut [u8] {
        // SAFETY: the pages are mapped readable and writable as long as `self` lives, and are
        // borrowed through `self` only.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(PAGE).as_ptr(), ROOM) }
    }

    /// The part of the room that is checked: the bytes of the request, and canaries.
    fn watched(placement: Placement, length: usize) -> Range<usize> {
        let watched = length + PAGE;
        if placement == Placement::AfterGuard { 0..watched } else { ROOM - watched..ROOM }
    }

    /// The range of the request in the room. It is empty for requests that cannot be answered,
    /// because nothing in the room may change then.
    fn answered(placement: Placement, length: usize) -> Range<usize> {
        match placement {
            Placement::AfterGuard => 0..length,
            Placement::BeforeGuard => ROOM - length..ROOM,
            _ => ROOM..ROOM,
        }
    }

    /// Lays out `bytes` as `placement` says, and returns the address to make the request with.
    pub fn place(&mut self, bytes: &[u8], placement: Placement) -> Result<usize, Failure> {
        let base = self.0.as_ptr().addr();
        self.room()[Memory::watched(placement, bytes.len())].fill(CANARIES[0]);
        match placement {
            Placement::BeforeGuard | Placement::AfterGuard => {
                let part = Memory::answered(placement, bytes.len());
                let start = part.start;
                self.room()[part].copy_from_slice(bytes);
                return Ok(base + PAGE + start);
            }
            Placement::ReadOnly => {
                self.protect(READ_ONLY_ROOM, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
                // SAFETY: the room has been made writable, and at most its length is copied.
                unsafe {
                    let room = self.0.add(READ_ONLY_ROOM).as_ptr();
                    room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len().min(ROOM));
                }
                self.protect(READ_ONLY_ROOM, ProtFlags::PROT_READ)?;
            }
            _ => {}
        }
        Ok(match placement {
            Placement::ReadOnly => base + READ_ONLY_ROOM,
            Placement::CutOff => base + PAGE + ROOM - bytes.len() / 2,
            Placement::Null => 0,
            Placement::Kernel => 0xffff_8880_0000_1000,
            Placement::NonCanonical => 0x8000_0000_0000,
            Placement::Top => usize::MAX - bytes.len() / 2,
            _ => base,
        })
    }

    /// The `length` bytes of the request after it was made, or none for placements that cannot be
    /// answered. `None` if something beside them has changed.
    pub fn answer(&mut self, length: usize, placement: Placement) -> Option<&[u8]> {
        let watched = Memory::watched(placement, length);
        let answered = Memory::answered(placement, length);
        let room = self.room();
        let untouched =
            |part: &[u8]| part.chunks(PAGE).all(|chunk| chunk == &CANARIES[..chunk.len()]);
        (untouched(&room[watched.start..answered.start])
            && untouched(&room[answered.end..watched.end]))
        .then_some(&room[answered])
    }
}

const READ_ONLY_ROOM: usize = PAGE + ROOM + PAGE;

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the whole mapping is ours, and no reference to it is left.
        let _ = unsafe { munmap(self.0.cast(), MAPPED) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_outside_the_request_is_detected() {
        let mut memory = Memory::new().unwrap();
        for placement in [Placement::BeforeGuard, Placement::AfterGuard] {
            memory.place(&[1, 2, 3], placement).unwrap();
            assert_eq!(memory.answer(3, placement), Some(&[1, 2, 3][..]));
            let beside = if placement == Placement::BeforeGuard { ROOM - 4 } else { 3 };
            memory.room()[beside] = 0;
            assert_eq!(memory.answer(3, placement), None);
        }
    }

    #[test]
    fn a_partial_write_to_a_cut_off_request_is_detected() {
        let mut memory = Memory::new().unwrap();
        memory.place(&[1, 2, 3, 4], Placement::CutOff).unwrap();
        assert_eq!(memory.answer(4, Placement::CutOff), Some(&[][..]));
        memory.room()[ROOM - 1] = 0;
        assert_eq!(memory.answer(4, Placement::CutOff), None);
    }

    /// Tries each placement with the kernel: write(2) reads the memory, and read(2) writes it.
    #[test]
    fn placements_are_what_they_say() {
        use std::os::fd::AsRawFd;
        let mut memory = Memory::new().unwrap();
        let (source, sink) = std::io::pipe().unwrap();
        let all = [&[Placement::BeforeGuard, Placement::AfterGuard][..], &Placement::BAD].concat();
        for placement in all {
            let bytes = [7; 64];
            let address = memory.place(&bytes, placement).unwrap() as *mut libc::c_void;
            // SAFETY: the kernel checks the address; at worst it answers EFAULT.
            let read = unsafe { libc::write(sink.as_raw_fd(), address, bytes.len()) };
            assert_eq!(read == 64, placement.is_readable(), "{placement:?} gave {read}");
            if read == 64 {
                // SAFETY: as above, and nothing holds a reference to the memory.
                let written = unsafe { libc::read(source.as_raw_fd(), address, bytes.len()) };
                assert_eq!(written == 64, placement.is_writable(), "{placement:?}");
            }
        }
    }
}
