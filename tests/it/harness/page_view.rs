//! The sample company's plugin `page-view`; benchmarks take this file in too.

use std::{path::Path, process::Command};

/// Its component, built as its author builds it.
pub fn component() -> Vec<u8> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    let built = Command::new(env!("CARGO_BIN_EXE_headworks"))
        .args(["plugin", "build"])
        .arg(plugins.join("page-view"))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("the program runs");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    std::fs::read(plugins.join("target/page-view.wasm")).expect("the component is there")
}
