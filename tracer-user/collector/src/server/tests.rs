//! Both ports, over real sockets.

mod agents;
mod https;
mod rotation;
mod site;
mod strangers;
