//! Transfers that are asked for at the same time, made in one transaction.
//!
//! A task holds one connection while there is work, takes all orders that wait, and makes those
//! about which there is nothing to decide: both accounts are there, nobody else holds them, the
//! answer is yes. Every other order is given back, also when the batch fails, and its asker goes
//! the careful way, which decides anew and finds what the batch may have made after all.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use poise::serenity_prelude::{GuildId, UserId};
use sqlx::types::Uuid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{Sent, store};
use crate::act::{Act, Person};
use crate::db::{Database, Held, is_in_doubt};

/// The most orders of one transaction.
const BATCH: usize = 64;
/// The most orders that wait; beyond them an asker goes the careful way at once.
const WAITING: usize = 1_024;
/// How long the connection is kept without work. Long enough for a busy guild not to fetch it anew
/// each time, short enough for nobody else to miss it.
const LINGER: Duration = Duration::from_millis(50);
/// How long a batch may take before its orders go the careful way.
const PATIENCE: Duration = Duration::from_millis(500);

/// A transfer that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) act: Act,
    pub(super) id: Uuid,
    pub(super) receiver: Person,
    /// Bytes, at least 1.
    pub(super) amount: i64,
    pub(super) reason: Option<String>,
    pub(super) confirmed: bool,
}

struct Order {
    transfer: Transfer,
    /// Takes the transfer that was made, or nothing where it surely wasn't; dropped, nobody knows.
    answer: oneshot::Sender<Option<Sent>>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Quick {
    /// It was made.
    Made(Sent),
    /// It was not: the careful way decides.
    NotMade,
    /// The answer was lost: the careful way finds out.
    Unknown,
}

/// Where orders go. The task behind it ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Clearing {
    orders: mpsc::Sender<Order>,
    moved: Moved,
}

/// The accounts that were moved and are not in the ranking's queue yet.
type Moved = Arc<Mutex<HashSet<(GuildId, UserId)>>>;

impl Clearing {
    pub(super) fn new(db: &Database) -> Self {
        let (sender, orders) = mpsc::channel(WAITING);
        let moved = Moved::default();
        tokio::spawn(work(db.clone(), orders, Arc::clone(&moved)));
        Self { orders: sender, moved }
    }

    /// Makes a transfer, if there is nothing to decide.
    pub(super) async fn make(&self, transfer: Transfer) -> Quick {
        let (answer, answered) = oneshot::channel();
        if self.orders.try_send(Order { transfer, answer }).is_err() {
            return Quick::NotMade;
        }
        match answered.await {
            Ok(Some(sent)) => Quick::Made(sent),
            Ok(None) => Quick::NotMade,
            Err(_) => Quick::Unknown,
        }
    }

    /// Takes the accounts that were moved since the last call.
    pub(super) fn take_moved(&self) -> Vec<(GuildId, UserId)> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Gives back what was taken and could not be kept.
    pub(super) fn put_moved(&self, accounts: Vec<(GuildId, UserId)>) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).extend(accounts);
    }
}

async fn work(db: Database, mut orders: mpsc::Receiver<Order>, moved: Moved) {
    let mut batch = Vec::with_capacity(BATCH);
    while orders.recv_many(&mut batch, BATCH).await > 0 {
        let Ok(Ok(mut connection)) = timeout(PATIENCE, db.hold()).await else {
            give_back(&mut batch);
            continue;
        };
        loop {
            // Whoever was answered just now may have the next order ready in a moment.
            yield_now().await;
            while batch.len() < BATCH
                && let Ok(order) = orders.try_recv()
            {
                batch.push(order);
            }
            if !serve(&mut connection, &mut batch, &moved).await {
                connection.abandon();
                break;
            }
            if db.is_exhausted() {
                break;
            }
            match timeout(LINGER, orders.recv_many(&mut batch, BATCH)).await {
                Ok(taken) if taken > 0 => {}
                _ => break,
            }
        }
    }
}

/// Tells who asked that nothing was made; who asked may be gone.
fn give_back(batch: &mut Vec<Order>) {
    for order in batch.drain(..) {
        drop(order.answer.send(None));
    }
}

/// Whether the connection still answers.
async fn serve(connection: &mut Held, batch: &mut Vec<Order>, moved: &Moved) -> bool {
    let transfers: Vec<&Transfer> = batch.iter().map(|order| &order.transfer).collect();
    let cleared = match timeout(PATIENCE, store::clear(connection, &transfers)).await {
        Ok(Ok(cleared)) => cleared,
        Ok(Err(error)) if !is_in_doubt(&error) => {
            tracing::debug!(%error, "A batch of transfers failed; each is asked for alone");
            give_back(batch);
            return true;
        }
        // Perhaps it's committed all the same.
        Ok(Err(_)) | Err(_) => {
            note_moved(moved, transfers.into_iter());
            batch.clear();
            return false;
        }
    };
    let made = transfers.iter().zip(&cleared).filter(|(_, cleared)| cleared.is_some());
    note_moved(moved, made.map(|(transfer, _)| *transfer));
    for (order, cleared) in batch.drain(..).zip(cleared) {
        // Who asked may be gone; the transfer is made all the same.
        drop(order.answer.send(cleared));
    }
    true
}

fn note_moved<'a>(moved: &Moved, transfers: impl Iterator<Item = &'a Transfer>) {
    let mut moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
    for Transfer { act, receiver, .. } in transfers {
        moved.extend([(act.guild, act.member.id), (act.guild, receiver.id)]);
    }
}
