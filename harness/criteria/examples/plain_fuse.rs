//! A FUSE file system that is no VexFS: files and directories in memory, without rename, links and
//! the contract's ioctls. It stands for somebody's first daemon: `plain_fuse [-o X] DIR`.
//!
//! The environment variable `PLAIN_FUSE` gives it a fault that hurts its users, see [`Fault`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, IoctlFlags, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};

/// Largest file, bytes.
const MAX_SIZE: u64 = 256 << 20;
/// A size that no memory holds, bytes.
const HUGE: u64 = 1 << 40;
const VALID: Duration = Duration::from_secs(1);
const GENERATION: Generation = Generation(0);

struct Inode {
    attr: FileAttr,
    parent: INodeNo,
    /// Of a directory.
    names: BTreeMap<OsString, INodeNo>,
    /// Of a file.
    data: Vec<u8>,
}

/// Inodes by number. An unlinked inode stays for processes that still have it open.
struct Plain {
    inodes: Mutex<BTreeMap<INodeNo, Inode>>,
    fault: Fault,
    mountpoint: PathBuf,
}

/// The fault named by `PLAIN_FUSE`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Drops an inode when it is unlinked, so that a process that has mapped the file gets SIGBUS.
    Forgets,
    /// mkdir makes another directory on the daemon's own mount. The kernel holds the root's lock by
    /// then, so the daemon sleeps for ever, and no signal ends it.
    WaitsForItself,
    /// Refuses mkdir(2) with EPERM.
    NoDirectories,
    /// Exits at the first write(2), with a message on stderr.
    DiesAtWrite,
    /// Mounts and answers, and nothing any more once a file or a directory is to be made.
    FallsMute,
    /// Says that every file has [`HUGE`] bytes, and returns zeros behind what it has. It takes every
    /// ioctl, so that trials come to reading the file.
    HugeSizes,
    /// Says that it has set extended attributes, allocated room and punched holes, and has not.
    SaysDone,
    /// Keeps times in whole seconds, which POSIX allows.
    WholeSeconds,
}

impl Fault {
    fn of_environment() -> Fault {
        match std::env::var("PLAIN_FUSE").as_deref() {
            Ok("forgets") => Fault::Forgets,
            Ok("waits-for-itself") => Fault::WaitsForItself,
            Ok("no-directories") => Fault::NoDirectories,
            Ok("dies-at-write") => Fault::DiesAtWrite,
            Ok("falls-mute") => Fault::FallsMute,
            Ok("huge-sizes") => Fault::HugeSizes,
            Ok("says-done") => Fault::SaysDone,
            Ok("whole-seconds") => Fault::WholeSeconds,
            _ => Fault::None,
        }
    }
}

type Inodes<'a> = MutexGuard<'a, BTreeMap<INodeNo, Inode>>;

fn inode(number: INodeNo, parent: INodeNo, kind: FileType, perm: u16, owner: (u32, u32)) -> Inode {
    let now = SystemTime::now();
    let attr = FileAttr {
        ino: number,
        size: 0,
        blocks: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        kind,
        perm,
        nlink: if kind == FileType::Directory { 2 } else { 1 },
        uid: owner.0,
        gid: owner.1,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    };
    Inode { attr, parent, names: BTreeMap::new(), data: vec![] }
}

impl Plain {
    fn inodes(&self) -> Inodes<'_> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        kind: FileType,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        let mut inodes = self.inodes();
        if self.fault == Fault::FallsMute {
            // This thread serves all requests.
            loop {
                std::thread::park();
            }
        }
        let number = INodeNo(inodes.keys().next_back().map_or(0, |last| last.0) + 1);
        let directory = inodes.get_mut(&parent).ok_or(Errno::ENOENT)?;
        if directory.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        directory.names.insert(name.to_owned(), number);
        directory.attr.nlink += u32::from(kind == FileType::Directory);
        let owner = (request.uid(), request.gid());
        let made = inode(number, parent, kind, (mode & 0o7777) as u16, owner);
        let attr = self.told(&made);
        inodes.insert(number, made);
        Ok(attr)
    }

    /// The attributes of `inode` as this daemon tells them.
    fn told(&self, inode: &Inode) -> FileAttr {
        match (self.fault, inode.attr.kind) {
            (Fault::HugeSizes, FileType::RegularFile) => FileAttr { size: HUGE, ..inode.attr },
            (Fault::WholeSeconds, _) => {
                let FileAttr { atime, mtime, ctime, .. } = inode.attr;
                let [atime, mtime, ctime] = [atime, mtime, ctime].map(in_whole_seconds);
                FileAttr { atime, mtime, ctime, ..inode.attr }
            }
            _ => inode.attr,
        }
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, kind: FileType) -> Result<(), Errno> {
        let mut inodes = self.inodes();
        let directory = inodes.get(&parent).ok_or(Errno::ENOENT)?;
        let number = *directory.names.get(name).ok_or(Errno::ENOENT)?;
        let removed = inodes.get_mut(&number).ok_or(Errno::ENOENT)?;
        match (removed.attr.kind, kind) {
            (FileType::Directory, FileType::RegularFile) => return Err(Errno::EISDIR),
            (FileType::RegularFile, FileType::Directory) => return Err(Errno::ENOTDIR),
            _ if !removed.names.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => removed.attr.nlink = 0,
        }
        if self.fault == Fault::Forgets {
            inodes.remove(&number);
        }
        if let Some(directory) = inodes.get_mut(&parent) {
            directory.names.remove(name);
            directory.attr.nlink -= u32::from(kind == FileType::Directory);
        }
        Ok(())
    }
}

/// Sizes above `MAX_SIZE` are refused, because holes take memory here, too.
fn resize(inode: &mut Inode, size: u64) -> Result<(), Errno> {
    if size > MAX_SIZE {
        return Err(Errno::EFBIG);
    }
    inode.data.resize(size as usize, 0);
    inode.attr.size = size;
    inode.attr.blocks = size.div_ceil(512);
    inode.attr.mtime = SystemTime::now();
    inode.attr.ctime = inode.attr.mtime;
    Ok(())
}

/// `time`, rounded down; 1970 for what was before.
fn in_whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn time(given: TimeOrNow) -> SystemTime {
    match given {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Filesystem for Plain {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inodes = self.inodes();
        let number = inodes.get(&parent).and_then(|directory| directory.names.get(name));
        match number.and_then(|number| inodes.get(number)) {
            Some(found) => reply.entry(&VALID, &self.told(found), GENERATION),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inodes().get(&number) {
            Some(found) => reply.attr(&VALID, &self.told(found)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut inodes = self.inodes();
        let Some(inode) = inodes.get_mut(&number) else { return reply.error(Errno::ENOENT) };
        if let Some(Err(error)) = size.map(|size| resize(inode, size)) {
            return reply.error(error);
        }
        let attr = &mut inode.attr;
        attr.perm = mode.map_or(attr.perm, |mode| (mode & 0o7777) as u16);
        attr.uid = uid.unwrap_or(attr.uid);
        attr.gid = gid.unwrap_or(attr.gid);
        attr.atime = atime.map_or(attr.atime, time);
        attr.mtime = mtime.map_or(attr.mtime, time);
        attr.ctime = SystemTime::now();
        reply.attr(&VALID, &self.told(inode));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        if self.fault == Fault::NoDirectories {
            return reply.error(Errno::EPERM);
        }
        if self.fault == Fault::WaitsForItself {
            let _ = std::fs::create_dir(self.mountpoint.join("another"));
        }
        match self.make(request, parent, name, FileType::Directory, mode) {
            Ok(attr) => reply.entry(&VALID, &attr, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make(request, parent, name, FileType::RegularFile, mode) {
            Ok(attr) => {
                reply.created(&VALID, &attr, GENERATION, FileHandle(0), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.remove(parent, name, FileType::RegularFile) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.remove(parent, name, FileType::Directory) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let inodes = self.inodes();
        let Some(inode) = inodes.get(&number) else { return reply.error(Errno::ENOENT) };
        let start = (offset as usize).min(inode.data.len());
        let end = (start + size as usize).min(inode.data.len());
        let mut data = inode.data[start..end].to_vec();
        if self.fault == Fault::HugeSizes {
            data.resize(size as usize, 0);
        }
        reply.data(&data);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        out_size: u32,
        reply: ReplyIoctl,
    ) {
        match self.fault {
            Fault::HugeSizes => reply.ioctl(0, &vec![0; out_size as usize]),
            _ => reply.error(Errno::ENOTTY),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        match self.fault {
            Fault::SaysDone => reply.ok(),
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        match self.fault {
            Fault::SaysDone => reply.error(Errno::NO_XATTR),
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        match self.fault {
            Fault::SaysDone if size == 0 => reply.size(0),
            Fault::SaysDone => reply.data(&[]),
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        match self.fault {
            Fault::SaysDone => reply.ok(),
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if self.fault == Fault::DiesAtWrite {
            eprintln!("plain_fuse: assertion failed: the moon is full");
            std::process::exit(3);
        }
        let mut inodes = self.inodes();
        let Some(inode) = inodes.get_mut(&number) else { return reply.error(Errno::ENOENT) };
        let end = offset + data.len() as u64;
        if let Err(error) = resize(inode, inode.attr.size.max(end)) {
            return reply.error(error);
        }
        inode.data[offset as usize..end as usize].copy_from_slice(data);
        reply.written(data.len() as u32);
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let inodes = self.inodes();
        let Some(directory) = inodes.get(&number) else { return reply.error(Errno::ENOENT) };
        let itself = [(OsString::from("."), number), (OsString::from(".."), directory.parent)];
        let names = directory.names.iter().map(|(name, &number)| (name.clone(), number));
        let all = itself.into_iter().chain(names).enumerate().skip(offset as usize);
        for (position, (name, number)) in all {
            let kind = inodes.get(&number).map_or(FileType::Directory, |child| child.attr.kind);
            if reply.add(number, position as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

fn main() -> std::io::Result<()> {
    let Some(mountpoint) = std::env::args_os().next_back() else {
        return Err(std::io::Error::other("usage: plain_fuse [-o OPTIONS] DIR"));
    };
    let owner = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let root = inode(INodeNo::ROOT, INodeNo::ROOT, FileType::Directory, 0o755, owner);
    let inodes = Mutex::new(BTreeMap::from([(INodeNo::ROOT, root)]));
    let fault = Fault::of_environment();
    let plain = Plain { inodes, fault, mountpoint: mountpoint.clone().into() };
    fuser::mount(plain, mountpoint, &Config::default())
}
