//! The data folder: its lock, its cluster, its log, its socket.
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::EmbeddedError;
use super::account::Account;
use super::programs::{self, Programs};

/// `sun_path` holds 108 bytes with its closing zero (`man 7 unix`), the socket's own name takes the rest.
const LONGEST_SOCKET_FOLDER: usize = 107 - "/.s.PGSQL.5432".len();
/// A start moves a longer log aside.
const LOG_LIMIT_BYTES: u64 = 1 << 20;
/// How long a starter waits for the lock: for the initdb of an owner that was killed, and for an `attach`'s glance.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
}

impl Folder {
    /// Creates the folder where it is missing.
    pub(super) fn open(path: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(path).map_err(EmbeddedError::io("create", path))?;
        let folder = Self::existing(path)?;
        let root = &folder.root;
        let is_empty =
            fs::read_dir(root).map_err(EmbeddedError::io("read", root))?.next().is_none();
        let found = fs::metadata(root).map_err(EmbeddedError::io("look at", root))?;
        // An empty folder of root's becomes ours: the server must pass through it, nobody can read it.
        if is_empty
            && account.is_another()
            && found.uid() == geteuid().as_raw()
            && found.mode() & 0o001 == 0
        {
            fs::set_permissions(root, Permissions::from_mode(0o711))
                .map_err(EmbeddedError::io("open up", root))?;
        }
        Ok(folder)
    }

    pub(super) fn existing(path: &Path) -> Result<Self, EmbeddedError> {
        let root = path.canonicalize().map_err(EmbeddedError::io("open", path))?;
        match root.to_str() {
            Some(text) if !text.contains(char::is_control) => Ok(Self { root }),
            _ => Err(EmbeddedError::UnusablePath { folder: root }),
        }
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("postgres")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    /// Takes the folder for this process; the operating system gives it back when the last holder of the file ends.
    pub(super) async fn lock(&self) -> Result<File, EmbeddedError> {
        let path = self.lock_file();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(EmbeddedError::io("open", &path))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let pid = fs::read_to_string(&path).unwrap_or_default();
                    let owner =
                        if pid.is_empty() { pid } else { format!(" (process {})", pid.trim()) };
                    return Err(EmbeddedError::InUse { folder: self.root.clone(), owner });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(EmbeddedError::io("lock", &path)(error));
                }
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(EmbeddedError::io("write", &path))?;
        Ok(file)
    }

    /// Whether another live process owns the folder.
    pub(super) fn is_locked(&self) -> Result<bool, EmbeddedError> {
        let path = self.lock_file();
        match File::open(&path) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(EmbeddedError::io("lock", &path)(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(EmbeddedError::io("open", &path)(error)),
        }
    }

    /// The cluster's major version, `None` when there is no cluster yet.
    pub(super) fn major(&self) -> Result<Option<u32>, EmbeddedError> {
        let path = self.cluster().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(version) => Ok(programs::major(version.trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("read", &path)(error)),
        }
    }

    /// Makes the cluster under another name and renames it when it is whole, so that a start that was killed here
    /// leaves nothing to repair.
    pub(super) async fn initialise(
        &self,
        account: &Account,
        programs: &Programs,
        lock: &File,
        durable: bool,
    ) -> Result<(), EmbeddedError> {
        let (cluster, unfinished) = (self.cluster(), self.root.join("postgres.new"));
        if let Err(error) = fs::remove_dir_all(&unfinished)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(EmbeddedError::io("remove", &unfinished)(error));
        }
        account.create_private(&unfinished)?;
        // As its standard input initdb holds the lock too: if we are killed, the next starter waits for its end.
        let held = lock.try_clone().map_err(EmbeddedError::io("share", &self.lock_file()))?;
        let output = account
            .command(&programs.initdb, &unfinished)
            .arg("--pgdata")
            .arg(&unfinished)
            .args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--data-checksums"])
            // Who gets as far as the socket is root or the server's own account: its folder has mode 0700.
            .args(["--auth-local=trust", "--auth-host=reject"])
            .args((!durable).then_some("--no-sync"))
            .stdin(Stdio::from(held))
            .kill_on_drop(true)
            .output()
            .await
            .map_err(EmbeddedError::io("run", &programs.initdb))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(EmbeddedError::Initialise { folder: cluster, stderr });
        }
        fs::rename(&unfinished, &cluster)
            .map_err(EmbeddedError::io("put the new cluster at", &cluster))
    }

    /// The socket's folder: in the data folder, or in /tmp when that path is too long for a socket.
    pub(super) fn create_socket_folder(&self, account: &Account) -> Result<PathBuf, EmbeddedError> {
        let inside = self.root.join("socket");
        let chosen = if inside.as_os_str().len() <= LONGEST_SOCKET_FOLDER {
            inside
        } else {
            let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.root.as_os_str().as_encoded_bytes());
            Path::new("/tmp").join(format!("bytekeeper-{}", name.simple()))
        };
        if account.create_private(&chosen)? {
            Ok(chosen)
        } else {
            Err(EmbeddedError::NoSocketFolder { folder: self.root.clone(), short: chosen })
        }
    }

    /// Opens the log for a server that starts, and tells where its lines will begin. A log over a mebibyte moves to
    /// `postgres.log.1` first: two files at most.
    pub(super) fn open_log(&self) -> Result<(File, u64), EmbeddedError> {
        let path = self.log();
        let length = |path| fs::metadata(path).map_or(0, |found| found.len());
        if length(&path) > LOG_LIMIT_BYTES {
            fs::rename(&path, self.root.join("postgres.log.1"))
                .map_err(EmbeddedError::io("move", &path))?;
        }
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        Ok((log.map_err(EmbeddedError::io("open", &path))?, length(&path)))
    }

    /// The log's last lines at or after the byte `from`; empty when it can't be read.
    pub(super) fn log_tail(&self, from: u64) -> String {
        let mut text = Vec::new();
        let read = File::open(self.log()).and_then(|mut log| {
            let from = from.max(log.metadata()?.len().saturating_sub(64 << 10));
            log.seek(SeekFrom::Start(from))?;
            log.read_to_end(&mut text)
        });
        if let Err(error) = read {
            return format!("(unreadable: {error})");
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}
