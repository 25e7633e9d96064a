//! Writes and fsync(2) that a process does not wait for: Linux's own asynchronous I/O, io_submit(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use machine::failure::{Failure, WithContext};
use machine::require;

/// `struct iocb` from linux/aio_abi.h on a little-endian machine.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ControlBlock {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    request: u64,
    result: i64,
    result2: i64,
}

/// IOCB_CMD_PWRITE.
const PWRITE: u16 = 1;
/// IOCB_CMD_FSYNC.
const FSYNC: u16 = 2;

/// An `aio_context_t`, destroyed on drop.
struct AioContext(u64);

impl AioContext {
    /// A context for `count` requests at a time.
    fn new(count: usize) -> io::Result<AioContext> {
        let mut context = 0_u64;
        // SAFETY: the kernel writes an `aio_context_t`, which is an unsigned long.
        match unsafe { libc::syscall(libc::SYS_io_setup, count, &raw mut context) } {
            0 => Ok(AioContext(context)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for AioContext {
    fn drop(&mut self) {
        // SAFETY: only this value holds the context, and the kernel waits for requests in flight.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}

/// An fsync(2) that is under way. Dropping it waits for its end.
pub struct SubmittedSync(AioContext);

impl SubmittedSync {
    /// Waits for its end.
    ///
    /// # Errors
    /// If it failed.
    pub fn wait(self) -> Result<(), Failure> {
        let (mut event, none) = (IoEvent::default(), ptr::null::<libc::timespec>());
        let at = &raw mut event;
        // SAFETY: there is room for one event, and the kernel writes no more.
        let done = unsafe { libc::syscall(libc::SYS_io_getevents, self.0.0, 1, 1, at, none) };
        require!(done == 1, "io_getevents gave {done} of 1 event: {}", io::Error::last_os_error());
        require!(event.result == 0, "an fsync by io_submit ended with {}", event.result);
        Ok(())
    }
}

/// Submits an fsync(2) of `file`. The kernel carries it out in a thread of its own.
///
/// # Errors
/// If the kernel does not take it.
pub fn submit_sync(file: &File) -> Result<SubmittedSync, Failure> {
    let context = AioContext::new(1).context("io_setup")?;
    let request = ControlBlock {
        opcode: FSYNC,
        fd: file.as_raw_fd().cast_unsigned(),
        ..ControlBlock::default()
    };
    let pointers = [ptr::from_ref(&request)];
    // SAFETY: `pointers` holds one request, which the kernel copies, and it has no buffer.
    let submitted = unsafe { libc::syscall(libc::SYS_io_submit, context.0, 1, pointers.as_ptr()) };
    require!(submitted == 1, "io_submit took no fsync: {}", io::Error::last_os_error());
    Ok(SubmittedSync(context))
}

/// Writes `block` to each of the first `count` blocks of `file` at the same time, and returns when
/// all of them have been written.
///
/// # Errors
/// If a write fails or is short.
pub(super) fn write_to_all(file: &File, block: &[u8], count: usize) -> Result<(), Failure> {
    let context = AioContext::new(count).context("io_setup")?;
    let request = |number: usize| ControlBlock {
        opcode: PWRITE,
        fd: file.as_raw_fd().cast_unsigned(),
        buffer: block.as_ptr() as u64,
        bytes: block.len() as u64,
        offset: (number * block.len()) as i64,
        ..ControlBlock::default()
    };
    let requests: Vec<ControlBlock> = (0..count).map(request).collect();
    let pointers: Vec<*const ControlBlock> = requests.iter().map(ptr::from_ref).collect();
    let mut events = vec![IoEvent::default(); count];
    // SAFETY: the requests and the block outlive the context, which waits for them when it is
    // dropped; `pointers` holds `count` requests.
    let submitted =
        unsafe { libc::syscall(libc::SYS_io_submit, context.0, count, pointers.as_ptr()) };
    require!(
        submitted == count as i64,
        "io_submit took {submitted} of {count} writes: {}",
        io::Error::last_os_error()
    );
    let (at, none) = (events.as_mut_ptr(), ptr::null::<libc::timespec>());
    // SAFETY: `events` has room for `count` events.
    let done = unsafe { libc::syscall(libc::SYS_io_getevents, context.0, count, count, at, none) };
    require!(
        done == count as i64,
        "io_getevents gave {done} of {count} events: {}",
        io::Error::last_os_error()
    );
    let bad = events.iter().find(|event| event.result != block.len() as i64);
    require!(
        bad.is_none(),
        "a write of {} bytes ended with {:?}",
        block.len(),
        bad.map(|e| e.result)
    );
    Ok(())
}
