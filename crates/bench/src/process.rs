//! What this process used: processor, memory, disk.

use prunedb_disk::{Disk, Open, RealDisk};
use std::{fs, io, path::Path, process::Command};

/// Seconds of processor time of all threads, in the program and in the system for it.
pub fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Bytes that this process caused to be written to disks: whole pages, each time one became dirty. File systems'
/// journals are not in it.
///
/// # Errors
/// Where the system does not tell.
pub fn written_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    number(&text, "write_bytes:").ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The most memory that this process ever held, in bytes.
///
/// # Errors
/// Where the system does not tell.
pub fn peak_bytes() -> io::Result<u64> {
    resident("VmHWM:")
}

/// A line of the process's status, in bytes.
pub(crate) fn resident(line: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    number(&status, line)
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn number(text: &str, line: &str) -> Option<u64> {
    let words = text.lines().find_map(|text| text.strip_prefix(line));
    words?.split_whitespace().next()?.parse().ok()
}

/// Drops what the system keeps of all files below a folder; what is not synced yet stays.
///
/// # Errors
/// Those of the disk.
pub fn drop_cached(folder: &Path) -> io::Result<()> {
    for_files(folder, &mut |path| RealDisk.open(path, Open::Read)?.drop_cached())
}

/// Bytes of disk that all files below a folder take.
///
/// # Errors
/// Those of the disk.
pub fn allocated_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for_files(folder, &mut |path| {
        bytes += RealDisk.open(path, Open::Read)?.allocated_bytes()?;
        Ok(())
    })?;
    Ok(bytes)
}

fn for_files(folder: &Path, each: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            for_files(&entry.path(), each)?;
        } else {
            each(&entry.path())?;
        }
    }
    Ok(())
}

/// Runs a command; what it wrote.
///
/// # Errors
/// Where it cannot be run or fails; the message is what it wrote to stderr.
pub fn ask(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The processor's name for itself.
pub fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.into())
}
