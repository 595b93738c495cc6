//! A wire to Postgres that can be cut: where an answer is lost, and where nobody answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Passes bytes on between a socket of its own and the server's.
pub(crate) struct Wire {
    folder: TempDir,
    database: String,
    lose: Arc<AtomicUsize>,
    lose_quick: Arc<AtomicUsize>,
    /// How often the connections of the time fell silent.
    silences: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Wire {
    pub(crate) fn to(pool: &PgPool) -> Self {
        let options = pool.connect_options();
        let folder = TempDir::new().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("binds");
        let lose = Arc::<AtomicUsize>::default();
        let server = server(&options);
        let losing = Arc::clone(&lose);
        let lose_quick = Arc::<AtomicUsize>::default();
        let losing_quick = Arc::clone(&lose_quick);
        let silences = Arc::<AtomicUsize>::default();
        let silencing = Arc::clone(&silences);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.expect("the server is there");
                let answers = Answers {
                    lose: Arc::clone(&losing),
                    lose_quick: Arc::clone(&losing_quick),
                    silences: Arc::clone(&silencing),
                };
                tokio::spawn(answers.pass(client, server));
            }
        });
        let database = options.get_database().expect("a database").to_owned();
        Self { folder, database, lose, lose_quick, silences, listener }
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/{}?host={}",
            self.database,
            self.folder.path().display()
        )
    }

    /// From now on the next `n` answers to a transfer are lost, and their connections with them:
    /// Postgres has committed, and nobody hears of it.
    pub(crate) fn lose_answers(&self, n: usize) {
        self.lose.store(n, Ordering::SeqCst);
    }

    /// The next answer to a transfer that was made the quick way is lost, and its connection.
    pub(crate) fn lose_next_answer(&self) {
        self.lose_quick.store(1, Ordering::SeqCst);
    }

    /// From now on nothing comes back on the connections that there are, and nobody hangs up; new
    /// ones pass.
    pub(crate) fn silence(&self) {
        self.silences.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.listener.abort();
        std::fs::remove_file(self.folder.path().join(".s.PGSQL.5432")).expect("there");
    }

    pub(crate) fn losses_left(&self) -> usize {
        self.lose.load(Ordering::SeqCst) + self.lose_quick.load(Ordering::SeqCst)
    }
}

fn server(options: &PgConnectOptions) -> PathBuf {
    let folder = options.get_socket().expect("the tests' cluster listens on a socket");
    folder.join(format!(".s.PGSQL.{}", options.get_port()))
}

/// A committed transfer shows as this in the server's answer: the column `outcome`.
const COMMITTED: &[u8] = b"done";
/// One that was made the quick way shows as this: the column `currency_name`.
const QUICK: &[u8] = b"bytes";

/// What becomes of the answers on one connection.
struct Answers {
    lose: Arc<AtomicUsize>,
    lose_quick: Arc<AtomicUsize>,
    silences: Arc<AtomicUsize>,
}

impl Answers {
    async fn pass(self, client: UnixStream, server: UnixStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async move {
            tokio::io::copy(&mut from_client, &mut to_server).await.ok();
        };
        let down = async move {
            let silences = self.silences.load(Ordering::SeqCst);
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let n = from_server.read(&mut buffer).await.unwrap_or(0);
                if self.silences.load(Ordering::SeqCst) != silences {
                    std::future::pending::<()>().await;
                }
                let answer = &buffer[..n];
                if n == 0 || self.loses(answer) || to_client.write_all(answer).await.is_err() {
                    return;
                }
            }
        };
        // Whichever ends first cuts both.
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    }

    fn loses(&self, answer: &[u8]) -> bool {
        [(COMMITTED, &self.lose), (QUICK, &self.lose_quick)].iter().any(|(mark, lose)| {
            answer.windows(mark.len()).any(|bytes| bytes == *mark)
                && lose
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok()
        })
    }
}
