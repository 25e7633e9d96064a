//! The foreign file systems: how each is made ready, once, and how it is started.

use std::path::Path;

/// A FUSE file system that is no VexFS.
pub struct Foreign {
    /// What the table calls it.
    pub name: &'static str,
    /// The Debian package whose version is in the table.
    pub package: &'static str,
    /// Files without which it is left out.
    pub needs: &'static [&'static str],
    /// What is done once, by sh(1), in an empty directory.
    pub prepare: &'static str,
    /// What starts it in the foreground, by sh(1): on `$1`, in the directory that was prepared,
    /// with `$below` an empty directory of this mount's own.
    pub start: &'static str,
}

const PASSTHROUGH: &str = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c";

/// All of them. Those that show a directory show one of tmpfs.
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "bindfs",
        package: "bindfs",
        needs: &["/usr/bin/bindfs"],
        prepare: "",
        start: "exec bindfs -f \"$below\" \"$1\"",
    },
    Foreign {
        name: "mergerfs",
        package: "mergerfs",
        needs: &["/usr/bin/mergerfs"],
        prepare: "",
        start: "mkdir \"$below/a\" \"$below/b\"; exec mergerfs -f -o minfreespace=1M \"$below/a:$below/b\" \"$1\"",
    },
    Foreign {
        name: "gocryptfs",
        package: "gocryptfs",
        needs: &["/usr/bin/gocryptfs"],
        prepare: "mkdir made; gocryptfs -q -init -scryptn 10 -extpass 'echo word' made",
        start: "cp -a made/. \"$below\"; exec gocryptfs -q -fg -extpass 'echo word' \"$below\" \"$1\"",
    },
    Foreign {
        name: "encfs",
        package: "encfs",
        needs: &["/usr/bin/encfs"],
        prepare: "mkdir made point; echo word | encfs --standard -S \"$PWD/made\" \"$PWD/point\"; \
                  fusermount -u point",
        start: "cp -a made/. \"$below\"; exec encfs -f --extpass='echo word' \"$below\" \"$1\"",
    },
    Foreign {
        name: "unionfs-fuse",
        package: "unionfs-fuse",
        needs: &["/usr/bin/unionfs"],
        prepare: "",
        start: "mkdir \"$below/up\" \"$below/low\"; \
                exec unionfs -f -o cow \"$below/up=RW:$below/low=RO\" \"$1\"",
    },
    Foreign {
        name: "fuse-overlayfs",
        package: "fuse-overlayfs",
        needs: &["/usr/bin/fuse-overlayfs"],
        prepare: "",
        start: "mkdir \"$below/up\" \"$below/low\" \"$below/work\"; exec fuse-overlayfs -f \
                -o \"lowerdir=$below/low,upperdir=$below/up,workdir=$below/work\" \"$1\"",
    },
    Foreign {
        name: "fuse2fs",
        package: "fuse2fs",
        needs: &["/usr/bin/fuse2fs", "/sbin/mkfs.ext4"],
        prepare: "truncate -s 256M made; PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -m 0 made",
        start: "cp --sparse=always made \"$below/image\"; exec fuse2fs -f \"$below/image\" \"$1\"",
    },
    Foreign {
        name: "sshfs",
        package: "sshfs",
        needs: &["/usr/bin/sshfs", "/usr/lib/openssh/sftp-server"],
        prepare: "printf '#!/bin/sh\\nexec /usr/lib/openssh/sftp-server\\n' >ssh; chmod +x ssh",
        start: "exec sshfs -f -o \"ssh_command=$PWD/ssh\" \"nobody@nowhere:$below\" \"$1\"",
    },
    Foreign {
        name: "disorderfs",
        package: "disorderfs",
        needs: &["/usr/bin/disorderfs"],
        prepare: "",
        start: "exec disorderfs -f \"$below\" \"$1\"",
    },
    Foreign {
        name: "ntfs-3g",
        package: "ntfs-3g",
        needs: &["/usr/bin/ntfs-3g", "/sbin/mkfs.ntfs"],
        prepare: "truncate -s 256M made; PATH=$PATH:/sbin:/usr/sbin mkfs.ntfs -q -F made >&2",
        start: "cp --sparse=always made \"$below/image\"; \
                exec ntfs-3g -o no_detach,permissions \"$below/image\" \"$1\"",
    },
    Foreign {
        name: "libfuse's passthrough",
        package: "libfuse3-dev",
        needs: &["/usr/share/doc/libfuse3-dev/examples/passthrough.c"],
        prepare: "gcc -O2 /usr/share/doc/libfuse3-dev/examples/passthrough.c -o made \
                  $(pkg-config --cflags --libs fuse3)",
        start: "exec ./made -f -o \"modules=subdir,subdir=$below\" \"$1\"",
    },
    Foreign {
        name: "libfuse's passthrough_fh",
        package: "libfuse3-dev",
        needs: &["/usr/share/doc/libfuse3-dev/examples/passthrough_fh.c"],
        prepare: "gcc -O2 /usr/share/doc/libfuse3-dev/examples/passthrough_fh.c -o made \
                  $(pkg-config --cflags --libs fuse3)",
        start: "exec ./made -f -o \"modules=subdir,subdir=$below\" \"$1\"",
    },
    Foreign {
        name: "libfuse's passthrough_ll",
        package: "libfuse3-dev",
        needs: &[PASSTHROUGH],
        prepare: "gcc -O2 /usr/share/doc/libfuse3-dev/examples/passthrough_ll.c -o made \
                  $(pkg-config --cflags --libs fuse3)",
        start: "exec ./made -f -o \"source=$below\" \"$1\"",
    },
];

/// Those of fixtures/own/, which have a `vexfs.toml` of their own: what the table calls them, the
/// Debian package under them, the directory, and what is done once in it.
pub const OWN: &[(&str, &str, &str, &str)] = &[
    ("fixtures/own/python", "python3-fusepy", "python", ""),
    ("fixtures/own/c", "libfuse3-dev", "c", "make -s"),
];

impl Foreign {
    /// The first of what it needs that is not there.
    pub fn lacks(&self) -> Option<&'static str> {
        self.needs.iter().copied().find(|file| !Path::new(file).exists())
    }

    /// Its `vexfs.toml`, beside which `start.sh` is.
    pub fn config(&self) -> &'static str {
        "fuse = \"sh ./start.sh\"\n\n# None of them takes the contract's options.\n[mount]\n\
         fuse = \"{program} {mountpoint}\"\n"
    }

    /// The script that `config` names.
    pub fn script(&self) -> String {
        // What earlier mounts have left takes room, and none is as old as this.
        format!(
            "set -e\nfind . -maxdepth 1 -name 'below-*' -mmin +5 -exec rm -rf {{}} +\n\
             below=$(mktemp -d \"$PWD/below-XXXXXX\")\n{}\n",
            self.start
        )
    }
}
