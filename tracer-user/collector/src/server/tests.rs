//! Both ports, over real sockets.

mod agents;
mod https;
mod site;
