//! `plan` and `what-if`.

use crate::common::{Folder, clean_command, output};
use serde_json::Value;
use std::fs;

fn plan(args: &str, code: i32) -> Value {
    let mut command = clean_command();
    output(command.arg("plan").args(args.split(' ')).arg("--json")).exits(code).json()
}

#[test]
fn a_plan_gives_the_figures_of_the_documentation() {
    let big = plan("--nodes 20 --policy 16+4 --size-tb 8000 --repair-mbps 100", 1);
    assert_eq!(big["node_bytes"], 500e12);
    assert_eq!((big["rebuild_hours"].as_f64().unwrap() / 24.0).round(), 984.0);
    assert_eq!(big["repair_hours"], Value::Null, "never");
    assert!(big["refusals"][0].as_str().unwrap().contains("repair falls behind"), "{big}");

    let eager = "--nodes 100 --policy 20+80 --size-tb 100 --repair-mbps 500";
    let megabytes =
        |plan: &Value| (plan["repair_traffic_bytes_per_s"].as_f64().unwrap() / 1e6).round();
    assert_eq!(megabytes(&plan(eager, 0)), 111.0);
    assert_eq!(megabytes(&plan(&format!("{eager} --lazy 40"), 0)), 6.0);
}

#[test]
fn what_cannot_be_kept_is_refused_with_reasons_and_advice() {
    let text = |args: &str, code| {
        let mut command = clean_command();
        output(command.arg("plan").args(args.split(' '))).exits(code).text()
    };
    let kept = text("--nodes 24 --policy 16+4 --size-tb 1 --repair-mbps 100", 0);
    assert!(kept.contains("verdict   it can be kept"), "{kept}");
    let few = text("--nodes 19 --policy 16+4 --size-tb 1 --repair-mbps 100", 1);
    assert!(few.contains("CANNOT BE KEPT") && few.contains("16+4 needs 20 nodes"), "{few}");
    let lumped = text("--nodes 24 --policy 16+4 --size-tb 1 --repair-mbps 100 --domains 4", 1);
    assert!(lumped.contains("one lost domain takes 5 shards"), "{lumped}");
    let slow = plan("--nodes 24 --policy 16+4 --size-tb 40 --repair-mbps 100", 1);
    let rate = slow["advice"]["repair_bytes_per_s"].as_f64().unwrap() / 1e6;
    plan(&format!("--nodes 24 --policy 16+4 --size-tb 40 --repair-mbps {rate}"), 0);

    for wrong in [
        "--nodes 24 --policy 16+4 --size-tb -1 --repair-mbps 1",
        "--nodes 24 --policy 16+4 --size-tb 1 --repair-mbps 1 --lazy 4",
    ] {
        let mut command = clean_command();
        output(command.arg("plan").args(wrong.replace("tb -1", "tb=-1").split(' ')))
            .fails(&["it must be"]);
    }
}

#[test]
fn economics_of_a_node_can_be_checked_by_hand() {
    let args = "--nodes 100 --policy 20+80 --size-tb 1000 --repair-mbps 2000 --lazy 40";
    assert_eq!(plan(args, 0)["economics"], Value::Null);
    let asked = format!("{args} --economics --pay 4 --disk-cost 1.5 --traffic-cost 0 --stake 100");
    let month = &plan(&asked, 0)["economics"];
    // 50 TB on each node
    assert_eq!((month["income"].as_f64(), month["disk"].as_f64()), (Some(200.0), Some(75.0)));
    assert_eq!(month["margin"].as_f64(), Some(125.0));
    let percent = &month["cheats"][1];
    let caught = percent["caught_per_epoch"].as_f64().unwrap();
    assert!((caught - (1.0 - 0.99f64.powi(50))).abs() < 1e-9, "{percent}");
    let all = &month["cheats"][3];
    // the pay of all epochs, and a fifth of the stake
    assert!((all["lost"].as_f64().unwrap() - 220.0).abs() < 1e-6, "{all}");
    let generous = format!("{args} --economics --pay 0.01 --disk-cost 100 --stake 0");
    let mut command = clean_command();
    let text = output(command.arg("plan").args(generous.split(' '))).exits(0).text();
    assert!(text.contains("IT PAYS"), "{text}");
    let mut command = clean_command();
    let wrong = format!("{args} --economics --slash 2");
    output(command.arg("plan").args(wrong.split(' '))).fails(&["that is slashed must be 0 to 1"]);
}

#[test]
fn what_if_says_what_would_be_lost() {
    let folder = Folder::with_local_nodes("2+2", 5);
    folder.run(&["kv", "put", "--table", "t", "key", "value"]).exits(0);
    folder.run(&["evict"]).exits(0);
    let now = folder.json(&["what-if", "--lose", "0"]);
    let all = now["containers"].as_u64().unwrap();
    assert!(all > 1, "data and manifest: {now}");
    assert_eq!((now["whole"].as_u64(), now["lost"].as_u64()), (Some(all), Some(0)));
    assert_eq!(folder.json(&["what-if", "--lose", "1"])["degraded"], all);

    let two = folder.run(&["what-if", "--lose", "2", "--json"]).exits(1).json();
    assert_eq!((two["at_risk"].as_u64(), two["lost"].as_u64()), (Some(all), Some(0)));
    assert_eq!(two["loss_by_chance_max"], 0.0);
    let three = folder.run(&["what-if", "--lose", "3"]).exits(1).text();
    assert!(three.contains("d0") && three.contains("3 of 4 shards missing: lost"), "{three}");
    folder.run(&["what-if", "--lose", "6"]).fails(&["only 5 nodes answer"]);

    // a node of its own, and all of them
    let one = folder.run(&["what-if", "--lose-domain", "local:02", "--json"]);
    let one = one.exits(0).json();
    assert_eq!(one["nodes_gone"], serde_json::json!(["local:02"]));
    let every = folder.run(&["what-if", "--lose-domain", "local", "--json"]).exits(1).json();
    assert_eq!(every["lost"], all);
    folder.run(&["what-if", "--lose-domain", "10.0.0.9"]).fails(&["no node's address"]);
    folder.run(&["what-if"]).exits(2);

    // what a damaged node had counts as gone, once that is known
    fs::remove_dir_all(folder.dir().join("nodes/00")).unwrap();
    folder.run(&["verify"]).exits(1);
    let now = folder.json(&["what-if", "--lose", "0"]);
    assert!(now["degraded"].as_u64() > Some(0) && now["lost"] == 0, "{now}");
}
