//! Listening for the doorbell of other processes.

use super::{engine::CHANNEL, postgres::Sessions};
use crate::{background, clock::Clock, error_chain::error_chain, outage::Outage};
use sqlx::{Acquire as _, Connection as _, postgres::PgListener};
use std::time::Duration;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Time without a ring after which the connection is checked.
const QUIET: Duration = Duration::from_secs(20);
/// Longest time for an answer of the database.
const ANSWER: Duration = Duration::from_secs(5);
/// First pause after the connection was lost. The pauses grow from here.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after the connection was lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Listens on a connection of its own until the task is aborted. A lost connection is opened again
/// after growing pauses. Rings are missed meanwhile, so the doorbell rings after each connect.
pub(super) fn listen(sessions: Sessions, bell: watch::Sender<u64>) -> JoinHandle<()> {
    background::spawn_loop("the doorbell of the database", async move {
        // The clock measures only the length of an outage, for the log.
        let mut outage = Outage::new(
            &Clock::system(),
            "the database's notifications do not arrive; polling goes on, and hearken connects again",
            "the database's notifications arrive again",
        )
        .with_pauses(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let error = hear(&sessions, &bell, &mut outage).await;
            sleep(outage.failed(&error_chain(&error))).await;
        }
    })
}

/// Listens on one connection until it is lost. Returns the cause of the loss.
async fn hear(sessions: &Sessions, bell: &watch::Sender<u64>, outage: &mut Outage) -> sqlx::Error {
    let ring = || bell.send_modify(|rings| *rings = rings.wrapping_add(1));
    let mut listener = match bounded(open_listener(sessions)).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    outage.over();
    ring();
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(_))) => ring(),
            Ok(Ok(None)) => return lost("the connection was closed"),
            Ok(Err(error)) => return error,
            Err(_quiet) => {
                if let Err(error) = bounded(ping(&mut listener)).await {
                    return error;
                }
            }
        }
    }
}

async fn open_listener(sessions: &Sessions) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(&sessions.single()).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Makes the server answer, without a statement.
async fn ping(listener: &mut PgListener) -> Result<(), sqlx::Error> {
    listener.acquire().await?.ping().await
}

async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER, work).await.unwrap_or_else(|_| Err(lost("no answer within 5 seconds")))
}

fn lost(text: &'static str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(text))
}
