//! The real bot on a local Discord, over real sockets, with a real Postgres.

mod answers;
mod bytes;
mod command_line;
mod confirm;
mod crash;
mod economy;
mod gateway;
mod outage;
mod rewards;
mod stage;
mod start;
mod wire;
