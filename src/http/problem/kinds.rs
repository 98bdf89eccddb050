//! Kinds of problems. Each kind has a status, and an explanation for the client that gets it.

/// Kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// Last segment of the URI of the kind.
    pub slug: &'static str,
    /// HTTP status of the answer.
    pub status: u16,
    /// Name of the kind in a few words (RFC 9457 `title`), the same for every problem of the kind.
    pub title: &'static str,
    /// Meaning of the kind and what the client can do, in a sentence or two.
    pub meaning: &'static str,
    /// Extension members of problems of the kind.
    pub members: &'static [ProblemMember],
}

/// Extension member of a problem (RFC 9457, section 3.2).
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemMember {
    /// Name of the member.
    pub name: &'static str,
    /// Content of the member.
    pub meaning: &'static str,
}

impl ProblemKind {
    /// URI reference of the kind (RFC 9457 `type`), which answers the explanation.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("/problems/{}", self.slug)
    }

    /// Explanation at the URI, in Markdown.
    #[must_use]
    pub fn explanation(&self) -> String {
        let mut text = format!("# {}\n\nStatus {}. {}\n", self.title, self.status, self.meaning);
        if !self.members.is_empty() {
            text.push_str("\nMembers:\n\n");
        }
        for ProblemMember { name, meaning } in self.members {
            text.extend(["- `", name, "`: ", meaning, "\n"]);
        }
        text
    }
}

macro_rules! kinds {
    ($($name:ident $slug:literal $status:literal $title:literal $meaning:literal
        [$($member:ident $content:literal),*];)*) => {
        $(
            #[doc = $meaning]
            pub const $name: ProblemKind = ProblemKind {
                slug: $slug,
                status: $status,
                title: $title,
                meaning: $meaning,
                members: &[$(ProblemMember { name: stringify!($member), meaning: $content }),*],
            };
        )*

        /// All kinds.
        pub const ALL: &[&ProblemKind] = &[$(&$name),*];
    };
}

kinds! {
    INVALID_NAME "invalid-name" 400 "Not a valid name"
        "A group, bus or class name has 1 to 200 characters, starts with a letter or a digit, and goes on with letters, digits, '.', '_', '$' or '-'. The name of a work queue contains the bus and the group, and must fit in 255 bytes."
        [value "The refused text, shortened."];
    INVALID_BODY "invalid-body" 400 "The body cannot be used"
        "The body is not well-formed JSON in UTF-8, has the same key twice, is nested too deeply, or has a missing field, an unknown field or a field of the wrong type."
        [pointer "The field, as a JSON pointer (RFC 6901).", line "The line where reading stopped, from 1.",
         column "The column where reading stopped, from 1.", known "The known fields."];
    INVALID_PARAMETER "invalid-parameter" 400 "A parameter cannot be used"
        "A query parameter, a segment of the path or a header is unknown, missing, repeated, wrongly encoded or outside its range."
        [parameter "Name of the parameter.", known "The query parameters of this call."];
    INVALID_EVENT "invalid-event" 400 "The event cannot be read"
        "The body is not an event in the form that the content type names."
        [];
    UNAUTHORIZED "unauthorized" 401 "A token is needed"
        "Send `Authorization: Bearer` with the administrator's token or the read-only token. If no token is configured, the file `admin-token` in the data directory has the administrator's token."
        [];
    FORBIDDEN "forbidden" 403 "The token allows reading only"
        "The request changes something, and its token allows reading only. Use the administrator's token."
        [];
    FOREIGN "foreign" 403 "The object is not hearken's"
        "hearken changes and deletes only objects that have its name prefix and this cluster's marker. The owner of this object must remove it."
        [name "Name of the object."];
    NOT_FOUND "not-found" 404 "Nothing there"
        "The object that the address names does not exist, or no longer exists."
        [known "The existing names, if they are few."];
    NOT_CONFIGURED "not-configured" 404 "No such listener"
        "No listener of this group is in the roster."
        [group "The group."];
    METHOD_NOT_ALLOWED "method-not-allowed" 405 "Method not allowed"
        "The address does not support this method. The `Allow` header names the supported methods."
        [];
    TIMEOUT "timeout" 408 "Took too long"
        "The awaited task did not end within the timeout, or the body did not arrive in time. Nothing was undone."
        [];
    GROUP_IN_USE "group-in-use" 409 "The group has a listener"
        "A group has one listener. Change or remove the present listener, or choose another group."
        [group "The group.", class "Class of the present listener."];
    BUS_IN_USE "bus-in-use" 409 "The bus is in use"
        "A bus is added once, and is removed once no listener and no queue uses it. `GET /buses` shows the buses of the cluster."
        [bus "The bus.", users "Listeners and queues that use a bus which is to be removed."];
    CANNOT_CHANGE "cannot-change" 409 "This setting cannot change in place"
        "The bus and the delivery of a listener stay, because its queue depends on them. Add a listener of another group with the new settings, then remove this group with `pending=drain`. The prefix of a cluster stays, because every object on the broker has it in its name. Start a new cluster with the other prefix. The exchange of a bus stays. Remove the bus once no listener uses it, and add it again."
        [group "The group of a listener.", setting "Name of the setting: `bus`, `delivery`, `prefix`, `attached` or `exchange`."];
    REQUIRED_HERE "required-here" 409 "This node's configuration requires the listener"
        "A listener in `[[required]]` cannot be removed or paused through a node that requires it, because the node asks for it. Take the listener out of the configuration first. The same holds for the removal of a bus in `[[bus]]`."
        [group "The group.", bus "The bus."];
    NOT_EMPTY "not-empty" 409 "The queue holds events"
        "Deleting the queue would destroy its events. Let a listener consume them, or give `force`."
        [queue "The queue.", ready "Number of events that wait.", unacked "Number of events that a consumer holds unacknowledged."];
    NOT_ORPHAN "not-orphan" 409 "The queue is not an orphan"
        "Only an orphan can be released: the work queue of a group that carries the marker of this cluster and that the log does not know."
        [name "Name of the queue; absent when the log has another queue of the same group and generation."];
    IN_USE "in-use" 409 "The queue is in use"
        "The queue belongs to a listener of the roster or has consumers. Remove the listener, or migrate the queue."
        [queue "The queue."];
    COMMAND_REUSED "command-reused" 409 "The idempotency key belongs to another request"
        "This `Idempotency-Key` was used with another method, path or body. Use a new key for a new request."
        [];
    BLOCKED "blocked" 409 "Repair is blocked"
        "hearken changes nothing on this broker, because it may be the wrong one: most of the topology is missing, or the marker names another cluster. Check the broker; if it is the right one, `POST /topology?action=rebuild` repairs it."
        [];
    STALE_VERSION "stale-version" 412 "The roster has changed"
        "The roster does not have the version in `If-Match`. Read the roster again, then decide again."
        [expected "Version in the request.", found "Version of the roster."];
    BODY_TOO_LARGE "body-too-large" 413 "The body is too large"
        "A body has at most 1 MiB."
        [limit "The limit, in bytes."];
    UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" 415 "The content type cannot be used"
        "This call does not accept a body of this content type."
        [known "The accepted content types."];
    UNKNOWN_CLASS "unknown-class" 422 "This node does not know the class"
        "A listener is instantiated from a class of the node's catalog (`GET /classes`)."
        [class "The class.", known "The classes that this node knows."];
    UNKNOWN_BUS "unknown-bus" 422 "There is no such bus"
        "The cluster has no bus of this name."
        [bus "The bus.", known "The buses of the cluster."];
    INVALID_CONFIGURATION "invalid-configuration" 422 "The class does not accept the configuration"
        "`GET /classes` has the JSON Schema of each class's configuration."
        [class "The class.", errors "Every wrong value, each with a JSON pointer and the problem."];
    INVALID_SETTING "invalid-setting" 422 "A setting is out of its range"
        "A setting of the listener or of the cluster is outside its range."
        [field "Name of the setting.", allowed "Range of the setting."];
    INVALID_BUS "invalid-bus" 422 "The definition of the bus cannot be used"
        "An attached bus names the exchange of another program, and any other bus names none."
        [];
    INTERNAL "internal" 500 "Internal error"
        "The request failed inside hearken. The log has the cause under the id of the request."
        [];
    STORE_UNAVAILABLE "store-unavailable" 503 "The database is out of reach"
        "The database does not answer. Try again; a command with an `Idempotency-Key` is never executed twice."
        [];
    BROKER_UNAVAILABLE "broker-unavailable" 503 "The broker is out of reach"
        "The broker does not answer, or its answer cannot be read. The members have what is known without the broker."
        [cause "Message of the broker.", topologyStatus "The member `status` of the topology, under another name because a problem has its own `status`.", desired "The desired topology.", observed "Always null: the broker was not read.", drift "The differences that the last pass saw.", queues "The queues that the roster knows, without counts.", next "Value of `after` for the next page of `queues`; null on the last page."];
    BUSY "busy" 503 "Another pass is running"
        "Another node or request makes a pass now. Try again in a moment."
        [];
    OUTDATED_NODE "outdated-node" 409 "A node does not know the command"
        "A live node runs an older version of hearken that cannot read the event of this command. Upgrade or stop the node, and send the command again."
        [node "Id of the node."];
    TOO_MANY_STREAMS "too-many-streams" 503 "This node has too many open streams"
        "A node serves a bounded number of server-sent event streams. Close a stream, or connect to another node."
        [limit "Largest number of streams of a node."];
    CONTENTION "contention" 503 "Too many changes at once"
        "Commands of other administrators changed the roster first, several times. Nothing was changed; try again."
        [];
    NOT_ACCEPTED "not-accepted" 503 "The event was not accepted"
        "Neither the broker nor the database confirmed the event. Send it again with the same id. Of a batch, send again the events in `notAccepted`."
        [accepted "Ids of the events of a batch that were accepted.", notAccepted "Ids of the events of a batch that were not."];
}
