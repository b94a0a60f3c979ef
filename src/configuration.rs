//! Settings and mapping files, read together from disk: what every command starts from.
//!
//! A configuration exists only without errors; otherwise the report says what they are. It must never half-apply
//! what it reads.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    diagnostic::{At, Fault, Faults, Report, Source},
    mapping::{self, Mapping, MappingFile},
    settings::{self, Credentials, Environment, Secret, Settings},
};

/// All that a person wrote, checked.
#[derive(Debug)]
pub struct Configuration {
    /// Brokers and limits.
    pub settings: Arc<Settings>,
    /// The routes and tests of all mapping files.
    pub mapping: Mapping,
}

/// What came of reading.
#[derive(Debug)]
pub struct Loaded {
    /// Errors and warnings.
    pub report: Report,
    /// The configuration, if there is no error.
    pub configuration: Option<Configuration>,
}

/// The settings file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the settings file `{path}`: {error}")]
pub struct Unreadable {
    path: PathBuf,
    error: io::Error,
}

impl Unreadable {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        self.error.kind() == io::ErrorKind::NotFound
    }
}

/// The settings file, read; the mapping files are next.
#[derive(Debug)]
pub struct Opened {
    settings: Settings,
    faults: Faults,
}

/// Reads the settings file.
pub fn open(settings_file: &Path, environment: &Environment) -> Result<Opened, Unreadable> {
    let text =
        std::fs::read_to_string(settings_file).map_err(|error| Unreadable { path: settings_file.to_owned(), error })?;
    let faults = Faults::default();
    let settings = settings::load(settings_file, &text, environment, &faults);
    Ok(Opened { settings, faults })
}

/// Reads a credentials file again, or says what is wrong with it.
pub fn credentials(file: &Path, environment: &Environment) -> Result<Credentials, Report> {
    let faults = Faults::default();
    let credentials = settings::load_credentials(file, environment, &faults);
    if faults.has_errors() { Err(faults.into_report()) } else { Ok(credentials) }
}

impl Opened {
    /// The settings, if they have no error.
    pub fn settings(&self) -> Option<&Settings> {
        (!self.faults.has_errors()).then_some(&self.settings)
    }

    /// Reads the mapping files that the settings name. `loop_key` signs the loop guard's marks of what is sent.
    pub fn load(self, loop_key: &Secret) -> Loaded {
        let Self { settings, faults } = self;
        let files = mapping_files(&settings.mappings, &faults);
        let mapping = mapping::load(&files, &settings, loop_key, &faults);
        let configuration = (!faults.has_errors()).then(|| Configuration { settings: Arc::new(settings), mapping });
        Loaded { report: faults.into_report(), configuration }
    }
}

/// The `*.toml` of a folder, by name.
fn mapping_files(folder: &Path, faults: &Faults) -> Vec<MappingFile> {
    let unreadable = |path: &Path, error: &io::Error| {
        let at = At::whole(&Source::new(path.display().to_string(), ""));
        Fault::error(at, format!("cannot read `{}`: {error}", path.display()), "")
    };
    let mut paths = match toml_files(folder) {
        Ok(paths) => paths,
        Err(error) => {
            faults.add(unreadable(folder, &error).hint("`mappings` in the settings names the folder of mapping files"));
            return Vec::new();
        }
    };
    paths.sort();
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => Some(MappingFile { path, text }),
        Err(error) => {
            faults.add(unreadable(&path, &error));
            None
        }
    };
    paths.into_iter().filter_map(read).collect()
}

fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // A file that an editor is writing starts with a dot or ends otherwise.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}
