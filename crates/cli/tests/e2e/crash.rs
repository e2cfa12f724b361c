//! `kill -9`: nothing that was acknowledged is lost, and an import goes on where it stopped.

use crate::common::{Folder, era1};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// Delays between 0 and `max`, the same in every run.
fn delays(seed: u64, max: Duration) -> impl Iterator<Item = Duration> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from(state >> 40).unwrap();
        Some(max * part / (1 << 24))
    })
}

#[test]
fn an_import_that_is_killed_again_and_again_ends_bit_identical() {
    let files = [era1(0, 1500, 1), era1(1, 1500, 2), era1(2, 1500, 3)];
    let import = |folder: &Folder| {
        let mut command =
            folder.command(&["import", "ethereum", "era", "--set", "container_bytes=1MB"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let fresh = || {
        let folder = Folder::with_local_nodes("4+2", 6);
        fs::create_dir(folder.path("era")).unwrap();
        for (name, bytes) in &files {
            folder.file(&format!("era/{name}"), bytes);
        }
        folder
    };
    let started = Instant::now();
    assert!(import(&fresh()).status().unwrap().success());
    let whole = started.elapsed();

    let folder = fresh();
    let mut kills = 0;
    let mut delays: Vec<Duration> = delays(42, whole).take(16).collect();
    delays.sort();
    for delay in delays {
        let mut child = import(&folder).spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        kills += u32::from(!child.wait().unwrap().success());
        // what is there can be used at once
        folder.run(&["status"]).exits(0);
    }
    assert!(kills > 3, "only {kills} of 16 imports were killed in time");
    folder.run(&["import", "ethereum", "era"]).exits(0);
    let expected: u64 = {
        let folder = fresh();
        folder.run(&["import", "ethereum", "era"]).exits(0);
        folder.status()["records"].as_u64().unwrap()
    };
    assert_eq!(folder.status()["records"], expected, "nothing twice, nothing lost");
    folder.run(&["evict"]).exits(0);
    folder.run(&["verify", "--deep"]).exits(0);
    for (epoch, (name, bytes)) in files.iter().enumerate() {
        folder.run(&["export", "ethereum", "--epoch", &epoch.to_string(), "--out", "out"]).exits(0);
        assert_eq!(&fs::read(folder.path("out").join(name)).unwrap(), bytes);
    }
}

#[test]
fn what_a_running_up_acknowledged_is_there_after_kill_9() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let mut acknowledged = Vec::new();
    for (round, delay) in delays(7, Duration::from_millis(300)).take(4).enumerate() {
        let mut up = folder.up();
        let stop = Instant::now() + delay;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut done = Vec::new();
                for number in 0.. {
                    let (key, value) =
                        (format!("{round}-{number}"), format!("value {round} {number}"));
                    if folder.run(&["kv", "put", "--table", "t", &key, &value]).code != 0
                        || number > 2000
                    {
                        return done;
                    }
                    done.push((key, value));
                }
                done
            });
            while Instant::now() < stop {
                std::thread::sleep(Duration::from_millis(1));
            }
            up.kill();
            // puts go on, each opens the folder itself; then nothing can
            std::thread::sleep(Duration::from_millis(20));
            fs::rename(folder.dir().join("prunedb.toml"), folder.path("prunedb.toml")).unwrap();
            acknowledged.extend(writer.join().unwrap());
            fs::rename(folder.path("prunedb.toml"), folder.dir().join("prunedb.toml")).unwrap();
        });
    }
    assert!(!acknowledged.is_empty());
    let _up = folder.up();
    for (key, value) in &acknowledged {
        assert_eq!(&folder.run(&["kv", "get", "--table", "t", key]).exits(0).text(), value);
    }
}
