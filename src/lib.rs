//! Bytekeeper.
pub mod db;
