//! The socket under a connection. It can send a piece of a file by itself, so that weights go from the page cache to the socket and never
//! pass through this process (`sendfile(2)`): a third of the processor time, and no memory for a client however slow.
//!
//! The HTTP server writes what it has and then flushes; what a body has laid on the [`Line`] by then goes out behind it. So a body that
//! sends a file lays a piece there, has nothing to say until it is gone, and lays down the next.

mod file;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::HttpRequest;
use rustix::fs::sendfile;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

pub use file::FileBody;

/// A client's socket.
pub struct Wire {
    stream: TcpStream,
    line: Line,
}

impl Wire {
    /// The socket of a client that was let in.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, line: Line::default() }
    }

    /// Where bodies of this connection lay what it shall send.
    pub fn line(&self) -> Line {
        self.line.clone()
    }
}

/// What a connection sends of files; every clone is the same one.
#[derive(Clone, Default)]
pub struct Line(Rc<RefCell<Standing>>);

#[derive(Default)]
struct Standing {
    piece: Option<Piece>,
    /// What has gone out since somebody asked.
    sent_bytes: u64,
    /// Why the file could not be read.
    fault: Option<io::Error>,
    /// Whether the client has closed its side.
    is_over: bool,
}

struct Piece {
    file: Arc<File>,
    at: u64,
    left: usize,
}

impl Line {
    /// That of the connection a request came by; none where that is not a [`Wire`].
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data().cloned()
    }

    fn lay(&self, file: Arc<File>, at: u64, left: usize) {
        self.0.borrow_mut().piece = Some(Piece { file, at, left });
    }

    /// Takes back what has not been sent.
    fn clear(&self) {
        self.0.borrow_mut().piece = None;
    }

    fn is_clear(&self) -> bool {
        self.0.borrow().piece.is_none()
    }

    /// How many bytes have been sent since this was last asked.
    fn take_sent(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().sent_bytes)
    }

    /// The client has left: nothing more goes out.
    fn hang_up(&self) {
        let mut standing = self.0.borrow_mut();
        (standing.piece, standing.is_over) = (None, true);
    }

    fn is_over(&self) -> bool {
        self.0.borrow().is_over
    }

    fn take_fault(&self) -> Option<io::Error> {
        self.0.borrow_mut().fault.take()
    }
}

impl Standing {
    /// Sends what lies here, as far as the socket takes it. An error is one of the socket.
    fn send(&mut self, stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(piece) = &mut self.piece {
            ready!(stream.poll_write_ready(cx))?;
            let sent = stream.try_io(Interest::WRITABLE, || Ok(sendfile(stream, &*piece.file, Some(&mut piece.at), piece.left)?));
            match sent {
                Ok(0) => self.fault = Some(io::Error::new(io::ErrorKind::UnexpectedEof, "a stored file became shorter while it was sent")),
                Ok(sent) => {
                    self.sent_bytes += sent as u64;
                    piece.left -= sent;
                    if piece.left > 0 {
                        continue;
                    }
                }
                Err(cause) if matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
                Err(cause) if is_of_the_socket(&cause) => return Poll::Ready(Err(cause)),
                Err(cause) => self.fault = Some(cause),
            }
            self.piece = None;
            // The body shall go on.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether the client is the cause, or the way to it. All else is the file's.
fn is_of_the_socket(cause: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, NotConnected, TimedOut,
    };
    matches!(
        cause.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable | NotConnected | TimedOut
    )
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            // From here on bodies are asked for nothing, so what they have laid here would wait for a client that may never read it.
            self.line.hang_up();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.line.0.borrow_mut().send(&self.stream, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
