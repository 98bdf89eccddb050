//! What both databases promise: each test runs on each.

macro_rules! contract {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::store::$module::$name(crate::store::Bench::postgres().await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::store::$module::$name(crate::store::Bench::sqlite().await).await;
            })+
        }
    };
}

contract! {
    log::every_statement_fits_the_schema,
    log::what_is_appended_reads_back_whole,
    log::an_append_with_a_stale_or_a_future_version_is_a_conflict_and_changes_nothing,
    log::of_racing_appends_with_one_expected_version_exactly_one_wins,
    log::writers_that_retry_leave_dense_versions_and_a_follower_sees_each_once_in_order,
    commands::a_command_delivered_many_times_at_once_takes_effect_once,
    commands::a_command_id_with_another_fingerprint_is_refused_and_nothing_is_written,
    commands::a_command_without_fingerprint_that_is_repeated_is_told_its_own_events,
    commands::an_append_that_failed_leaves_its_command_id_unused,
    commands::appending_nothing_does_nothing,
    log::history_cannot_be_changed_or_deleted,
    log::an_event_of_a_newer_hearken_is_refused_with_its_position,
    log::a_damaged_event_is_refused_with_its_position,
    log::a_hole_is_refused_and_never_skipped,
    log::a_follower_of_another_history_is_told,
    log::an_adoption_changes_the_identity_once_and_is_recorded,
    log::a_text_with_nul_is_refused_by_name_on_both_databases,
    log::the_doorbell_rings_for_an_append_and_not_for_a_refused_one,
    commands::an_abandoned_append_leaves_all_or_nothing_and_the_store_usable,
    shared::a_node_is_seen_as_it_reports_itself,
    shared::a_node_not_heard_of_is_gone,
    shared::a_second_process_with_the_same_id_is_told_of_its_twin,
    shared::an_event_waits_until_every_live_node_can_read_it,
    tasks::a_task_goes_its_way_once,
    tasks::a_cancelled_task_does_not_start,
    tasks::tasks_are_filtered_and_listed_newest_first,
    tasks::tasks_of_a_node_that_went_away_or_came_back_fail,
    shared::passes_are_numbered_upwards,
    shared::a_pass_without_an_end_is_known_to_the_next_holder,
    shared::the_status_is_kept_and_rings_the_doorbell,
    shared::a_retired_queue_and_the_marker_are_remembered,
    leases::a_lease_has_one_holder_and_its_token_grows,
    leases::a_late_holder_writes_nothing_and_frees_nothing,
    leases::a_lease_that_is_held_is_renewed_before_it_expires,
    leases::a_lease_of_a_clock_that_was_set_back_is_free,
    leases::a_token_given_twice_by_a_failover_serves_its_last_holder,
    leases::a_read_that_is_older_than_the_lease_is_refused,
    shared::a_closed_store_says_that_it_is_out_of_reach,
    dead_letters::an_entry_reads_back_whole_and_stays,
    dead_letters::the_same_failure_is_one_entry_and_the_same_event_may_be_several,
    dead_letters::removing_takes_what_was_named_and_nothing_else,
    dead_letters::each_filter_lets_through_what_it_says,
    dead_letters::pages_go_on_where_they_ended_although_entries_are_removed,
    dead_letters::counts_are_by_group_and_bus_and_say_since_when,
    dead_letters::a_full_group_keeps_no_further_entry_and_others_do,
    dead_letters::nul_in_a_text_loses_no_event_and_a_large_body_is_kept,
    dead_letters::keeping_and_removing_at_once_loses_and_invents_nothing,
    retention::records_beyond_their_age_go_and_the_others_stay,
    retention::the_oldest_records_beyond_their_number_go,
    retention::two_nodes_sweep_once,
    retention::a_purge_of_many_entries_takes_small_statements_alone,
    dispatch_failures::what_could_not_be_published_comes_by_bus_in_its_order,
    dispatch_failures::a_window_of_large_events_is_shorter_and_never_empty,
    model::the_store_behaves_as_its_model,
}
