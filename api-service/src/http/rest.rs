//! Reads what a route has left of a request's body before the answer goes: a client, or a proxy, that is still sending
//! might otherwise find its connection closed, and no answer.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    middleware::Next,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};

/// How long the rest is read; what comes later is not waited for.
const DEADLINE: Duration = Duration::from_secs(5);

/// A body that its route reads, and that is read on afterwards.
#[derive(Clone)]
struct Shared(Rc<RefCell<Payload>>);

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_next_unpin(context)
    }
}

/// Goes around every route.
pub(super) async fn read_rest(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let body = match request.take_payload() {
        Payload::None => return next.call(request).await,
        body => Shared(Rc::new(RefCell::new(body))),
    };
    let mut rest = body.clone();
    request.set_payload(Payload::Stream { payload: Box::pin(body) });
    let answer = next.call(request).await;
    let rest = async { while let Some(Ok(_)) = rest.next().await {} };
    let _ = tokio::time::timeout(DEADLINE, rest).await;
    answer
}
