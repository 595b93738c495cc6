//! The server process: our child, or the orphan of an owner that was killed.
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::folder::Folder;
use super::programs::Programs;
use super::{EmbeddedError, Options};

/// A fast shutdown rolls open transactions back and writes a checkpoint.
const FAST_SHUTDOWN: Duration = Duration::from_secs(4);
/// An immediate one only ends the processes; the next start replays the write-ahead log.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(2);
/// How long the processes of a killed server may stay attached to its memory.
const REMAINS_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Server {
    pid: Pid,
    cluster: PathBuf,
    /// `None` for an adopted server.
    child: Option<Mutex<Child>>,
    /// Where this server's lines begin in the log.
    pub(super) log_from: u64,
}

impl Server {
    /// Starts the server, or adopts one of the same folder and options that has lost its owner.
    pub(super) async fn obtain(
        folder: &Folder,
        account: &Account,
        programs: &Programs,
        socket: &Path,
        options: &Options,
    ) -> Result<Self, EmbeddedError> {
        let cluster = folder.cluster();
        let arguments = arguments(&cluster, socket, options);
        if let Some(orphan) =
            PidFile::read(&cluster)?.and_then(|file| Self::adopt(&cluster, file.pid))
        {
            if orphan.command_line().ends_with(&in_bytes(&arguments)) {
                tracing::info!(pid = orphan.pid.as_raw(), "adopted the embedded Postgres server");
                return Ok(orphan);
            }
            tracing::info!(
                pid = orphan.pid.as_raw(),
                "restarting an embedded Postgres server that has other options"
            );
            orphan.stop().await?;
        }
        clear_remains(&cluster, socket).await?;
        let (log, log_from) = folder.open_log()?;
        let child = account
            .command(&programs.postgres, &cluster)
            .args(&arguments)
            .stdout(log.try_clone().map_err(EmbeddedError::io("share", &folder.log()))?)
            .stderr(log)
            .spawn()
            .map_err(EmbeddedError::io("run", &programs.postgres))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("a child that nobody waited for has an id");
        Ok(Self { pid: Pid::from_raw(pid), cluster, child: Some(Mutex::new(child)), log_from })
    }

    /// `None` when that process isn't the server of this cluster: ids are used again, in containers within seconds.
    fn adopt(cluster: &Path, pid: i32) -> Option<Self> {
        let server =
            Self { pid: Pid::from_raw(pid), cluster: cluster.to_owned(), child: None, log_from: 0 };
        server.is_alive().then_some(server)
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    pub(super) fn is_alive(&self) -> bool {
        if let Some(child) = &self.child {
            let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
            return matches!(child.try_wait(), Ok(None));
        }
        let folder = in_bytes(&data_folder(&self.cluster));
        self.command_line().windows(folder.len()).any(|window| window == folder)
    }

    /// The arguments, each with a zero after it; empty for a process that is gone or waits to be reaped.
    fn command_line(&self) -> Vec<u8> {
        fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It fails for a process that has just ended, which is what the signal is for.
            let _ = kill(self.pid, signal);
        }
    }

    pub(super) async fn stop(&self) -> Result<(), EmbeddedError> {
        for (signal, patience) in
            [(Signal::SIGINT, FAST_SHUTDOWN), (Signal::SIGQUIT, IMMEDIATE_SHUTDOWN)]
        {
            self.signal(signal);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if !self.is_alive() {
                    return Ok(());
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        Err(EmbeddedError::DidNotStop { pid: self.pid.as_raw() })
    }
}

impl Drop for Server {
    /// Asks for a fast shutdown, without waiting for it.
    fn drop(&mut self) {
        self.signal(Signal::SIGINT);
    }
}

fn data_folder(cluster: &Path) -> [OsString; 2] {
    ["-D".into(), cluster.into()]
}

/// Everything that matters stands on the command line: there it wins over the cluster's postgresql.conf, and an
/// orphan shows by it whether it is the server that would be started.
fn arguments(cluster: &Path, socket: &Path, options: &Options) -> Vec<OsString> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        "port=5432".to_owned(), // the number in the socket's name
        format!(
            "unix_socket_directories=\"{}\"",
            socket.display().to_string().replace('"', "\"\"")
        ),
        "unix_socket_permissions=0700".to_owned(),
        format!("max_connections={}", options.max_connections),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // The log is for the server's own trouble: no statements, no rows, no line for every checkpoint.
        "logging_collector=off".to_owned(),
        "log_min_error_statement=panic".to_owned(),
        "log_error_verbosity=terse".to_owned(),
        "log_checkpoints=off".to_owned(),
    ];
    let durable = if options.durable { "on" } else { "off" };
    settings.extend(
        ["fsync", "synchronous_commit", "full_page_writes"].map(|name| format!("{name}={durable}")),
    );
    data_folder(cluster)
        .into_iter()
        .chain(settings.into_iter().flat_map(|setting| [OsString::from("-c"), setting.into()]))
        .collect()
}

/// Arguments as `/proc` shows them.
fn in_bytes(arguments: &[OsString]) -> Vec<u8> {
    let zero_ended = |argument: &OsString| [argument.as_encoded_bytes(), b"\0"].concat();
    arguments.iter().flat_map(zero_ended).collect()
}

/// What a running server writes into its folder.
pub(super) struct PidFile {
    pid: i32,
    /// The socket's folder, once the server has written that it is ready.
    pub(super) ready: Option<PathBuf>,
    /// The System V segment that every process of the server is attached to.
    segment: Option<u64>,
}

impl PidFile {
    /// `None` when there is none.
    pub(super) fn read(cluster: &Path) -> Result<Option<Self>, EmbeddedError> {
        let path = cluster.join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EmbeddedError::io("read", &path)(error)),
        };
        // Process id, data folder, start time, port, socket's folder, address, key and id of the
        // segment, state.
        let line = |number: usize| text.lines().nth(number).unwrap_or_default().trim();
        let Ok(pid) = line(0).parse() else { return Ok(None) };
        let ready = (line(7) == "ready").then(|| line(4).into());
        let segment = line(6).split_whitespace().nth(1).and_then(|id| id.parse().ok());
        Ok(Some(Self { pid, ready, segment }))
    }
}

/// Removes what a dead server left. Postgres takes a left `postmaster.pid` for a living server as soon as any process
/// or thread has that number again, which in a restarted container is the rule. What protects the data is that
/// nobody is attached to the dead server's memory; where the system doesn't tell, Postgres is left to judge.
async fn clear_remains(cluster: &Path, socket: &Path) -> Result<(), EmbeddedError> {
    let Some(left) = PidFile::read(cluster)? else { return Ok(()) };
    let deadline = Instant::now() + REMAINS_PATIENCE;
    loop {
        match left.segment.map_or(Some(0), attached) {
            None => return Ok(()),
            Some(0) => break,
            Some(_) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            Some(attached) => {
                return Err(EmbeddedError::Remains { folder: cluster.to_owned(), attached });
            }
        }
    }
    for file in [
        cluster.join("postmaster.pid"),
        socket.join(".s.PGSQL.5432"),
        socket.join(".s.PGSQL.5432.lock"),
    ] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EmbeddedError::io("remove", &file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How many processes are attached to a System V segment; `None` when the system doesn't tell.
fn attached(segment: u64) -> Option<u64> {
    let table = fs::read_to_string("/proc/sysvipc/shm").ok()?;
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let header = rows.next()?;
    let column = |name| header.iter().position(|title| *title == name);
    let (id, count) = (column("shmid")?, column("nattch")?);
    let row = rows.find(|row| row.get(id).is_some_and(|value| value.parse() == Ok(segment)));
    row.map_or(Some(0), |row| row.get(count)?.parse().ok())
}
