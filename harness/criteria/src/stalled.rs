//! A write waits for memory that never comes (userfaultfd). Meanwhile all other users of the mount
//! must be served, as if the write had not begun.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::ptr::NonNull;
use std::sync::mpsc::channel;
use std::thread;

use homes::filesystem::{Mapping, NOBODY, SOMEBODY, as_user, contract};
use homes::kernel::{KernelMount, ModuleFile};
use machine::failure::{Failure, WithContext};
use machine::require;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use crate::busy::{LIMIT, REQUESTS, Request, answered, busy, open_to_all};
use crate::trial::Context;

const PAGE: usize = 4096;
const LENGTH: NonZeroUsize = NonZeroUsize::new(2 * PAGE).unwrap();
const WRITTEN: u8 = 0x5A;
/// Sent last: the file becomes a set-ID program, and then the write goes on.
const SET_ID: &[(&str, Request)] =
    &[("chmod of the busy file", |root| fs::set_permissions(busy(root), mode(0o4777)))];

fn mode(bits: u32) -> Permissions {
    Permissions::from_mode(bits)
}

/// `struct uffdio_api` of `linux/userfaultfd.h`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

const UFFD_API: u64 = 0xAA;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

nix::ioctl_readwrite!(uffdio_api, 0xAA, 0x3F, Api);
nix::ioctl_readwrite!(uffdio_register, 0xAA, 0x00, Register);

/// Two pages of memory, the second of which is missing. A thread that needs it waits until the
/// userfaultfd descriptor is closed, and then finds zeros.
struct Stalled {
    provider: OwnedFd,
    base: NonNull<u8>,
}

impl Stalled {
    fn new() -> Result<Stalled, Failure> {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
        // SAFETY: the descriptor only serves the memory of this struct.
        let provider = unsafe { userfaultfd(flags) }.context("userfaultfd")?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe { mmap_anonymous(None, LENGTH, protection, MapFlags::MAP_PRIVATE) }
            .context("mmap")?
            .cast::<u8>();
        let stalled = Stalled { provider, base };
        // SAFETY: the first page is mapped and writable, and nobody else knows its address.
        unsafe { base.as_ptr().write_bytes(WRITTEN, PAGE) };
        let descriptor = stalled.provider.as_raw_fd();
        let mut api = Api { api: UFFD_API, features: 0, ioctls: 0 };
        let mut second = Register {
            start: (base.as_ptr() as usize + PAGE) as u64,
            length: PAGE as u64,
            mode: UFFDIO_REGISTER_MODE_MISSING,
            ioctls: 0,
        };
        // SAFETY: the descriptor is open, and the structure has the kernel's layout.
        unsafe { uffdio_api(descriptor, &raw mut api) }.context("UFFDIO_API")?;
        // SAFETY: the same, and the range lies in the mapping above.
        unsafe { uffdio_register(descriptor, &raw mut second) }.context("UFFDIO_REGISTER")?;
        Ok(stalled)
    }

    /// The bytes of both pages, for the kernel to read.
    fn bytes(&self) -> &'static [u8] {
        // SAFETY: the mapping is readable. It is unmapped only when its reader has ended, or with
        // the process.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), 2 * PAGE) }
    }

    /// Waits until a thread needs the second page.
    fn is_needed(&self) -> Result<(), Failure> {
        let timeout = PollTimeout::try_from(LIMIT).context("a timeout")?;
        let mut asked = [PollFd::new(self.provider.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut asked, timeout).context("poll")?;
        require!(ready == 1, "the write did not read its buffer within {} s", LIMIT.as_secs());
        Ok(())
    }
}

pub(super) fn others_are_answered(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let root = mount.path().to_owned();
    open_to_all(&root)?;
    fs::write(busy(&root), [1; 64 * 3])?;
    fs::set_permissions(busy(&root), mode(0o666)).context("chmod of the file")?;

    let stalled = Stalled::new()?;
    let (tells, ended) = channel();
    let (bytes, path) = (stalled.bytes(), busy(&root));
    thread::spawn(move || {
        let written = as_user(NOBODY, NOBODY, || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            Ok(file.write(bytes)?)
        });
        tells.send(written)
    });
    stalled.is_needed()?;
    let meanwhile = "while a write waits for its memory";
    for (who, uid) in [("root", 0), ("another user", SOMEBODY)] {
        answered(who, uid, &root, REQUESTS, meanwhile).map_err(contract::waiting_write)?;
    }
    answered("root", 0, &root, SET_ID, meanwhile).map_err(contract::waiting_write)?;
    context.fact("requests that were answered meanwhile", 2 * REQUESTS.len() + SET_ID.len())?;
    require!(ended.try_recv().is_err(), "the write did not wait for its memory");

    let Stalled { provider, base } = stalled;
    drop(provider);
    let written = ended.recv_timeout(LIMIT).context("the write, once its memory is there")??;
    require!(written == 2 * PAGE, "{written} of {} bytes were written", 2 * PAGE);
    let mut content = Vec::new();
    fs::File::open(busy(&root))?.read_to_end(&mut content)?;
    require!(
        content.len() == 2 * PAGE
            && content[..PAGE].iter().all(|&byte| byte == WRITTEN)
            && content[PAGE..].iter().all(|&byte| byte == 0),
        "the file does not contain what was written"
    );
    let bits = fs::metadata(busy(&root))?.permissions().mode() & 0o7777;
    require!(bits == 0o777, "a set-ID file that was written to has mode {bits:o}");
    // SAFETY: mapped by Stalled::new(), and its readers have ended.
    unsafe { munmap(base.cast(), 2 * PAGE) }.context("munmap")?;
    mount.unmount()?;
    loaded.unload()
}

/// Bytes that a mapping stores behind the end of the file, while a write that begins further behind
/// it waits, must not become a part of the file, just like bytes that it had stored before.
pub(super) fn stores_behind_the_end_are_lost(_: &Context) -> Result<(), Failure> {
    const SIZE: usize = 100;
    const AT: usize = 200;
    const LENGTH: usize = 64;
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    let path = mount.path().join("grows");
    fs::write(&path, [WRITTEN; SIZE])?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let mapping = Mapping::shared(&file, PAGE)?;

    let stalled = Stalled::new()?;
    let (tells, ended) = channel();
    // These bytes lie in the missing page.
    let bytes = &stalled.bytes()[PAGE..PAGE + LENGTH];
    let writing = file.try_clone()?;
    thread::spawn(move || tells.send(writing.write_at(bytes, AT as u64)));
    stalled.is_needed()?;
    mapping.store(SIZE + 50, &[WRITTEN; 10]);
    require!(ended.try_recv().is_err(), "the write did not wait for its memory");

    let Stalled { provider, base } = stalled;
    drop(provider);
    let written = ended.recv_timeout(LIMIT).context("the write, once its memory is there")??;
    require!(written == LENGTH, "{written} of {LENGTH} bytes were written");
    let content = fs::read(&path)?;
    require!(content.len() == AT + LENGTH, "the file has {} bytes", content.len());
    require!(content[..SIZE].iter().all(|&byte| byte == WRITTEN), "the earlier bytes have changed");
    if content[SIZE..].iter().any(|&byte| byte != 0) {
        let failure = "bytes that were stored behind the end of a file while a write waited for \
                       its memory became part of the file";
        return Err(contract::stored_behind_the_end(Failure::new(failure)));
    }
    drop(mapping);
    drop(file);
    // SAFETY: mapped by Stalled::new(), and its reader has ended.
    unsafe { munmap(base.cast(), 2 * PAGE) }.context("munmap")?;
    mount.unmount()?;
    loaded.unload()
}
