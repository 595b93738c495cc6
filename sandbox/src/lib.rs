//! A local Discord over real sockets: REST and gateway on 127.0.0.1, in one process.
//!
//! A bot is pointed at [`Discord::url`] and runs as it would at Discord. Tests, benches and the
//! terminal act as people: [`Discord`] makes guilds and breaks things, a [`Guild`] has members,
//! roles and channels, a [`Member`] types commands, presses buttons and sees what that member
//! would see, an [`Interaction`] waits for what the bot makes of it.
//!
//! | file | holds |
//! |---|---|
//! | `discord.rs` | the handle: start, stop, clock, faults, what the bot asked |
//! | `actors/` | guilds and members as handles, and the reader of command lines |
//! | `interactions.rs` | interactions: dispatching them and waiting for answers |
//! | `view.rs` | what a member sees |
//! | `terminal.rs`, `draw.rs` | a guild moved by lines of text; what members see, as text |
//! | `state.rs` | the world, plain data behind one lock that is never held over an await |
//! | `server.rs` | what every request passes: token, faults, limits, published description |
//! | `rest/` | the routes, one file per resource |
//! | `moderation.rs` | kicks, bans, timeouts, roles and the audit log, by people or the bot |
//! | `gateway.rs` | sessions, intents, replay |
//! | `render.rs` | the world's things as Discord's JSON |
//! | `openapi.rs` | Discord's published description, and bodies held against it |
//! | `permissions.rs`, `clock.rs`, `faults.rs`, `rate_limit.rs`, `problem.rs` | what they say |

#![recursion_limit = "256"] // a guild is a large json!

mod actors;
mod clock;
mod discord;
pub mod draw;
mod faults;
mod gateway;
mod interactions;
mod moderation;
pub mod openapi;
pub mod permissions;
mod problem;
mod rate_limit;
mod render;
mod rest;
mod server;
mod state;
pub mod terminal;
mod view;

pub use actors::{Choice, Guild, Member, Refused};
pub use clock::created_at;
pub use discord::{Discord, Timeout};
pub use faults::Fault;
pub use gateway::{SessionInfo, intents};
pub use interactions::{FirstResponse, Interaction};
pub use server::Request;
pub use state::ApplicationSettings;
pub use view::{Button, Change, Seen};

/// A snowflake.
pub type Id = u64;
