//! The account that the server runs under: our own, or as root the user `postgres`.
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;

use nix::unistd::{User, geteuid};
use tokio::process::Command;

use super::EmbeddedError;

/// `None` is our own account.
pub(super) struct Account(Option<User>);

impl Account {
    /// Postgres refuses to run as root, so as root another account must serve.
    pub(super) fn for_server() -> Result<Self, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        User::from_name("postgres")
            .ok()
            .flatten()
            .map(|user| Self(Some(user)))
            .ok_or(EmbeddedError::NoAccount)
    }

    pub(super) fn is_another(&self) -> bool {
        self.0.is_some()
    }

    fn id(&self) -> u32 {
        self.0.as_ref().map_or_else(geteuid, |user| user.uid).as_raw()
    }

    /// A command under this account, in a process group of its own, so that a Ctrl-C in the terminal reaches us alone.
    /// Of the environment it gets what finds programs and libraries: neither the bot's token nor a `PGPORT`.
    pub(super) fn command(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir(directory)
            .process_group(0)
            .stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Creates a folder that this account alone (and root) can enter; one that exists already must be just that.
    /// `Ok(false)`: it exists, and belongs or is open to someone else.
    pub(super) fn create_private(&self, folder: &Path) -> Result<bool, EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {
                if let Some(user) = &self.0 {
                    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                        .map_err(EmbeddedError::io("hand over", folder))?;
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found =
                    fs::symlink_metadata(folder).map_err(EmbeddedError::io("look at", folder))?;
                Ok(found.is_dir() && found.uid() == self.id() && found.mode().trailing_zeros() >= 6)
            }
            Err(error) => Err(EmbeddedError::io("create", folder)(error)),
        }
    }

    /// Refuses a cluster that another account made.
    pub(super) fn check_owns(&self, cluster: &Path) -> Result<(), EmbeddedError> {
        let owner = fs::metadata(cluster).map_err(EmbeddedError::io("look at", cluster))?.uid();
        if owner == self.id() {
            return Ok(());
        }
        Err(EmbeddedError::OtherOwner { folder: cluster.to_owned(), owner, account: self.id() })
    }

    /// Finds the topmost folder on the way to `folder` that this account can't enter, by entering each: mode bits
    /// would not tell of access lists.
    pub(super) async fn check_enters(
        &self,
        folder: &Path,
        program: &Path,
    ) -> Result<(), EmbeddedError> {
        if !self.is_another() || self.enters(folder, program).await {
            return Ok(());
        }
        let mut way: Vec<_> = folder.ancestors().collect();
        while let Some(step) = way.pop() {
            if !self.enters(step, program).await {
                return Err(EmbeddedError::Blocked {
                    folder: folder.to_owned(),
                    blocker: step.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The child changes its user before its directory, so a folder that is closed to the account fails the start.
    async fn enters(&self, folder: &Path, program: &Path) -> bool {
        let trial = self.command(program, folder).arg("--version").output().await;
        !trial.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }
}
