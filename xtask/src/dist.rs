//! The binaries as they are shipped: optimized, stripped, static where the toolchain can.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace::{self, cargo, output, root};

const BINARIES: &[&str] = &["proxmox-mcp"];

/// Builds for musl where its target and C compiler are installed, else for this system.
pub(crate) fn run() -> Result<()> {
    let target = musl_target()?;
    let mut build = cargo(&["build", "--release", "--locked"]);
    let mut folder = root().join("target");
    if let Some(target) = &target {
        build.args(["--target", target]);
        folder.push(target);
    } else {
        println!("no musl target or no musl-gcc here: linked against this system's C library");
    }
    for binary in BINARIES {
        build.args(["--package", binary]);
    }
    workspace::run(&mut build)?;
    for binary in BINARIES {
        let path = folder.join("release").join(binary);
        let size = path.metadata().with_context(|| format!("no {}", path.display()))?.len();
        println!("{} {:.1} MiB", path.display(), size as f64 / f64::from(1 << 20));
    }
    Ok(())
}

fn musl_target() -> Result<Option<String>> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let libraries =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", &target]))?;
    let compiler = Command::new("musl-gcc").arg("--version").output();
    let usable = std::path::Path::new(libraries.trim()).exists()
        && compiler.is_ok_and(|compiler| compiler.status.success());
    Ok(usable.then_some(target))
}
