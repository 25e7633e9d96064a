//! A FUSE daemon that mounts and then answers nothing: `mute_fuse DIR`.

use std::thread;

use fuser::{Config, FileHandle, Filesystem, INodeNo, ReplyAttr, ReplyStatfs, Request};

struct Mute;

impl Filesystem for Mute {
    fn statfs(&self, _: &Request, _: INodeNo, _: ReplyStatfs) {
        for_ever();
    }

    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, _: ReplyAttr) {
        for_ever();
    }
}

fn for_ever() {
    loop {
        thread::park();
    }
}

fn main() -> std::io::Result<()> {
    let Some(mountpoint) = std::env::args_os().next_back() else {
        return Err(std::io::Error::other("usage: mute_fuse DIR"));
    };
    fuser::mount(Mute, mountpoint, &Config::default())
}
