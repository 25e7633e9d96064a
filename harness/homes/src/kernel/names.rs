//! The names of the module under test and of its file system.

use std::sync::OnceLock;

use machine::{config, project, under_test};

use super::modinfo::modinfo;

/// The name of the reference module and of its file system.
const REFERENCE: &str = "vexfs";

/// Names of the module under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The name in /proc/modules.
    pub module: String,
    /// The name in /proc/filesystems and for mount(2).
    pub file_system: String,
}

impl Names {
    /// The names of the module that `own` describes, whose file contains `bytes`: those in
    /// vexfs.toml, or else those in the file's `.modinfo`.
    fn of(own: &config::Module, bytes: &[u8]) -> Names {
        let module = own.name.clone().or_else(|| modinfo(bytes, "name="));
        let module = module.unwrap_or_else(|| REFERENCE.to_owned());
        let file_system = own.filesystem.clone().unwrap_or_else(|| module.clone());
        Names { module, file_system }
    }

    /// Whether the file system has the contract's name, and therefore must have the contract's
    /// type.
    pub fn is_contracts(&self) -> bool {
        self.file_system == REFERENCE
    }
}

/// The names of the module under test; the reference's if `vexfs.toml` names no other module.
pub fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        // A refused configuration or a missing file is reported elsewhere, when it is used.
        let own = config::current().ok().and_then(|config| config.module.as_ref());
        let path = under_test::kernel_module(&project::running_kernel()).ok();
        match own {
            Some(own) => {
                let bytes = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
                Names::of(own, &bytes)
            }
            None => Names { module: REFERENCE.to_owned(), file_system: REFERENCE.to_owned() },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_is_called_unless_the_configuration_does() {
        let own = |name: Option<&str>, filesystem: Option<&str>| config::Module {
            path: "my.ko".into(),
            name: name.map(str::to_owned),
            filesystem: filesystem.map(str::to_owned),
        };
        let bytes = b"\x7fELF\0license=GPL\0name=myfs\0rest";
        let told = |own: &config::Module, bytes: &[u8]| {
            let Names { module, file_system } = Names::of(own, bytes);
            (module, file_system)
        };
        let both = |module: &str, kind: &str| (module.to_owned(), kind.to_owned());
        assert_eq!(told(&own(None, None), bytes), both("myfs", "myfs"));
        assert_eq!(told(&own(None, Some("vec")), bytes), both("myfs", "vec"));
        assert_eq!(told(&own(Some("a"), None), bytes), both("a", "a"));
        assert_eq!(told(&own(None, None), b""), both("vexfs", "vexfs"));
    }
}
