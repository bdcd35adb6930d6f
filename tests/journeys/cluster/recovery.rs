//! What is left behind by a death, and the start after it.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn kill_9(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, Signal::KILL).expect("a living process of ours");
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A pid file as the server writes it, with another process in its first line.
fn leave_pid_file(scratch: &Scratch, pid: u32) {
    let path = scratch.data().join("postmaster.pid");
    let text = format!("{pid}\n{}\n1\n5432\n{}\n\n  1 1\nready   \n", scratch.data().display(), scratch.folder().join("sock").display());
    fs::write(&path, text).expect("written");
    fs::write(scratch.folder().join("sock/.s.PGSQL.5432.lock"), format!("{pid}\n")).expect("written");
    let owner = fs::metadata(scratch.data()).expect("made");
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("ours to give");
}

async fn starts_with_everything_kept(scratch: &Scratch) {
    let cluster = scratch.start().await;
    assert_eq!(kept(&cluster).await, 42);
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_pid_file_of_a_dead_server_does_not_matter() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    leave_pid_file(&scratch, 0x3fff_fff0);
    starts_with_everything_kept(&scratch).await;
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_does_not_matter_and_the_stranger_lives() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let mut stranger = std::process::Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
    leave_pid_file(&scratch, stranger.id());
    starts_with_everything_kept(&scratch).await;
    assert!(stranger.try_wait().expect("ours").is_none(), "the stranger was left alone");
    drop(stranger.stdin.take());
    stranger.wait().expect("ended by its own will");
}

#[tokio::test]
async fn a_zombie_of_the_server_does_not_keep_the_next_one_out() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let cluster = scratch.start().await;
    let pid = server_pid(&scratch.data());
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("a living server");
    cluster.stop().await.expect("stopped");

    // A server whose parent, this test, never asks for its end.
    let owner = fs::metadata(scratch.data()).expect("made");
    let mut command = std::process::Command::new(program);
    command.arg("-D").arg(scratch.data()).arg("-k").arg(scratch.folder().join("sock")).args(["-c", "listen_addresses="]);
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    if we_are_root() {
        use std::os::unix::process::CommandExt;
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut unreaped = command.spawn().expect("the server's program");
    until("the server has written its pid file", || scratch.folder().join("sock/.s.PGSQL.5432.lock").exists()).await;
    kill_9(unreaped.id());
    until("the server is a zombie", || state(unreaped.id()) == Some('Z')).await;
    assert!(scratch.data().join("postmaster.pid").exists(), "the zombie is still named");

    starts_with_everything_kept(&scratch).await;
    unreaped.wait().expect("reaped at last");
}

#[tokio::test]
async fn the_server_ends_with_a_parent_that_was_killed() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let neighbour = Neighbour::attach(&scratch.folder()).await;
    let server = server_pid(&scratch.data());
    kill_9(neighbour.process.id().expect("running"));
    until("the server has followed its parent", || state(server).is_none_or(|state| state == 'Z')).await;
    starts_with_everything_kept(&scratch).await;
}

#[tokio::test]
async fn a_start_right_after_the_parent_was_killed_waits_for_the_old_server() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let mut neighbour = Neighbour::attach(&scratch.folder()).await;
    let server = server_pid(&scratch.data());
    neighbour.process.kill().await.expect("killed and reaped");
    let cluster = scratch.start().await;
    assert_ne!(server_pid(&scratch.data()), server);
    assert_eq!(kept(&cluster).await, 42);
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_busy_backend_of_a_killed_server_is_ended() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let cluster = scratch.start().await;
    let mut connection = connect(cluster.connect_options()).await;
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.expect("an answer");
    let backend = backend.cast_unsigned();
    let busy = tokio::spawn(async move { sqlx::raw_sql("do $$ begin loop end loop; end $$").execute(&mut connection).await });
    let mut watch = connect(cluster.connect_options()).await;
    let computes = "select true from pg_stat_activity where query like 'do %' and state = 'active' and wait_event is null";
    while sqlx::query_scalar::<_, bool>(computes).fetch_optional(&mut watch).await.expect("an answer").is_none() {}

    let exited = cluster.exited();
    kill_9(server_pid(&scratch.data()));
    let status = exited.await;
    assert!(!status.success(), "the portal learns that its database died: {status}");
    assert!(state(backend).is_some_and(|state| state != 'Z'), "the backend has outlived its server");
    drop(cluster);

    starts_with_everything_kept(&scratch).await;
    busy.await.expect("no panic").expect_err("its server is gone");
}

#[tokio::test]
async fn a_killed_making_leaves_no_half_cluster() {
    let scratch = Scratch::new();
    let mut process = with_postgres(&scratch.folder(), &["true"]);
    until("initdb is at work", || scratch.folder().join("data.new/base").exists()).await;
    process.kill().await.expect("killed and reaped");
    assert!(!scratch.data().join("PG_VERSION").exists(), "killed before it was done");

    let cluster = scratch.start().await;
    connect(cluster.connect_options()).await;
    assert!(!scratch.folder().join("data.new").exists());
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_thread_that_asked_for_the_server_may_end() {
    let scratch = Scratch::new();
    let folder = scratch.folder();
    let short_lived = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(Cluster::start(&folder, &quick())).expect("started")
    });
    let cluster = short_lived.join().expect("no panic");
    let exited = tokio::time::timeout(Duration::from_millis(300), cluster.exited()).await;
    assert!(exited.is_err(), "the server outlives the thread, not the process");
    connect(cluster.connect_options()).await;
    cluster.stop().await.expect("stopped");
}
