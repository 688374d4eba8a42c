//! The file to be written: it appears under its name only when it is complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Outcome};
use crate::signals::RemovedOnInterrupt;

/// A place for a new file, checked before anything is read.
#[derive(Debug)]
pub(crate) struct TargetFile {
    path: PathBuf,
    folder: PathBuf,
}

impl TargetFile {
    /// Checks that a file can be put at `path`, and that it is not `input` itself.
    pub(crate) fn new(path: &Path, input: &Path, may_replace: bool) -> Outcome<Self> {
        let shown = path.display();
        if is_same_file(path, input) {
            return Err(is_input(path));
        }
        let target = Self::at(path)?;
        if !may_replace && target.path.exists() {
            return Err(Failure::new(format!("{shown} exists already"))
                .why("--no-clobber was given")
                .remedy("remove it, give another name, or leave --no-clobber out"));
        }
        Ok(target)
    }

    /// Checks that a file can be put at `path`.
    pub(crate) fn at(path: &Path) -> Outcome<Self> {
        // Through a symbolic link, what it leads to is replaced.
        let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&resolved).is_ok_and(|found| !found.is_file()) {
            return Err(Failure::new(format!(
                "{} exists and is not a regular file",
                path.display()
            ))
            .why("the new file is renamed to its place, which would replace it")
            .remedy("name a regular file, or one that is not there yet"));
        }
        let folder = match resolved.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { path: resolved, folder })
    }

    /// Fails where the file is one of those that are read.
    pub(crate) fn check_is_none_of<'a>(
        &self,
        mut inputs: impl Iterator<Item = &'a Path>,
    ) -> Outcome<()> {
        if inputs.any(|input| is_same_file(&self.path, input)) {
            return Err(is_input(&self.path));
        }
        Ok(())
    }

    /// The folder that the file will be in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fails where no new file can be put into the folder.
    pub(crate) fn check_folder(&self) -> Outcome<()> {
        self.new_temporary().map(drop)
    }

    fn new_temporary(&self) -> Outcome<NamedTempFile> {
        new_temporary(&self.folder).map_err(|error| {
            Failure::new(format!("no file can be created in {}", self.folder.display()))
                .why(error)
                .remedy("create the folder, or write to one for which you have permission")
        })
    }

    /// Lets `write` write a temporary file in the same folder, and renames it when that has
    /// succeeded. Else the temporary file is removed and what was there stays as it was.
    pub(crate) fn write<T>(&self, write: impl FnOnce(File) -> Outcome<T>) -> Outcome<T> {
        let temporary = self.new_temporary()?;
        let _removed = RemovedOnInterrupt::new(temporary.path());
        let file = temporary.as_file().try_clone().map_err(|error| {
            Failure::new("the temporary file cannot be opened twice").why(error)
        })?;
        let done = write(file)?;
        if let Ok(replaced) = fs::metadata(&self.path) {
            // The new file may be read and written by whom the old one could be, where possible.
            let _ = temporary.as_file().set_permissions(replaced.permissions());
        }
        temporary.persist(&self.path).map_err(|refused| {
            Failure::new(format!("{} cannot be put in place", self.path.display()))
                .why(refused.error)
                .remedy("write to another place; what was there before is untouched")
        })?;
        Ok(done)
    }
}

fn is_input(path: &Path) -> Failure {
    Failure::usage(format!("{} is the input itself", path.display()))
        .why("a file is not converted onto itself, so that nothing can be lost")
        .remedy("give the output another name")
}

fn new_temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".arraybridge-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask takes away what new files must not have.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Whether two paths lead to one file, through links of either kind.
pub(crate) fn is_same_file(path: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
        matches!((identity(path), identity(other)), (Ok(one), Ok(two)) if one == two)
    }
    #[cfg(not(unix))]
    {
        matches!((fs::canonicalize(path), fs::canonicalize(other)), (Ok(one), Ok(two)) if one == two)
    }
}
