//! Runs a stage under callgrind and reads how many instructions it collected.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use headworks::transform::child;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
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
        hide_the_real_auxiliary_vector();
        let compiled = valgrind("none")
            .arg(std::env::current_exe().expect("this program has a path"))
            .arg("--compile")
            .arg(folder.path())
            .output()
            .expect("valgrind runs: scripts/setup count installs it");
        assert!(
            compiled.status.success(),
            "the plugin compiles under valgrind: {}\n{}",
            compiled.status,
            String::from_utf8_lossy(&compiled.stderr)
        );
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
    ///
    /// # Errors
    ///
    /// Where the stage failed, or callgrind's output gives no count for it.
    pub fn instructions(&self, stage: &Stage) -> Result<f64, String> {
        let file_name = format!(
            "callgrind.out.{}",
            stage.name.replace(|letter: char| !letter.is_alphanumeric(), "-")
        );
        let file = self.keep.as_deref().unwrap_or(self.folder.path()).join(file_name);
        // The counts of an earlier run must not pass for this one's.
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(format!("{}: {error}", file.display()));
        }
        let program = std::env::current_exe().expect("this program has a path");
        let output = valgrind("callgrind")
            .args(["--collect-atstart=no", "--toggle-collect=*callgrind_collects*"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(program)
            .args(["--stage", stage.name, "--folder"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("valgrind: {error}; scripts/setup count installs it"))?;
        if !output.status.success() {
            return Err(format!(
                "{}: {}\n{}",
                stage.name,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let text = fs::read_to_string(&file).map_err(|error| {
            format!(
                "{}: callgrind has written no {}: {error}",
                stage.name,
                file.display()
            )
        })?;
        let collected = total(&text).map_err(|error| format!("{}: {error}", stage.name))?;
        Ok(collected as f64 / f64::from(stage.events()))
    }
}

/// In the process that valgrind runs: the confined child of the gateway leaves nothing that valgrind needs.
pub fn compile(folder: &Path) {
    let component = fs::read(folder.join(COMPONENT)).expect("the component is there");
    let compiled = child::precompile(&component).unwrap_or_else(|error| panic!("{error}"));
    fs::write(folder.join(COMPILED), compiled).expect("the compiled form can be written");
}

/// `prctl` asked for what the kernel gave to valgrind: where the vDSO is, which valgrind's own program has not mapped.
/// Programs that are told that there is no such question ask valgrind. Holds for all that this process starts.
fn hide_the_real_auxiliary_vector() {
    const PR_GET_AUXV: u64 = 0x4155_5856;
    let filter = || -> Result<BpfProgram, BackendError> {
        let question = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PR_GET_AUXV)?;
        let rules = [(libc::SYS_prctl, vec![SeccompRule::new(vec![question])?])];
        let refuse = SeccompAction::Errno(libc::EINVAL.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules.into(), SeccompAction::Allow, refuse, arch)?.try_into()
    };
    let filter = filter().expect("the filter is in order");
    seccompiler::apply_filter(&filter).expect("the kernel takes filters");
}

fn valgrind(tool: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", &format!("--tool={tool}")]);
    command
}

/// The sum of the lines `totals: N` of callgrind's format, one a part.
///
/// # Errors
///
/// Where there is no such line, or none that counts anything: the toggles were never met.
fn total(text: &str) -> Result<u64, String> {
    let mut total = 0;
    for number in text.lines().filter_map(|line| line.strip_prefix("totals:")) {
        total += number
            .trim()
            .parse::<u64>()
            .map_err(|_| format!("callgrind's totals are no number of instructions: {number:?}"))?;
    }
    if total == 0 {
        return Err(
            "callgrind's output counts nothing: it never met the function callgrind_collects".to_owned(),
        );
    }
    Ok(total)
}
