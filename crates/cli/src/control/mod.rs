//! Talking to a running `prunedb up` through `control.sock` in its folder.
//!
//! ```text
//! client                                  server
//! Request, Stdin...    ->                 runs the same function that the client would have run
//!                      <-                 Data, Note, Step ...
//!                      <-                 End
//! ```
//! A frame is one byte of kind, a length (u32, little-endian) and so many bytes; see [`frame`]. Both ends are the same
//! binary: another version is refused. A client that goes away cancels its command between two steps.

mod client;
mod frame;
mod server;

pub(crate) use client::connect;
pub(crate) use server::Server;

use std::path::Path;

/// The socket's name in the folder.
pub(crate) const SOCKET: &str = "control.sock";

/// Calls `with` with a path of the socket that is short enough for a socket address (107 bytes on Linux).
fn with_socket_path<T>(
    dir: &Path,
    with: impl FnOnce(&Path) -> std::io::Result<T>,
) -> std::io::Result<T> {
    const PATH_BYTES_MAX: usize = 100;
    let path = dir.join(SOCKET);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return with(&path);
    }
    // the folder through a descriptor: short, and the same folder
    let folder = std::fs::File::open(dir)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    with(Path::new(&format!("/proc/self/fd/{number}/{SOCKET}")))
}
