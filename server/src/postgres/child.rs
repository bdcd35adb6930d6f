//! Children that end when we end, however we end.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal, setsid};

struct Order {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

/// Starts a child in a session of its own, so that a Ctrl-C meant for us does not reach it.
/// The kernel sends it `at_our_death` when this process ends, a `kill -9` included.
pub(super) fn spawn(mut command: Command, at_our_death: Signal) -> io::Result<Child> {
    let us = getpid();
    let prepare = move || {
        // After the change of user, which clears it: the standard library calls us last.
        set_parent_process_death_signal(Some(at_our_death))?;
        if getppid() != Some(us) {
            return Err(io::ErrorKind::NotConnected.into()); // we died before the line above: nobody would end the child
        }
        setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes three bare system calls (prctl, getppid, setsid) and builds
    // errors that own no memory: it neither allocates nor takes a lock, which a fork of many threads may find taken.
    #[expect(unsafe_code, reason = "only code run between fork and exec can ask for the signal at our death")]
    unsafe {
        command.pre_exec(prepare);
    }
    let (answer, answered) = sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts children has ended");
    orders().send(Order { command, answer }).map_err(|_| io::Error::other("no thread to start children on"))?;
    answered.recv().map_err(gone)?
}

/// The one thread that forks. The kernel's signal comes at the death of the thread that forked, not of its process,
/// so that thread has to live as long as the process.
fn orders() -> &'static Sender<Order> {
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    ORDERS.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        let serve = move || {
            for mut order in orders {
                // Who asked waits for the answer, so it can always be delivered.
                let _ = order.answer.send(order.command.spawn());
            }
        };
        // Without the thread the receiver is gone, and `spawn` says so.
        let _ = std::thread::Builder::new().name("postgres-parent".to_owned()).spawn(serve);
        sender
    })
}
