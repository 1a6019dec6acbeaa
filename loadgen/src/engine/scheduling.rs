//! The scheduling policy of a thread.

use std::io;

use nix::libc;

/// The calling thread runs from now on only while its CPU has no other thread to run (`SCHED_IDLE`, sched(7)). A thread of another
/// policy that wakes up preempts it at once. The way back may need a privilege.
///
/// # Errors
/// The kernel's error: a container's seccomp profile may forbid the call.
// rustix and nix have no call for it.
#[expect(unsafe_code, reason = "the only call without a safe wrapper")]
pub(crate) fn run_in_idle_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` lives through the call, which only reads it. The call changes when the thread runs, and nothing of the
    // memory of the process.
    let error =
        unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_IDLE, &raw const parameters) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn only_the_calling_thread_runs_in_idle_time() {
        let policy = || {
            // Field 41 of proc_pid_stat(5); the second one, in parentheses, may contain spaces.
            let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(41 - 3).unwrap().parse::<i32>().unwrap()
        };
        let other = thread::spawn(move || run_in_idle_time().map(|()| policy()));
        assert_eq!(other.join().unwrap().unwrap(), libc::SCHED_IDLE);
        assert_eq!(policy(), libc::SCHED_OTHER);
    }
}
