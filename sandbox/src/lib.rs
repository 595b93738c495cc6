//! A local Discord.

pub mod openapi;
