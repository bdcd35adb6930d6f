//! Builds the portal's HTTP server: middleware in order, listener, shutdown.

use std::net::TcpListener;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceRequest, ServiceResponse, fn_service};
use actix_web::error::QueryPayloadError;
use actix_web::http::KeepAlive;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, Data};
use tokio::net::TcpStream;

use crate::downloads::Ledger;
use crate::error::{Error, FieldError};
use crate::http::wire::Wire;
use crate::portal::Portal;
use crate::{accounts, http, routes};

/// After the signal to stop, running answers have so long; then they are cut.
pub const SHUTDOWN_S: u64 = 10;
/// A client that has not sent its headers by then is let go.
const HEADERS_WAIT: Duration = Duration::from_secs(15);
/// Who is refused while they still send is listened to so long, or the refusal would be lost with the connection.
const LINGER: Duration = Duration::from_secs(1);
/// JSON bodies: the longest is a prompt of token ids.
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// The policy every answer carries: nothing but our own files, no inline script or style, no frame around us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                                       form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What stands behind the `?` of an address and cannot be read.
fn unreadable(cause: &QueryPayloadError) -> Error {
    let why = match cause {
        QueryPayloadError::Deserialize(cause) => cause.to_string(),
        other => other.to_string(),
    };
    FieldError::new("query", format!("what stands behind the ? of this address cannot be read: {why}")).into()
}

/// The server on `listener`, not yet polled. `workers`: threads that answer requests.
///
/// Put together by hand where `HttpServer` would do it, because that has no place for a socket of our own: [`Wire`].
pub fn server(portal: Data<Portal>, ledger: Data<Ledger>, listener: TcpListener, workers: usize) -> std::io::Result<Server> {
    let builder = Server::build().workers(workers).shutdown_timeout(SHUTDOWN_S).disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let address = listener.local_addr()?;
    let builder = builder.listen("http", listener, move || {
        let stopping = stopping.clone();
        let app = application(portal.clone(), ledger.clone()).into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .keep_alive(KeepAlive::Timeout(Duration::from_secs(60)))
            .client_request_timeout(HEADERS_WAIT)
            .client_disconnect_timeout(LINGER)
            // A client that closes its side has left: what it asked for stops, a generation included.
            .h1_allow_half_closed(false)
            .local_addr(address)
            // So that idle connections do not hold up the end.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|wire: &Wire, connection| {
                connection.insert(wire.line());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let accept = fn_service(|stream: TcpStream| async move {
            // Head and file are two writes: the second must not wait until the client has told of the first.
            stream.set_nodelay(true)?;
            let peer = stream.peer_addr().ok();
            Ok((Wire::new(stream), peer))
        });
        accept.and_then(http)
    })?;
    Ok(builder.run())
}

/// Routes and middleware, as every worker has them.
fn application(
    portal: Data<Portal>,
    ledger: Data<Ledger>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<impl MessageBody>, Error = actix_web::Error, InitError = ()>,
> {
    let https = portal.config.is_https();
    App::new()
        .app_data(portal)
        .app_data(ledger)
        .app_data(web::FormConfig::default().limit(http::csrf::FORM_BYTES_MAX))
        .app_data(web::JsonConfig::default().limit(JSON_BYTES_MAX))
        .app_data(web::PathConfig::default().error_handler(|_, _| Error::NotFound("page").into()))
        .app_data(web::QueryConfig::default().error_handler(|cause, _| unreadable(&cause).into()))
        .configure(routes::configure)
        // The last named is the first to see a request.
        .wrap(from_fn(http::signed_out::keep_what_was_sent))
        .wrap(from_fn(accounts::identify))
        .wrap(from_fn(http::problem::pages_for_people))
        .wrap(from_fn(http::page::head_like_get))
        .wrap(from_fn(http::compress::compress))
        .wrap(headers(https))
}

fn headers(https: bool) -> DefaultHeaders {
    let headers = DefaultHeaders::new()
        .add(("Content-Security-Policy", CONTENT_SECURITY_POLICY))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "same-origin"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Permissions-Policy", "camera=(), microphone=(), geolocation=()"));
    if https { headers.add(("Strict-Transport-Security", "max-age=31536000")) } else { headers }
}
