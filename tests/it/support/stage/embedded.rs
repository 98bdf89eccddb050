//! A stage on the bus and the broker of one process.

use super::{Engine, SOLO, Stage, laid_out};
use hearken::{
    broker::local::LocalBroker,
    bus::{
        EventBus,
        local::{LocalBus, LocalBusConfig},
    },
    clock::Clock,
    domain::layout::{Flavor, Layout},
    store::{Store, embedded::Occupancy},
};
use std::{path::Path, sync::Arc};

impl Stage {
    /// The bus and the broker of one process, with the topology of two buses.
    pub(crate) async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = Self::embedded_in(folder.path()).await;
        stage.converge().await;
        Self { _folder: Some(folder), ..stage }
    }

    /// The bus and the broker of one process, with what its data directory holds.
    pub(crate) async fn embedded_in(folder: &Path) -> Self {
        let store = Store::sqlite(folder).await.unwrap();
        let layout = laid_out(&Layout { flavor: Flavor::Local, ..Layout::default() }, &store);
        let occupancy = Occupancy::default();
        let embedded = store.embedded().unwrap();
        let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
        let bus = LocalBus::new(LocalBusConfig {
            store: embedded,
            layout: layout.clone(),
            occupancy,
            node: SOLO.into(),
            metrics: Arc::default(),
            clock: Clock::system(),
        });
        Self::new(store, layout, Arc::new(broker), Engine::Embedded(Arc::new(bus))).await
    }

    /// Ends the process of an embedded stage, so that another may open its data directory.
    pub(crate) async fn close(self) {
        self.local().close().await;
        self.store.close().await;
    }

    /// The bus of an embedded stage.
    pub(crate) fn local(&self) -> Arc<LocalBus> {
        match &self.engine {
            Engine::Embedded(bus) => Arc::clone(bus),
            Engine::RabbitMq(_) => panic!("a stage on RabbitMQ has no bus of its own"),
        }
    }
}
