use std::env;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid, getpgid};
use sqlx::Row;
use tempfile::TempDir;
use tokio::process::Command;

use super::*;

/// Set for the process that plays the owner who is killed.
const OWNED_FOLDER: &str = "BYTEKEEPER_TEST_OWNED_FOLDER";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn quick() -> Options {
    Options { durable: false, max_connections: 10 }
}

/// What is committed survives a killed server only here.
fn durable() -> Options {
    Options { durable: true, ..quick() }
}

fn nowhere() -> Places {
    Places { pg_bindir: None, path: "/nonexistent".into(), versions: "/nonexistent".into() }
}

async fn start(folder: &Path, options: Options) -> Embedded {
    Embedded::start(folder, options).await.expect("the server starts")
}

async fn refusal(folder: &Path) -> String {
    Embedded::start(folder, quick()).await.expect_err("the start is refused").to_string()
}

async fn text(options: &PgConnectOptions, sql: &'static str) -> String {
    let mut connection = options.connect().await.expect("a connection");
    sqlx::query(sql).fetch_one(&mut connection).await.expect("a row").get(0)
}

async fn keep_a_row(options: &PgConnectOptions) {
    let mut connection = options.connect().await.expect("a connection");
    sqlx::raw_sql("create table kept (word text); insert into kept values ('tea')")
        .execute(&mut connection)
        .await
        .expect("a table with a row");
}

async fn kept_row(options: &PgConnectOptions) -> String {
    text(options, "select word from kept").await
}

#[tokio::test]
async fn a_first_start_makes_a_durable_server_that_only_its_socket_reaches() {
    let folder = folder();
    let server = start(folder.path(), Options::default()).await;
    let options = server.connect_options();
    for (sql, value) in [
        ("select current_database()", "bytekeeper"),
        ("select current_user::text", "postgres"),
        ("show fsync", "on"),
        ("show synchronous_commit", "on"),
        ("show full_page_writes", "on"),
        ("show data_checksums", "on"),
        ("show listen_addresses", ""),
        ("show server_encoding", "UTF8"),
        ("show timezone", "UTC"),
    ] {
        assert_eq!(text(&options, sql).await, value, "{sql}");
    }
    for private in ["postgres", "socket", "socket/.s.PGSQL.5432", "postgres.log", "lock"] {
        let mode = fs::metadata(folder.path().join(private)).expect(private).permissions().mode();
        assert_eq!(mode & 0o077, 0, "others get at {private}");
    }
    let pid = Pid::from_raw(server_of(folder.path()));
    assert_eq!(getpgid(Some(pid)), Ok(pid), "the terminal's Ctrl-C doesn't reach it");
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).expect("its environment");
    assert!(!environment.contains("CARGO"), "it knows ours: {environment}");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_restart_keeps_the_data_and_replaces_a_half_made_cluster_only() {
    let folder = folder();
    let unfinished = folder.path().join("postgres.new");
    fs::create_dir(&unfinished).expect("a folder");
    fs::write(unfinished.join("PG_VERSION"), "15").expect("a file");
    let server = start(folder.path(), quick()).await;
    keep_a_row(&server.connect_options()).await;
    server.stop().await.expect("it stops");
    assert!(!unfinished.exists(), "the half-made cluster is gone");
    assert!(!folder.path().join("postgres/postmaster.pid").exists(), "the server stopped cleanly");

    let server = start(folder.path(), quick()).await;
    assert_eq!(kept_row(&server.connect_options()).await, "tea");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_second_starter_is_refused_and_may_attach_instead() {
    let folder = folder();
    assert!(
        Embedded::attach(folder.path()).await.expect("an answer").is_none(),
        "nobody runs it yet"
    );
    let server = start(folder.path(), quick()).await;
    let said = refusal(folder.path()).await;
    let process = std::process::id();
    assert!(
        said.contains(&format!("is in use by another bytekeeper (process {process})")),
        "{said}"
    );

    keep_a_row(&server.connect_options()).await;
    let attached = Embedded::attach(folder.path()).await.expect("an answer").expect("a server");
    assert_eq!(kept_row(&attached.connect_options()).await, "tea");
    assert_eq!(kept_row(&attached.url().parse().expect("a URL")).await, "tea");
    server.stop().await.expect("it stops");
    assert!(
        Embedded::attach(folder.path()).await.expect("an answer").is_none(),
        "nobody runs it any more"
    );
}

/// The body of the process that is killed; as a test of its own it has a folder of its own, and stops.
#[tokio::test]
async fn an_owner_says_where_it_serves() {
    let owned = env::var_os(OWNED_FOLDER).map(PathBuf::from);
    let own = owned.is_none().then(folder);
    let server = start(
        owned.as_deref().or(own.as_ref().map(TempDir::path)).expect("one of the two"),
        durable(),
    )
    .await;
    keep_a_row(&server.connect_options()).await;
    assert_eq!(kept_row(&server.url().parse().expect("a URL")).await, "tea");
    if owned.is_some() {
        fs::write(server.folder.root.join("kept"), "").expect("a sign for the test");
        std::future::pending::<()>().await;
    }
    server.stop().await.expect("it stops");
}

/// Runs an owner in another process and kills it once its row is kept; returns its server's process id.
async fn orphan(folder: &Path) -> i32 {
    let mut owner = Command::new(env::current_exe().expect("this test's program"))
        .args(["--exact", "tests::an_owner_says_where_it_serves"])
        .env(OWNED_FOLDER, folder)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("another process");
    timeout(Duration::from_secs(20), async {
        while !folder.join("kept").exists() {
            assert_eq!(owner.try_wait().expect("its state"), None, "the owner ended early");
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the owner starts");
    owner.kill().await.expect("it is killed");
    server_of(folder)
}

fn server_of(folder: &Path) -> i32 {
    let text =
        fs::read_to_string(folder.join("postgres/postmaster.pid")).expect("a running server");
    text.lines().next().and_then(|line| line.parse().ok()).expect("its process id")
}

#[tokio::test]
async fn the_server_of_a_killed_owner_is_adopted_and_stopped_by_the_next_one() {
    let folder = folder();
    let pid = orphan(folder.path()).await;
    let server = start(folder.path(), durable()).await;
    assert_eq!(server_of(folder.path()), pid, "the same server serves");
    assert_eq!(kept_row(&server.connect_options()).await, "tea");
    server.stop().await.expect("it stops");
    let left = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(left.is_empty(), "the adopted server is gone, or waits to be reaped");
}

#[tokio::test]
async fn an_orphan_with_other_options_is_restarted() {
    let folder = folder();
    let pid = orphan(folder.path()).await;
    let server = start(folder.path(), quick()).await;
    assert_ne!(server_of(folder.path()), pid);
    assert_eq!(text(&server.connect_options(), "show fsync").await, "off");
    assert_eq!(kept_row(&server.connect_options()).await, "tea");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_the_next_start_recovers() {
    let folder = folder();
    let server = start(folder.path(), durable()).await;
    keep_a_row(&server.connect_options()).await;
    kill(Pid::from_raw(server_of(folder.path())), Signal::SIGKILL).expect("it is killed");
    let said = timeout(Duration::from_secs(2), server.died())
        .await
        .expect("its end is noticed")
        .to_string();
    assert!(said.contains("ended by itself"), "{said}");
    drop(server);

    let server = start(folder.path(), durable()).await;
    assert_eq!(kept_row(&server.connect_options()).await, "tea");
    let log = fs::read_to_string(server.folder.log()).expect("a log");
    assert!(log.contains("automatic recovery"), "{log}");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_dead_servers_number_that_a_living_process_has_again_does_not_stop_the_start() {
    let folder = folder();
    let pid = orphan(folder.path()).await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is killed");
    // Postgres minds the processes of its own account.
    let account = Account::for_server().expect("an account");
    let mut other = account
        .command(Path::new("sleep"), Path::new("/"))
        .arg("60")
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let number = other.id().expect("a living process").to_string();
    for file in ["postgres/postmaster.pid", "socket/.s.PGSQL.5432.lock"] {
        let path = folder.path().join(file);
        let left = fs::read_to_string(&path).expect(file);
        fs::write(&path, left.replacen(&pid.to_string(), &number, 1)).expect(file);
    }
    let server = start(folder.path(), durable()).await;
    assert_eq!(kept_row(&server.connect_options()).await, "tea");
    server.stop().await.expect("it stops");
    assert_eq!(other.try_wait().expect("its state"), None, "the other process was left alone");
}

#[tokio::test]
async fn without_postgres_the_error_says_where_was_looked_and_how_to_install_it() {
    let folder = folder();
    let said = Embedded::start_from(folder.path(), &quick(), &nowhere())
        .await
        .expect_err("a refusal")
        .to_string();
    assert!(
        said.contains("PATH, /nonexistent/*/bin") && said.contains("apt-get install postgresql"),
        "{said}"
    );

    let places =
        Places { pg_bindir: Some("/nonexistent/bin".into()), ..Places::from_environment() };
    let said = Embedded::start_from(folder.path(), &quick(), &places)
        .await
        .expect_err("a refusal")
        .to_string();
    assert!(said.contains("PG_BINDIR=/nonexistent/bin"), "{said}");
}

#[tokio::test]
async fn programs_are_found_through_links_in_the_path_and_in_the_newest_version_of_debians_folders()
{
    let folder = folder();
    let account = Account::for_server().expect("an account");
    let find = |places| {
        let account = &account;
        async move { programs::find(&places, account, Path::new("/"), None).await }
    };
    let real = find(Places::from_environment()).await.expect("an installed Postgres").initdb;
    let real = real.canonicalize().expect("its path");

    symlink(&real, folder.path().join("initdb")).expect("a link");
    let linked = Places { path: folder.path().into(), ..nowhere() };
    assert_eq!(find(linked).await.expect("programs").initdb, real);

    for version in ["9", "100"] {
        fs::create_dir(folder.path().join(version)).expect("a folder");
        let bin = real.parent().expect("a folder");
        symlink(bin, folder.path().join(version).join("bin")).expect("a link");
    }
    let debian = Places { versions: folder.path().into(), ..nowhere() };
    let newest = folder.path().join("100/bin/initdb");
    assert_eq!(find(debian).await.expect("programs").initdb, newest);

    for (version, major) in [("15.18", 15), ("17beta1", 17), ("9.6.24", 9), ("15", 15)] {
        assert_eq!(programs::major(version), Some(major), "{version}");
    }
}

#[tokio::test]
async fn the_folder_of_another_major_version_is_refused_and_left_alone() {
    let folder = folder();
    let cluster = folder.path().join("postgres");
    fs::create_dir(&cluster).expect("a folder");
    fs::write(cluster.join("PG_VERSION"), "9\n").expect("a file");
    let said = refusal(folder.path()).await;
    assert!(said.contains("was made by Postgres 9, but here is only Postgres"), "{said}");
    assert_eq!(fs::read_to_string(cluster.join("PG_VERSION")).expect("the file"), "9\n");
}

#[tokio::test]
async fn a_folder_out_of_the_servers_reach_is_named() {
    let folder = folder();
    let closed = folder.path().join("closed");
    fs::create_dir_all(closed.join("data")).expect("a folder");
    fs::write(closed.join("data/of-the-host"), "").expect("a file");
    let mode =
        |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).expect("our folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("our folder");
    mode(if geteuid().is_root() { 0o700 } else { 0o000 });
    let said = refusal(&closed.join("data")).await;
    mode(0o700);
    let blocked = format!("can't enter {}", closed.display());
    let denied = format!("{}: Permission denied", closed.join("data").display());
    assert!(said.contains(if geteuid().is_root() { &blocked } else { &denied }), "{said}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let folder = folder();
    let long = folder.path().join("a 'long', \"quoted\" & 100 % name/".repeat(4));
    fs::create_dir_all(&long).expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("our folder");
    let server = start(&long, quick()).await;
    let socket = server.attached.socket.clone();
    assert!(socket.starts_with("/tmp"), "{}", socket.display());
    assert_eq!(
        text(&server.url().parse().expect("a URL"), "select current_database()").await,
        "bytekeeper"
    );
    server.stop().await.expect("it stops");
    assert!(!socket.exists(), "the short folder is gone");
}

#[tokio::test]
async fn a_socket_folder_with_quotes_and_commas_is_understood_by_postgres_and_the_url() {
    let folder = folder();
    let odd = folder.path().join("a, \"b\" &100%+ü");
    fs::create_dir(&odd).expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("our folder");
    let server = start(&odd, quick()).await;
    assert_eq!(
        text(&server.url().parse().expect("a URL"), "select current_database()").await,
        "bytekeeper"
    );
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_long_log_moves_aside_at_a_start() {
    let folder = folder();
    let log = folder.path().join("postgres.log");
    fs::write(&log, "x".repeat(2 << 20)).expect("a file");
    start(folder.path(), quick()).await.stop().await.expect("it stops");
    assert!(fs::metadata(&log).expect("a log").len() < 10_000);
    assert_eq!(
        fs::metadata(folder.path().join("postgres.log.1")).expect("the older log").len(),
        2 << 20
    );
}
