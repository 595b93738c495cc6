//! A Postgres server of our own, for a host who has none: durable, reachable through a private socket only.
//!
//! ```text
//! DATA_DIR/lock            held while a bytekeeper owns the folder; holds its process id
//! DATA_DIR/postgres/       the cluster
//! DATA_DIR/postgres.new/   a cluster that initdb hasn't finished; the next start throws it away
//! DATA_DIR/postgres.log    what the server says; a start moves more than a mebibyte of it to postgres.log.1
//! DATA_DIR/socket/         the only way in: mode 0700, owned by the server's account
//! ```
//! The server is a child in a process group of its own. When its owner is killed it lives on, finishes what it was
//! writing, and the next owner adopts it. Adoption reads `/proc`; elsewhere than on Linux Postgres itself refuses a
//! second server, and the orphan must be stopped by hand.
mod account;
mod error;
mod folder;
mod programs;
mod server;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};

pub use self::error::EmbeddedError;

use self::account::Account;
use self::folder::Folder;
use self::programs::Places;
use self::server::{PidFile, Server};

const DATABASE: &str = "bytekeeper";
/// Ample for replaying a crashed server's write-ahead log, which Postgres keeps at about a gibibyte by default.
const READY_PATIENCE: Duration = Duration::from_mins(2);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether what is committed survives a power cut. `false` is for tests: about twice as fast to start.
    pub durable: bool,
    /// Connections that the server accepts at once, three of them for its superuser, which we are.
    pub max_connections: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { durable: true, max_connections: 100 }
    }
}

/// A Postgres server of our own in a data folder.
///
/// Dropping it asks the server to stop and doesn't wait.
#[derive(Debug)]
pub struct Embedded {
    server: Server,
    folder: Folder,
    attached: Attached,
    /// Declared last, so that it is given back last.
    _lock: File,
}

/// A way into the server of a data folder, which another process may own.
#[derive(Clone, Debug)]
pub struct Attached {
    socket: PathBuf,
}

impl Embedded {
    /// Locks the folder, creates folder and cluster where they are missing, starts the server or adopts the one that
    /// a killed owner left, and waits until it accepts connections and has its database.
    ///
    /// The first start takes about a second. After a crash of the server it may take as long as the write-ahead log
    /// is long, at most two minutes.
    ///
    /// # Errors
    /// Each variant of [`EmbeddedError`] says what to do. The folder's lock is waited for two seconds.
    pub async fn start(folder: &Path, options: Options) -> Result<Self, EmbeddedError> {
        Self::start_from(folder, &options, &Places::from_environment()).await
    }

    async fn start_from(
        path: &Path,
        options: &Options,
        places: &Places,
    ) -> Result<Self, EmbeddedError> {
        let account = Account::for_server()?;
        let folder = Folder::open(path, &account)?;
        let lock = folder.lock().await?;
        let cluster = folder.cluster();
        let major = folder.major()?;
        let programs = programs::find(places, &account, &cluster, major).await?;
        account.check_enters(&folder.root, &programs.postgres).await?;
        if major.is_some() {
            account.check_owns(&cluster)?;
        } else {
            tracing::info!(folder = %cluster.display(), "making a Postgres cluster");
            folder.initialise(&account, &programs, &lock, options.durable).await?;
        }
        let socket = folder.create_socket_folder(&account)?;
        let (server, attached) = loop {
            let server = Server::obtain(&folder, &account, &programs, &socket, options).await?;
            match await_ready(&server, &folder).await {
                Ok(attached) => break (server, attached),
                // It was already on its way out when it was adopted.
                Err(EmbeddedError::Died { .. }) if server.is_adopted() => {}
                Err(error) => return Err(error),
            }
        };
        create_database(&attached).await?;
        Ok(Self { server, folder, attached, _lock: lock })
    }

    /// Joins the server of a folder that another live process owns, as soon as it accepts connections; `None` when
    /// nobody owns the folder.
    ///
    /// # Errors
    /// When the folder can't be read (only root and the owner's account get in), or the server isn't ready within two
    /// minutes.
    pub async fn attach(folder: &Path) -> Result<Option<Attached>, EmbeddedError> {
        if !folder.exists() {
            return Ok(None);
        }
        let folder = Folder::existing(folder)?;
        let deadline = Instant::now() + READY_PATIENCE;
        while folder.is_locked()? {
            match knock(&folder, DATABASE).await {
                Ok(attached) => return Ok(Some(attached)),
                Err(reason) if Instant::now() > deadline => {
                    return Err(not_ready(&folder, reason, 0));
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        Ok(None)
    }

    /// How to connect: the unix socket, user `postgres`, database `bytekeeper`.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.attached.connect_options()
    }

    /// The same as a `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        self.attached.url()
    }

    /// Resolves when the server has ended by itself, with the error to stop with.
    pub async fn died(&self) -> EmbeddedError {
        while self.server.is_alive() {
            sleep(Duration::from_millis(250)).await;
        }
        died(&self.folder, &self.server)
    }

    /// Stops the server, at most 4 s fast (open transactions are rolled back), then 2 s immediately (the next start
    /// recovers). Close the pool before.
    ///
    /// # Errors
    /// When the server outlives both.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.server.stop().await?;
        if !self.attached.socket.starts_with(&self.folder.root) {
            // A folder that stays in /tmp is found and used again.
            let _ = fs::remove_dir(&self.attached.socket);
        }
        Ok(())
    }
}

impl Attached {
    /// How to connect: the unix socket, user `postgres`, database `bytekeeper`.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options(DATABASE)
    }

    /// The same as a `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        let hex = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
        let mut url = format!("postgres://postgres@localhost:5432/{DATABASE}?host=");
        for byte in self.socket.as_os_str().as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                    url.push(char::from(*byte));
                }
                _ => url.extend(['%', hex(byte >> 4), hex(byte & 15)]),
            }
        }
        url
    }

    /// Names everything that `PGPORT` and its like would change otherwise.
    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(5432)
            .username("postgres")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }
}

async fn await_ready(server: &Server, folder: &Folder) -> Result<Attached, EmbeddedError> {
    let deadline = Instant::now() + READY_PATIENCE;
    while server.is_alive() {
        match knock(folder, "postgres").await {
            Ok(attached) => return Ok(attached),
            Err(reason) if Instant::now() > deadline => {
                return Err(not_ready(folder, reason, server.log_from));
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    Err(died(folder, server))
}

/// Connects once, within 5 s, to a server that calls itself ready; the error is in words.
async fn knock(folder: &Folder, database: &str) -> Result<Attached, String> {
    let file = PidFile::read(&folder.cluster()).map_err(|error| error.to_string())?;
    let Some(socket) = file.and_then(|file| file.ready) else {
        return Err("it was still starting".to_owned());
    };
    let attached = Attached { socket };
    match timeout(Duration::from_secs(5), attached.options(database).connect()).await {
        Ok(Ok(connection)) => {
            connection.close().await.map_err(|error| error.to_string())?;
            Ok(attached)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it gave no answer within 5 s".to_owned()),
    }
}

async fn create_database(attached: &Attached) -> Result<(), EmbeddedError> {
    let create = async {
        let mut connection = PgConnection::connect_with(&attached.options("postgres")).await?;
        let exists: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(DATABASE)
                .fetch_one(&mut connection)
                .await?;
        if !exists {
            sqlx::query("create database bytekeeper").execute(&mut connection).await?;
        }
        connection.close().await
    };
    create.await.map_err(|source| EmbeddedError::NoDatabase { database: DATABASE, source })
}

fn died(folder: &Folder, server: &Server) -> EmbeddedError {
    EmbeddedError::Died { log: folder.log(), tail: folder.log_tail(server.log_from) }
}

fn not_ready(folder: &Folder, reason: String, log_from: u64) -> EmbeddedError {
    let seconds = READY_PATIENCE.as_secs();
    EmbeddedError::NotReady { seconds, reason, log: folder.log(), tail: folder.log_tail(log_from) }
}
