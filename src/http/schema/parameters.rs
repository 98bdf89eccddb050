//! Parameters that several calls share.

use utoipa::IntoParams;

/// Filters that choose dead letters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterFilterParams {
    /// Only entries of this bus.
    #[param(nullable = false)]
    pub bus: Option<String>,
    /// Only events of this type.
    #[param(nullable = false)]
    pub r#type: Option<String>,
    /// Only events about this user.
    #[param(nullable = false)]
    pub user: Option<String>,
    /// Only entries whose last failure was at this time or later (ISO 8601 with zone).
    #[param(nullable = false)]
    pub since: Option<String>,
    /// Only entries whose last failure was before this time (ISO 8601 with zone).
    #[param(nullable = false)]
    pub before: Option<String>,
}

/// Size of a page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageLimitParams {
    /// Largest number of entries on the page; 100 if absent.
    #[param(nullable = false, minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Wait for the effect of a command.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WaitParams {
    /// Wait until the broker has the change, at most for this time (up to 60s).
    #[param(nullable = false, example = "5s")]
    pub wait: Option<String>,
}

/// Conditions of a command.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct CommandHeaderParams {
    /// Execute the command only if the roster has this version: the value of an `ETag`.
    #[param(rename = "If-Match", nullable = false)]
    pub if_match: Option<String>,
    /// Identifies the command. A repeated request with the same key changes nothing and gets the
    /// same answer.
    #[param(rename = "Idempotency-Key", nullable = false)]
    pub idempotency_key: Option<String>,
}
