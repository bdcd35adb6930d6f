//! Stories of the models that are loaded: once for all who ask, as many as the memory holds, and none after the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use inference::{Checkpoint, Error, LoadOptions, MemoryLimit, ModelPool};

fn mute(name: &str) -> Checkpoint {
    Checkpoint::open_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)).unwrap()
}

fn pool_options() -> LoadOptions {
    LoadOptions { threads: 1, running_max: 1, ..LoadOptions::default() }
}

#[test]
fn two_who_ask_for_one_model_load_it_once() {
    let pool = ModelPool::new(u64::MAX, pool_options());
    let loads = AtomicUsize::new(0);
    let ask = || {
        pool.get_or_load("model", || {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok(mute("preln-fp32"))
        })
        .unwrap()
    };
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(ask);
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(pool.loaded().len(), 1);
}

#[test]
fn the_least_recently_used_idle_model_makes_room_and_models_in_use_do_not() {
    let names = ["preln-fp32", "postln-proj-fp32", "preln-hd80-fp16"];
    let measure = ModelPool::new(u64::MAX, pool_options());
    let sizes = names.map(|name| measure.memory_bytes(&mute(name)).unwrap());
    let pool = ModelPool::new(sizes.iter().sum::<u64>() - 1, pool_options());
    let get = |name: &str| pool.get_or_load(name, || Ok(mute(name)));
    let keys = || pool.loaded().into_iter().map(|model| model.key).collect::<Vec<_>>();

    get(names[0]).unwrap();
    get(names[1]).unwrap();
    get(names[0]).unwrap();
    get(names[2]).unwrap();
    assert_eq!(keys(), [names[0], names[2]], "the one used longest ago had to go");

    let held = [get(names[0]).unwrap(), get(names[2]).unwrap()];
    let refused = get(names[1]).unwrap_err();
    let Error::TooLarge { needed_bytes, limit: MemoryLimit::Budget, budget_bytes, held_bytes } = refused else { panic!("{refused}") };
    assert_eq!((needed_bytes, budget_bytes, held_bytes), (sizes[1], sizes.iter().sum::<u64>() - 1, sizes[0] + sizes[2]));
    drop(held);
    get(names[1]).unwrap();

    let tiny = ModelPool::new(1000, pool_options());
    let refused = tiny.get_or_load("model", || Ok(mute(names[0]))).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { held_bytes: 0, .. }), "{refused}");
    assert!(refused.to_string().contains("budget"), "{refused}");
}

#[test]
fn a_model_that_was_just_loaded_is_not_the_first_to_go() {
    let sizes = ["preln-fp32", "postln-proj-fp32"].map(|name| ModelPool::new(u64::MAX, pool_options()).memory_bytes(&mute(name)).unwrap());
    let pool = ModelPool::new(2 * sizes[0].max(sizes[1]), pool_options());
    let get = |key: &str, name: &str| drop(pool.get_or_load(key, || Ok(mute(name))).unwrap());
    get("z", "preln-fp32");
    get("a", "preln-fp32");
    get("m", "postln-proj-fp32");
    assert_eq!(pool.loaded().into_iter().map(|model| model.key).collect::<Vec<_>>(), ["a", "m"]);
}

#[test]
fn a_model_whose_thread_has_died_is_named_and_loaded_anew() {
    let pool = ModelPool::new(u64::MAX, pool_options());
    let get = || pool.get_or_load("model", || Ok(mute("preln-fp32"))).unwrap();
    assert!(pool.get("model").is_none(), "nobody has asked for it yet");
    let first = get();
    assert!(first.is_alive() && pool.dead().is_empty());
    assert!(pool.get("model").is_some());
    first.shutdown();
    assert_eq!(pool.dead(), ["model"]);
    assert!(pool.get("model").is_none());
    assert!(get().is_alive(), "a dead one is of no use to anybody");
    assert!(pool.dead().is_empty());
}

#[test]
fn a_model_that_fails_to_load_fails_again_and_blocks_nobody() {
    let pool = ModelPool::new(u64::MAX, pool_options());
    let missing = || pool.get_or_load("model", || Err(Error::Missing { file: "config.json".to_owned() })).unwrap_err();
    assert!(matches!(missing(), Error::Missing { .. }));
    assert!(matches!(missing(), Error::Missing { .. }));
    assert!(pool.get_or_load("model", || Ok(mute("preln-fp32"))).is_ok());
}

#[test]
fn a_pool_that_is_shut_down_while_it_loads_keeps_nothing_running() {
    let pool = ModelPool::new(u64::MAX, pool_options());
    let loaded = pool.get_or_load("late", || {
        pool.shutdown();
        Ok(mute("preln-fp32"))
    });
    assert!(matches!(loaded, Err(Error::Closed { .. })), "{loaded:?}");
    assert!(pool.loaded().is_empty());
    assert!(matches!(pool.get_or_load("later", || Ok(mute("preln-fp32"))), Err(Error::Closed { .. })), "nor is anything loaded afterwards");
}
