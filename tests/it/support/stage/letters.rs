//! The dead letters of a stage.

use super::{Stage, specs::bus};
use crate::support::wait;
use hearken::{
    bus::{
        Redelivery,
        codec::{CLOUDEVENTS_JSON, encode_cloudevent},
        event::Event,
    },
    domain::{dead_letter::DeadLetter, name::GroupName},
    store::{StoreError, dead_letters::DeadLetterFilter},
};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

/// An entry of an event without origin, which failed once long ago on a node that is gone.
pub(crate) fn letter(group: &str) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        bus: bus(),
        group: GroupName::parse(group).unwrap(),
        origin: None,
        event_id: None,
        event_type: None,
        user: None,
        content_type: Some(CLOUDEVENTS_JSON.into()),
        keys: BTreeSet::new(),
        cause: "it broke".into(),
        attempts: 1,
        first_failed_at: OffsetDateTime::UNIX_EPOCH,
        last_failed_at: OffsetDateTime::UNIX_EPOCH,
        node: "gone".into(),
        previous: None,
    }
}

impl Stage {
    /// Every dead letter, the oldest first.
    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        self.try_letters().await.unwrap()
    }

    async fn try_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let every = DeadLetterFilter::default();
        let page = self.store.dead_letters_from(&every, 0, 100_000).await?;
        Ok(page.into_iter().map(|(_, letter)| letter).collect())
    }

    /// Waits until there are exactly so many dead letters.
    pub(crate) async fn letters_are(&self, count: usize) -> Vec<DeadLetter> {
        let what = format!("there are {count} dead letters");
        let exactly = async || Some(self.try_letters().await.ok()?).filter(|it| it.len() == count);
        wait::until(&what, exactly).await
    }

    /// Waits until there are so many dead letters or more.
    pub(crate) async fn kept(&self, count: usize) -> Vec<DeadLetter> {
        let what = format!("there are at least {count} dead letters");
        let at_least = async || Some(self.try_letters().await.ok()?).filter(|it| it.len() >= count);
        wait::until(&what, at_least).await
    }

    /// Keeps an event as a dead letter of a group, as if it had been given up before.
    pub(crate) async fn give_up(&self, group: &str, event: &Event) -> DeadLetter {
        let given_up = DeadLetter {
            event_id: Some(event.id.clone()),
            event_type: Some(event.kind.clone()),
            user: event.user.clone(),
            attempts: 4,
            ..letter(group)
        };
        self.keep(&given_up, &encode_cloudevent(event)).await;
        given_up
    }

    /// An entry on its way back to its group.
    pub(crate) async fn redelivery(&self, letter: &DeadLetter) -> Redelivery {
        let (letter, body) = self.store.dead_letter(letter.id).await.unwrap().unwrap();
        let queue = self.layout.work(&letter.bus, &letter.group, 1);
        let (group, content_type, previous) = (letter.group, letter.content_type, letter.id);
        Redelivery { group, queue, content_type, body, previous }
    }

    /// Keeps a dead letter that is not kept yet.
    pub(crate) async fn keep(&self, letter: &DeadLetter, body: &[u8]) {
        assert!(self.store.keep_dead_letter(letter, body).await.unwrap());
    }
}
