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
const COMPILED: &str = "page-view.compiled";
/// The program that gives the compiled form to whoever has it compiled.
pub const COMPILER: &str = "compiler";

pub struct Callgrind {
    folder: tempfile::TempDir,
    keep: Option<PathBuf>,
}

impl Callgrind {
    /// Builds the plugin, and compiles it once for the processor that valgrind offers: code for the real one may use
    /// instructions that valgrind does not know.
    pub fn prepare(keep: Option<PathBuf>) -> Callgrind {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let in_folder = |name| folder.path().join(name);
        fs::write(in_folder(COMPONENT), page_view::component()).expect("the component can be written");
        let component = fs::File::open(in_folder(COMPONENT)).expect("the component is there");
        let compiled = fs::File::create(in_folder(COMPILED)).expect("the compiled form can be written");
        let status = valgrind("none")
            .arg(env!("CARGO_BIN_EXE_headworks"))
            // The bounds of the compiling child are meant for a processor, not for valgrind.
            .args([headworks::transform::child::ARGUMENT, "--limited"])
            .stdin(component)
            .stdout(compiled)
            .status()
            .expect("valgrind runs: scripts/setup count installs it");
        assert!(status.success(), "the plugin compiles under valgrind: {status}");
        let script = format!("#!/bin/sh\nexec /bin/cat {:?}\n", in_folder(COMPILED));
        fs::write(in_folder(COMPILER), script).expect("the compiler can be written");
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(in_folder(COMPILER), mode).expect("it can be made to run");
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
        let output = valgrind("callgrind")
            .arg("--toggle-collect=*callgrind_collects*")
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(program)
            .args(["--stage", stage.name, "--folder"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("valgrind runs: scripts/setup count installs it");
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

fn valgrind(tool: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", &format!("--tool={tool}")]);
    command
}

/// The line `totals: N` of callgrind's format.
fn total(file: &Path) -> u64 {
    let text = fs::read_to_string(file).expect("callgrind has written its file");
    let totals = text.lines().filter_map(|line| line.strip_prefix("totals:"));
    totals
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}
