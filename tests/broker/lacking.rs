//! A machine that lacks what the broker needs: it says in a line what to do. Each test takes the thing away from the
//! broker's process alone, between fork and exec.

use std::ffi::CString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::ptr::null;

use crate::harness::{Ended, path_str, private_dir, serve_to_its_end_after};
use crate::startup::{assert_refused, may_start};

/// Serves from `data_dir` after `prepare`.
fn refusal(
    data_dir: &Path,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Result<Ended, io::Error> {
    serve_to_its_end_after(&["--data-dir", path_str(data_dir), "--listen", "127.0.0.1:0", "--shards", "2"], prepare)
}

/// The error of a system call that returned `result`.
fn checked(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn too_little_locked_memory_is_refused() {
    if !may_start() {
        return;
    }
    const LIMIT: u64 = 64 << 10;
    let home = private_dir();
    let ended = refusal(&home.path().join("data"), || {
        let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
        // SAFETY: setrlimit reads the struct that it is given.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) })
    });
    assert_refused(&ended.expect("a limit can always be lowered"), &["locked memory", "65536", "ulimit -l"]);
}

#[test]
fn a_directory_without_permission_is_refused() {
    if !may_start() {
        return;
    }
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
    let home = private_dir();
    let read_only = home.path().join("read-only");
    std::fs::create_dir(&read_only).expect("make a directory");
    std::fs::set_permissions(&read_only, Permissions::from_mode(0o555)).expect("set its mode");
    for path in [read_only.clone(), read_only.join("below")] {
        let ended = refusal(&path, || {
            // Root without these capabilities may what the mode says, as other users do, who have none to drop.
            // SAFETY: geteuid and these operations of prctl touch no memory.
            unsafe {
                if libc::geteuid() == 0 {
                    checked(libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE))?;
                    checked(libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH))?;
                }
            }
            Ok(())
        });
        let ended = ended.expect("a process may drop capabilities");
        assert_refused(&ended, &[path_str(&path), "ermission denied", "--data-dir"]);
        assert_eq!(ended.stderr.matches("ermission denied").count(), 1, "the cause stands once: {}", ended.stderr);
    }
}

#[test]
fn a_kernel_without_io_uring_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    // EPERM is what kernel.io_uring_disabled and a container's filter answer, ENOSYS what a kernel without it does.
    for answer in [libc::EPERM, libc::ENOSYS] {
        let ended = refusal(&home.path().join("data"), move || refuse_io_uring(answer));
        assert_refused(&ended.expect("a process may filter its calls"), &["io_uring", "kernel.io_uring_disabled"]);
    }
}

/// Has the kernel answer io_uring_setup with `error`, in this process and whatever it executes.
fn refuse_io_uring(error: i32) -> io::Result<()> {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump_unless_equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    // The number of the call is the first field of seccomp_data.
    let mut filter = [
        libc::sock_filter { code: load, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: jump_unless_equal, jt: 0, jf: 1, k: libc::SYS_io_uring_setup as u32 },
        libc::sock_filter { code: answer, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | error as u32 },
        libc::sock_filter { code: answer, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl reads the program and its filter, which live until it returns.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        checked(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER as libc::c_ulong, &program))
    }
}

#[test]
fn a_file_system_without_direct_io_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let mounted = home.path().join("ramfs");
    std::fs::create_dir(&mounted).expect("make a directory");
    let target = CString::new(path_str(&mounted)).expect("no NUL");
    // ramfs is the one file system that every kernel has and that never has direct I/O; tmpfs has since Linux 6.6.
    let ended = refusal(&mounted.join("data"), move || mount_ramfs(&target));
    match ended {
        Ok(ended) => assert_refused(&ended, &["direct I/O", "O_DIRECT", "ext4", "--data-dir"]),
        Err(error) => eprintln!("SKIPPED: this user may not mount a ramfs in a namespace of its own: {error}"),
    }
}

/// Mounts a ramfs that only this process sees.
fn mount_ramfs(target: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: the system calls read the strings that they are given, which live until they return.
    unsafe {
        let user = if libc::geteuid() == 0 { 0 } else { libc::CLONE_NEWUSER };
        checked(libc::unshare(libc::CLONE_NEWNS | user))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        checked(libc::mount(null(), c"/".as_ptr(), null(), private, null()))?;
        checked(libc::mount(c"none".as_ptr(), target.as_ptr(), c"ramfs".as_ptr(), 0, null()))
    }
}
