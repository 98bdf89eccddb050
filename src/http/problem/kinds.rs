//! Every kind of problem there is: its status, and what it means to whoever meets it.

/// A kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// The last part of its URI.
    pub slug: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// What it is, in a few words (RFC 9457 `title`): the same for every occurrence.
    pub title: &'static str,
    /// What it means and what to do, in a sentence or two.
    pub meaning: &'static str,
    /// Its extension members, each with what it says.
    pub members: &'static [(&'static str, &'static str)],
}

impl ProblemKind {
    /// Its URI reference (RFC 9457 `type`), which answers an explanation.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("/problems/{}", self.slug)
    }

    /// The explanation at its URI, in Markdown.
    #[must_use]
    pub fn explanation(&self) -> String {
        let mut text = format!("# {}\n\nStatus {}. {}\n", self.title, self.status, self.meaning);
        if !self.members.is_empty() {
            text.push_str("\nMembers:\n\n");
        }
        for (name, says) in self.members {
            text.extend(["- `", name, "`: ", says, "\n"]);
        }
        text
    }
}

macro_rules! kinds {
    ($($name:ident $slug:literal $status:literal $title:literal $meaning:literal
        [$($member:ident $says:literal),*];)*) => {
        $(
            #[doc = $meaning]
            pub const $name: ProblemKind = ProblemKind {
                slug: $slug,
                status: $status,
                title: $title,
                meaning: $meaning,
                members: &[$((stringify!($member), $says)),*],
            };
        )*

        /// All of them.
        pub const ALL: &[&ProblemKind] = &[$(&$name),*];
    };
}

kinds! {
    INVALID_NAME "invalid-name" 400 "Not a valid name"
        "A group, bus or class name has 1 to 200 characters, starts with a letter or a digit, and goes on with letters, digits, '.', '_', '$' or '-'. The name of a work queue, which has the bus and the group in it, must fit in 255 bytes."
        [value "The refused text, shortened."];
    INVALID_BODY "invalid-body" 400 "The body cannot be used"
        "The body is not well-formed JSON in UTF-8, has a key twice, is nested too deeply, or has a field that is missing, unknown or of the wrong type."
        [pointer "The field, as a JSON pointer (RFC 6901).", line "The line where reading stopped, from 1.",
         column "The column where reading stopped, from 1.", known "The fields there are."];
    INVALID_PARAMETER "invalid-parameter" 400 "A parameter cannot be used"
        "A query parameter, a part of the path or a header is unknown, missing, given twice, wrongly encoded or out of its range."
        [parameter "Its name.", known "The query parameters of this call."];
    INVALID_EVENT "invalid-event" 400 "The event cannot be read"
        "The body is not an event in the form that its content type names."
        [];
    UNAUTHORIZED "unauthorized" 401 "A token is needed"
        "Send `Authorization: Bearer` with the administrator's or the read-only token. Without a configured token, the administrator's is in the file `admin-token` of the data directory."
        [];
    FORBIDDEN "forbidden" 403 "The token allows reading only"
        "The read-only token was sent with a request that changes something. Use the administrator's."
        [];
    FOREIGN "foreign" 403 "The object is not hearken's"
        "hearken changes and deletes only what has its name prefix and carries this cluster's marker. Whoever made this object must remove it."
        [name "The object."];
    NOT_FOUND "not-found" 404 "Nothing there"
        "The address names nothing, or something that is gone."
        [known "What there is instead, where that is a short list."];
    NOT_CONFIGURED "not-configured" 404 "No such listener"
        "No listener of this group is in the roster."
        [group "The group."];
    METHOD_NOT_ALLOWED "method-not-allowed" 405 "Method not allowed"
        "The address exists and does not take this method. The `Allow` header names those it takes."
        [];
    TIMEOUT "timeout" 408 "Took too long"
        "What was waited for did not end within the timeout, or the body did not arrive in time. Nothing was undone."
        [];
    GROUP_IN_USE "group-in-use" 409 "The group has a listener"
        "A group names one listener. Remove the present one first, or choose another group."
        [group "The group.", class "The class of the listener that has it."];
    REQUIRED_HERE "required-here" 409 "This node's configuration requires the listener"
        "A listener in `[[required]]` cannot be removed through a node that requires it: it would come back at the next start. Take it out of the configuration first."
        [group "The group."];
    NOT_EMPTY "not-empty" 409 "The queue holds events"
        "Deleting the queue would destroy them. Let it drain, or give `force`."
        [queue "The queue.", ready "Events that wait.", unacked "Events that a consumer has in hand."];
    IN_USE "in-use" 409 "The queue is in use"
        "The queue belongs to a listener of the roster or has consumers. Remove the listener, or migrate it."
        [queue "The queue."];
    COMMAND_REUSED "command-reused" 409 "The idempotency key names another request"
        "This `Idempotency-Key` was used with another method, path or body. Use a new key for a new request."
        [];
    BLOCKED "blocked" 409 "Repair is blocked"
        "So much is missing on the broker, or its marker names another cluster, that it may be the wrong one. Check it; `POST /topology?action=rebuild` goes on."
        [];
    STALE_VERSION "stale-version" 412 "The roster has changed"
        "The version in `If-Match` is not the roster's. Read the roster again and decide anew."
        [expected "The version in the request.", found "The roster's version."];
    BODY_TOO_LARGE "body-too-large" 413 "The body is too large"
        "A body has at most 1 MiB."
        [limit "The limit, in bytes."];
    UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" 415 "The content type cannot be used"
        "This call does not take a body of this content type."
        [known "The content types it takes."];
    UNKNOWN_CLASS "unknown-class" 422 "This node does not know the class"
        "A listener is instantiated from a class of the node's catalog (`GET /classes`)."
        [class "The class.", known "The classes this node knows."];
    UNKNOWN_BUS "unknown-bus" 422 "There is no such bus"
        "The cluster has no bus of this name."
        [bus "The bus.", known "The buses there are."];
    INVALID_CONFIGURATION "invalid-configuration" 422 "The class does not accept the configuration"
        "`GET /classes` has the JSON Schema of each class's configuration."
        [class "The class.", errors "All that is wrong, each with a JSON pointer and the problem."];
    INVALID_SETTING "invalid-setting" 422 "A setting is out of its range"
        "A setting of the listener is outside the range that it can have."
        [field "The setting.", allowed "Its range."];
    INTERNAL "internal" 500 "Internal error"
        "Something went wrong inside hearken. Its log has the cause, under the request's id."
        [];
    STORE_UNAVAILABLE "store-unavailable" 503 "The database is out of reach"
        "The database does not answer. Try again; a command that names itself with `Idempotency-Key` is never executed twice."
        [];
    BROKER_UNAVAILABLE "broker-unavailable" 503 "The broker is out of reach"
        "The broker does not answer, or not in a way that can be understood. What is known without it is in the members."
        [cause "What the broker said.", topologyStatus "The `status` of the topology; the name is taken here.", desired "As in the topology.", observed "What was last observed, where something was.", drift "As in the topology."];
    BUSY "busy" 503 "Another pass is at work"
        "Another node or request is reconciling. Try again in a moment."
        [];
    CONTENTION "contention" 503 "Too many changes at once"
        "Other administrators' changes kept coming first. Nothing was changed; try again."
        [];
    NOT_ACCEPTED "not-accepted" 503 "The event was not accepted"
        "Neither the broker nor the database took the event, or it is not known whether one did. Send it again with the same id. Of a batch, send again those that are named."
        [accepted "Of a batch, the ids of the events that are safe.", notAccepted "Of a batch, the ids of those that are not."];
}
