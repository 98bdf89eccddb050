//! Reads server-sent events, as the WHATWG HTML standard defines their stream (section 9.2.6).

use super::{
    error::{CliError, CommandEnd},
    terminal::remark,
};
use futures_util::StreamExt;
use std::time::Duration;

/// Longest silence of a live stream. The server sends a comment at least every 15 seconds, so a
/// stream that is silent for three times as long is dead, even if the connection looks open.
const SILENCE: Duration = Duration::from_secs(45);

/// Pause before the first new attempt, unless the server asks for a longer one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Shows events as they come and reopens a broken stream, until the output is closed. `open` gets
/// the id of the last event; `ended` is the remark when a stream ended.
pub(super) async fn follow(
    open: impl AsyncFn(Option<&str>) -> Result<reqwest::Response, CliError>,
    show: impl Fn(&SseMessage) -> Result<(), CliError>,
    ended: &str,
) -> CommandEnd {
    let mut reader = SseReader::default();
    // The first failure is an error: the address may be wrong.
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
            // The server would refuse the same request again.
            Err(CliError::Answered(problem)) if problem.is_refusal() => {
                return Err(CliError::Answered(problem));
            }
            Err(error) => remark(&format!("{error}; trying again")),
        }
    }
}

/// Event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SseMessage {
    /// Name of the event; `message` if the stream gives no name.
    pub(super) event: String,
    /// Data of the event.
    pub(super) data: String,
}

/// Parser of a stream that comes in pieces.
#[derive(Debug, Default)]
struct SseReader {
    /// Beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Whether the last byte was a carriage return. A line feed after it ends no second line.
    returned: bool,
    event: String,
    data: Vec<String>,
    /// Id of the last event, from which a new stream continues.
    last_id: Option<String>,
    /// Pause before a new stream, if the server asks for one.
    retry: Option<Duration>,
}

impl SseReader {
    /// Takes a piece of the stream and returns the events that it completes.
    fn read(&mut self, piece: &[u8]) -> Vec<SseMessage> {
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

    /// Forgets the unfinished event of an ended stream.
    fn restart(&mut self) {
        let (last_id, retry) = (self.last_id.take(), self.retry);
        *self = Self { last_id, retry, ..Self::default() };
    }

    fn line(&mut self, line: &str) -> Option<SseMessage> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return (!data.is_empty()).then(|| SseMessage { event, data: data.join("\n") });
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
            // Comments, and fields of later standards, are ignored.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, data: &str) -> SseMessage {
        SseMessage { event: event.into(), data: data.into() }
    }

    #[test]
    fn a_stream_reads_the_same_in_pieces_of_every_size() {
        let stream = ": hello\nid: 1\nretry: 2000\n\nevent: TopologyChanged\r\ndata: {\"a\":\r\ndata: \"é\"}\r\nid: 2\r\n\r\ndata\n\n";
        let expected = [message("TopologyChanged", "{\"a\":\n\"é\"}"), message("message", "")];
        for size in 1..=stream.len() {
            let mut reader = SseReader::default();
            let pieces = stream.as_bytes().chunks(size);
            let messages: Vec<_> = pieces.flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(messages, expected, "in pieces of {size}");
            assert_eq!(reader.last_id.as_deref(), Some("2"));
            assert_eq!(reader.retry, Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn a_broken_stream_loses_its_unfinished_event_and_keeps_its_place() {
        let mut reader = SseReader::default();
        assert_eq!(reader.read(b"id: 7\nevent: TopologyChanged\ndata: {\"hal"), []);
        reader.restart();
        assert_eq!(reader.read(b"data: whole\n\n"), [message("message", "whole")]);
        assert_eq!(reader.last_id.as_deref(), Some("7"));
    }
}
