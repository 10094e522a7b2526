//! The system calls that a confined child has left: memory, threads of its own, its pipes and its end.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Those that are allowed whatever their arguments.
const ALLOWED: [c_long; 30] = [
    // The pipes, and what was opened before.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads; the other filter answers `clone3`, and an error of this one would come before its own.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    // Signals of its own: a guard page that is reached is told as such.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error("no filter is made for this processor: {0}")]
    Unmade(#[from] BackendError),
    #[error("{0}")]
    Refused(#[from] seccompiler::Error),
}

/// Leaves this thread, and those that it starts, the calls above; every other fails with EPERM.
pub(super) fn install() -> Result<(), FilterError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    // Its arguments lie in memory, where no filter looks: the C library falls back to `clone`.
    let without_clone3 = program(
        [(libc::SYS_clone3, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        arch,
    )?;
    let allowed = program(
        rules()?,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        arch,
    )?;
    apply_filter(&without_clone3)?;
    apply_filter(&allowed)?;
    Ok(())
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
    arch: TargetArch,
) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, otherwise, matching, arch)?.try_into()
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
    let one = |index, length, operator, value| {
        let condition = SeccompCondition::new(index, length, operator, value)?;
        Ok::<_, BackendError>(vec![SeccompRule::new(vec![condition])?])
    };
    let masked = |index, mask: i32, value: i32| {
        let (mask, value) = (u64::from(mask.unsigned_abs()), u64::from(value.unsigned_abs()));
        one(
            index,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(mask),
            value,
        )
    };
    // What it compiles is never run here.
    rules.insert(libc::SYS_mmap, masked(2, libc::PROT_EXEC, 0)?);
    rules.insert(libc::SYS_mprotect, masked(2, libc::PROT_EXEC, 0)?);
    // Threads, and no processes.
    let thread = libc::CLONE_THREAD | libc::CLONE_VM;
    rules.insert(libc::SYS_clone, masked(0, thread, thread)?);
    // It may end itself, and signal nobody else.
    let own = one(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(std::process::id()),
    )?;
    rules.insert(libc::SYS_tgkill, own);
    Ok(rules)
}
