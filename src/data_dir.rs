//! The data folder: one running bridge at a time, a format version, and the key that signs the loop guard's marks.
//!
//! It never changes what another version wrote in a format that it does not know.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio_rustls::rustls::crypto::ring;

use crate::settings::Secret;

/// The format that this version writes.
const FORMAT: &str = "1";

/// A data folder that this process holds.
#[derive(Debug)]
pub struct DataDir {
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be read or written.
    #[error("cannot use the data folder {path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process holds it.
    #[error("the data folder {0} is in use by another rocketbridge; give each its own `data_dir`")]
    InUse(PathBuf),
    /// A later version wrote it.
    #[error("the data folder {path} is in format {found}; this version knows format {FORMAT}")]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its `format` file says.
        found: String,
    },
}

impl DataDir {
    /// Makes the folder if need be, and holds it until dropped.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |error| DataDirError::Io { path: path.to_owned(), error };
        let is_new = !path.exists();
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new().create(true).append(true).open(path.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| DataDirError::InUse(path.to_owned()))?;
        let format = path.join("format");
        match fs::read_to_string(&format) {
            Ok(found) if found.trim() == FORMAT => {}
            // A crash may have kept the file's name and not what was written to it.
            Ok(found) if !found.trim().is_empty() => {
                return Err(DataDirError::Format { path: path.to_owned(), found: found.trim().to_owned() });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(_) | Err(_) => {
                let written = File::create(&format).and_then(|mut file| {
                    writeln!(file, "{FORMAT}")?;
                    file.sync_all()?;
                    sync_folder(path)
                });
                written.map_err(failed)?;
            }
        }
        if is_new {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            sync_folder(above.unwrap_or(Path::new("."))).map_err(failed)?;
        }
        Ok(Self { _lock: lock })
    }
}

/// Returns once the names in a folder are on disk: a synced file without its name is lost all the same.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// What tells this bridge from its replicas: made once.
pub fn instance(data_dir: &Path) -> Result<String, DataDirError> {
    let path = data_dir.join("instance");
    let failed = |error| DataDirError::Io { path: path.clone(), error };
    match fs::read_to_string(&path) {
        Ok(instance) if !instance.trim().is_empty() => return Ok(instance.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(_) | Err(_) => {}
    }
    let instance = format!("{:016x}", fastrand::u64(..));
    fs::write(&path, format!("{instance}\n")).and_then(|()| sync_folder(data_dir)).map_err(failed)?;
    Ok(instance)
}

/// The key that signs the loop guard's marks when the settings give none: made once, kept for this user alone.
pub fn loop_key(data_dir: &Path) -> Result<Secret, DataDirError> {
    let path = data_dir.join("loop.key");
    let failed = |error| DataDirError::Io { path: path.clone(), error };
    match fs::read_to_string(&path) {
        Ok(key) if !key.trim().is_empty() => return Ok(Secret::new(key.trim())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(_) | Err(_) => {}
    }
    let mut key = [0; 32];
    let random = ring::default_provider().secure_random;
    random.fill(&mut key).map_err(|_| failed(io::Error::other("the system gives no random bytes")))?;
    let key = STANDARD.encode(key);
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    writeln!(file, "{key}").and_then(|()| file.sync_all()).and_then(|()| sync_folder(data_dir)).map_err(failed)?;
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_no_ones_elses_to_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let key = loop_key(folder.path()).unwrap();
        assert_eq!(loop_key(folder.path()).unwrap(), key);
        let mode = fs::metadata(folder.path().join("loop.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn a_bridge_is_known_again_after_a_restart() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let instance = instance(one.path()).unwrap();
        assert_eq!(super::instance(one.path()).unwrap(), instance);
        assert_ne!(super::instance(other.path()).unwrap(), instance);
    }

    #[test]
    fn one_process_at_a_time_and_no_unknown_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let held = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse(_))));
        drop(held);
        drop(DataDir::open(&path).unwrap());
        fs::write(path.join("format"), "2\n").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Format { .. })));
    }

    #[test]
    fn a_format_that_a_crash_left_empty_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), "").unwrap();
        drop(DataDir::open(folder.path()).unwrap());
        assert_eq!(fs::read_to_string(folder.path().join("format")).unwrap().trim(), FORMAT);
    }
}
