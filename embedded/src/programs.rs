//! Where the server's programs are.
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::EmbeddedError;
use super::account::Account;

/// Where to look; the environment's values in production.
pub(super) struct Places {
    /// `PG_BINDIR`: when given, nothing else counts.
    pub(super) pg_bindir: Option<PathBuf>,
    /// `PATH`, also for `pg_config`.
    pub(super) path: OsString,
    /// Debian's folder of major versions.
    pub(super) versions: PathBuf,
}

/// The programs of one installed Postgres.
pub(super) struct Programs {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    major: u32,
}

impl Places {
    pub(super) fn from_environment() -> Self {
        Self {
            pg_bindir: env::var_os("PG_BINDIR")
                .filter(|folder| !folder.is_empty())
                .map(PathBuf::from),
            path: env::var_os("PATH").unwrap_or_default(),
            versions: PathBuf::from("/usr/lib/postgresql"),
        }
    }

    /// Folders that may hold the programs, best first.
    async fn folders(&self, account: &Account) -> Vec<PathBuf> {
        if let Some(folder) = &self.pg_bindir {
            return vec![folder.clone()];
        }
        let path = || env::split_paths(&self.path);
        // A link such as /usr/local/bin/initdb leads to the folder where initdb finds its postgres.
        let mut folders: Vec<_> = path()
            .filter_map(|folder| folder.join("initdb").canonicalize().ok())
            .filter_map(|program| program.parent().map(Path::to_owned))
            .collect();
        let mut versions: Vec<_> = fs::read_dir(&self.versions)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
            })
            .collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        folders.extend(versions.into_iter().map(|(_, folder)| folder));
        if let Some(pg_config) =
            path().map(|folder| folder.join("pg_config")).find(|program| program.is_file())
            && let Ok(output) =
                account.command(&pg_config, Path::new("/")).arg("--bindir").output().await
        {
            folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        folders
    }

    fn in_words(&self) -> String {
        match &self.pg_bindir {
            Some(folder) => format!("PG_BINDIR={}", folder.display()),
            None => format!("PATH, {}/*/bin or what pg_config names", self.versions.display()),
        }
    }
}

/// Finds the programs of the wanted major version, of any when `wanted` is `None`; `cluster` is for the error.
pub(super) async fn find(
    places: &Places,
    account: &Account,
    cluster: &Path,
    wanted: Option<u32>,
) -> Result<Programs, EmbeddedError> {
    let mut found = Vec::new();
    for folder in places.folders(account).await {
        let Some(programs) = programs_in(&folder, account).await else { continue };
        if wanted.is_none_or(|major| major == programs.major) {
            return Ok(programs);
        }
        found.push(programs.major.to_string());
    }
    match wanted {
        Some(major) if !found.is_empty() => {
            found.dedup();
            Err(EmbeddedError::OtherMajor {
                folder: cluster.to_owned(),
                major,
                found: found.join(", "),
            })
        }
        _ => Err(EmbeddedError::NoPostgres { looked: places.in_words() }),
    }
}

/// `None` when a program is missing, or the account can't run it.
async fn programs_in(folder: &Path, account: &Account) -> Option<Programs> {
    let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
    if !initdb.is_file() {
        return None;
    }
    let output = account.command(&postgres, Path::new("/")).arg("--version").output().await.ok()?;
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let major = major(String::from_utf8_lossy(&output.stdout).split_whitespace().nth(2)?)?;
    Some(Programs { initdb, postgres, major })
}

/// The major version of "15.18", "17beta1" or the content of a `PG_VERSION` file.
pub(super) fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
