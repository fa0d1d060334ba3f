//! Locks of files that tell one process of another (flock(2)).

use std::fs::{File, TryLockError};
use std::io;
use std::time::{Duration, Instant};

/// How long a lock may outlive the process that had it: each process that it was just starting has it too, from its fork
/// until it becomes another program. On a busy machine that is some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is tried again.
const LOOK: Duration = Duration::from_millis(20);

/// Takes the lock of `file`; false when another process has it. Blocks the thread for two seconds at most.
///
/// # Errors
/// When the system refuses.
pub(crate) fn take(file: &File) -> io::Result<bool> {
    patiently(PATIENCE, || file.try_lock())
}

/// Takes the lock of `file` together with others who only read; false when somebody has it for so long. Blocks the thread
/// for that time at most.
///
/// # Errors
/// When the system refuses.
pub(crate) fn share(file: &File, patience: Duration) -> io::Result<bool> {
    patiently(patience, || file.try_lock_shared())
}

fn patiently(patience: Duration, lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<bool> {
    let until = Instant::now() + patience;
    loop {
        match lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_about_to_go_is_waited_for_and_one_that_stays_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let (first, second) = (open(), open());
        assert!(take(&first).unwrap());
        assert!(!take(&second).unwrap());
        // As a process has it between its fork and its program.
        let held = first.try_clone().unwrap();
        drop(first);
        let soon = std::thread::spawn(move || {
            std::thread::sleep(LOOK * 5);
            drop(held);
        });
        assert!(take(&second).unwrap());
        soon.join().unwrap();
    }
}
