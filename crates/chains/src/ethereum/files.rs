//! History files on disk: which there are in a folder, and what is in each.

use super::{
    error::EthereumError,
    import::{ImportOptions, ImportReport, Progress, import_era1, import_ere, import_rlp},
};
use crate::archive::Archive;
use std::{
    fs::File,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
};

/// Ends of the names that a folder is searched for.
const EXTENSIONS: [&str; 4] = ["era1", "ere", "rlp", "blocks"];

/// The history files of a folder (not of those in it), by name; or the file itself, whatever its name.
///
/// # Errors
/// When the folder cannot be read.
pub fn history_files(path: &Path) -> Result<Vec<PathBuf>, EthereumError> {
    if !std::fs::metadata(path).map_err(EthereumError::io(path))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(EthereumError::io(path))? {
        let file = entry.map_err(EthereumError::io(path))?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Takes one file in; tells what it is by its name, or by its first bytes: of those that begin as `.era1` and `.ere` do, what has another name
/// than `.ere` is taken for `.era1`.
///
/// # Errors
/// See [`EthereumError`]. Unless it is the store that fails (or the file changes in between), nothing was put.
pub fn import_path<A: Archive + ?Sized>(
    archive: &mut A,
    path: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, EthereumError> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let unknown = |reason| EthereumError::UnknownFormat { file: name.to_string(), reason };
    let mut file = File::open(path).map_err(EthereumError::io(path))?;
    let mut head = Vec::new();
    file.by_ref().take(2).read_to_end(&mut head).map_err(EthereumError::io(path))?;
    file.rewind().map_err(EthereumError::io(path))?;
    match head[..] {
        // by its name it is one: say what is wrong with it as such
        _ if name.ends_with(".era1") => import_era1(archive, file, &name, options, progress),
        _ if name.ends_with(".ere") => import_ere(archive, file, &name, options, progress),
        [0x65, 0x32] => import_era1(archive, file, &name, options, progress),
        [0xf8..=0xff, _] => import_rlp(archive, file, &name, options, progress),
        [] => Err(unknown("it is empty")),
        [0x1f, 0x8b] => Err(unknown("it is compressed with gzip; unpack it first")),
        _ => Err(unknown("its first bytes are those of something else")),
    }
}
