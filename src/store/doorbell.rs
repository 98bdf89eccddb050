//! Hearing the doorbells that other processes ring.

use super::{engine::CHANNEL, postgres::Sessions};
use backon::BackoffBuilder as _;
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// After so long without a ring, the connection is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(5);

/// Listens until the task is aborted, on a connection of its own, which comes back with growing,
/// jittered pauses. Whatever rang while there was none was missed, so each connection rings.
pub(super) fn listen(sessions: Sessions, bell: watch::Sender<u64>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let pauses = backon::ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .with_jitter();
        let mut pause = pauses.build();
        loop {
            let mut heard = false;
            let error = hear(&sessions, &bell, &mut heard).await;
            if heard {
                pause = pauses.build();
            }
            let next = pause.next().unwrap_or(Duration::from_secs(10));
            tracing::warn!(%error, again_in = ?next, "the database's notifications are not heard; polling goes on, and listening starts again in {next:?}");
            sleep(next).await;
        }
    })
}

/// Listens on one connection until it is lost. Says why.
async fn hear(sessions: &Sessions, bell: &watch::Sender<u64>, heard: &mut bool) -> sqlx::Error {
    let ring = || bell.send_modify(|rings| *rings = rings.wrapping_add(1));
    let mut listener = match bounded(open(sessions)).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    *heard = true;
    ring();
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(_))) => ring(),
            Ok(Ok(None)) => return lost("the connection was closed"),
            Ok(Err(error)) => return error,
            Err(_quiet) => {
                if let Err(error) = bounded(sqlx::query("SELECT 1").execute(&mut listener)).await {
                    return error;
                }
            }
        }
    }
}

async fn open(sessions: &Sessions) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(&sessions.single()).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER, work).await.unwrap_or_else(|_| Err(lost("no answer within 5 seconds")))
}

fn lost(text: &'static str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(text))
}
