//! Server-sent events, as the WHATWG HTML standard defines their stream (section 9.2.6).

use super::{
    error::{CliError, Outcome},
    output::remark,
};
use futures_util::StreamExt;
use std::time::Duration;

/// The server sends a comment at least every 15 seconds: a stream that is silent for so long is
/// dead, whatever the connection says.
const SILENCE: Duration = Duration::from_secs(45);

/// The pause before the first new attempt, where the server asks for none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Shows events as they come, and comes back after a break, until nobody reads. `open` is given
/// the id of the last event; `ended` is said when a stream ended.
pub(super) async fn follow(
    open: impl AsyncFn(Option<&str>) -> Result<reqwest::Response, CliError>,
    show: impl Fn(&Message) -> Result<(), CliError>,
    ended: &str,
) -> Outcome {
    let mut reader = Reader::default();
    // At the start there is nobody to come back to: a wrong address is an error.
    let mut stream = Some(open(None).await?);
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(mut response) = stream.take().map(reqwest::Response::bytes_stream) {
            while let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, response.next()).await {
                pause = FIRST_PAUSE;
                for message in reader.read(&piece) {
                    show(&message)?;
                }
            }
            remark(ended);
            reader.restart();
        }
        tokio::time::sleep(reader.retry.unwrap_or(pause).max(pause).min(LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match open(reader.last_id.as_deref()).await {
            Ok(response) => stream = Some(response),
            // A stream that the server refuses does not become right by asking again.
            Err(CliError::Answered(problem)) if problem.is_refusal() => {
                return Err(CliError::Answered(problem));
            }
            Err(error) => remark(&format!("{error}; trying again")),
        }
    }
}

/// An event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its name; `message` where the stream gives none.
    pub(super) event: String,
    /// What it carries.
    pub(super) data: String,
}

/// Reads a stream as its pieces come in.
#[derive(Debug, Default)]
struct Reader {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Whether the last byte was a carriage return, whose line feed belongs to it.
    returned: bool,
    event: String,
    data: Vec<String>,
    /// The last event's id, with which a new stream goes on.
    last_id: Option<String>,
    /// The pause before a new stream that the server asks for.
    retry: Option<Duration>,
}

impl Reader {
    /// The events that a piece completes.
    fn read(&mut self, piece: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for byte in piece {
            let after_return = std::mem::take(&mut self.returned);
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    self.returned = *byte == b'\r';
                    let line = std::mem::take(&mut self.partial);
                    let line = String::from_utf8_lossy(&line);
                    messages.extend(self.line(line.trim_start_matches('\u{feff}')));
                }
                other => self.partial.push(*other),
            }
        }
        messages
    }

    /// Forgets what an ended stream left unfinished.
    fn restart(&mut self) {
        let (last_id, retry) = (self.last_id.take(), self.retry);
        *self = Self { last_id, retry, ..Self::default() };
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return (!data.is_empty()).then(|| Message { event, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            "retry" => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // A comment, or a field of a later standard.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, data: &str) -> Message {
        Message { event: event.into(), data: data.into() }
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let stream = ": hello\nid: 1\nretry: 2000\n\nevent: TopologyChanged\r\ndata: {\"a\":\r\ndata: \"é\"}\r\nid: 2\r\n\r\ndata\n\n";
        let expected = [message("TopologyChanged", "{\"a\":\n\"é\"}"), message("message", "")];
        for size in 1..=stream.len() {
            let mut reader = Reader::default();
            let pieces = stream.as_bytes().chunks(size);
            let messages: Vec<_> = pieces.flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(messages, expected, "in pieces of {size}");
            assert_eq!(reader.last_id.as_deref(), Some("2"));
            assert_eq!(reader.retry, Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn what_a_broken_stream_left_unfinished_is_forgotten_and_its_place_is_not() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(b"id: 7\nevent: TopologyChanged\ndata: {\"hal"), []);
        reader.restart();
        assert_eq!(reader.read(b"data: whole\n\n"), [message("message", "whole")]);
        assert_eq!(reader.last_id.as_deref(), Some("7"));
    }
}
