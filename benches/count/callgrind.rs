//! Runs a stage under callgrind and reads how many instructions it collected.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{page_view, stages::Stage};

/// The component, in the folder that all stages share.
pub const COMPONENT: &str = "page-view.wasm";
/// The program that compiles it there.
pub const COMPILER: &str = "compiler";

pub struct Callgrind {
    folder: tempfile::TempDir,
    keep: Option<PathBuf>,
}

impl Callgrind {
    /// Builds the plugin, and a compiler for it that sees the processor that valgrind offers: code for the real one may
    /// use instructions that valgrind does not know.
    pub fn prepare(keep: Option<PathBuf>) -> Callgrind {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join(COMPONENT), page_view::component())
            .expect("the component can be written");
        let valgrind = find("valgrind");
        let script = format!(
            "#!/bin/sh\nexec {valgrind:?} --quiet --tool=none {:?} {} --limited\n",
            env!("CARGO_BIN_EXE_headworks"),
            headworks::transform::child::ARGUMENT,
        );
        let compiler = folder.path().join(COMPILER);
        fs::write(&compiler, script).expect("the compiler can be written");
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o700)).expect("it can be made to run");
        if let Some(keep) = &keep {
            fs::create_dir_all(keep).expect("the folder can be made");
        }
        Callgrind { folder, keep }
    }

    /// An event's.
    pub fn instructions(&self, stage: &Stage) -> f64 {
        let file_name = format!(
            "callgrind.out.{}",
            stage.name.replace(|letter: char| !letter.is_alphanumeric(), "-")
        );
        let file = self.keep.as_deref().unwrap_or(self.folder.path()).join(file_name);
        let program = std::env::current_exe().expect("this program has a path");
        let output = Command::new("valgrind")
            .args([
                "--quiet",
                "--tool=callgrind",
                "--toggle-collect=*callgrind_collects*",
            ])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(program)
            .args(["--stage", stage.name, "--folder"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("valgrind runs");
        assert!(
            output.status.success(),
            "{}: {}\n{}",
            stage.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let collected = total(&file);
        assert!(collected > 0, "{}: callgrind has collected nothing", stage.name);
        collected as f64 / f64::from(stage.events())
    }
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: scripts/setup count installs it"))
}

/// The line `totals: N` of callgrind's format.
fn total(file: &Path) -> u64 {
    let text = fs::read_to_string(file).expect("callgrind has written its file");
    let totals = text.lines().filter_map(|line| line.strip_prefix("totals:"));
    totals
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}
