//! Making, starting, stopping, and everything that is refused.

use super::*;

#[tokio::test]
async fn a_new_cluster_keeps_what_was_written_over_a_restart() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    assert!(servers_in(&scratch.data()).is_empty(), "stopped means ended");

    let again = scratch.start().await;
    assert_eq!(kept(&again).await, 42);
    again.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_server_is_closed_to_everybody_else() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let mode = |path: PathBuf| fs::metadata(path).expect("made").mode() & 0o777;
    assert_eq!(mode(scratch.data()), 0o700);
    assert_eq!(mode(scratch.folder().join("sock")), 0o700);
    let mut connection = connect(cluster.connect_options()).await;
    let ports: String = sqlx::query_scalar("show listen_addresses").fetch_one(&mut connection).await.expect("an answer");
    assert_eq!(ports, "", "no port is open");
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_server_never_runs_as_root() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let uid = uid_of(server_pid(&scratch.data()));
    assert_ne!(uid, 0);
    assert!(we_are_root() || uid == geteuid().as_raw(), "an ordinary user's server is that user's");
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_existing_cluster_keeps_its_owner() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    if we_are_root() {
        let given =
            std::process::Command::new("chown").args(["-R", "nobody"]).arg(scratch.data()).arg(scratch.folder().join("sock")).status();
        assert!(given.expect("chown").success());
    }
    let owner = fs::metadata(scratch.data()).expect("made").uid();
    let cluster = scratch.start().await;
    assert_eq!(uid_of(server_pid(&scratch.data())), owner);
    assert_eq!(kept(&cluster).await, 42);
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_closed_parent_folder_is_named_with_the_way_out() {
    let scratch = Scratch::new();
    let closed = scratch.0.path().join("home");
    fs::create_dir(&closed).expect("made");
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("our own folder");
    let started = Cluster::start(&closed.join("data/postgres"), &quick()).await;
    if we_are_root() {
        let refused = started.expect_err("root's server account cannot pass").to_string();
        assert!(refused.contains(&format!("chmod o+x {}", closed.display())), "{refused}");
        assert!(refused.contains("SLUICE_DATA_DIR"), "{refused}");
    } else {
        started.expect("our own folder is open to us").stop().await.expect("stopped");
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works_all_the_same() {
    let scratch = Scratch::new();
    let deep = scratch.folder().join("d".repeat(60)).join("e".repeat(60));
    let cluster = Cluster::start(&deep, &quick()).await.expect("a short folder for the socket");
    connect(cluster.connect_options()).await;
    let by_url: PgConnectOptions = cluster.url().parse().expect("a URL");
    let sockets = by_url.get_socket().expect("a socket's folder").clone();
    assert!(sockets.starts_with("/tmp"), "{}", sockets.display());
    connect(by_url).await;
    cluster.stop().await.expect("stopped");
    fs::remove_dir_all(sockets).expect("the short folder");
}

#[tokio::test]
async fn another_version_is_refused_with_both_numbers() {
    let scratch = Scratch::new();
    scratch.with_a_row().await;
    let made_by = fs::read_to_string(scratch.data().join("PG_VERSION")).expect("a cluster");
    let settings = Settings { binaries: Some(programs(&scratch, "postgres (PostgreSQL) 99.1")), ..quick() };

    let refused = Cluster::start(&scratch.folder(), &settings).await.expect_err("99 cannot run it").to_string();
    assert!(refused.contains(&format!("made by PostgreSQL {}", made_by.trim())), "{refused}");
    assert!(refused.contains("is PostgreSQL 99"), "{refused}");

    let cluster = scratch.start().await;
    assert_eq!(kept(&cluster).await, 42, "the refusal touched nothing");
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn binaries_that_are_too_old_or_missing_are_refused_by_name() {
    let scratch = Scratch::new();
    let old = Settings { binaries: Some(programs(&scratch, "postgres (PostgreSQL) 9.6.24")), ..quick() };
    let refused = Cluster::start(&scratch.folder(), &old).await.expect_err("too old").to_string();
    assert!(refused.contains("PostgreSQL 9 in") && refused.contains("14 or newer"), "{refused}");

    let missing = Settings { binaries: Some(PathBuf::from("/nowhere/bin")), ..quick() };
    let refused = Cluster::start(&scratch.folder(), &missing).await.expect_err("missing").to_string();
    assert!(refused.contains("/nowhere/bin") && refused.contains("SLUICE_POSTGRES_BIN"), "{refused}");
}

#[tokio::test]
async fn the_binaries_named_in_the_settings_are_the_ones_that_run() {
    let scratch = Scratch::new();
    scratch.start().await.stop().await.expect("stopped");
    let log = fs::read_to_string(scratch.folder().join("create.log")).expect("the log of the making");
    assert!(log.contains("stand-alone backend"), "{log}");
    // A program that fails when asked to serve: its words come back in the error.
    let version = fs::read_to_string(scratch.data().join("PG_VERSION")).expect("a cluster");
    let named = programs(&scratch, &format!("postgres (PostgreSQL) {}.0", version.trim()));
    let settings = Settings { binaries: Some(named), ..quick() };
    let refused = Cluster::start(&scratch.folder(), &settings).await.expect_err("it is no server").to_string();
    assert!(refused.contains("postgres failed") && refused.contains(&format!("(PostgreSQL) {}.0", version.trim())), "{refused}");
}

#[tokio::test]
async fn a_folder_with_something_else_in_it_is_left_alone() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.data()).expect("made");
    fs::write(scratch.data().join("letters.txt"), "dear").expect("written");
    let refused = scratch.try_start().await.expect_err("no cluster").to_string();
    assert!(refused.contains("holds no database"), "{refused}");
    assert_eq!(fs::read_to_string(scratch.data().join("letters.txt")).expect("still there"), "dear");
}

/// Programs that say a version and nothing else.
fn programs(scratch: &Scratch, version: &str) -> PathBuf {
    let folder = scratch.0.path().join("bin");
    fs::create_dir_all(&folder).expect("made");
    for name in ["postgres", "initdb"] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("our own file");
    }
    folder
}
