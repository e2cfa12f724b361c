//! The story of a registry, with a process for each part: a writer, four validators that vote, 24 storage nodes at 16+4.
//!
//! ```text
//! found ─> archive an era1 file in several batches ─> kill a holder and a validator ─> archive on
//!       ─> every batch re-elected, repaired, readable, the file the same bit for bit ─> the validator catches up, same root
//! ```

use crate::{output, process::run, workspace};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const VALIDATORS: usize = 4;
const NODES: usize = 24;
const POLICY: &str = "16+4";
/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(200);

/// Processes, killed when they are dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

struct Story {
    program: PathBuf,
    dir: PathBuf,
    begun: Instant,
}

/// Tells it over an era1 file, in a new folder beside what cargo builds.
///
/// # Errors
/// What was not so.
pub(crate) fn tell(file: &str, program: Option<&str>) -> anyhow::Result<()> {
    let file = fs::canonicalize(file).with_context(|| format!("cannot read {file}"))?;
    let program = match program {
        Some(program) => fs::canonicalize(program).with_context(|| format!("no {program}"))?,
        None => build()?,
    };
    let dir = output()?.join("registry");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    let story = Story { program, dir, begun: Instant::now() };
    let told = story.tell(&file);
    if told.is_err() {
        eprintln!("{} has what each process said", story.dir.display());
    } else {
        fs::remove_dir_all(&story.dir)?;
    }
    told
}

/// Builds the command, with validators that vote.
fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).current_dir(workspace()?).args([
        "build",
        "--release",
        "--package",
        "prunedb-cli",
        "--features",
        "simplex",
    ]))?;
    let target = output()?;
    Ok(target.with_file_name("release").join("prunedb"))
}

fn free_ports(count: usize) -> anyhow::Result<Vec<String>> {
    let sockets: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    sockets.iter().map(|socket| Ok(socket.local_addr()?.to_string())).collect()
}

impl Story {
    fn note(&self, what: &str) {
        println!("{:7.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    fn command(&self, folder: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // settings of whoever runs it are none of the story's
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PRUNEDB_") {
                command.env_remove(name);
            }
        }
        command.arg("--dir").arg(self.path(folder)).args(args).stdin(Stdio::null());
        command
    }

    /// A command of the writer's folder: whether it said yes, and what.
    fn ask(&self, args: &[&str]) -> anyhow::Result<(bool, String)> {
        let output = self.command("writer", args).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(2) {
            bail!("prunedb {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok((output.status.success(), said))
    }

    fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let (_, said) = self.ask(&[args, &["--json"]].concat())?;
        Ok(serde_json::from_str(&said)?)
    }

    /// Starts a process that serves; what it says goes to a file.
    fn start(&self, folder: &str, args: &[&str]) -> anyhow::Result<Running> {
        let log = self.path(&format!("{folder}.log"));
        let mut command = self.command(folder, args);
        command.stdout(File::create(&log)?).stderr(File::create(format!("{log}.err"))?);
        let mut running = Running(command.spawn()?);
        let begun = Instant::now();
        // each says it in its own words, and nothing before
        while fs::read_to_string(&log)?.lines().count() == 0 {
            if let Some(status) = running.0.try_wait()? {
                bail!(
                    "{folder} ended with {status}: {}",
                    fs::read_to_string(format!("{log}.err"))?
                );
            }
            ensure!(begun.elapsed() < PATIENCE, "{folder} is not ready");
            std::thread::sleep(PAUSE);
        }
        Ok(running)
    }

    /// Looks again and again, until it is so.
    fn until(
        &self,
        what: &str,
        is_so: impl Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            // what is just being killed or started may not answer
            let last = is_so();
            if matches!(last, Ok(true)) {
                return Ok(begun.elapsed());
            }
            ensure!(begun.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?} ({last:?})");
            std::thread::sleep(PAUSE);
        }
    }

    fn validators(&self) -> anyhow::Result<Vec<Value>> {
        let status = self.json(&["registry", "status"])?;
        Ok(status["validators"].as_array().context("a list of validators")?.clone())
    }

    fn tell(&self, file: &Path) -> anyhow::Result<()> {
        let doors = free_ports(2 * VALIDATORS)?;
        let (doors, votes) = doors.split_at(VALIDATORS);
        let addresses = free_ports(NODES)?;
        let mut keys = Vec::new();
        for number in 0..VALIDATORS {
            let folder = format!("validator-{number}");
            let key = self.command(&folder, &["registry", "key"]).output()?.stdout;
            keys.push(String::from_utf8(key)?.trim().to_owned());
        }
        let all_doors = doors.iter().zip(&keys).map(|(door, key)| format!("tls://{door}/{key}"));
        let all_doors = all_doors.collect::<Vec<_>>().join(",");
        let mut nodes = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let run = ["node", "run", "--listen", address, "--capacity", "10GB", "--registry"];
            nodes.push(self.start(&format!("node-{number}"), &[&run[..], &[&all_doors]].concat())?);
        }
        let all_nodes = addresses.join(",");
        self.ask(&["init", "--policy", POLICY, "--nodes", &all_nodes])?;
        let mut init: Vec<String> =
            ["registry", "init", "--block-ms", "100"].map(Into::into).into();
        for rule in ["misses_max=1", "epoch_heights=400", "proof_heights=150", "attesters=3"] {
            init.extend(["--param".into(), rule.into()]);
        }
        for number in 0..VALIDATORS {
            let peer = format!("{},{},{}", keys[number], votes[number], doors[number]);
            init.extend(["--validator".into(), peer]);
        }
        self.ask(&init.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut validators = Vec::new();
        for number in 0..VALIDATORS {
            let folder = format!("validator-{number}");
            for name in ["genesis", "settings.json"] {
                let from = self.path(&format!("writer/registry/{name}"));
                fs::copy(from, self.path(&format!("{folder}/registry/{name}")))?;
            }
            validators.push(self.start_validator(number, &all_nodes)?);
        }
        // containers of 1 MB, so that there are several
        let up = self.start("writer", &["--set", "container_bytes=1MB", "up"])?;
        self.note(&format!("{NODES} nodes, {VALIDATORS} validators, a writer: a process each"));

        for (number, address) in addresses.iter().enumerate() {
            let key = self.path(&format!("node-{number}/node.key"));
            self.ask(&["registry", "join", address, "--node-key", &key, "--capacity", "10GB"])?;
        }
        self.ask(&["registry", "groups", &NODES.to_string(), "--policy", POLICY])?;
        let source = file.to_string_lossy().into_owned();
        self.until("the file is archived", || {
            self.ask(&["import", "ethereum", &source]).map(|(done, _)| done)
        })?;
        let stored = self.json(&["status", "--containers"])?;
        let list = stored["container_list"].as_array().context("a list of containers")?;
        let is_data = |c: &&Value| c["container"].as_str().is_some_and(|id| id.starts_with('d'));
        let count = list.iter().filter(is_data).count() as u64;
        ensure!(count >= 3, "{count} batches are no story: take a larger file");
        self.note(&format!("{} is archived, in {count} batches", file.display()));
        self.until("the first batches close", || {
            Ok(self.validators()?[0]["batches"].as_u64() >= Some(2))
        })?;

        let election = self.json(&["election", "show", "0"])?;
        let victim = election["slots"][3]["holder"].as_str().context("a holder")?.to_owned();
        let position = addresses.iter().position(|a| *a == victim).context("one of ours")?;
        drop(nodes.remove(position));
        let last = VALIDATORS - 1;
        drop(validators.remove(last));
        let before = self.validators()?[0].clone();
        self.note(&format!(
            "holder {victim} and validator {last} are killed at height {}, {} batches closed",
            before["height"], before["batches"]
        ));

        self.until("every batch closes", || {
            Ok(self.validators()?[0]["batches"].as_u64() == Some(count))
        })?;
        self.note(&format!("all {count} batches are closed, the last ones by three validators"));
        let is_whole = |batch: u64| -> anyhow::Result<bool> {
            let election = self.json(&["election", "show", &batch.to_string()])?;
            let slots = election["slots"].as_array().context("a list of slots")?;
            let is_held = |s: &Value| s["holder"] != victim.as_str() && s["has_it"] == true;
            Ok(slots.iter().all(is_held))
        };
        self.until("every slot is elected anew and filled", || {
            for batch in 0..count {
                if !is_whole(batch)? {
                    return Ok(false);
                }
            }
            Ok(self.validators()?[0]["repairs"] == 0)
        })?;
        self.note("every slot of every batch has a holder that lives and has its shard");
        println!("{}", self.ask(&["election", "show", "0"])?.1);
        let epoch = self.validators()?[0]["epoch"]["number"].as_u64().context("an epoch")?;
        for epoch in (0..=epoch).rev() {
            let (_, told) = self.ask(&["proofs", "--epoch", &epoch.to_string()])?;
            if told.contains(&format!("{victim} did not prove")) {
                println!("{told}");
                break;
            }
            ensure!(epoch > 0, "no epoch shows that {victim} did not prove");
        }

        let (height, begun) = (self.validators()?[0]["height"].clone(), Instant::now());
        validators.push(self.start_validator(last, &all_nodes)?);
        self.until("the validator has the state of the others", || {
            let all = self.validators()?;
            let of = |v: &Value| (v["root_height"].clone(), v["root"].clone());
            Ok(all.iter().all(|v| v["root"].is_string() && of(v) == of(&all[0])))
        })?;
        self.note(&format!(
            "validator {last} is back, {} blocks later, and has the others' root {:.1} s after its start",
            height.as_u64().unwrap_or(0) - before["height"].as_u64().unwrap_or(0),
            begun.elapsed().as_secs_f64()
        ));
        ensure!(self.ask(&["verify", "--deep"])?.0, "`prunedb verify --deep` says no");
        self.until("all but the last batch may be pruned", || {
            Ok(self.validators()?[0]["prunable_up_to"].as_u64() == Some(count - 1))
        })?;
        self.ask(&["evict"])?;
        let out = self.path("out");
        ensure!(self.ask(&["export", "ethereum", "--out", &out])?.0, "nothing was exported");
        let name = file.file_name().context("a file")?;
        let same = fs::read(file)? == fs::read(Path::new(&out).join(name))?;
        ensure!(same, "{} differs from what was archived", name.display());
        self.note("evicted, read from the nodes, and exported: the file is the same, bit for bit");
        drop(up);
        Ok(())
    }

    fn start_validator(&self, number: usize, nodes: &str) -> anyhow::Result<Running> {
        let folder = format!("validator-{number}");
        let mut args = vec!["registry", "run"];
        let secret = self.path("writer/lake.secret");
        if !Path::new(&self.path(&format!("{folder}/prunedb.toml"))).exists() {
            args.extend(["--secret", &secret, "--nodes", nodes]);
        }
        self.start(&folder, &args)
    }
}
