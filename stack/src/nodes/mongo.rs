//! mongod, alone or as a replica set of one.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bson::doc;
use mongodb::Client;
use mongodb::options::ClientOptions;
use nix::sys::signal::Signal;

use super::Node;
use crate::folder::Folder;
use crate::ports::PortLease;
use crate::process::{Process, Sink, Spec};
use crate::servers::Servers;

const REPLICA_SET: &str = "hasty";
/// What mongod answers to `replSetGetStatus` until it was told of its set.
const NOT_YET_INITIALIZED: i32 = 94;

/// What is needed to make the node.
pub(crate) struct Mongo<'a> {
    pub(crate) name: &'a str,
    pub(crate) servers: &'a Servers,
    pub(crate) folder: &'a Folder,
    pub(crate) replica_set: bool,
    pub(crate) sink: Option<Sink>,
}

impl Mongo<'_> {
    pub(crate) fn node(self) -> Result<Node> {
        let port = PortLease::any()?;
        let dir = self.folder.sub(self.name)?;
        let spec = Spec {
            name: self.name.into(),
            program: self.servers.mongod.clone(),
            args: self.arguments(port.number()),
            env: Vec::new(),
            dir,
            at_parents_death: Signal::SIGKILL,
        };
        let process = Process::new(spec, &self.folder.logs()?, self.sink)?;
        let mut url = format!("mongodb://127.0.0.1:{}/", port.number());
        if self.replica_set {
            url.push_str(&format!("?replicaSet={REPLICA_SET}"));
        }
        let probe = Probe { port: port.number(), replica_set: self.replica_set };
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
        if self.replica_set {
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
    replica_set: bool,
}

impl Probe {
    /// Ready is: it can be written to.
    pub(super) async fn look(&self) -> Result<()> {
        // The driver waits half a second after a refused connection; a bare one can be tried at once again.
        tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut options = ClientOptions::parse(format!("mongodb://127.0.0.1:{}/", self.port)).await?;
        options.direct_connection = Some(true);
        options.server_selection_timeout = Some(Duration::from_secs(2));
        let client = Client::with_options(options)?;
        let admin = client.database("admin");
        let mut hello = admin.run_command(doc! { "hello": 1 }).await?;
        if self.replica_set && !hello.get_bool("isWritablePrimary").unwrap_or(false) {
            self.initiate_once(&admin).await?;
            hello = admin.run_command(doc! { "hello": 1 }).await?;
        }
        if hello.get_bool("isWritablePrimary").unwrap_or(false) {
            return Ok(());
        }
        bail!("hello: {hello}")
    }

    async fn initiate_once(&self, admin: &mongodb::Database) -> Result<()> {
        let Err(error) = admin.run_command(doc! { "replSetGetStatus": 1 }).await else { return Ok(()) };
        match *error.kind {
            mongodb::error::ErrorKind::Command(ref answer) if answer.code == NOT_YET_INITIALIZED => {}
            _ => return Err(error.into()),
        }
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        let set = doc! { "_id": REPLICA_SET, "members": [member] };
        admin
            .run_command(doc! { "replSetInitiate": set })
            .await
            .context("could not initiate the replica set")?;
        Ok(())
    }
}
