//! A disk that is full: a small tmpfs. Needs the right to mount one, by itself or in a user namespace; skipped, by name,
//! where neither is given.

use crate::common::{Folder, Output, clean_command, output};
use std::process::{Command, Stdio};

const TEST: &str = "full_disk::a_full_disk_refuses_puts_and_loses_none_that_was_acknowledged";
/// Set in the test's own second process, in a user namespace.
const IN_NAMESPACE: &str = "E2E_IN_NAMESPACE";

fn mount(folder: &Folder, options: &str) -> bool {
    std::fs::create_dir_all(folder.dir()).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.dir()).stderr(Stdio::null());
    mount.status().is_ok_and(|s| s.success())
}

/// Unmounts when dropped.
struct Mounted<'a>(&'a Folder);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(self.0.dir()).status();
    }
}

#[test]
fn a_full_disk_refuses_puts_and_loses_none_that_was_acknowledged() {
    let folder = Folder::new();
    if !mount(&folder, "size=80m") {
        if std::env::var_os(IN_NAMESPACE).is_none() {
            let mut again = Command::new("unshare");
            again
                .args(["--user", "--map-root-user", "--mount"])
                .arg(std::env::current_exe().unwrap());
            again.args([TEST, "--exact", "--nocapture"]).env(IN_NAMESPACE, "1");
            if let Ok(status) = again.status() {
                assert!(
                    status.success() || status.code() == Some(1),
                    "the test failed in its namespace"
                );
                if status.success() {
                    return;
                }
            }
        }
        eprintln!("{TEST}: skipped, a tmpfs cannot be mounted");
        return;
    }
    let _mounted = Mounted(&folder);
    folder.run(&["init", "--policy", "2+1", "--local", "3"]).exits(0);
    let value = |number: u64| -> Vec<u8> {
        let mut state = number + 1;
        let byte = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        std::iter::repeat_with(byte).take(5_000_000).collect()
    };
    let put = |number: u64| -> Output {
        folder.run_with_stdin(
            &["kv", "put", "--table", "t", &number.to_string(), "-"],
            &value(number),
        )
    };
    let mut acknowledged = 0;
    let refused = loop {
        let output = put(acknowledged);
        if output.code != 0 {
            break output;
        }
        acknowledged += 1;
        assert!(acknowledged < 20, "100 MB on a disk of 80 MB");
    };
    refused.fails(&["is full", "free"]);
    let check = |acknowledged: u64| {
        assert_eq!(folder.status()["records"], acknowledged, "nothing half stored");
        for number in 0..acknowledged {
            let got = folder.run(&["kv", "get", "--table", "t", &number.to_string()]).exits(0);
            assert!(got.stdout == value(number), "{number}");
        }
    };
    assert!(acknowledged > 3);
    check(acknowledged);
    let mut demo = clean_command();
    demo.args(["demo", "--marketplace", "--cell", "64KiB", "--dir"]).arg(folder.dir().join("demo"));
    output(&mut demo).fails(&["the demo needs", "free some space"]);
    // room again: it goes on
    assert!(mount_larger(&folder));
    put(acknowledged).exits(0);
    folder.run(&["evict"]).exits(0);
    check(acknowledged + 1);
}

fn mount_larger(folder: &Folder) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-o", "remount,size=400m"]).arg(folder.dir());
    mount.status().is_ok_and(|s| s.success())
}
