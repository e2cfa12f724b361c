//! `prunedb policy`: another policy for what is stored, and for what comes.

use super::members::change_config;
use crate::{
    args::ChangePolicy,
    config::Source,
    io::{Exit, Io},
    session::Session,
    text::{count, size},
};
use serde_json::json;

pub(super) fn run(args: &ChangePolicy, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let changed = session.db.change_policy(args.policy, &mut |p| io.progress(p))?;
    change_config(session, |layers| layers.set("policy", args.policy.to_string(), Source::File))?;
    if io.json {
        io.json(&json!({
            "policy": args.policy.to_string(),
            "containers": changed.containers,
            "container_bytes": changed.container_bytes,
            "waiting": changed.waiting,
        }))?;
    } else {
        io.line(format_args!(
            "{}: {} coded anew ({}), read back and compared",
            args.policy,
            count(changed.containers, "container"),
            size(changed.container_bytes)
        ))?;
        if changed.waiting > 0 {
            io.line(format_args!(
                "{} wait: the shards of an earlier change are not deleted yet; repeat the command later",
                count(changed.waiting, "container")
            ))?;
        }
    }
    Ok(Exit::of(changed.waiting == 0))
}
