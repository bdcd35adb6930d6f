//! A stream of events → `text/event-stream`, kept alive while nothing happens.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;

/// A silent connection gets a comment this often, so that proxies do not take it for dead and a gone reader is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// One event that carries `data`, which has no line breaks.
pub fn event(data: &str) -> Bytes {
    debug_assert!(!data.contains(['\n', '\r']), "a line break would end the event");
    Bytes::from(format!("data: {data}\n\n"))
}

/// One event that carries an object. It is made for every token of every reader, so nothing stands between the object and its bytes.
pub fn json(object: &impl Serialize) -> Bytes {
    let mut event = b"data: ".to_vec();
    serde_json::to_writer(&mut event, object).expect("what is sent has keys of text only, and a Vec takes all that is written");
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// Answers with the events as they come. When the reader leaves, the server drops the body and `events` with it.
pub fn answer(mut response: HttpResponseBuilder, events: impl Stream<Item = Bytes> + 'static) -> HttpResponse {
    response
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Proxies such as nginx collect answers unless told not to.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(KeptAlive::new(events, KEEP_ALIVE))
}

/// `events`, with a comment whenever nothing came for a while.
struct KeptAlive<S> {
    events: Pin<Box<S>>,
    silence: Pin<Box<tokio::time::Sleep>>,
    longest_silence: Duration,
}

impl<S: Stream<Item = Bytes>> KeptAlive<S> {
    fn new(events: S, longest_silence: Duration) -> Self {
        Self { events: Box::pin(events), silence: Box::pin(tokio::time::sleep(longest_silence)), longest_silence }
    }

    fn begin_silence(&mut self) {
        let until = tokio::time::Instant::now() + self.longest_silence;
        self.silence.as_mut().reset(until);
    }
}

impl<S: Stream<Item = Bytes>> Stream for KeptAlive<S> {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(next) = self.events.as_mut().poll_next(cx) {
            self.begin_silence();
            return Poll::Ready(next.map(Ok));
        }
        if self.silence.as_mut().poll(cx).is_ready() {
            self.begin_silence();
            // Polled so that the new silence wakes us when it ends.
            let _ = self.silence.as_mut().poll(cx);
            return Poll::Ready(Some(Ok(Bytes::from_static(b": still here\n\n"))));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn silence_is_filled_with_comments_and_events_pass() {
        let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
        let events = futures_util::stream::unfold(receive, |mut receive| async { receive.recv().await.map(|event| (event, receive)) });
        let mut kept = KeptAlive::new(events, Duration::from_millis(5));
        for _ in 0..3 {
            assert_eq!(kept.next().await, Some(Ok(Bytes::from_static(b": still here\n\n"))));
        }
        send.send(json(&serde_json::json!({}))).await.expect("the stream listens");
        drop(send);
        let rest: Vec<_> = kept.map(|event| event.expect("never fails")).collect().await;
        assert_eq!(rest.iter().filter(|event| *event == "data: {}\n\n").count(), 1);
    }
}
