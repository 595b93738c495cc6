//! Postgres: the pool, the migrations, the embedded server.

pub use embedded_postgres as embedded;
mod patience;
mod pool;

pub use patience::{Database, Held, is_in_doubt};
pub use pool::{
    DatabaseError, MIGRATOR, Server, connect, join, migrate, migrate_down, require_migrated,
    version,
};
