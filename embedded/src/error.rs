//! What can go wrong with a server of our own, in words that say what to do.
use std::io;
use std::path::{Path, PathBuf};

/// Why the embedded server can't be started, joined or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another live process holds the folder's lock.
    #[error(
        "{} is in use by another bytekeeper{owner}: stop that one first, or choose another DATA_DIR",
        folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// " (process 123)", or nothing when the lock file doesn't tell.
        owner: String,
    },
    /// Neither `PG_BINDIR` nor any usual place holds the server's programs.
    #[error(
        "no Postgres server (the programs initdb and postgres) in {looked}: install one (Debian, Ubuntu: \
         apt-get install postgresql), name its folder in PG_BINDIR, or set DATABASE_URL to a server that runs"
    )]
    NoPostgres {
        /// The places, as a list in words.
        looked: String,
    },
    /// The folder belongs to a major version that isn't installed.
    #[error(
        "{} was made by Postgres {major}, but here is only Postgres {found}: install Postgres {major} (Debian, Ubuntu: \
         apt-get install postgresql-{major}), or move the data as docs/hosting.md says under \"Moving to a newer Postgres\"",
        folder.display()
    )]
    OtherMajor {
        /// The cluster's folder.
        folder: PathBuf,
        /// The major version in its `PG_VERSION`.
        major: u32,
        /// The major versions that were found, as a list in words.
        found: String,
    },
    /// Postgres refuses to run as root, and the account to run it under is missing.
    #[error(
        "Postgres doesn't run as root, and the user postgres that it would run under doesn't exist: start bytekeeper as \
         an ordinary user, or create that one (Debian, Ubuntu: apt-get install postgresql)"
    )]
    NoAccount,
    /// As root: the account of the server can't pass through a folder on the way.
    #[error(
        "the server runs as user postgres, who can't enter {}, so {} is out of its reach: choose a DATA_DIR elsewhere \
         (such as /var/lib/bytekeeper), or let it pass: chmod o+x {}",
        blocker.display(), folder.display(), blocker.display()
    )]
    Blocked {
        /// The data folder.
        folder: PathBuf,
        /// The topmost folder that the account can't enter.
        blocker: PathBuf,
    },
    /// The cluster was made under another account.
    #[error(
        "{} belongs to user id {owner}, but the server would run as user id {account}: start bytekeeper as it was \
         started before, or hand the folder over: chown -R {account} {}",
        folder.display(), folder.display()
    )]
    OtherOwner {
        /// The cluster's folder.
        folder: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who would have to.
        account: u32,
    },
    /// Postgres keeps paths in line-based text files.
    #[error("the path {} has bytes that Postgres can't handle: choose a DATA_DIR of printable UTF-8", folder.display())]
    UnusablePath {
        /// The data folder.
        folder: PathBuf,
    },
    /// The path is too long for a socket, and the short place for it is taken.
    #[error(
        "the path of {} is too long for a socket, and {}, where the socket would go instead, belongs to someone else: \
         remove that, or choose a shorter DATA_DIR",
        folder.display(), short.display()
    )]
    NoSocketFolder {
        /// The data folder.
        folder: PathBuf,
        /// The short folder that isn't ours.
        short: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb could not make a database cluster in {}:\n{stderr}", folder.display())]
    Initialise {
        /// The cluster's folder.
        folder: PathBuf,
        /// What initdb said.
        stderr: String,
    },
    /// Processes of a killed server don't leave.
    #[error(
        "the server that ran in {} was killed, but {attached} of its processes are still attached to its memory: wait, \
         or end the processes named \"postgres: …\" of that folder, then start again",
        folder.display()
    )]
    Remains {
        /// The cluster's folder.
        folder: PathBuf,
        /// How many processes there are.
        attached: u64,
    },
    /// The server process ended by itself.
    #[error("the embedded Postgres server ended by itself; its log {} ends with:\n{tail}", log.display())]
    Died {
        /// The server's log.
        log: PathBuf,
        /// The log's last lines since the start.
        tail: String,
    },
    /// The server runs, but accepts no connection in time.
    #[error(
        "the embedded Postgres server accepted no connection within {seconds} s ({reason}); its log {} ends with:\n{tail}",
        log.display()
    )]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// What the last attempt to connect came to.
        reason: String,
        /// The server's log.
        log: PathBuf,
        /// The log's last lines since the start.
        tail: String,
    },
    /// The server outlived the request for an immediate shutdown.
    #[error(
        "the embedded Postgres server (process {pid}) does not stop; the next start will adopt it"
    )]
    DidNotStop {
        /// Its process id.
        pid: i32,
    },
    /// The server answers, but the database could not be looked up or created.
    #[error(
        "the embedded Postgres server has no database {database} and could not create it: {source}"
    )]
    NoDatabase {
        /// The database's name.
        database: &'static str,
        /// What the server said.
        source: sqlx::Error,
    },
    /// A file or program of the data folder can't be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
