//! `prunedb config`: the effective values and where each comes from.

use crate::{
    config::{Config, KEYS},
    io::{Exit, Io},
    session::{environment, layers},
};
use serde_json::json;
use std::path::Path;

pub(crate) fn run(dir: &Path, flags: &[String], io: &mut Io) -> anyhow::Result<Exit> {
    let layers = layers(dir, flags)?;
    Config::new(&layers, dir)?;
    if io.json {
        let values = KEYS.iter().filter_map(|key| {
            let (value, source) = layers.get(key)?;
            Some((key.name.to_owned(), json!({ "value": value, "source": source.to_string() })))
        });
        let values: serde_json::Map<_, _> = values.collect();
        io.json(&json!({ "dir": dir, "values": values }))?;
        return Ok(Exit::Done);
    }
    for key in &KEYS {
        if let Some((value, source)) = layers.get(key) {
            io.line(format_args!("{:20} {value:34} {source}", key.name))?;
        }
    }
    if environment().any(|(name, _)| name == "PRUNEDB_DIR") {
        io.note(format!("PRUNEDB_DIR is set; the folder is {}", dir.display()));
    }
    Ok(Exit::Done)
}
