//! Both ports, over real sockets.

mod agents;
mod https;
mod readers;
mod rotation;
mod site;
mod strangers;
