//! Filters of requests for dead letters. A refusal that James also has uses James's wording.

use crate::{
    domain::name::{BusName, GroupName},
    http::{
        parameters::{Query, SegmentError, invalid_parameter},
        problem::{Problem, kinds},
        tasks::report::read_time,
    },
    store::dead_letters::DeadLetterFilter,
};
use std::str::FromStr;
use uuid::Uuid;

/// Group in the path.
pub(crate) struct GroupSegment(pub(super) GroupName);

impl FromStr for GroupSegment {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Self, SegmentError> {
        GroupName::parse(text).map(Self).map_err(|error| {
            let value = error.value.clone();
            let detail = format!("Can not deserialize the supplied group: {value}; {error}");
            Problem::new(&kinds::INVALID_NAME, detail).with("value", value).into()
        })
    }
}

/// Id of an entry in the path.
pub(crate) struct InsertionIdSegment(pub(super) Uuid);

impl FromStr for InsertionIdSegment {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Self, SegmentError> {
        let shown: String = text.chars().take(80).collect();
        let detail =
            format!("Can not deserialize the supplied insertionId: {shown}; it must be a UUID");
        Uuid::parse_str(text).map(Self).map_err(|_| SegmentError::new("id", detail))
    }
}

/// Filter that the query describes.
pub(super) fn read(query: &Query) -> Result<DeadLetterFilter, Problem> {
    let time = |name| query.text(name).map(|text| read_time(name, text)).transpose();
    Ok(DeadLetterFilter {
        bus: query.text("bus").map(BusName::parse).transpose()?,
        group: query.text("group").map(GroupName::parse).transpose()?,
        event_type: query.text("type").map(str::to_owned),
        user: query.text("user").map(str::to_owned),
        before: time("before")?,
        since: time("since")?,
    })
}

/// Largest number of entries, if the query limits it.
pub(super) fn limit(query: &Query) -> Result<Option<usize>, Problem> {
    let Some(text) = query.text("limit") else { return Ok(None) };
    let limit = text.parse::<i64>().map_err(|_| {
        let detail = "Can not parse limit: it must be a whole number, 0 or more";
        invalid_parameter("limit", detail.into())
    })?;
    let negative = |_| invalid_parameter("limit", "limit can not be negative".into());
    usize::try_from(limit).map(Some).map_err(negative)
}

/// Position of an entry as the store counts it.
pub(super) fn store_position(after: u64) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX)
}
