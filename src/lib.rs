//! Bytekeeper: a Discord bot that keeps each guild's currency in Postgres.
//!
//! The map of the house:
//!
//! - [`config`] reads the environment once; [`app`] builds the bot from it, runs it and stops it.
//! - [`act`] is one thing that one member asked for, with its key: the root of "once per act".
//! - [`bytes`] is the currency: one folder a feature, with its commands, rules and SQL.
//! - [`outbox`] is what transactions promise to do in Discord, and the worker that does it.
//! - [`discord`] is the border: what comes in, and the one look of what goes out.
//! - [`db`] is Postgres: the pool, its patience, the migrations, the embedded server.
//! - [`check`] and [`health`] are what a host asks.
//! - [`error`] is the one error type that crosses the borders between them.

pub mod act;
pub mod app;
pub mod bytes;
pub mod check;
pub mod config;
pub mod db;
pub mod discord;
pub mod error;
pub mod health;
pub mod outbox;

pub use error::{Error, Result};
