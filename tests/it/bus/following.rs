//! Registration keys followed by several listeners, on several nodes, and after a lost connection.

use crate::support::{
    bus::plain,
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        keys::established,
        running,
        specs::{bus, event, keys, steady},
    },
    wait,
};
use hearken::domain::listener::Delivery;
use std::collections::BTreeMap;

both! {
    async fn a_listener_that_holds_its_events_holds_up_no_other(stage: Stage) {
        let (node, held, flows) = (stage.node("n1"), Calls::held(), Calls::well());
        let _held = node.follow(["k1"], &held).await;
        let _flows = node.follow(["k1"], &flows).await;
        for n in 0..30 {
            node.notify(&event(&format!("e{n}")), ["k1"]).await;
        }
        flows.finished(30).await;
        assert_eq!(held.ended(), 0);
        held.gate.add_permits(30);
        held.finished(30).await;
    }

    async fn the_events_of_a_batch_arrive_one_by_one_in_order(stage: Stage) {
        let (node, calls) = (stage.node("n1"), Calls::well());
        let _registration = node.follow(["k1"], &calls).await;
        let ids: Vec<String> = (0..20).map(|n| format!("e{n}")).collect();
        let batch = ids.iter().map(|id| (event(id), keys(["k1"]))).collect();
        node.try_dispatch(batch).await.unwrap();
        calls.finished(20).await;
        assert_eq!(calls.order(), ids);
    }

    async fn every_node_is_told_once_and_the_dispatching_one_before_dispatch_returns(stage: Stage) {
        let (here, there) = (stage.node("n1"), stage.node("n2"));
        let (near, far, gone) = (Calls::well_at_once(), Calls::well_at_once(), Calls::well());
        let _near = here.follow(["k1"], &near).await;
        let _far = there.follow(["k1"], &far).await;
        drop(there.follow(["k1"], &gone).await);
        for n in 1..=3 {
            here.notify(&event(&format!("e{n}")), ["k1"]).await;
            assert_eq!(near.ended(), n);
        }
        far.finished(3).await;
        here.notified(&there).await;
        here.notified(&here).await;
        near.are(["e1", "e2", "e3"]);
        far.are(["e1", "e2", "e3"]);
        gone.are([]);
    }

    async fn followers_that_come_and_go_together_take_no_event_from_one_that_stays(stage: Stage) {
        let (node, far) = (stage.node("n1"), stage.node("n2"));
        let stays = Calls::well();
        let comings = (0..40).map(async |n| {
            let (node, calls) = (&node, Calls::well());
            let registration = node.bus.register(&plain(&bus()), keys(["k1"]), calls);
            // Some leave before anything is bound, some after.
            if n % 2 == 0 {
                established(&registration).await;
            }
        });
        let coming = futures_util::future::join_all(comings);
        let (_, registration) = tokio::join!(coming, node.follow(["k1"], &stays));
        for id in ["e1", "e2", "e3"] {
            far.notify(&event(id), ["k1"]).await;
        }
        stays.saw("e3").await;
        stays.are(["e1", "e2", "e3"]);
        drop(registration);
        // The last one left; the next listener is told again.
        let next = Calls::well();
        let _registration = node.follow(["k1"], &next).await;
        far.notify(&event("e4"), ["k1"]).await;
        next.saw("e4").await;
        next.are(["e4"]);
    }

    async fn every_node_listeners_run_on_each_node_once(stage: Stage) {
        let (here, there) = (stage.node("n1"), stage.node("n2"));
        let mut everywhere = steady("a");
        everywhere.delivery = Delivery::EveryNode;
        stage.add([&everywhere]).await;
        let (near, far) = (Calls::well(), Calls::well());
        let on_near = here.bus.consume(stage.consumption(&everywhere), near.clone());
        let on_far = there.bus.consume(stage.consumption(&everywhere), far.clone());
        running(&on_near).await;
        running(&on_far).await;
        for id in ["e1", "e2"] {
            here.dispatch(&event(id)).await;
        }
        for (calls, consumer) in [(&near, on_near), (&far, on_far)] {
            calls.finished(2).await;
            consumer.stop.stop(PATIENCE).await;
            calls.are(["e1", "e2"]);
        }
        stage.letters_are(0).await;
    }
}

#[tokio::test]
async fn after_a_lost_connection_a_listener_is_told_to_read_again_and_gets_remote_events() {
    let stage = Stage::rabbitmq().await;
    let proxy = Proxy::before(port_of(&stage.host().amqp)).await;
    let through = proxy.through(&stage.host().amqp);
    let (here, there) = (stage.node("n1"), stage.node_at("n2", &through, &stage.store));
    let (calls, at_once) = (Calls::well(), Calls::well_at_once());
    let _first = there.follow(["k1", "k2"], &calls).await;
    let _second = there.follow(["k2"], &at_once).await;
    here.notify(&event("before"), ["k1"]).await;
    calls.saw("before").await;
    let told = (calls.resynchronised(), at_once.resynchronised());
    proxy.set(Wire::Cut);
    wait::until("it is noticed", async || there.bus.notifications(&bus()).err()).await;
    proxy.set(Wire::Up);
    wait::until("they are told", async || {
        let both = calls.resynchronised() > told.0 && at_once.resynchronised() > told.1;
        both.then_some(())
    })
    .await;
    here.notify(&event("after"), ["k2"]).await;
    calls.saw("after").await;
    at_once.saw("after").await;
    // Keys that are followed only now work too.
    let late = Calls::well();
    let _third = there.follow(["k3"], &late).await;
    here.notify(&event("late"), ["k3"]).await;
    late.saw("late").await;
    let once: BTreeMap<_, _> = calls.counts();
    assert!(once.values().all(|count| *count == 1), "{once:?}");
}
