//! The line between a portal and its database, which a test cuts and mends.

use std::path::PathBuf;
use std::sync::Mutex;

use sqlx::PgPool;
use sqlx::postgres::{PgPoolOptions, PgSslMode};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Hands bytes on between connections to a port of its own and the database.
pub struct Line {
    port: u16,
    socket: PathBuf,
    carrying: Mutex<Option<JoinHandle<()>>>,
}

impl Line {
    /// A line to the database of `db`, and a pool that knows no other way there. It waits a second for a connection.
    pub async fn to(db: &PgPool) -> (Self, PgPool) {
        let options = db.connect_options();
        let folder = options.get_socket().expect("the database of tests listens on a socket");
        let line = Self { port: free_port(), socket: folder.join(format!(".s.PGSQL.{}", options.get_port())), carrying: Mutex::default() };
        line.mend().await;
        // A socket would go before host and port.
        let way = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(line.port)
            .ssl_mode(PgSslMode::Disable)
            .username(options.get_username())
            .database(options.get_database().expect("a test has a database of its own"));
        let pool = PgPoolOptions::new().acquire_timeout(std::time::Duration::from_secs(1)).connect_with(way).await.unwrap();
        (line, pool)
    }

    /// Ends every connection; new ones are refused.
    pub fn cut(&self) {
        if let Some(carrying) = self.carrying.lock().unwrap().take() {
            carrying.abort();
        }
    }

    /// Takes connections from now on.
    pub async fn mend(&self) {
        let (socket, listener) = (self.socket.clone(), TcpListener::bind(("127.0.0.1", self.port)).await.unwrap());
        let carrying = tokio::spawn(async move {
            // They end with the task.
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, socket.clone()));
            }
        });
        *self.carrying.lock().unwrap() = Some(carrying);
    }
}

async fn carry(mut near: TcpStream, socket: PathBuf) {
    if let Ok(mut far) = UnixStream::connect(socket).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
