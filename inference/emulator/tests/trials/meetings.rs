//! Barriers, shuffles, votes and atomics; and what is told where threads do not meet.
use super::cuda::{launch, memory, number};

#[test]
fn a_barrier_waits_for_all_threads() {
    for reverse in [false, true] {
        for block in [32, 100, 256] {
            let mut x: Vec<u32> = (0..3 * block).collect();
            let mut y = vec![0; x.len()];
            launch("trial_turn", [3, 1, 1], block, &mut [memory(&mut x), memory(&mut y)], reverse).unwrap();
            x.chunks_mut(block as usize).for_each(<[u32]>::reverse);
            assert_eq!(x, y);
        }
    }
}

#[test]
fn a_missing_barrier_is_seen_in_one_order_or_the_other() {
    let run = |reverse| {
        let (mut x, mut y): (Vec<u32>, _) = ((1..257).collect(), vec![0; 256]);
        launch("trial_turn_without_waiting", [1, 1, 1], 256, &mut [memory(&mut x), memory(&mut y)], reverse).unwrap();
        y
    };
    assert_ne!(run(false), run(true));
}

#[test]
fn lanes_hear_from_each_other() {
    for reverse in [false, true] {
        let mut x: Vec<u32> = (0..128).map(|i| i * i * 7 % 31).collect();
        let (mut sums, mut neighbours, mut odd) = (vec![0f32; 128], vec![0; 128], vec![0; 128]);
        let args = &mut [memory(&mut x), memory(&mut sums), memory(&mut neighbours), memory(&mut odd)];
        launch("trial_lanes", [1, 1, 1], 128, args, reverse).unwrap();
        for i in 0..128 {
            let (lane, warp) = (i % 32, &x[i / 32 * 32..][..32]);
            assert_eq!(sums[i], warp.iter().sum::<u32>() as f32);
            assert_eq!(neighbours[i], warp[(lane + 1) % 32]);
            assert_eq!(odd[i], warp.iter().rev().fold(0, |bits, v| (bits << 1) | (v % 2)));
        }
    }
}

#[test]
fn the_last_block_finds_what_all_have_written() {
    for reverse in [false, true] {
        let mut x: Vec<u32> = (0..10 * 96).collect();
        let (mut partial, mut arrived, mut total) = (vec![0; 10], [0], [0]);
        let args = &mut [memory(&mut x), memory(&mut partial), memory(&mut arrived), memory(&mut total)];
        launch("trial_last_block", [10, 1, 1], 96, args, reverse).unwrap();
        assert_eq!((total[0], arrived[0]), (x.iter().sum(), 0));
    }
}

#[test]
fn blocks_have_places_in_three_directions() {
    for reverse in [false, true] {
        let mut y = vec![0; 2 * 3 * 4];
        launch("trial_places", [2, 3, 4], 32, &mut [memory(&mut y)], reverse).unwrap();
        let places = (0..4).flat_map(|z| (0..3).flat_map(move |y| (0..2).map(move |x| x + 10 * y + 100 * z)));
        assert_eq!(y, places.collect::<Vec<u32>>());
    }
}

#[test]
fn threads_that_wait_in_vain_are_told_of() {
    for reverse in [false, true] {
        // Within a warp, and warp by warp; the first of them, and the last.
        for ending in [1, 32, 48] {
            let error = launch("trial_some_end", [4, 1, 1], 96, &mut [number(ending)], reverse).unwrap_err();
            assert!(error.contains("trial_some_end, block (") && error.contains("sync_block at"), "{error}");
            assert!(error.contains("meetings.cu:"), "{error}");
        }
        // Nobody ends.
        launch("trial_some_end", [4, 1, 1], 96, &mut [number(1000)], reverse).unwrap();
    }
}

#[test]
fn lanes_that_part_are_told_of() {
    let mut y = [0; 64];
    let error = launch("trial_parted_ways", [1, 1, 1], 64, &mut [memory(&mut y)], false).unwrap_err();
    assert!(error.contains("sync_warp") && error.contains("lanes_where"), "{error}");
    let error = launch("trial_ended_lane", [1, 1, 1], 32, &mut [memory(&mut y)], false).unwrap_err();
    assert!(error.contains("lane 0 asks for what lane 3 has"), "{error}");
    assert_eq!(
        y[..32],
        std::array::from_fn::<u32, 32, _>(|i| if i == 3 { 0 } else { i as u32 }),
        "the first shuffle gave each lane its own"
    );
}

#[test]
fn a_launch_that_no_card_would_take_is_refused() {
    let mut y = [0u32; 64];
    let mut refused = |name, grid, block| launch(name, grid, block, &mut [memory(&mut y)], false).unwrap_err();
    assert!(refused("nothing", [1, 1, 1], 32).contains("no kernel nothing"));
    assert!(refused("trial_turn", [1, 1, 1], 32).contains("takes 2 arguments, not 1"));
    assert!(refused("trial_places", [1, 1, 1], 1025).contains("1 to 1024 threads"));
    assert!(refused("trial_places", [1, 0, 1], 32).contains("(1, 0, 1)"));
    let (mut a, mut b) = ([0u32; 512], [0u32; 512]);
    let error = launch("trial_turn", [1, 1, 1], 257, &mut [memory(&mut a), memory(&mut b)], false).unwrap_err();
    assert!(error.contains("1 to 256 threads, not 257"), "{error}");
    let error = launch("trial_unaligned", [1, 1, 1], 32, &mut [memory(&mut a), memory(&mut b)], false).unwrap_err();
    assert!(error.contains("thread 1: ") && error.contains("no multiple of 4 bytes"), "{error}");
}

#[test]
fn several_threads_launch_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| a_barrier_waits_for_all_threads()));
        }
    });
}

#[test]
fn a_meeting_takes_no_time_to_speak_of() {
    let mut y = [0; 256];
    let begun = std::time::Instant::now();
    launch("trial_many_meetings", [10, 1, 1], 256, &mut [memory(&mut y), number(1000)], false).unwrap();
    println!("{:.1} ns for each thread's meeting", begun.elapsed().as_secs_f64() * 1e9 / (10.0 * 256.0 * 1000.0));
    assert_eq!(y[0], 1000 % 32);
}

#[test]
fn trials_are_not_among_the_kernels() {
    assert!(emulator::kernels().iter().all(|name| !name.starts_with("trial_")));
}
