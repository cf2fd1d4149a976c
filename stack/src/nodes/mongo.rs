//! mongod, alone or as a replica set.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::ClientOptions;
use nix::sys::signal::Signal;

use super::Node;
use crate::folder::Folder;
use crate::ports::PortLease;
use crate::process::{Process, Sink, Spec};
use crate::servers::Servers;

const REPLICA_SET: &str = "hasty";
/// What mongod answers to `replSetGetStatus` until its set is initiated.
const NOT_YET_INITIALIZED: i32 = 94;

/// How soon a set elects another primary, in milliseconds: nobody wants to wait for the usual ten seconds.
const ELECTION_MS: i32 = 2000;
const HEARTBEAT_MS: i32 = 500;

/// What is needed to make the nodes.
pub(crate) struct Mongo<'a> {
    pub(crate) name: &'a str,
    pub(crate) servers: &'a Servers,
    pub(crate) folder: &'a Folder,
    /// How many members its replica set has; 0 where it is to be none.
    pub(crate) members: usize,
    pub(crate) sink: Option<Sink>,
}

impl Mongo<'_> {
    /// All members; each one's URL is that of the whole set.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>> {
        let ports = (0..self.members.max(1)).map(|_| PortLease::any()).collect::<Result<Vec<_>>>()?;
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{}", port.number())).collect();
        ports.into_iter().enumerate().map(|(index, port)| self.node(index, port, &hosts)).collect()
    }

    fn node(&self, index: usize, port: PortLease, hosts: &[String]) -> Result<Node> {
        let name = match index {
            0 => self.name.to_owned(),
            index => format!("{}-{}", self.name, index + 1),
        };
        let dir = self.folder.sub(&name)?;
        let spec = Spec {
            name,
            program: self.servers.mongod.clone(),
            args: self.arguments(port.number()),
            env: Vec::new(),
            dir,
            at_parents_death: Signal::SIGKILL,
        };
        let process = Process::new(spec, &self.folder.logs()?, self.sink.clone())?;
        let mut url = format!("mongodb://{}/", hosts.join(","));
        if self.members > 0 {
            url.push_str(&format!("?replicaSet={REPLICA_SET}"));
        }
        let set = if self.members > 0 { hosts.to_vec() } else { Vec::new() };
        let probe = Probe { port: port.number(), set, initiates: index == 0 };
        Ok(Node::new(process, url, super::Probe::Mongo(probe), [port]))
    }

    fn arguments(&self, port: u16) -> Vec<OsString> {
        let port = port.to_string();
        let mut args = vec![
            "--bind_ip=127.0.0.1",
            "--port",
            &port,
            "--dbpath=.",
            "--nounixsocket",
            "--quiet",
            "--wiredTigerCacheSizeGB=0.5",
            "--setParameter",
            "diagnosticDataCollectionEnabled=false",
            // A replica set's member would hold up its own stop for its secondaries.
            "--setParameter",
            "shutdownTimeoutMillisForSignaledShutdown=100",
        ];
        if self.members > 0 {
            args.extend(["--replSet", REPLICA_SET]);
        }
        if self.folder.is_temporary() {
            // Hundreds of megabytes of journal are laid out ahead otherwise.
            args.push("--wiredTigerEngineConfigString=log=(prealloc=false)");
        }
        args.into_iter().map(Into::into).collect()
    }
}

#[derive(Debug)]
pub(super) struct Probe {
    port: u16,
    /// The members of its replica set; none where it is alone.
    set: Vec<String>,
    /// Whether the set is initiated through this one.
    initiates: bool,
}

impl Probe {
    /// Ready is: it can be written to, or is a secondary of a set with a primary.
    pub(super) async fn look(&self) -> Result<()> {
        let admin = self.admin().await?;
        let mut hello = admin.run_command(doc! { "hello": 1 }).await?;
        if !self.set.is_empty() && self.initiates && !is_settled(&hello) {
            self.initiate_once(&admin).await?;
            hello = admin.run_command(doc! { "hello": 1 }).await?;
        }
        if is_settled(&hello) {
            return Ok(());
        }
        bail!("hello: {hello}")
    }

    /// Whether it can be written to, as far as it knows.
    pub(super) async fn is_primary(&self) -> Result<bool> {
        let hello = self.admin().await?.run_command(doc! { "hello": 1 }).await?;
        Ok(is_primary(&hello))
    }

    async fn admin(&self) -> Result<mongodb::Database> {
        // The driver waits half a second after a refused connection; a bare one can be tried at once again.
        tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut options = ClientOptions::parse(format!("mongodb://127.0.0.1:{}/", self.port)).await?;
        options.direct_connection = Some(true);
        options.server_selection_timeout = Some(Duration::from_secs(2));
        Ok(Client::with_options(options)?.database("admin"))
    }

    async fn initiate_once(&self, admin: &mongodb::Database) -> Result<()> {
        let Err(error) = admin.run_command(doc! { "replSetGetStatus": 1 }).await else { return Ok(()) };
        match *error.kind {
            mongodb::error::ErrorKind::Command(ref answer) if answer.code == NOT_YET_INITIALIZED => {}
            _ => return Err(error.into()),
        }
        let member = |(index, host): (usize, &String)| doc! { "_id": index as i32, "host": host };
        let members: Vec<Document> = self.set.iter().enumerate().map(member).collect();
        let settings = doc! { "electionTimeoutMillis": ELECTION_MS, "heartbeatIntervalMillis": HEARTBEAT_MS };
        let set = doc! { "_id": REPLICA_SET, "members": members, "settings": settings };
        admin
            .run_command(doc! { "replSetInitiate": set })
            .await
            .context("could not initiate the replica set")?;
        Ok(())
    }
}

fn is_primary(hello: &Document) -> bool {
    hello.get_bool("isWritablePrimary").unwrap_or(false)
}

fn is_settled(hello: &Document) -> bool {
    is_primary(hello) || hello.get_bool("secondary").unwrap_or(false) && hello.contains_key("primary")
}
