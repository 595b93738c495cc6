//! Whether the running process is well, asked by `bytekeeper health` and so by containers.
//!
//! The process listens on a port of 127.0.0.1 that it leaves in the file `health.port` of its data
//! folder. It writes one line to whoever connects, tells nothing about members, and hangs up.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use poise::serenity_prelude::ShardManager;
use poise::serenity_prelude::gateway::ConnectionStage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::Shards;
use crate::discord::App;

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a well process says; anything else is the reason why not.
const WELL: &str = "bytekeeper: well";

/// The listener; dropping it removes the file.
#[derive(Debug)]
pub struct Health {
    file: PathBuf,
    listener: JoinHandle<()>,
    /// Held as long as the process runs; the kernel frees it when it's killed.
    _lock: File,
}

impl Drop for Health {
    fn drop(&mut self) {
        self.listener.abort();
        // Gone already is as good.
        drop(std::fs::remove_file(&self.file));
    }
}

/// Answers from now on whether the bot is well.
///
/// # Errors
///
/// If the file can't be written, or another live process answers for the same folder.
pub async fn serve(data_dir: &Path, app: &App, shards: &Shards) -> io::Result<Health> {
    let file = data_dir.join("health.port");
    tokio::fs::create_dir_all(data_dir).await.map_err(|error| named(data_dir, &error))?;
    let lock = data_dir.join("process.lock");
    let lock = File::create(&lock).map_err(|error| named(&lock, &error))?;
    if lock.try_lock().is_err() {
        let text = format!(
            "{} is in use by another running bytekeeper; each process needs its own",
            data_dir.display()
        );
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::fs::write(&file, port.to_string()).await.map_err(|error| named(&file, &error))?;
    let (app, shards) = (app.clone(), shards.clone());
    let listener = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let now = Arc::clone(&shards.borrow());
            let line = state(&app, &now).await;
            // Who hung up doesn't want to know.
            drop(timeout(PATIENCE, stream.write_all(format!("{line}\n").as_bytes())).await);
        }
    });
    Ok(Health { file, listener, _lock: lock })
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} can't be written: {error}", path.display()))
}

async fn state(app: &App, shards: &ShardManager) -> String {
    let connected = {
        let runners = shards.runners.lock().await;
        !runners.is_empty()
            && runners.values().all(|runner| runner.stage == ConnectionStage::Connected)
    };
    if !connected {
        return "bytekeeper: not connected to Discord".to_owned();
    }
    match timeout(Duration::from_secs(2), app.db.ping()).await {
        Ok(Ok(())) => WELL.to_owned(),
        Ok(Err(error)) => format!("bytekeeper: the database fails: {error}"),
        Err(_) => "bytekeeper: the database doesn't answer".to_owned(),
    }
}

/// Asks the process of a data folder; `Ok` is its own line, well or not.
///
/// # Errors
///
/// If none answers within 3 s.
pub async fn ask(data_dir: &Path) -> io::Result<String> {
    let port = tokio::fs::read_to_string(data_dir.join("health.port")).await?;
    let port: u16 = port.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
    let answer = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut line = String::new();
        stream.take(1_000).read_to_string(&mut line).await?;
        Ok::<_, io::Error>(line.trim().to_owned())
    };
    let line = timeout(PATIENCE, answer).await??;
    // The file of a killed process may name a port that is somebody else's by now.
    if line.starts_with("bytekeeper: ") { Ok(line) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether a line of [`ask`] is that of a process that is well.
#[must_use]
pub fn is_well(line: &str) -> bool {
    line == WELL
}
