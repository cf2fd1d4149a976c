//! Runs a whole Hasty on one machine: fetches the servers, starts everything on loopback, stops it again.
//!
//! `cargo stack` is made of it, and so are `cargo lab` and the end-to-end tests:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use stack::Stack;
//!
//! let stack = Stack::builder().workers(3).env("LEASE_S", 2).start().await?;
//! println!("POST {}/v1/jobs", stack.url());
//! stack.worker(0).kill().await?;
//! stack.nats().restart().await?;
//! stack.worker(0).start().await?;
//! stack.stop().await?;
//! # Ok(())
//! # }
//! ```

mod binaries;
pub mod broker;
mod builder;
mod cargo;
mod folder;
mod nodes;
pub mod poll;
mod ports;
mod process;
mod servers;
mod signals;
mod stack;
mod supervise;
pub mod traces;

pub use binaries::{Profile, build_program};
pub use builder::Builder;
pub use cargo::run_program;
pub use hasty_client::http_client;
pub use nix::sys::signal::Signal;
pub use nodes::{ALERTS, Node, Watching};
pub use ports::PortLease;
pub use process::{End, Log, Process, Sink, Spec};
pub use servers::{Prometheus, Servers, libfaketime};
pub use signals::stop_requested;
pub use stack::Stack;
