//! Several processes, one cluster.

use server::postgres::attach;
use sqlx::Connection;

use super::*;

async fn answers(options: PgConnectOptions) -> bool {
    let mut connection = connect(options).await;
    let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut connection).await.expect("an answer");
    connection.close().await.expect("closed");
    one == 1
}

#[tokio::test]
async fn commands_that_come_at_once_share_one_server() {
    let scratch = Scratch::new();
    let (folder, settings) = (scratch.folder(), quick());
    let (one, two) = tokio::join!(attach(&folder, &settings), attach(&folder, &settings));
    let (one, two) = (one.expect("attached"), two.expect("attached"));
    assert!(answers(one.connect_options()).await && answers(two.connect_options()).await);

    // Whichever of them started the server, it stays until both have left.
    let first_leaves = tokio::spawn(one.release());
    assert!(answers(two.connect_options()).await);
    two.release().await.expect("released");
    first_leaves.await.expect("no panic").expect("released");
    assert!(servers_in(&scratch.data()).is_empty(), "the last one out has put out the light");
}

#[tokio::test]
async fn the_process_that_started_the_server_waits_for_its_guests() {
    let scratch = Scratch::new();
    let host = Neighbour::attach(&scratch.folder()).await;
    let guest = Neighbour::attach(&scratch.folder()).await;
    let server = server_pid(&scratch.data());

    let mut host = host.finish();
    assert!(answers(guest.options.clone()).await);
    assert_eq!(server_pid(&scratch.data()), server, "it is still the same server");
    assert!(host.try_wait().expect("ours").is_none(), "the host waits");

    assert!(guest.finish().wait().await.expect("ours").success());
    assert!(host.wait().await.expect("ours").success());
    assert!(servers_in(&scratch.data()).is_empty());
}

#[tokio::test]
async fn a_killed_guest_does_not_keep_the_host_waiting() {
    let scratch = Scratch::new();
    let host = Neighbour::attach(&scratch.folder()).await;
    let mut guest = Neighbour::attach(&scratch.folder()).await;
    guest.process.kill().await.expect("killed and reaped");
    assert!(host.finish().wait().await.expect("ours").success());
}

#[tokio::test]
async fn a_guest_whose_host_was_killed_can_attach_again() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let mut host = Neighbour::attach(&scratch.folder()).await;
    let guest = attach(&scratch.folder(), &quick()).await.expect("attached");
    host.process.kill().await.expect("killed and reaped");
    guest.release().await.expect("released");

    let again = attach(&scratch.folder(), &quick()).await.expect("the old server is gone or going");
    assert!(answers(again.connect_options()).await);
    again.release().await.expect("released");
}

#[tokio::test]
async fn the_portal_waits_for_a_command_and_then_runs_the_cluster_itself() {
    let scratch = Scratch::new();
    assert!(Cluster::running(&scratch.folder()).is_none(), "nothing is there yet");
    let command = Neighbour::attach(&scratch.folder()).await;
    let running = Cluster::running(&scratch.folder()).expect("the command runs it");
    assert!(answers(running).await);
    let commands_server = server_pid(&scratch.data());

    let folder = scratch.folder();
    let portal = tokio::spawn(async move { Cluster::start(&folder, &quick()).await });
    assert!(command.finish().wait().await.expect("ours").success());
    let portal = portal.await.expect("no panic").expect("its turn has come");
    assert_ne!(server_pid(&scratch.data()), commands_server);
    assert!(answers(portal.connect_options()).await);

    let guest = attach(&scratch.folder(), &quick()).await.expect("a command beside the portal");
    assert!(answers(guest.connect_options()).await);
    guest.release().await.expect("released");
    assert!(answers(portal.connect_options()).await, "a guest stops nothing");
    portal.stop().await.expect("stopped");
    assert!(Cluster::running(&scratch.folder()).is_none());
}

#[tokio::test]
async fn a_crowd_coming_and_going_always_finds_a_server() {
    let scratch = Scratch::new();
    let visitor = || {
        let folder = scratch.folder();
        tokio::spawn(async move {
            for _ in 0..4 {
                let attached = attach(&folder, &quick()).await.expect("attached");
                assert!(answers(attached.connect_options()).await);
                attached.release().await.expect("released");
            }
        })
    };
    let crowd: Vec<_> = (0..8).map(|_| visitor()).collect();
    for visitor in crowd {
        visitor.await.expect("every visit went well");
    }
    assert!(servers_in(&scratch.data()).is_empty());
}

#[tokio::test]
async fn with_postgres_ends_as_its_command_ends() {
    let scratch = Scratch::new();
    let status = with_postgres(&scratch.folder(), &["sh", "-c", "exit 7"]).wait().await.expect("ours");
    assert_eq!(status.code(), Some(7));
    let status = with_postgres(&scratch.folder(), &["sh", "-c", "kill -9 $$"]).wait().await.expect("ours");
    assert_eq!(status.code(), Some(128 + 9));
    let status = with_postgres(&scratch.folder(), &["/no/such/command"]).wait().await.expect("ours");
    assert_eq!(status.code(), Some(1));
}
