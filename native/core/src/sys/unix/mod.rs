//! Linux, macOS and their kin.

use std::io;

mod fault;
pub(super) mod file;
pub(super) mod memory;
mod page;

/// Turn the result of a system call into a `Result`.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
